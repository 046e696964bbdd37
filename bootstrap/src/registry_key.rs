//! The key of a network's registry: who holds it signs the list of the network's bootstrap nodes.
//!
//! A file of its own, 64 hex digits, readable by its owner only. No node needs it: lists are signed
//! wherever it lies, and carried to the network by anyone.

use std::io;
use std::path::{Path, PathBuf};

use dht_context::node_key::{EntropyError, NodeKey};
use dht_kad::ErrorNumber;
use dht_kad::record::RecordSigner;
use ed25519_dalek::{Signer, SigningKey};
use thiserror::Error;

use crate::whole_file::{self, SecretError};

/// The secret by which lists are signed; never printed.
pub struct RegistryKey(SigningKey);

/// A registry key cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegistryKeyError {
    /// There is something already.
    #[error("{} is there already; a registry key is never written over, give another file", .0.display())]
    InTheWay(PathBuf),
    /// There is none.
    #[error("there is no registry key at {}; check --key, or make one with network new --registry", .0.display())]
    Missing(PathBuf),
    /// The file does not hold a key.
    #[error("{} does not hold a registry key; restore it from a backup", .0.display())]
    Damaged(PathBuf),
    /// Others can read the secret.
    #[error("{} can be read by others; run: chmod 600 {}", .0.display(), .0.display())]
    Exposed(PathBuf),
    /// The operating system refused.
    #[error("cannot use {} ({reason}); check its owner and permissions", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: io::Error,
    },
    /// No secret could be made.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl RegistryKeyError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            RegistryKeyError::File { .. } => ErrorNumber::FileAccess,
            RegistryKeyError::Entropy(_) => ErrorNumber::Internal,
            _ => ErrorNumber::IdentityFile,
        }
    }
}

impl RegistryKey {
    /// Makes a key, and writes it to a file that is not there yet.
    ///
    /// # Errors
    /// [`RegistryKeyError`]; an existing file is left as it is.
    pub fn create(path: &Path) -> Result<Self, RegistryKeyError> {
        if path.symlink_metadata().is_ok() {
            return Err(RegistryKeyError::InTheWay(path.to_owned()));
        }
        let seed = NodeKey::generate()?.to_seed_bytes();
        whole_file::write_secret(path, &seed)
            .map_err(|reason| RegistryKeyError::File { path: path.to_owned(), reason })?;
        Ok(RegistryKey(SigningKey::from_bytes(&seed)))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`RegistryKeyError`].
    pub fn load(path: &Path) -> Result<Self, RegistryKeyError> {
        let path = path.to_owned();
        match whole_file::read_secret(&path) {
            Ok(seed) => Ok(RegistryKey(SigningKey::from_bytes(&seed))),
            Err(SecretError::Missing) => Err(RegistryKeyError::Missing(path)),
            Err(SecretError::Exposed) => Err(RegistryKeyError::Exposed(path)),
            Err(SecretError::Damaged) => Err(RegistryKeyError::Damaged(path)),
            Err(SecretError::File(reason)) => Err(RegistryKeyError::File { path, reason }),
        }
    }
}

impl RecordSigner for RegistryKey {
    fn publisher(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    fn sign_message(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_written_once_for_its_owner_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.key");
        assert!(matches!(RegistryKey::load(&path), Err(RegistryKeyError::Missing(_))));
        let made = RegistryKey::create(&path).unwrap().publisher();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(RegistryKey::load(&path).unwrap().publisher(), made);
        assert!(matches!(RegistryKey::create(&path), Err(RegistryKeyError::InTheWay(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(RegistryKey::load(&path), Err(RegistryKeyError::Exposed(_))));
    }
}
