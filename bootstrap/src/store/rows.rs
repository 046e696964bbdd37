//! What the rows of each column family look like. All integers are big-endian.
//!
//! ```text
//! records  key ‖ publisher ‖ slot                  → keep_until u64 ‖ commit_no u64 ‖ apart u32
//!                                                    ‖ canonical bytes of the record or head
//! bodies   key ‖ publisher ‖ slot                  → commit_no u64 ‖ body, where `apart`, the
//!                                                    body's length, is not 0
//! index    span u8 ‖ what u8 ‖ period u32 ‖ key ‖ publisher ‖ slot
//!                                                  → keep_until u64 ‖ seq u64 ‖ size u32 ‖ digest
//! usage    scope u8 ‖ who                          → records u64 ‖ bytes u64
//! ```
//!
//! An index row says in which period a head (`what` 0) or, where that is earlier, a body (`what` 1)
//! ends. A body's span is its class. A head's is how long it is kept ([`Group::of`]), as that may be
//! much longer: so heads lie in the order of reconciliation, by group and slot. A body that has ended
//! is gone from its row and from `bodies`.

use bytes::{Buf, BufMut, Bytes};
use dht_kad::admission::{Amount, Existing};
use dht_kad::reconcile::{Group, Item, ROW_KEY_LEN, RowKey, period_ms, period_of};
use dht_kad::record::{Kind, MalformedRecord, Precedence, Retention};
use dht_kad::{Key, NetworkName, UnixMs, ValidRecord};

/// From so many bytes on, a body lies apart from its head, so that heads are read without it.
pub(super) const BODY_APART_FROM: usize = 8 * 1024;

/// Bytes of an index row before the slot's place.
const INDEX_PREFIX_LEN: usize = 6;
/// Length of an index row's key.
pub(super) const INDEX_KEY_LEN: usize = INDEX_PREFIX_LEN + ROW_KEY_LEN;
/// Bytes of a records row before the canonical bytes.
const RECORD_PREFIX_LEN: usize = 20;
/// Length of an index row's value.
const INDEX_VALUE_LEN: usize = 52;

/// A row of `records`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RecordRow {
    /// Until when the head is kept.
    pub(super) keep_until: UnixMs,
    /// The commit that wrote this version.
    pub(super) commit_no: u64,
    /// Length of the body that lies apart; 0 if there is none.
    pub(super) apart: u32,
    /// Canonical bytes: of the head alone where the body lies apart or has ended.
    pub(super) bytes: Bytes,
}

impl RecordRow {
    /// The row of a record, and the body that lies apart from it.
    pub(super) fn of(record: &ValidRecord, commit_no: u64) -> (Self, Option<Bytes>) {
        let apart = record.body().filter(|body| body.len() >= BODY_APART_FROM);
        let bytes = if apart.is_some() { record.head_bytes() } else { record.bytes().clone() };
        let apart_len = apart.as_ref().map_or(0, |body| u32::try_from(body.len()).unwrap_or(0));
        let keep_until = record.keep_until();
        (RecordRow { keep_until, commit_no, apart: apart_len, bytes }, apart)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(RECORD_PREFIX_LEN + self.bytes.len());
        row.put_u64(self.keep_until.0);
        row.put_u64(self.commit_no);
        row.put_u32(self.apart);
        row.put_slice(&self.bytes);
        row
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let (mut prefix, bytes) = row.split_at_checked(RECORD_PREFIX_LEN)?;
        Some(RecordRow {
            keep_until: UnixMs(prefix.get_u64()),
            commit_no: prefix.get_u64(),
            apart: prefix.get_u32(),
            bytes: Bytes::copy_from_slice(bytes),
        })
    }

    /// The record, or its head alone, and what a store that holds this row holds.
    pub(super) fn open(
        &self,
        network: &NetworkName,
    ) -> Result<(ValidRecord, Existing), MalformedRecord> {
        let record = ValidRecord::from_own_store(self.bytes.clone(), network)?;
        let mut existing = Existing::of(&record);
        existing.charge.bytes = existing.charge.bytes.saturating_add(self.apart.into());
        Ok((record, existing))
    }
}

