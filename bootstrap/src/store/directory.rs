//! [`HeldDirectory`]: a data directory that one store at a time works in.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::open::{OpenError, access, exists, sync_directory};

/// The right to work in a data directory; given back when dropped.
pub(super) struct HeldDirectory {
    /// Its file `LOCK`, locked.
    lock: File,
}

impl HeldDirectory {
    /// Makes the directory if need be, and takes hold of it.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        if !exists(dir)? {
            // Its owner's alone: the node's identity lies beside the database.
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(|error| access(dir, &error))?;
            if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_directory(parent)?;
            }
        }
        let path = dir.join("LOCK");
        let lock = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| access(&path, &error))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(HeldDirectory { lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse(dir.to_owned())),
            Err(errno) => Err(access(&path, &errno.into())),
        }
    }
}

impl Drop for HeldDirectory {
    fn drop(&mut self) {
        // To close the file is not enough: a child of this process that has not begun its own program
        // yet has it open as well, and the lock is the open file's. Where this fails, closing is left.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_free_although_a_child_still_has_its_lock_open() {
        let folder = tempfile::tempdir().unwrap();
        let held = HeldDirectory::take(folder.path()).unwrap();
        assert!(matches!(HeldDirectory::take(folder.path()), Err(OpenError::InUse(_))));
        // What a child inherits.
        let inherited = held.lock.try_clone().unwrap();
        drop(held);
        assert!(HeldDirectory::take(folder.path()).is_ok());
        drop(inherited);
    }
}
