//! TOML files that people write: read within a limit, with their faults named by line.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;

/// A file cannot be read as what it should be.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TomlFileError {
    /// It cannot be read.
    #[error("cannot read {what} {} ({reason}); check its name and permissions", path.display())]
    Unreadable {
        /// What it should be, such as `the configuration`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// It is not TOML, or a field is missing, unknown or of another type.
    #[error("{}, line {line}: {reason}; correct the line or remove it", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Reads the text of a file of at most `max_kib` KiB: anything larger is another file.
///
/// # Errors
/// [`TomlFileError::Unreadable`].
pub fn read(what: &'static str, path: &Path, max_kib: u64) -> Result<String, TomlFileError> {
    let unreadable =
        |reason: String| TomlFileError::Unreadable { what, path: path.to_owned(), reason };
    let meta = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if meta.len() > max_kib << 10 {
        return Err(unreadable(format!("it is larger than {max_kib} KiB")));
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))
}

/// Reads a file's text; `path` is for the error.
///
/// # Errors
/// [`TomlFileError::Malformed`].
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, TomlFileError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let reason = error.message().replace('\n', ", ");
        TomlFileError::Malformed { path: path.to_owned(), line, reason }
    })
}
