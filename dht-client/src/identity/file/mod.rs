//! The file that keeps an identity: format 2.
//!
//! ```text
//! dht-identity 2
//! public <64 hex digits: the Ed25519 public key>
//! root <64 hex digits>                                             ┐ the secrets, in the clear
//! words <32 or 64 hex digits: their entropy> (bare|passphrase)     ┘ (`words` only if they are known)
//! check <64 hex digits: derive(IdentityCheck, all bytes before this line)>
//! ```
//!
//! or, where a password was given,
//!
//! ```text
//! dht-identity 2
//! public <64 hex digits>
//! argon2id m=65536 t=3 p=1 salt=<32 hex digits>                    how the key follows from the password
//! sealed <hex digits: nonce ‖ ciphertext of the lines of secrets>  XChaCha20-Poly1305
//! check <64 hex digits>
//! ```
//!
//! The number in the first line is the format's version. The check tells a damaged file before a
//! password is asked for, so that a text that does not open then means a wrong password. It is no
//! protection from somebody who writes: that is the cipher, to which all lines before `sealed` are bound. The public
//! key stands outside, so that it can be shown without the password, and has to be the root's.
//!
//! ```text
//! read ─▶ place (mode, size) ─▶ text (version, check, lines) ─▶ IdentityFile
//!                                        IdentityFile::open ─▶ secrets, or encrypted ─▶ Identity
//! create, change_password ─▶ text ─▶ place (written beside, synced, linked or renamed into place)
//! ```

mod encrypted;
mod place;
mod secrets;
mod text;

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Identity, IdentityError};
use crate::entropy::{Entropy, EntropyError};

pub use encrypted::Password;

/// An identity's file that was read and is whole, opened or not.
pub struct IdentityFile {
    path: PathBuf,
    public: [u8; 32],
    content: Content,
}

enum Content {
    Plain(Box<Identity>),
    Encrypted(encrypted::Encrypted),
}

/// What is wrong with the bytes of a file, whichever file it is.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Foreign,
    OldFormat,
    UnknownFormat,
    Damaged(&'static str),
    TooCostly,
    WrongPassword,
    NoEntropy(EntropyError),
}

impl Fault {
    fn at(self, path: &Path) -> IdentityError {
        let path = path.to_owned();
        match self {
            Fault::Foreign => IdentityError::Foreign(path),
            Fault::OldFormat => IdentityError::OldFormat(path),
            Fault::UnknownFormat => IdentityError::UnknownFormat(path),
            Fault::Damaged(fault) => IdentityError::Damaged { path, fault },
            Fault::TooCostly => IdentityError::TooCostly(path),
            Fault::WrongPassword => IdentityError::WrongPassword(path),
            Fault::NoEntropy(error) => IdentityError::NoEntropy(error),
        }
    }
}

impl IdentityFile {
    /// Reads a file that only its owner can read, and checks that it is whole.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        let bytes = place::read(path)?;
        decode(&bytes)
            .map(|(public, content)| IdentityFile { path: path.to_owned(), public, content })
            .map_err(|fault| fault.at(path))
    }

    /// The public key that the file names.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.public
    }

    /// Whether it takes a password to open it.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.content, Content::Encrypted(_))
    }

    /// The identity; a file that is not encrypted needs no password, and takes any.
    ///
    /// # Errors
    /// [`IdentityError`]: no password or a wrong one, or secrets that are not of this public key.
    pub fn open(&self, password: Option<&Password>) -> Result<Identity, IdentityError> {
        match (&self.content, password) {
            (Content::Plain(identity), _) => Ok(identity.as_ref().clone()),
            (Content::Encrypted(_), None) => Err(IdentityError::PasswordNeeded(self.path.clone())),
            (Content::Encrypted(sealed), Some(password)) => sealed
                .open(password)
                .and_then(|lines| secrets::decode(&lines, &self.public))
                .map_err(|fault| fault.at(&self.path)),
        }
    }
}

/// Refuses a place where something is: for whoever has to ask for secrets before [`create`].
///
/// # Errors
/// [`IdentityError::Exists`].
pub fn check_free(path: &Path) -> Result<(), IdentityError> {
    place::check_free(path)
}

/// Keeps `identity` in a new file, encrypted if there is a password; makes the folder, for the owner
/// alone, if there is none.
///
/// # Errors
/// [`IdentityError`]; a file that exists is never overwritten.
pub fn create(
    path: &Path,
    identity: &Identity,
    password: Option<&Password>,
) -> Result<(), IdentityError> {
    check_free(path)?;
    let bytes = encode(identity, password).map_err(|fault| fault.at(path))?;
    place::write_new(path, &bytes)
}

/// Writes the file anew under another password, or without one. At any moment, whatever happens to
/// the process, the whole old file or the whole new one is in its place; what an earlier attempt
/// left beside it is removed.
///
/// # Errors
/// [`IdentityError`]; after one the file is as it was.
pub fn change_password(
    path: &Path,
    old: Option<&Password>,
    new: Option<&Password>,
) -> Result<(), IdentityError> {
    let locked = place::Locked::take(path)?;
    let identity = IdentityFile::read(path)?.open(old)?;
    let bytes = encode(&identity, new).map_err(|fault| fault.at(path))?;
    locked.replace(&bytes)
}

fn encode(identity: &Identity, password: Option<&Password>) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut text = text::begin(&identity.public_key());
    let lines = secrets::encode(identity);
    match password {
        None => text.extend_from_slice(&lines),
        Some(password) => encrypted::seal(&mut text, &lines, password, &Entropy::system())?,
    }
    text::end(&mut text);
    Ok(text)
}

fn decode(bytes: &[u8]) -> Result<([u8; 32], Content), Fault> {
    let text = text::Text::checked(bytes)?;
    let content = match encrypted::Encrypted::of(&text)? {
        Some(sealed) => Content::Encrypted(sealed),
        None => Content::Plain(Box::new(secrets::decode(text.rest.as_bytes(), &text.public)?)),
    };
    Ok((text.public, content))
}

#[cfg(test)]
mod tests;
