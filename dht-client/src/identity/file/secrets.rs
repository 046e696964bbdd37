//! The lines of secrets: in a plain file as they are, in an encrypted one inside the cipher.

use zeroize::Zeroizing;

use super::Fault;
use super::text::{empty, key, push_hex};
use crate::identity::words::Words;
use crate::identity::{Identity, KnownWords};

/// How a line says that the words alone are the identity.
const BARE: &str = "bare";
/// How a line says that a passphrase is needed besides.
const WITH_PASSPHRASE: &str = "passphrase";

pub(super) fn encode(identity: &Identity) -> Zeroizing<Vec<u8>> {
    let mut text = empty();
    text.extend_from_slice(b"root ");
    push_hex(&mut text, identity.root());
    text.push(b'\n');
    if let Some(known) = identity.words() {
        text.extend_from_slice(b"words ");
        push_hex(&mut text, &known.words.to_entropy());
        let kind = if known.passphrase { WITH_PASSPHRASE } else { BARE };
        text.extend_from_slice(format!(" {kind}\n").as_bytes());
    }
    text
}

/// The identity whose secrets these are, if its public key is `public`.
pub(super) fn decode(lines: &[u8], public: &[u8; 32]) -> Result<Identity, Fault> {
    let text = std::str::from_utf8(lines).map_err(|_| Fault::Damaged("it is not text"))?;
    let mut lines = text.lines();
    let root = lines.next().and_then(|line| line.strip_prefix("root ")).and_then(key);
    let root = root.ok_or(Fault::Damaged("its root is not whole"))?;
    let words = match lines.next() {
        None => None,
        Some(line) => Some(words(line).ok_or(Fault::Damaged("its words are not whole"))?),
    };
    if lines.next().is_some() {
        return Err(Fault::Damaged("something follows its secrets"));
    }
    if let Some(known) = &words
        && !known.passphrase
        && *known.words.root("") != *root
    {
        return Err(Fault::Damaged("its words and its root do not belong together"));
    }
    let identity = Identity::of(&root, words);
    if identity.public_key() != *public {
        return Err(Fault::Damaged("its root and its public key do not belong together"));
    }
    Ok(identity)
}

fn words(line: &str) -> Option<KnownWords> {
    let (digits, kind) = line.strip_prefix("words ")?.split_once(' ')?;
    let passphrase = match kind {
        BARE => false,
        WITH_PASSPHRASE => true,
        _ => return None,
    };
    let entropy = Zeroizing::new(hex::decode(digits).ok()?);
    Some(KnownWords { words: Words::of_entropy(&entropy)?, passphrase })
}
