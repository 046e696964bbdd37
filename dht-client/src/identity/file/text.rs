//! What both forms of the file have around their secrets: version, public key and check.

use zeroize::Zeroizing;

use super::Fault;
use super::place::LEN_MAX;
use crate::derivation::{Purpose, derive};

/// The first line, without the version.
const MAGIC: &str = "dht-identity ";
/// The version of the format.
const VERSION: &str = "2";
/// The one before, which no release wrote.
const OLD_VERSION: &str = "1";
/// How the last line begins.
const CHECK: &str = "check ";

/// A file's text whose version is known and whose check holds.
pub(super) struct Text<'a> {
    /// The public key that it names.
    pub(super) public: [u8; 32],
    /// The lines before the rest, as they are: what a cipher is bound to.
    pub(super) head: &'a str,
    /// The lines between public key and check.
    pub(super) rest: &'a str,
}

/// A text with all the room it will need: one that grows leaves copies of the secrets behind.
pub(super) fn empty() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(LEN_MAX + 1))
}

/// The lines that every file begins with.
pub(super) fn begin(public: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    let mut text = empty();
    text.extend_from_slice(
        format!("{MAGIC}{VERSION}\npublic {}\n", hex::encode(public)).as_bytes(),
    );
    text
}

/// Adds the check, with which every file ends.
pub(super) fn end(text: &mut Vec<u8>) {
    let check = check_of(text);
    text.extend_from_slice(format!("{CHECK}{check}\n").as_bytes());
}

fn check_of(text: &[u8]) -> String {
    hex::encode(derive(Purpose::IdentityCheck, None, &[text]).as_slice())
}

impl<'a> Text<'a> {
    pub(super) fn checked(bytes: &'a [u8]) -> Result<Self, Fault> {
        let after = bytes.strip_prefix(MAGIC.as_bytes()).ok_or(Fault::Foreign)?;
        let version = after.split(|byte| *byte == b'\n').next().unwrap_or_default();
        match std::str::from_utf8(version) {
            Ok(VERSION) => {}
            Ok(OLD_VERSION) => return Err(Fault::OldFormat),
            Ok(other) if other.parse::<u32>().is_ok() => return Err(Fault::UnknownFormat),
            _ => return Err(Fault::Damaged("its version is no number")),
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::Damaged("it is not text"))?;
        let cut = Fault::Damaged("its end is missing");
        let at = text.rfind(CHECK).ok_or(cut)?;
        let (checked, check) = text.split_at_checked(at).unwrap_or_default();
        if *check != *format!("{CHECK}{}\n", check_of(checked.as_bytes())) {
            return Err(Fault::Damaged("its check does not hold"));
        }
        let no_public = || Fault::Damaged("its public key is not whole");
        let after = checked.split_once('\n').map(|(_, after)| after).unwrap_or_default();
        let (line, rest) = after.split_once('\n').ok_or_else(no_public)?;
        let public = line.strip_prefix("public ").and_then(key).ok_or_else(no_public)?;
        let head = checked.strip_suffix(rest).unwrap_or_default();
        Ok(Text { public: *public, head, rest })
    }
}

/// 64 hex digits.
pub(super) fn key(digits: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits, bytes.as_mut()).ok()?;
    Some(bytes)
}

/// Appends hex digits without leaving copies.
pub(super) fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(DIGITS.get(usize::from(digit)).copied().unwrap_or_default());
        }
    }
}
