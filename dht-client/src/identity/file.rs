//! The file that keeps an identity.
//!
//! ```text
//! dht-identity 1
//! public <64 hex digits: the Ed25519 public key>
//! root <64 hex digits>
//! ```
//!
//! The number in the first line is the format's version. The public key follows from the root, so
//! it serves as the checksum: no change of a digit goes unnoticed.
//!
//! A new file is written beside its place, under a name of its own and with mode 0600, synced, and
//! then linked into its place, which fails if anything is there: no crash leaves half an identity,
//! and nothing is ever overwritten. A file that others may read is refused.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Identity, IdentityError};
use crate::entropy::Entropy;

/// The first line, without the version.
const MAGIC: &str = "dht-identity ";
/// The version of the format.
const VERSION: &str = "1";
/// No file of this format is longer; what is longer is something else.
const LEN_MAX: u64 = 4096;
/// Only the owner reads and writes.
const MODE: u32 = 0o600;
/// The permission bits of everyone but the owner.
const OTHERS: u32 = 0o077;

/// Keeps `identity` in a new file; makes the folder, for the owner alone, if there is none.
pub(super) fn create(path: &Path, identity: &Identity) -> Result<(), IdentityError> {
    let access = |action| move |error: io::Error| refused(path, action, &error);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(access("created"))?;
    let beside = name_beside(path)?;
    let written = write_synced(&beside, &encode(identity)).and_then(|()| {
        std::fs::hard_link(&beside, path)?;
        File::open(folder)?.sync_all()
    });
    let removed = std::fs::remove_file(&beside);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(IdentityError::Exists(path.to_owned()));
        }
        other => other.map_err(access("written"))?,
    }
    removed.map_err(access("written"))
}

/// Reads an identity.
pub(super) fn load(path: &Path) -> Result<Identity, IdentityError> {
    let access = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => IdentityError::Missing(path.to_owned()),
        _ => refused(path, "read", &error),
    };
    let file = File::open(path).map_err(access)?;
    let metadata = file.metadata().map_err(access)?;
    if !metadata.is_file() {
        return Err(damaged(path, "it is no regular file"));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned(), mode });
    }
    // Of full size from the start: a vector that grows leaves copies of the secret behind.
    let mut text = Zeroizing::new(Vec::with_capacity(LEN_MAX as usize + 1));
    file.take(LEN_MAX + 1).read_to_end(&mut text).map_err(access)?;
    decode(path, &text)
}

fn encode(identity: &Identity) -> Zeroizing<Vec<u8>> {
    let mut secret = Zeroizing::new([0; 64]);
    // 32 bytes are always 64 digits.
    let _ = hex::encode_to_slice(identity.root(), secret.as_mut());
    let public = hex::encode(identity.public_key());
    let mut text = Zeroizing::new(Vec::with_capacity(LEN_MAX as usize));
    text.extend_from_slice(format!("{MAGIC}{VERSION}\npublic {public}\nroot ").as_bytes());
    text.extend_from_slice(secret.as_ref());
    text.push(b'\n');
    text
}

fn decode(path: &Path, text: &[u8]) -> Result<Identity, IdentityError> {
    let text = std::str::from_utf8(text).map_err(|_| damaged(path, "it is not text"))?;
    let mut lines = text.lines();
    let version = lines
        .next()
        .and_then(|line| line.strip_prefix(MAGIC))
        .ok_or_else(|| damaged(path, "it does not begin as an identity does"))?;
    if version != VERSION {
        return Err(IdentityError::UnknownFormat(path.to_owned()));
    }
    let mut field = |name: &str| {
        let digits = lines.next()?.strip_prefix(name)?.strip_prefix(' ')?;
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, bytes.as_mut()).ok()?;
        Some(bytes)
    };
    let public = field("public").ok_or_else(|| damaged(path, "its public key is not whole"))?;
    let secret = field("root").ok_or_else(|| damaged(path, "its root is not whole"))?;
    if lines.next().is_some() {
        return Err(damaged(path, "something follows its end"));
    }
    let identity = Identity::from_root(&secret);
    if identity.public_key() != *public {
        return Err(damaged(path, "its root and its public key do not belong together"));
    }
    Ok(identity)
}

