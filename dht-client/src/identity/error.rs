//! [`IdentityError`]: why an identity cannot be made, kept or read.

use std::path::PathBuf;

use dht_kad::ErrorNumber;
use thiserror::Error;

use super::words::WordsError;
use crate::entropy::EntropyError;

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
    /// The file is something else.
    #[error("{} is no identity's file; check the path", .0.display())]
    Foreign(PathBuf),
    /// A version of this program wrote the file that was never released.
    #[error(
        "{} has format 1, which was never released and is not read any more; give the digits of its root to `dht-client identity import --raw`",
        .0.display()
    )]
    OldFormat(PathBuf),
    /// A later version of this program wrote the file.
    #[error("{} has a format that this version does not know; upgrade dht-client", .0.display())]
    UnknownFormat(PathBuf),
    /// The file is not what was written.
    #[error("{} is damaged ({fault}); restore it from a copy, or import the words", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The file is encrypted.
    #[error("{} is protected by a password; give it with --password-file, or at a terminal", .0.display())]
    PasswordNeeded(PathBuf),
    /// The file was encrypted under another password.
    #[error("this is not the password of {}; try again", .0.display())]
    WrongPassword(PathBuf),
    /// The file asks for more memory or time than any that this program writes.
    #[error(
        "{} wants more memory or time for its password than is ever needed; it is not from this program, so do not trust it",
        .0.display()
    )]
    TooCostly(PathBuf),
    /// Another process changes the file.
    #[error("{} is being changed by another process; try again when that has ended", .0.display())]
    InUse(PathBuf),
    /// The words of the identity are not known.
    #[error(
        "the words of this identity are not known, as it was imported without; export it with --file or --raw"
    )]
    NoWords,
    /// What was given is not the words of an identity.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// What was given is no root.
    #[error(
        "this is no identity's root; give its 64 hex digits as `identity export --raw` prints them"
    )]
    NotARoot,
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
    #[error(transparent)]
    NoEntropy(#[from] EntropyError),
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
