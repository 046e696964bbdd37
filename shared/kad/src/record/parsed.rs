//! [`ParsedRecord`]: bytes that have a record's structure. Nothing about them is proven yet.

use bytes::Bytes;
use thiserror::Error;

use super::layout::{
    BODY_MAX, EMPTY_BODY_HASH, EXT_MAX, GUARD_MAX_MS, HASH_LEN, Kind, LAYOUT_VERSION, Reader,
    Retention, SIGNATURE_LEN, Space,
};
use crate::time::UnixMs;

/// Bytes that are not a record of this layout.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MalformedRecord {
    /// The layout's version is not known here.
    #[error(
        "the record has layout version {0}, this program knows version 1; upgrade the older side"
    )]
    UnknownVersion(u8),
    /// The bytes end inside the head.
    #[error("the record ends within its head; send it whole")]
    Truncated,
    /// An enumerated field holds a number that means nothing.
    #[error(
        "the record's field {field} holds {value}, which means nothing; build it with this program's version"
    )]
    UnknownField {
        /// The field's name.
        field: &'static str,
        /// What it holds.
        value: u8,
    },
    /// The body is too long.
    #[error("the body has {0} bytes, at most 65536 fit; cut the value into content chunks")]
    BodyTooLarge(usize),
    /// The extension field is too long.
    #[error("the extension field has {0} bytes, at most 1024 fit; shorten it")]
    ExtTooLarge(usize),
    /// A tombstone carries a body, or the hash of one.
    #[error("a tombstone carries a body; leave the body empty")]
    TombstoneWithBody,
    /// A content record has a label, slot, seq or guard, or is a tombstone.
    #[error(
        "a content record has label, slot, seq and guard zero and is never a tombstone; clear them"
    )]
    ContentNotPlain,
    /// The guard lasts longer than any version can.
    #[error("guard_until lies more than 365 days after created_at; sign an earlier one")]
    GuardTooLong,
    /// A time lies beyond what can be counted.
    #[error("created_at is beyond all clocks; sign the present time in Unix milliseconds")]
    TimeOverflow,
}

/// A record, or a record's head alone, whose structure is right. Whether its signature and body
/// are is not known: see [`ParsedRecord::verify`](super::ValidRecord).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParsedRecord {
    bytes: Bytes,
    head_len: usize,
    pub(super) fields: Fields,
}

/// The head's fields in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fields {
    pub(super) space: Space,
    pub(super) kind: Kind,
    pub(super) retention: Retention,
    pub(super) label: [u8; 32],
    pub(super) publisher: [u8; 32],
    pub(super) slot: u64,
    pub(super) seq: u64,
    pub(super) created_at: UnixMs,
    pub(super) guard_until: UnixMs,
    pub(super) work: u64,
    pub(super) body_hash: [u8; HASH_LEN],
    pub(super) signature: [u8; SIGNATURE_LEN],
}

impl ParsedRecord {
    /// Reads a record, or a head alone, from its canonical bytes.
    ///
    /// Bytes that end with the head are a head alone, unless the body's hash is that of no bytes.
    ///
    /// # Errors
    /// [`MalformedRecord`] says what is wrong with the structure.
    pub fn parse(bytes: Bytes) -> Result<Self, MalformedRecord> {
        let mut reader = Reader(&bytes);
        let fields = read_head(&mut reader)?;
        let body_len = reader.0.len();
        if body_len > BODY_MAX {
            return Err(MalformedRecord::BodyTooLarge(body_len));
        }
        let head_len = bytes.len().saturating_sub(body_len);
        let record = ParsedRecord { bytes, head_len, fields };
        record.check()?;
        Ok(record)
    }

    /// What must hold between the fields.
    fn check(&self) -> Result<(), MalformedRecord> {
        let fields = &self.fields;
        let created_at = fields.created_at.0;
        let latest_guard =
            created_at.checked_add(GUARD_MAX_MS).ok_or(MalformedRecord::TimeOverflow)?;
        if fields.guard_until.0 > latest_guard {
            return Err(MalformedRecord::GuardTooLong);
        }
        let no_body = self.body().is_none_or(|body| body.is_empty());
        if fields.kind == Kind::Tombstone && !(no_body && fields.body_hash == EMPTY_BODY_HASH) {
            return Err(MalformedRecord::TombstoneWithBody);
        }
        let plain = fields.kind == Kind::Value
            && fields.label == [0; 32]
            && (fields.slot, fields.seq, fields.guard_until.0) == (0, 0, 0);
        if fields.space == Space::Content && !plain {
            return Err(MalformedRecord::ContentNotPlain);
        }
        Ok(())
    }

