//! The byte form of a record.
//!
//! All integers are big-endian. The *head* is everything but the body; it verifies alone, because
//! the signed part holds the body's hash.
//!
//! ```text
//! offset  size  field
//!      0     1  version      1
//!      1     1  space        0 Owned, 1 Topic, 2 Content
//!      2     1  kind         0 Value, 1 Tombstone
//!      3     1  retention    0 Hours8, 1 Days7, 2 Days365
//!      4    32  label
//!     36    32  publisher    Ed25519 public key
//!     68     8  slot
//!     76     8  seq
//!     84     8  created_at   Unix ms
//!     92     8  guard_until  Unix ms, at most created_at + 365 d
//!    100     8  work         nonce
//!    108     2  length of ext, at most 1024
//!    110     e  ext          kept unread, for what comes later
//!  110+e    32  body_hash    BLAKE3 of the body
//!  142+e    64  signature    over everything before it
//!  206+e     b  body         at most 65536 bytes; to the end
//! ```

use crate::time::{DAY_MS, HOUR_MS};

/// The version of this layout.
pub const LAYOUT_VERSION: u8 = 1;
/// The most bytes of a body.
pub const BODY_MAX: usize = 64 * 1024;
/// The most bytes of the extension field.
pub const EXT_MAX: usize = 1024;
/// Where the extension field starts: after all fields of fixed size but hash and signature.
pub const EXT_AT: usize = 110;
/// Bytes of the body's hash.
pub const HASH_LEN: usize = 32;
/// BLAKE3 of no bytes: the `body_hash` of a tombstone and of an empty value.
pub const EMPTY_BODY_HASH: [u8; HASH_LEN] = [
    0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9, 0x49,
    0x9b, 0xcb, 0x25, 0xc9, 0xad, 0xc1, 0x12, 0xb7, 0xcc, 0x9a, 0x93, 0xca, 0xe4, 0x1f, 0x32, 0x62,
];
/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;
/// The least bytes of a head.
pub const HEAD_MIN: usize = EXT_AT + HASH_LEN + SIGNATURE_LEN;
/// The most bytes of a head.
pub const HEAD_MAX: usize = HEAD_MIN + EXT_MAX;
/// The most bytes of a record.
pub const RECORD_MAX: usize = HEAD_MAX + BODY_MAX;
/// The longest that any version may guard its slot: the longest retention there is, in ms.
pub const GUARD_MAX_MS: u64 = 365 * DAY_MS;

/// How a record's key follows from it, and so who may write there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Space {
    /// From publisher and label: nobody else can write there.
    Owned = 0,
    /// From the label: anyone may write, each in slots of its own.
    Topic = 1,
    /// From the body's hash: immutable.
    Content = 2,
}

/// Whether a record carries a value or deletes one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A value.
    Value = 0,
    /// A deletion: a head without a body.
    Tombstone = 1,
}

/// The class of lifetime.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Retention {
    /// 8 hours: announcements.
    Hours8 = 0,
    /// 7 days: messages.
    Days7 = 1,
    /// 365 days: profiles, names, contacts.
    Days365 = 2,
}

impl Retention {
    /// Every class, shortest first.
    pub const ALL: [Retention; 3] = [Retention::Hours8, Retention::Days7, Retention::Days365];

    /// The lifetime in milliseconds.
    #[must_use]
    pub const fn lifetime_ms(self) -> u64 {
        match self {
            Retention::Hours8 => 8 * HOUR_MS,
            Retention::Days7 => 7 * DAY_MS,
            Retention::Days365 => 365 * DAY_MS,
        }
    }

    /// The class's name on the command line: `8h`, `7d` or `365d`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Retention::Hours8 => "8h",
            Retention::Days7 => "7d",
            Retention::Days365 => "365d",
        }
    }
}

impl Space {
    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Space::Owned),
            1 => Some(Space::Topic),
            2 => Some(Space::Content),
            _ => None,
        }
    }
}

impl Kind {
    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Kind::Value),
            1 => Some(Kind::Tombstone),
            _ => None,
        }
    }
}

impl Retention {
    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Retention::Hours8),
            1 => Some(Retention::Days7),
            2 => Some(Retention::Days365),
            _ => None,
        }
    }
}

/// A cursor over bytes that never reads past their end.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `N` bytes, or nothing if there are fewer.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    /// The next `len` bytes, or nothing if there are fewer.
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    /// The next big-endian u64.
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}