/// What of a record ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(super) enum Ending {
    /// Its head, and so all of it.
    Head = 0,
    /// Its body, before its head.
    Body = 1,
}

/// One stretch of `index`, ordered by period.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct IndexRange {
    /// How long what ends here was kept, or somewhat less.
    pub(super) span: Retention,
    pub(super) ending: Ending,
}

impl IndexRange {
    pub(super) const ALL: [IndexRange; 6] = {
        let [hours8, days7, days365] = Retention::ALL;
        [
            IndexRange { span: hours8, ending: Ending::Head },
            IndexRange { span: hours8, ending: Ending::Body },
            IndexRange { span: days7, ending: Ending::Head },
            IndexRange { span: days7, ending: Ending::Body },
            IndexRange { span: days365, ending: Ending::Head },
            IndexRange { span: days365, ending: Ending::Body },
        ]
    };

    /// Where the heads of this span end.
    pub(super) const fn heads(span: Retention) -> Self {
        IndexRange { span, ending: Ending::Head }
    }

    /// The period that a moment lies in.
    pub(super) fn period(self, moment: UnixMs) -> u32 {
        period_of(self.span, moment)
    }

    /// The first moment of a period.
    pub(super) fn start_of(self, period: u32) -> UnixMs {
        UnixMs(u64::from(period).saturating_mul(period_ms(self.span)))
    }

    /// Where a period's rows begin.
    pub(super) fn prefix(self, period: u32) -> [u8; INDEX_PREFIX_LEN] {
        let [p0, p1, p2, p3] = period.to_be_bytes();
        [self.span as u8, self.ending as u8, p0, p1, p2, p3]
    }

    /// Behind all rows of the range.
    pub(super) fn upper_bound(self) -> [u8; 2] {
        [self.span as u8, self.ending as u8 + 1]
    }

    /// The key of a slot's row in a period.
    pub(super) fn row_key(self, period: u32, slot: &RowKey) -> [u8; INDEX_KEY_LEN] {
        let mut key = [0; INDEX_KEY_LEN];
        let (prefix, rest) = key.split_at_mut(INDEX_PREFIX_LEN);
        prefix.copy_from_slice(&self.prefix(period));
        rest.copy_from_slice(slot);
        key
    }
}

/// That a version ends in part or whole: in which range, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct End {
    pub(super) range: IndexRange,
    pub(super) at: UnixMs,
}

impl End {
    /// The end of a version's head or body.
    pub(super) fn of(version: &Existing, ending: Ending) -> Self {
        let (span, at) = match ending {
            Ending::Head => (Group::of(version).span, version.precedence.keep_until),
            Ending::Body => (version.charge.class, version.expires_at),
        };
        End { range: IndexRange { span, ending }, at }
    }

    /// The period that it lies in.
    pub(super) fn period(self) -> u32 {
        self.range.period(self.at)
    }

    /// The key of its row.
    pub(super) fn row_key(self, slot: &RowKey) -> [u8; INDEX_KEY_LEN] {
        self.range.row_key(self.period(), slot)
    }
}

/// The ends that a version has: that of its head and, if it is earlier, that of its body.
pub(super) fn ends(version: &Existing) -> (End, Option<End>) {
    let (head, body) = (End::of(version, Ending::Head), End::of(version, Ending::Body));
    let body_ends_first = version.kind == Kind::Value && body.at < head.at;
    (head, body_ends_first.then_some(body))
}

/// The row of `bodies` that belongs to a records row.
pub(super) fn body_value(commit_no: u64, body: &[u8]) -> Vec<u8> {
    [commit_no.to_be_bytes().as_slice(), body].concat()
}

