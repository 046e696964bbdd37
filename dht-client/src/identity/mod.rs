//! [`Identity`]: the keys of a user. Never a node's key.
//!
//! Everything that an identity can do follows from its root, 32 bytes, and that from words that a
//! person can write down:
//!
//! ```text
//! words, passphrase ─▶ root ──┬▶ signing key (Ed25519)   its public half is the identity, the publisher of records
//!                             │       └▶ blinded keys    under which it publishes without being seen
//!                             ├▶ sealing key (X-Wing)    what others seal to it, it opens
//!                             └▶ self secret             what it keeps for itself, and under which pseudonyms
//! ```
//!
//! It is kept in a [file](mod@file) that only its owner can read, encrypted where a password is given,
//! is overwritten in memory when dropped, and is never printed.
//!
//! ```no_run
#![doc = include_str!("example.rs")]
//! ```

pub mod blinding;
mod error;
pub mod file;
pub mod words;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use crate::derivation::{Purpose, derive};
use crate::entropy::Entropy;
use crate::sealing::SealingKey;

pub use error::IdentityError;
pub use file::{IdentityFile, Password};
pub use words::{WordCount, Words, WordsError};

/// A user's keys: cheap to clone. The public half is the publisher of what it signs.
#[derive(Clone)]
pub struct Identity {
    keys: Arc<Keys>,
}

/// Each part overwrites itself when dropped.
struct Keys {
    root: Zeroizing<[u8; 32]>,
    words: Option<KnownWords>,
    signing: SigningKey,
    sealing: SealingKey,
    own: Zeroizing<[u8; 32]>,
}

/// The words of an identity, where they are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownWords {
    /// The words.
    pub words: Words,
    /// Whether they need a passphrase besides, which is kept nowhere.
    pub passphrase: bool,
}

impl Identity {
    /// Makes a new identity of 24 words from the operating system's entropy.
    ///
    /// # Errors
    /// [`IdentityError::NoEntropy`].
    pub fn generate() -> Result<Self, IdentityError> {
        let words = Words::generate(WordCount::TwentyFour, &Entropy::system())?;
        Ok(Identity::from_words(&words, ""))
    }

    /// The identity of these words and this passphrase, which is empty where there is none. Takes some
    /// milliseconds.
    #[must_use]
    pub fn from_words(words: &Words, passphrase: &str) -> Self {
        let known = KnownWords { words: words.clone(), passphrase: !passphrase.is_empty() };
        Identity::of(&words.root(passphrase), Some(known))
    }

    /// The identity with this root, whose words are not known.
    #[must_use]
    pub fn from_root(root: &[u8; 32]) -> Self {
        Identity::of(root, None)
    }

    /// The identity whose root is written as 64 hex digits.
    ///
    /// # Errors
    /// [`IdentityError::NotARoot`].
    pub fn from_root_digits(digits: &str) -> Result<Self, IdentityError> {
        let mut root = Zeroizing::new([0; 32]);
        let read = hex::decode_to_slice(digits, root.as_mut());
        read.map(|()| Identity::from_root(&root)).map_err(|_| IdentityError::NotARoot)
    }

    fn of(root: &[u8; 32], words: Option<KnownWords>) -> Self {
        let part = |purpose| derive(purpose, None, &[root]);
        let keys = Keys {
            root: Zeroizing::new(*root),
            words,
            signing: SigningKey::from_bytes(&part(Purpose::IdentitySigning)),
            sealing: SealingKey::from_seed(&part(Purpose::IdentitySealing)),
            own: part(Purpose::IdentitySelf),
        };
        Identity { keys: Arc::new(keys) }
    }

    /// The Ed25519 public key: the publisher of what this identity signs.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.keys.signing.verifying_key().to_bytes()
    }

    /// The key that others seal to.
    #[must_use]
    pub fn sealing_key(&self) -> &SealingKey {
        &self.keys.sealing
    }

    /// The secret from which all else follows: whoever has it is this identity.
    #[must_use]
    pub fn root(&self) -> &[u8; 32] {
        &self.keys.root
    }

    /// The words that it was made of, if they are known: whoever has them, and the passphrase if one
    /// is needed, is this identity.
    #[must_use]
    pub fn words(&self) -> Option<&KnownWords> {
        self.keys.words.as_ref()
    }

    /// Keeps the identity in a new file that only its owner can read, not encrypted; with a
    /// password, see [`file::create`].
    ///
    /// # Errors
    /// [`IdentityError`]; a file that exists is never overwritten.
    pub fn create(&self, path: &Path) -> Result<(), IdentityError> {
        file::create(path, self, None)
    }

    /// Reads the identity in a file that is not encrypted; for one that is, see [`IdentityFile`].
    ///
    /// # Errors
    /// [`IdentityError`]: missing, readable by others, damaged, of a later version, encrypted.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        IdentityFile::read(path)?.open(None)
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        &self.keys.signing
    }

    /// What the identity keeps for itself is derived from this.
    pub(crate) fn self_secret(&self) -> &[u8; 32] {
        &self.keys.own
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", hex::encode(self.public_key()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_the_public_key_and_no_part_of_the_secret() {
        let identity = Identity::from_root(&[0xab; 32]);
        let printed = format!("{identity:?}");
        assert!(printed.contains(&hex::encode(identity.public_key())));
        assert!(!printed.contains("abab") && !printed.contains("171"));
        let known = Identity::generate().unwrap().words().unwrap().clone();
        let printed = format!("{known:?}");
        assert_eq!(printed, "KnownWords { words: Words(24 of them), passphrase: false }");
    }

    #[test]
    fn two_generated_identities_differ() {
        let (one, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        assert_ne!(one.public_key(), other.public_key());
    }

    #[test]
    fn the_words_bring_an_identity_back_and_another_passphrase_another_one() {
        let identity = Identity::generate().unwrap();
        let words = &identity.words().unwrap().words;
        let typed = words.to_text();
        let again = Identity::from_words(&Words::parse(&typed).unwrap(), "");
        assert_eq!(again.public_key(), identity.public_key());
        let other = Identity::from_words(words, "secret");
        assert_ne!(other.public_key(), identity.public_key());
        assert!(other.words().unwrap().passphrase && !again.words().unwrap().passphrase);
    }

    #[test]
    fn a_passphrase_is_the_same_however_its_letters_are_composed() {
        let words = Words::generate(WordCount::Twelve, &Entropy::from_seed([1; 32])).unwrap();
        let key = |passphrase| Identity::from_words(&words, passphrase).public_key();
        assert_eq!(key("gr\u{fc}n"), key("gru\u{308}n"), "NFKD, as the standard says");
    }

    #[test]
    fn a_root_is_read_from_its_digits_alone() {
        let root = hex::encode([0xab; 32]);
        let read = Identity::from_root_digits(&root).unwrap();
        assert_eq!(read.public_key(), Identity::from_root(&[0xab; 32]).public_key());
        assert_eq!(read.words(), None);
        for wrong in ["", &root[1..], &format!("{root}0"), &root.replace('a', "g")] {
            let error = Identity::from_root_digits(wrong).unwrap_err();
            assert_eq!(error, IdentityError::NotARoot);
        }
    }
}
