//! The node's key: 32 secret bytes in `node.key` of the data directory, as 64 hex digits.
//!
//! It names the node in the network for as long as the data directory lives, so it is made once,
//! written whole or not at all, and readable by its owner only.

use std::io;
use std::path::{Path, PathBuf};

use dht_context::node_key::{EntropyError, NodeKey};
use dht_kad::ErrorNumber;
use thiserror::Error;

use crate::whole_file::{self, SecretError};

/// The file's name in the data directory.
const FILE: &str = "node.key";

/// The node's key cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is none.
    #[error("there is no node key in {}; start the node once, or check the directory", .0.display())]
    Missing(PathBuf),
    /// The file does not hold a key.
    #[error("{} does not hold a node key; restore it from a backup, or remove it for a new name", .0.display())]
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

impl IdentityError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            IdentityError::Missing(_) | IdentityError::Damaged(_) | IdentityError::Exposed(_) => {
                ErrorNumber::IdentityFile
            }
            IdentityError::File { .. } => ErrorNumber::FileAccess,
            IdentityError::Entropy(_) => ErrorNumber::Internal,
        }
    }
}

/// Reads the key of this data directory.
///
/// # Errors
/// [`IdentityError`]; the file is left as it is.
pub fn load(data_dir: &Path) -> Result<NodeKey, IdentityError> {
    let path = data_dir.join(FILE);
    match whole_file::read_secret(&path) {
        Ok(seed) => Ok(NodeKey::from_seed(*seed)),
        Err(SecretError::Missing) => Err(IdentityError::Missing(data_dir.to_owned())),
        Err(SecretError::Exposed) => Err(IdentityError::Exposed(path)),
        Err(SecretError::Damaged) => Err(IdentityError::Damaged(path)),
        Err(SecretError::File(reason)) => Err(IdentityError::File { path, reason }),
    }
}

/// Reads the key of this data directory, or makes one if there is none.
///
/// # Errors
/// [`IdentityError`]; an existing file is left as it is.
pub fn load_or_create(data_dir: &Path) -> Result<NodeKey, IdentityError> {
    match load(data_dir) {
        Err(IdentityError::Missing(_)) => {}
        other => return other,
    }
    let key = NodeKey::generate()?;
    let path = data_dir.join(FILE);
    whole_file::write_secret(&path, &key.to_seed_bytes())
        .map_err(|reason| IdentityError::File { path, reason })?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_read_ever_after() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(load(dir.path()), Err(IdentityError::Missing(_))));
        let made = load_or_create(dir.path()).unwrap().id();
        assert_eq!(load_or_create(dir.path()).unwrap().id(), made);
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_or_exposed_key_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        load_or_create(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load_or_create(dir.path()), Err(IdentityError::Exposed(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "not a key\n").unwrap();
        assert!(matches!(load_or_create(dir.path()), Err(IdentityError::Damaged(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "not a key\n");
    }
}
