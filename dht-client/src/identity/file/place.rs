//! Where the file lies: read only if nobody else can, written as a whole or not at all.
//!
//! ```text
//! new      written beside ─▶ synced ─▶ linked into place (fails if anything is there) ─▶ folder synced
//! changed  locked ─▶ written beside ─▶ synced ─▶ renamed over the old one ─▶ folder synced
//! ```
//!
//! What is beside has a name of its own, mode 0600, and is locked by who writes it. If that process dies, it
//! stays there; who changes the file next removes whatever is there and not locked. The lock of a change
//! is on the file itself (`flock`), and whoever got it makes sure that this file is still the one in its place.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use super::text;
use crate::entropy::Entropy;
use crate::identity::IdentityError;

/// No file of this format is longer; what is longer is something else.
pub(super) const LEN_MAX: usize = 4096;
/// Only the owner reads and writes.
const MODE: u32 = 0o600;
/// The permission bits of everyone but the owner.
const OTHERS: u32 = 0o077;
/// Random bytes in the name of what is written beside.
const TAG_LEN: usize = 8;
/// How that name ends.
const BESIDE: &[u8] = b".new";

/// Reads a whole file that only its owner can read.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let access = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => IdentityError::Missing(path.to_owned()),
        _ => refused(path, "read", &error),
    };
    let file = File::open(path).map_err(access)?;
    let metadata = file.metadata().map_err(access)?;
    if !metadata.is_file() {
        return Err(IdentityError::Foreign(path.to_owned()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = text::empty();
    file.take(LEN_MAX as u64 + 1).read_to_end(&mut bytes).map_err(access)?;
    match bytes.len() > LEN_MAX {
        true => Err(IdentityError::Foreign(path.to_owned())),
        false => Ok(bytes),
    }
}

/// Refuses a place where something is, before anything is done for it.
pub(super) fn check_free(path: &Path) -> Result<(), IdentityError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Err(IdentityError::Exists(path.to_owned())),
        Err(_) => Ok(()),
    }
}

/// Writes a new file; makes the folder, for the owner alone, if there is none.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    let folder = folder_of(path);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| refused(path, "created", &error))?;
    let beside = Beside::write(path, bytes)?;
    let linked = std::fs::hard_link(&beside.path, path).and_then(|()| sync(folder));
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(IdentityError::Exists(path.to_owned()))
        }
        other => other.map_err(|error| refused(path, "written", &error)),
    }
}

/// The right to change a file; given back when dropped.
pub(super) struct Locked {
    /// Where it is, behind symbolic links.
    path: PathBuf,
    file: File,
}

impl Locked {
    pub(super) fn take(path: &Path) -> Result<Self, IdentityError> {
        let access = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => IdentityError::Missing(path.to_owned()),
            _ => refused(path, "locked", &error),
        };
        let real = std::fs::canonicalize(path).map_err(access)?;
        let file = File::open(&real).map_err(access)?;
        let in_use = || IdentityError::InUse(path.to_owned());
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => in_use(),
            other => access(other.into()),
        })?;
        // Who held it before may have put another file in its place.
        let ours = file.metadata().map_err(access)?;
        let there = std::fs::metadata(&real).map_err(access)?;
        match (ours.dev(), ours.ino()) == (there.dev(), there.ino()) {
            true => Ok(Locked { path: real, file }),
            false => Err(in_use()),
        }
    }

    /// Puts `bytes` in the place of the file, all of them or none.
    pub(super) fn replace(self, bytes: &[u8]) -> Result<(), IdentityError> {
        let path = &self.path;
        let access = |error: io::Error| refused(path, "written", &error);
        remove_left_over(path).map_err(access)?;
        let beside = Beside::write(path, bytes)?;
        std::fs::rename(&beside.path, path).and_then(|()| sync(folder_of(path))).map_err(access)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // A child of this process may have it open as well, and the lock is the open file's. Where this
        // fails, closing is left.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// A file beside the place, removed when dropped if it is still there.
struct Beside {
    path: PathBuf,
    _file: File,
}

impl Beside {
    fn write(place: &Path, bytes: &[u8]) -> Result<Self, IdentityError> {
        let mut tag = [0; TAG_LEN];
        Entropy::system().fill(&mut tag)?;
        let access = |error: io::Error| refused(place, "written", &error);
        let Some(name) = place.file_name() else {
            return Err(access(io::Error::from(io::ErrorKind::IsADirectory)));
        };
        let mut beside = name.to_owned();
        beside.push(format!(".{}", hex::encode(tag)));
        beside.push(OsStr::from_bytes(BESIDE));
        let path = place.with_file_name(beside);
        let made = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path);
        let mut file = made.map_err(access)?;
        let write = |file: &mut File| {
            flock(&*file, FlockOperation::NonBlockingLockExclusive)?;
            // Whatever the umask is.
            file.set_permissions(Permissions::from_mode(MODE))?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        let written = write(&mut file);
        let beside = Beside { path, _file: file };
        written.map_err(access).map(|()| beside)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It is gone if it was renamed; if it cannot be removed now, the next change will.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes what a process left beside the place that died while it wrote.
fn remove_left_over(place: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder_of(place))? {
        let entry = entry?;
        if !is_beside(&entry.file_name(), place) || !entry.file_type()?.is_file() {
            continue;
        }
        let free = File::open(entry.path())
            .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok());
        if free {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether `name` is one that [`Beside`] gives to what it writes for `place`.
fn is_beside(name: &OsString, place: &Path) -> bool {
    let tag = || {
        let own = place.file_name()?.as_bytes();
        name.as_bytes().strip_prefix(own)?.strip_prefix(b".")?.strip_suffix(BESIDE)
    };
    tag().is_some_and(|tag| tag.len() == 2 * TAG_LEN && tag.iter().all(u8::is_ascii_hexdigit))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn refused(path: &Path, action: &'static str, error: &io::Error) -> IdentityError {
    IdentityError::Access { path: path.to_owned(), action, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_changed_although_a_child_still_has_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        std::fs::write(&path, "").unwrap();
        let locked = Locked::take(&path).unwrap();
        assert!(matches!(Locked::take(&path), Err(IdentityError::InUse(_))));
        // What a child inherits.
        let inherited = locked.file.try_clone().unwrap();
        drop(locked);
        assert!(Locked::take(&path).is_ok());
        drop(inherited);
    }
}
