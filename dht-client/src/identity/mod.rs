//! [`Identity`]: the keys of a user. Never a node's key.
//!
//! Everything that an identity can do follows from its root, 32 bytes:
//!
//! ```text
//!          ┌▶ signing key (Ed25519)      its public half is the identity, the publisher of records
//! root ────┼▶ sealing key (X-Wing)       what others seal to it, it opens
//!          └▶ self secret                what it keeps for itself, and under which pseudonyms
//! ```
//!
//! It is kept in a [file](mod@file) that only its owner can read, is overwritten in memory when
//! dropped, and is never printed.

pub mod blinding;
pub mod file;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dht_kad::ErrorNumber;
use ed25519_dalek::SigningKey;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::derivation::{Purpose, derive};
use crate::entropy::{Entropy, EntropyError};
use crate::sealing::SealingKey;

/// A user's keys: cheap to clone. The public half is the publisher of what it signs.
#[derive(Clone)]
pub struct Identity {
    keys: Arc<Keys>,
}

/// Each part overwrites itself when dropped.
struct Keys {
    root: Zeroizing<[u8; 32]>,
    signing: SigningKey,
    sealing: SealingKey,
    own: Zeroizing<[u8; 32]>,
}

/// An identity cannot be made, kept or read.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is no such file.
    #[error("there is no identity at {}; make one with `dht-client identity new`", .0.display())]
    Missing(PathBuf),
    /// Something is at the place of a new identity.
    #[error(
        "{} exists already and is not overwritten; choose another file, or move that one away", .0.display()
    )]
    Exists(PathBuf),
    /// Others may read the file.
    #[error(
        "{} can be read by others (mode {mode:03o}); run `chmod 600 '{}'`, and make a new identity if somebody has read it",
        path.display(), path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A later version of this program wrote the file.
    #[error("{} has a format that this version does not know; upgrade dht-client", .0.display())]
    UnknownFormat(PathBuf),
    /// The file is not what was written.
    #[error("{} is damaged ({fault}); restore it from a copy", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The operating system refuses.
    #[error("{} cannot be {action} ({reason}); check the path and its permissions", path.display())]
    Access {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        reason: String,
    },
    /// The operating system gave no random bytes.
    #[error(transparent)]
    NoEntropy(#[from] EntropyError),
}

impl IdentityError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            IdentityError::NoEntropy(_) => ErrorNumber::Internal,
            _ => ErrorNumber::IdentityFile,
        }
    }
}

impl Identity {
    /// Makes a new identity from the operating system's entropy.
    ///
    /// # Errors
    /// [`IdentityError::NoEntropy`].
    pub fn generate() -> Result<Self, IdentityError> {
        Ok(Identity::from_root(&*Entropy::system().secret()?))
    }

    /// The identity with this root.
    #[must_use]
    pub fn from_root(root: &[u8; 32]) -> Self {
        let part = |purpose| derive(purpose, None, &[root]);
        let keys = Keys {
            root: Zeroizing::new(*root),
            signing: SigningKey::from_bytes(&part(Purpose::IdentitySigning)),
            sealing: SealingKey::from_seed(&part(Purpose::IdentitySealing)),
            own: part(Purpose::IdentitySelf),
        };
        Identity { keys: Arc::new(keys) }
    }

    /// The Ed25519 public key: the publisher of what this identity signs.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.keys.signing.verifying_key().to_bytes()
    }

    /// The key that others seal to.
    #[must_use]
    pub fn sealing_key(&self) -> &SealingKey {
        &self.keys.sealing
    }

    /// Keeps the identity in a new file that only its owner can read.
    ///
    /// # Errors
    /// [`IdentityError`]; a file that exists is never overwritten.
    pub fn create(&self, path: &Path) -> Result<(), IdentityError> {
        file::create(path, self)
    }

    /// Reads the identity that [`create`](Self::create) kept.
    ///
    /// # Errors
    /// [`IdentityError`]: missing, readable by others, damaged, of a later version.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        file::load(path)
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        &self.keys.signing
    }

    /// What the identity keeps for itself is derived from this.
    pub(crate) fn self_secret(&self) -> &[u8; 32] {
        &self.keys.own
    }

    fn root(&self) -> &[u8; 32] {
        &self.keys.root
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", hex::encode(self.public_key()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_the_public_key_and_no_part_of_the_secret() {
        let identity = Identity::from_root(&[0xab; 32]);
        let printed = format!("{identity:?}");
        assert!(printed.contains(&hex::encode(identity.public_key())));
        assert!(!printed.contains("abab") && !printed.contains("171"));
    }

    #[test]
    fn two_generated_identities_differ() {
        let (one, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        assert_ne!(one.public_key(), other.public_key());
    }
}
