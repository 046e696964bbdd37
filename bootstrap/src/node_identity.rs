//! The node's key: 32 secret bytes in `node.key` of the data directory, as 64 hex digits.
//!
//! It names the node in the network for as long as the data directory lives, so it is made once,
//! written whole or not at all, and readable by its owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use dht_context::node_key::{EntropyError, NodeKey};
use dht_kad::ErrorNumber;
use dht_kad::id::parse_hex;
use thiserror::Error;
use zeroize::Zeroizing;

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
    let failed = |reason: io::Error| match reason.kind() {
        io::ErrorKind::NotFound => IdentityError::Missing(data_dir.to_owned()),
        _ => IdentityError::File { path: path.clone(), reason },
    };
    let mode = fs::metadata(&path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed(path));
    }
    let text = Zeroizing::new(fs::read_to_string(&path).map_err(failed)?);
    let seed = parse_hex(text.trim_end()).ok_or(IdentityError::Damaged(path))?;
    Ok(NodeKey::from_seed(seed))
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
    write_whole(data_dir, &path, &key)
        .map_err(|reason| IdentityError::File { path: path.clone(), reason })?;
    Ok(key)
}

/// Writes the key beside its place, makes it durable, and only then gives it its name.
fn write_whole(data_dir: &Path, path: &Path, key: &NodeKey) -> io::Result<()> {
    let unfinished = data_dir.join(format!("{FILE}.new"));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    let text = Zeroizing::new(hex::encode(key.to_seed_bytes()));
    writeln!(file, "{}", text.as_str())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
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
