//! Files that are written whole or not at all, and those of them that hold a secret: 32 bytes as 64
//! hex digits, readable by their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use dht_kad::id::parse_hex;
use zeroize::Zeroizing;

/// Access for the owner alone.
const OWNER_ONLY: u32 = 0o600;
/// What is public, and changed by the owner alone.
const PUBLIC: u32 = 0o644;

/// Why a secret's file gives none.
#[derive(Debug)]
pub(crate) enum SecretError {
    /// There is no such file.
    Missing,
    /// Others can read it.
    Exposed,
    /// It holds something else.
    Damaged,
    /// The operating system refused.
    File(io::Error),
}

/// Reads a secret.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, SecretError> {
    let failed = |reason: io::Error| match reason.kind() {
        io::ErrorKind::NotFound => SecretError::Missing,
        _ => SecretError::File(reason),
    };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed);
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
    parse_hex(text.trim_end()).map(Zeroizing::new).ok_or(SecretError::Damaged)
}

/// Writes a secret.
pub(crate) fn write_secret(path: &Path, secret: &[u8; 32]) -> io::Result<()> {
    let mut text = Zeroizing::new(hex::encode(secret));
    text.push('\n');
    write_whole(path, text.as_bytes(), OWNER_ONLY)
}

/// Writes what everybody may read.
///
/// # Errors
/// What the operating system says; the file is then what it was before.
pub fn write_public(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_whole(path, bytes, PUBLIC)
}

/// Writes the file beside its place, makes it durable, and only then gives it its name.
fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
