//! Places in the keyspace: [`NodeId`], [`Key`] and the XOR [`Distance`] between them.
//!
//! A [`Key`] is 32 bytes. A [`NodeId`] is the BLAKE3 hash of the node's Ed25519 public key and lies
//! in the same space. The distance of two places is their bitwise XOR read as a big-endian number
//! (Maymounkov and Mazières, *Kademlia*, 2002, section 2.1): it is symmetric, zero only for equal
//! places, and for a place and a distance there is exactly one other place.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Length of keys, node ids, labels, digests and public keys, in bytes.
pub const ID_LEN: usize = 32;

/// A place in the keyspace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(#[serde(with = "serde_bytes")] pub [u8; ID_LEN]);

/// The name of a node: BLAKE3 of its Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(Key);

/// How far two places are apart: their XOR, ordered as a big-endian number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Distance([u8; ID_LEN]);

/// A text is not 64 hex digits.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("«{0}» is not an id; give 64 hex digits")]
pub struct ParseIdError(String);

impl Key {
    /// The distance from here to `other`.
    #[must_use]
    pub fn distance(&self, other: &Key) -> Distance {
        let mut xor = self.0;
        for (byte, theirs) in xor.iter_mut().zip(other.0) {
            *byte ^= theirs;
        }
        Distance(xor)
    }
}

impl NodeId {
    /// Names the node that holds this Ed25519 public key.
    #[must_use]
    pub fn from_public_key(public_key: &[u8; 32]) -> Self {
        NodeId(Key(*blake3::hash(public_key).as_bytes()))
    }

    /// A node id from its 32 bytes, as read from a peer's answer or a file.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; ID_LEN]) -> Self {
        NodeId(Key(bytes))
    }

    /// The node's place in the keyspace.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.0
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; ID_LEN] {
        &self.0.0
    }
}

impl Distance {
    /// How many leading bits the two places share, 0 to 256. More shared bits mean *closer*.
    #[must_use]
    pub fn shared_bits(&self) -> u32 {
        let mut bits = 0;
        for byte in self.0 {
            bits += byte.leading_zeros();
            if byte != 0 {
                break;
            }
        }
        bits
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        in_order(&self.0, &other.0)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Distance {
    fn cmp(&self, other: &Self) -> Ordering {
        in_order(&self.0, &other.0)
    }
}

impl PartialOrd for Distance {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How two big-endian numbers compare. Nearly all differ in their first eight bytes, and these compare
/// in place; all of them would take a call, which every step of a search in a map would wait for.
fn in_order(one: &[u8; ID_LEN], other: &[u8; ID_LEN]) -> Ordering {
    let head = |bytes: &[u8; ID_LEN]| bytes.first_chunk().map(|head| u64::from_be_bytes(*head));
    head(one).cmp(&head(other)).then_with(|| one.cmp(other))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…")
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Key {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_hex(text).map(Key).ok_or_else(|| ParseIdError(text.to_owned()))
    }
}

impl FromStr for NodeId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(NodeId)
    }
}

/// Reads 64 hex digits, upper or lower case.
#[must_use]
pub fn parse_hex(text: &str) -> Option<[u8; ID_LEN]> {
    if text.len() != 2 * ID_LEN || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; ID_LEN];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_shared_bits_mean_a_smaller_distance() {
        let origin = Key([0; 32]);
        let mut near = [0; 32];
        near[31] = 1;
        let mut far = [0; 32];
        far[0] = 0x80;
        let (near, far) = (origin.distance(&Key(near)), origin.distance(&Key(far)));
        assert!(near < far);
        assert_eq!((near.shared_bits(), far.shared_bits()), (255, 0));
        assert_eq!(origin.distance(&origin).shared_bits(), 256);
    }

    #[test]
    fn places_and_distances_are_in_the_order_of_their_bytes() {
        for at in 0..ID_LEN {
            let mut above = [0x7f; ID_LEN];
            above[at] = 0x80;
            above[at + 1..].fill(0);
            let (below, above) = ([0x7f; ID_LEN], above);
            assert!(
                Key(below) < Key(above) && NodeId::from_bytes(below) < NodeId::from_bytes(above)
            );
            assert!(Distance(below) < Distance(above) && Distance(above) > Distance(below));
            assert_eq!(Key(above).cmp(&Key(above)), Ordering::Equal);
        }
    }

    #[test]
    fn ids_print_as_64_lower_case_digits_and_read_back() {
        let id = NodeId::from_public_key(&[7; 32]);
        let text = id.to_string();
        assert_eq!(text.len(), 64);
        assert_eq!(text, text.to_lowercase());
        assert_eq!(text.parse(), Ok(id));
        assert!("+f".repeat(32).parse::<NodeId>().is_err());
        assert!(text[1..].parse::<NodeId>().is_err());
    }
}