/// The body in a row of `bodies`, if it was written with this version of the records row: readers
/// look at the two rows one after the other, and a newer version may have come between.
pub(super) fn body_of_commit(row: &[u8], commit_no: u64) -> Option<&[u8]> {
    let (written_by, body) = row.split_first_chunk()?;
    (u64::from_be_bytes(*written_by) == commit_no).then_some(body)
}

/// Takes an index row's key apart: the period, and the slot's place.
pub(super) fn split_index_key(key: &[u8]) -> Option<(u32, RowKey)> {
    let (mut prefix, slot) = key.split_at_checked(INDEX_PREFIX_LEN)?;
    prefix.advance(2);
    Some((prefix.get_u32(), slot.try_into().ok()?))
}

/// The least key after this one.
pub(super) fn successor(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The value of an index row.
pub(super) fn index_value(written: &Existing) -> Vec<u8> {
    let mut row = Vec::with_capacity(INDEX_VALUE_LEN);
    row.put_u64(written.precedence.keep_until.0);
    row.put_u64(written.precedence.seq);
    row.put_u32(u32::try_from(written.charge.bytes).unwrap_or(u32::MAX));
    row.put_slice(&written.precedence.digest);
    row
}

/// The version that an index row's value names.
pub(super) fn version_of(value: &[u8]) -> Option<Precedence> {
    let value: &[u8; INDEX_VALUE_LEN] = value.try_into().ok()?;
    let (mut numbers, digest) = value.split_last_chunk()?;
    let keep_until = UnixMs(numbers.get_u64());
    Some(Precedence { keep_until, seq: numbers.get_u64(), digest: *digest })
}

/// What a row of a head's end stands for in reconciliation.
pub(super) fn item_of(span: Retention, key: &[u8], value: &[u8]) -> Option<(Group, Item)> {
    let (period, row) = split_index_key(key)?;
    Some((Group { span, period }, Item { row, version: version_of(value)? }))
}

/// Who uses what a row of `usage` counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Scope {
    Total,
    Class(Retention),
    Publisher([u8; 32]),
    Key(Key),
}

impl Scope {
    /// The row's key.
    pub(super) fn row_key(&self) -> Vec<u8> {
        match self {
            Scope::Total => vec![b't'],
            Scope::Class(class) => vec![b'c', *class as u8],
            Scope::Publisher(publisher) => [b"p".as_slice(), publisher].concat(),
            Scope::Key(key) => [b"k".as_slice(), &key.0].concat(),
        }
    }
}

pub(super) fn encode_amount(amount: Amount) -> [u8; 16] {
    (u128::from(amount.records) << 64 | u128::from(amount.bytes)).to_be_bytes()
}

pub(super) fn decode_amount(row: &[u8]) -> Option<Amount> {
    let (mut row, rest) = row.split_at_checked(16)?;
    rest.is_empty().then(|| Amount { records: row.get_u64(), bytes: row.get_u64() })
}

/// The rows of `state`.
pub(super) mod state {
    /// The layout of all rows.
    pub(in crate::store) const SCHEMA: &[u8] = b"schema";
    /// The name of the network that the records belong to.
    pub(in crate::store) const NETWORK: &[u8] = b"network";
    /// 16 random bytes, new with each store: commit numbers mean something only beside it.
    pub(in crate::store) const INCARNATION: &[u8] = b"incarnation";
    /// The number of the last commit.
    pub(in crate::store) const COMMIT_NO: &[u8] = b"commit_no";
    /// The high-water time of the clock.
    pub(in crate::store) const CLOCK: &[u8] = b"clock";
    /// The first period of each index range that may still have rows.
    pub(in crate::store) const SWEEP: &[u8] = b"sweep";
    /// The peers that were saved last.
    pub(in crate::store) const SAVED_PEERS: &[u8] = b"saved_peers";
    /// How far replication had come when that was saved last.
    pub(in crate::store) const PROGRESS: &[u8] = b"progress";
    /// Written to see whether writing works.
    pub(in crate::store) const PROBE: &[u8] = b"probe";
}
