//! [`Identity`]: the keys with which a user signs. Never a node's key.
//!
//! An identity is an Ed25519 secret; its public half names the publisher of a record. It is kept in
//! a [file](mod@file) that only its owner can read, is overwritten in memory when dropped, and is never
//! printed.

pub mod file;

use std::fmt;
use std::path::{Path, PathBuf};

use dht_kad::ErrorNumber;
use ed25519_dalek::SigningKey;
use thiserror::Error;
use zeroize::Zeroizing;

/// A user's keys. The public half is the publisher of what it signs.
#[derive(Clone)]
pub struct Identity {
    // Overwrites itself when dropped: the crate's feature `zeroize`.
    signing_key: SigningKey,
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
    #[error(
        "no identity can be made ({0}); give the process access to the system's random numbers"
    )]
    NoEntropy(String),
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
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(secret.as_mut())
            .map_err(|error| IdentityError::NoEntropy(error.to_string()))?;
        Ok(Identity::from_secret(&secret))
    }

    /// The identity with this Ed25519 secret.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Identity { signing_key: SigningKey::from_bytes(secret) }
    }

    /// The Ed25519 public key: the publisher of what this identity signs.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.signing_key.verifying_key().to_bytes()
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
        &self.signing_key
    }

    fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signing_key.to_bytes())
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
        let identity = Identity::from_secret(&[0xab; 32]);
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
