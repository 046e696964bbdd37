//! [`Prefix`]: the slots whose places begin alike.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{ROW_KEY_LEN, RowKey};
use crate::id::Key;

/// The most half bytes of a prefix: a whole place.
pub const PREFIX_MAX: usize = 2 * ROW_KEY_LEN;

/// Half bytes of a prefix that are kept without asking for memory: most prefixes have fewer.
const SHORT: usize = 16;

/// The first half bytes of slots' places, 0 to [`PREFIX_MAX`] of them. None: all places.
///
/// Ordered by the places, a shorter prefix before the longer ones that it covers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "(u8, Packed)", into = "(u8, Packed)")]
pub struct Prefix(SmallVec<[u8; SHORT]>);

/// Two half bytes in each byte; the last one's second is zero if their number is odd.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Packed(#[serde(with = "serde_bytes")] Vec<u8>);

impl Prefix {
    /// All places.
    #[must_use]
    pub const fn all() -> Self {
        Prefix(SmallVec::new_const())
    }

    /// The first `len` half bytes of a place; all of it if that is more than there are.
    #[must_use]
    pub fn of(row: &RowKey, len: usize) -> Self {
        Prefix((0..len.min(PREFIX_MAX)).map(|at| half_byte(row, at)).collect())
    }

    /// The first `len` half bytes of a key; all of it if that is more than there are.
    #[must_use]
    pub fn of_key(key: &Key, len: usize) -> Self {
        Prefix((0..len.min(2 * key.0.len())).map(|at| half_byte(&key.0, at)).collect())
    }

    /// How many half bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it covers all places.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The half bytes, each below 16.
    #[must_use]
    pub fn half_bytes(&self) -> &[u8] {
        &self.0
    }

    /// This prefix and one half byte more; itself if it is a whole place.
    #[must_use]
    pub fn child(&self, half_byte: u8) -> Self {
        let mut longer = self.0.clone();
        if longer.len() < PREFIX_MAX {
            longer.push(half_byte & 0xf);
        }
        Prefix(longer)
    }

    /// This prefix and these half bytes more; cut off at a whole place.
    pub(super) fn extended(&self, more: &[u8]) -> Self {
        Prefix(self.0.iter().chain(more).copied().take(PREFIX_MAX).collect())
    }

    /// The first `len` half bytes of it.
    #[must_use]
    pub fn shortened(&self, len: usize) -> Self {
        Prefix(self.0.iter().take(len).copied().collect())
    }

    /// Whether a place lies under it.
    #[must_use]
    pub fn covers_row(&self, row: &RowKey) -> bool {
        self.0.iter().enumerate().all(|(at, ours)| half_byte(row, at) == *ours)
    }

    /// Whether every place under `other` lies under it.
    #[must_use]
    pub fn covers(&self, other: &Prefix) -> bool {
        other.0.starts_with(&self.0)
    }

    /// The first and the last place under it.
    #[must_use]
    pub fn rows(&self) -> RangeInclusive<RowKey> {
        let (mut first, mut last) = ([0; ROW_KEY_LEN], [0xff; ROW_KEY_LEN]);
        for (at, half) in self.0.iter().enumerate() {
            let (keep, place) = if at % 2 == 0 { (0x0f, half << 4) } else { (0xf0, *half) };
            for row in [&mut first, &mut last] {
                if let Some(byte) = row.get_mut(at / 2) {
                    *byte = *byte & keep | place;
                }
            }
        }
        first..=last
    }

    /// The place in the middle of the keys under it, or the key itself: where to look up who is
    /// closest to them.
    #[must_use]
    pub fn middle_key(&self) -> Key {
        let (first, _) = self.child(8).rows().into_inner();
        let mut key = [0; 32];
        for (byte, place) in key.iter_mut().zip(first) {
            *byte = place;
        }
        Key(key)
    }
}

/// A half byte of bytes; 0 beyond them.
pub(super) fn half_byte(bytes: &[u8], at: usize) -> u8 {
    let byte = bytes.get(at / 2).copied().unwrap_or_default();
    if at.is_multiple_of(2) { byte >> 4 } else { byte & 0xf }
}

/// Bytes are not a prefix.
#[derive(Debug, thiserror::Error)]
#[error("a prefix has at most 144 half bytes, packed without anything left over; send it so")]
pub struct NotAPrefix;

impl TryFrom<(u8, Packed)> for Prefix {
    type Error = NotAPrefix;

    fn try_from((len, Packed(bytes)): (u8, Packed)) -> Result<Self, NotAPrefix> {
        let len = usize::from(len);
        let prefix = Prefix((0..len).map(|at| half_byte(&bytes, at)).collect());
        let odd_end_is_zero = len.is_multiple_of(2) || half_byte(&bytes, len) == 0;
        let whole = len <= PREFIX_MAX && bytes.len() == len.div_ceil(2) && odd_end_is_zero;
        if whole { Ok(prefix) } else { Err(NotAPrefix) }
    }
}

impl From<Prefix> for (u8, Packed) {
    fn from(prefix: Prefix) -> Self {
        let pair = |pair: &[u8]| pair.iter().fold(0, |byte, half| byte << 4 | half);
        let packed = prefix.0.chunks(2).map(|halves| pair(halves) << (4 * (2 - halves.len())));
        // At most PREFIX_MAX half bytes, by every way that makes one.
        (u8::try_from(prefix.0.len()).unwrap_or(u8::MAX), Packed(packed.collect()))
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|half| write!(f, "{half:x}"))?;
        f.write_str("*")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_rows_under_a_prefix_are_those_that_it_covers(
            row in any::<[u8; 32]>(), other in any::<[u8; 32]>(), len in 0..80_usize,
        ) {
            let place = |key: [u8; 32]| {
                let mut row = [7; ROW_KEY_LEN];
                row[..32].copy_from_slice(&key);
                row
            };
            let (row, mut other) = (place(row), place(other));
            other[..len / 3].copy_from_slice(&row[..len / 3]);
            let prefix = Prefix::of(&row, len);
            prop_assert!(prefix.rows().contains(&row) && prefix.covers_row(&row));
            prop_assert_eq!(prefix.rows().contains(&other), prefix.covers_row(&other));
        }

        #[test]
        fn a_prefix_survives_its_packed_form(row in any::<[u8; 32]>(), len in 0..=64_usize) {
            let prefix = Prefix::of_key(&Key(row), len);
            let packed: (u8, Packed) = prefix.clone().into();
            prop_assert_eq!(Prefix::try_from(packed).unwrap(), prefix);
        }
    }

    #[test]
    fn what_is_left_over_in_a_packed_prefix_is_refused() {
        for (len, bytes) in [(1, vec![0x12]), (1, vec![]), (2, vec![0, 0]), (145, vec![0; 73])] {
            assert!(Prefix::try_from((len, Packed(bytes))).is_err());
        }
        assert!(Prefix::try_from((144, Packed(vec![0xab; 72]))).is_ok());
    }

    #[test]
    fn the_middle_lies_under_the_prefix() {
        let prefix = Prefix::of_key(&Key([0xab; 32]), 3);
        assert_eq!(prefix.middle_key().0[..3], [0xab, 0xa8, 0]);
        assert_eq!(Prefix::all().middle_key().0[..2], [0x80, 0]);
    }
}