    /// The canonical bytes: of the whole record, or of the head where that is all there is.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The head's canonical bytes.
    #[must_use]
    pub fn head_bytes(&self) -> Bytes {
        self.bytes.slice(..self.head_len)
    }

    /// The bytes that the signature covers, within the head.
    pub(super) fn signed_bytes(&self) -> &[u8] {
        let end = self.head_len.saturating_sub(SIGNATURE_LEN);
        self.bytes.get(..end).unwrap_or_default()
    }

    /// The body, unless only the head is here. A tombstone's body is empty.
    #[must_use]
    pub fn body(&self) -> Option<Bytes> {
        let whole = self.bytes.len() > self.head_len || self.fields.body_hash == EMPTY_BODY_HASH;
        whole.then(|| self.bytes.slice(self.head_len..))
    }

    /// Whether the body is here.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.body().is_some()
    }

    /// This record without its body.
    #[must_use]
    pub fn without_body(&self) -> Self {
        ParsedRecord {
            bytes: self.head_bytes(),
            head_len: self.head_len,
            fields: self.fields.clone(),
        }
    }

    /// How the key follows.
    #[must_use]
    pub fn space(&self) -> Space {
        self.fields.space
    }

    /// Value or tombstone.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.fields.kind
    }

    /// The class of lifetime.
    #[must_use]
    pub fn retention(&self) -> Retention {
        self.fields.retention
    }

    /// The hash of the application's own name for it.
    #[must_use]
    pub fn label(&self) -> &[u8; 32] {
        &self.fields.label
    }

    /// The Ed25519 public key that it names as its signer.
    #[must_use]
    pub fn publisher(&self) -> &[u8; 32] {
        &self.fields.publisher
    }

    /// Which of the publisher's records at this key.
    #[must_use]
    pub fn slot(&self) -> u64 {
        self.fields.slot
    }

    /// Which version of the slot.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.fields.seq
    }

    /// When its publisher says it was made.
    #[must_use]
    pub fn created_at(&self) -> UnixMs {
        self.fields.created_at
    }

    /// The latest `keep_until` of any earlier version of the slot, as its publisher says.
    #[must_use]
    pub fn guard_until(&self) -> UnixMs {
        self.fields.guard_until
    }

    /// From this moment on the body is not served.
    #[must_use]
    pub fn expires_at(&self) -> UnixMs {
        self.fields.created_at.after(self.fields.retention.lifetime_ms())
    }

    /// From this moment on the head is not kept.
    #[must_use]
    pub fn keep_until(&self) -> UnixMs {
        self.expires_at().max(self.fields.guard_until)
    }

    /// BLAKE3 of the body.
    #[must_use]
    pub fn body_hash(&self) -> &[u8; HASH_LEN] {
        &self.fields.body_hash
    }

    /// The publisher's signature.
    #[must_use]
    pub fn signature(&self) -> &[u8; SIGNATURE_LEN] {
        &self.fields.signature
    }
}

fn read_head(reader: &mut Reader<'_>) -> Result<Fields, MalformedRecord> {
    use MalformedRecord::{ExtTooLarge, Truncated, UnknownField, UnknownVersion};
    let [version] = reader.array().ok_or(Truncated)?;
    if version != LAYOUT_VERSION {
        return Err(UnknownVersion(version));
    }
    let [space, kind, retention] = reader.array().ok_or(Truncated)?;
    let unknown = |field, value| UnknownField { field, value };
    let space = Space::from_byte(space).ok_or(unknown("space", space))?;
    let kind = Kind::from_byte(kind).ok_or(unknown("kind", kind))?;
    let retention = Retention::from_byte(retention).ok_or(unknown("retention", retention))?;
    let label = reader.array().ok_or(Truncated)?;
    let publisher = reader.array().ok_or(Truncated)?;
    let slot = reader.u64().ok_or(Truncated)?;
    let seq = reader.u64().ok_or(Truncated)?;
    let created_at = UnixMs(reader.u64().ok_or(Truncated)?);
    let guard_until = UnixMs(reader.u64().ok_or(Truncated)?);
    let work = reader.u64().ok_or(Truncated)?;
    let ext_len = usize::from(u16::from_be_bytes(reader.array().ok_or(Truncated)?));
    if ext_len > EXT_MAX {
        return Err(ExtTooLarge(ext_len));
    }
    reader.take(ext_len).ok_or(Truncated)?;
    let body_hash = reader.array().ok_or(Truncated)?;
    let signature = reader.array().ok_or(Truncated)?;
    Ok(Fields {
        space,
        kind,
        retention,
        label,
        publisher,
        slot,
        seq,
        created_at,
        guard_until,
        work,
        body_hash,
        signature,
    })
}
