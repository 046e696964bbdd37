//! The newest list of the network's registry that the node has seen: `registry.list` in the data
//! directory, the signed record's bytes as they are. It is proven by its signature alone, so nothing
//! here looks into it.

use std::io;
use std::path::{Path, PathBuf};

use crate::whole_file;

/// The file's name in the data directory.
const FILE: &str = "registry.list";

/// Where the list of a data directory lies.
#[must_use]
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// Keeps this list in place of the one before.
///
/// # Errors
/// What the operating system says; the list before is then still there.
pub fn save(data_dir: &Path, bytes: &[u8]) -> io::Result<()> {
    whole_file::write_public(&path(data_dir), bytes)
}