/// A name in the same folder that nobody else uses.
fn name_beside(path: &Path) -> Result<PathBuf, IdentityError> {
    let mut tag = [0; 8];
    Entropy::system().fill(&mut tag)?;
    let Some(name) = path.file_name() else {
        let error = io::Error::from(io::ErrorKind::IsADirectory);
        return Err(refused(path, "written", &error));
    };
    let mut beside = name.to_owned();
    beside.push(format!(".{}.new", hex::encode(tag)));
    Ok(path.with_file_name(beside))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    // Whatever the umask is.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn refused(path: &Path, action: &'static str, error: &io::Error) -> IdentityError {
    IdentityError::Access { path: path.to_owned(), action, reason: error.to_string() }
}

fn damaged(path: &Path, fault: &'static str) -> IdentityError {
    IdentityError::Damaged { path: path.to_owned(), fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        _folder: tempfile::TempDir,
        path: PathBuf,
    }

    fn place() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/identity");
        Place { _folder: folder, path }
    }

    fn created(place: &Place) -> Identity {
        let identity = Identity::generate().unwrap();
        identity.create(&place.path).unwrap();
        identity
    }

    #[test]
    fn an_identity_is_read_back_from_a_file_that_only_its_owner_can_read() {
        let place = place();
        let identity = created(&place);
        let mode = std::fs::metadata(&place.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Identity::load(&place.path).unwrap().public_key(), identity.public_key());
        let left: Vec<_> = std::fs::read_dir(place.path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing else is left in the folder");
    }

    #[test]
    fn a_file_that_exists_is_never_overwritten() {
        let place = place();
        let first = created(&place);
        let error = Identity::generate().unwrap().create(&place.path).unwrap_err();
        assert_eq!(error, IdentityError::Exists(place.path.clone()));
        assert_eq!(Identity::load(&place.path).unwrap().public_key(), first.public_key());
        let left: Vec<_> = std::fs::read_dir(place.path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "the attempt leaves no secret behind");
    }

    #[test]
    fn a_missing_file_is_told_from_one_that_cannot_be_read() {
        let place = place();
        let missing = Identity::load(&place.path).unwrap_err();
        assert_eq!(missing, IdentityError::Missing(place.path.clone()));
        let folder = tempfile::tempdir().unwrap();
        let error = Identity::load(folder.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        for mode in [0o640, 0o604, 0o620, 0o644] {
            let place = place();
            created(&place);
            std::fs::set_permissions(&place.path, Permissions::from_mode(mode)).unwrap();
            let error = Identity::load(&place.path).unwrap_err();
            assert_eq!(error, IdentityError::Exposed { path: place.path.clone(), mode });
            let command = format!("chmod 600 '{}'", place.path.display());
            assert!(error.to_string().contains(&command), "{error}");
        }
    }

    #[test]
    fn any_changed_byte_and_any_lost_end_is_noticed() {
        let place = place();
        created(&place);
        let good = std::fs::read(&place.path).unwrap();
        let refused = |bytes: &[u8]| {
            let error = decode(&place.path, bytes).unwrap_err();
            assert!(
                matches!(error, IdentityError::Damaged { .. } | IdentityError::UnknownFormat(_)),
                "{error}"
            );
        };
        // The last byte is the line's end, without which nothing is lost.
        for at in 0..good.len() - 1 {
            let mut bad = good.clone();
            bad[at] ^= 1;
            refused(&bad);
            refused(&good[..at]);
        }
        refused(&[good.as_slice(), b"more\n"].concat());
        refused(&vec![b'a'; 10_000]);
    }

    #[test]
    fn a_later_format_asks_for_an_upgrade() {
        let place = place();
        let error = decode(&place.path, b"dht-identity 2\nwords ...\n").unwrap_err();
        assert_eq!(error, IdentityError::UnknownFormat(place.path.clone()));
    }
}
