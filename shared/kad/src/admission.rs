//! Admission: the one rule by which every store takes, keeps or refuses a record.
//!
//! A store looks up what it holds in the record's slot and how much is used, asks [`plan_put`], and
//! applies the answer in one atomic write. It decides nothing itself. Two ways lead here: a
//! publisher's [`Path::Store`], which is told exactly why something is refused, and a holder's
//! [`Path::Repair`] or [`Path::Offered`], where the total order decides between versions, so that
//! holders converge.

use crate::id::Key;
use crate::message::Stored;
use crate::record::{Kind, ParsedRecord, Precedence, RecordId, Retention, Space, ValidRecord};
use crate::refusal::{FullScope, Refusal};
use crate::time::{MINUTE_MS, UnixMs};

/// How far `created_at` may lie after the node's clock: what honest clocks differ by at most.
pub const FUTURE_TOLERANCE_MS: u64 = 10 * MINUTE_MS;

/// Bytes that a row costs beside the record itself: its keys, index and counters.
pub const ROW_OVERHEAD: u64 = 256;

/// Records that one publisher may keep on one node: the years of a busy mailbox or wall.
pub const PUBLISHER_RECORDS: u64 = 100_000;
/// Records that one key may hold on one node: a topic's writers; 20,000 heads are some 80 pages.
pub const KEY_RECORDS: u64 = 20_000;
/// The part of the store, in percent, that one publisher may fill: nobody crowds out the others.
pub const PUBLISHER_PERCENT: u64 = 10;
/// The part of the store, in percent, that one key may fill: a flooded topic stays one topic.
pub const KEY_PERCENT: u64 = 5;
/// The part of the store, in percent, that each class may fill, in the order of
/// [`Retention::ALL`]. They add up to more than 100, so that room that one class leaves is of use
/// to another, yet none can take all: what ends soon comes back soon and gets little.
pub const CLASS_PERCENT: [u64; 3] = [10, 50, 60];
/// The part of the store, in percent, kept for tombstones, smaller replacements and repair, so that
/// a full store can still delete and heal.
pub const RESERVE_PERCENT: u64 = 5;

/// How many times the quotas of a publisher and a key repair may fill. What was acknowledged found room
/// within them at a majority of its holders, so k holders with the same quotas have together
/// acknowledged less than twice what one of them takes, however differently they filled. What is
/// beyond that was promised to nobody, and one neighbour could make up any amount of it.
pub const REPAIR_QUOTAS: u64 = 2;

/// From this part of a class's share on, in percent, work is asked for.
const WORK_FROM_PERCENT: u64 = 75;
/// The bits of work asked for when that part is reached: a millisecond.
const WORK_BITS_FIRST: u32 = 10;
/// The bits of work asked for when the share is full: about a second.
const WORK_BITS_LAST: u32 = 20;

/// How a record came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// Its publisher puts it.
    Store {
        /// Compare and swap: only if this seq is stored, 0 meaning none.
        expected_seq: Option<u64>,
    },
    /// Another holder that should hold the same shows it. No work is asked for, and there is room
    /// beyond that of a put, since holders' quotas fill in different orders: [`REPAIR_QUOTAS`] times a
    /// publisher's and a key's, and the reserve beside a class's share. What an honest holder acknowledged fits;
    /// what a false one makes up is bound.
    Repair,
    /// A holder that need not be a neighbour offers it. The order of versions decides as in repair,
    /// and room and work as in a put: anybody may offer anything that is signed.
    Offered,
}

/// Records and bytes, used or allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Amount {
    /// How many records.
    pub records: u64,
    /// How many bytes, [`ROW_OVERHEAD`] included.
    pub bytes: u64,
}

/// Whom a row is charged to, and how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Charge {
    /// The publisher who signed it.
    pub publisher: [u8; 32],
    /// The key that it lies at.
    pub key: Key,
    /// Its class of lifetime.
    pub class: Retention,
    /// Its bytes, [`ROW_OVERHEAD`] included. It counts as one record.
    pub bytes: u64,
}

/// What a store holds in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Existing {
    /// Its place in the order of versions.
    pub precedence: Precedence,
    /// Until when its body is served.
    pub expires_at: UnixMs,
    /// Value or tombstone.
    pub kind: Kind,
    /// What it is charged.
    pub charge: Charge,
}

/// What is used at present, of all that a record would be charged to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// By the record's publisher.
    pub publisher: Amount,
    /// At the record's key.
    pub key: Amount,
    /// In the record's class.
    pub class: Amount,
    /// In the whole store.
    pub total: Amount,
}

/// What a store allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// To one publisher.
    pub publisher: Amount,
    /// At one key.
    pub key: Amount,
    /// To each class, in the order of [`Retention::ALL`].
    pub classes: [Amount; 3],
    /// In all.
    pub total: Amount,
    /// The part of `total`, in percent, that only tombstones of what is stored, replacements that
    /// are not larger and repair may use.
    pub reserve_percent: u64,
}

impl Limits {
    /// What a store of `total_bytes` allows unless its operator says otherwise.
    ///
    /// Records are counted per publisher and key, where many small ones cost readers time; a class
    /// and the store are bounded by bytes alone, of which every record takes [`ROW_OVERHEAD`].
    #[must_use]
    pub fn default_for(total_bytes: u64) -> Self {
        let total = Amount { records: u64::MAX, bytes: total_bytes };
        let part = |percent, records| Amount { records, bytes: total.percent(percent).bytes };
        Limits {
            publisher: part(PUBLISHER_PERCENT, PUBLISHER_RECORDS),
            key: part(KEY_PERCENT, KEY_RECORDS),
            classes: CLASS_PERCENT.map(|percent| part(percent, u64::MAX)),
            total,
            reserve_percent: RESERVE_PERCENT,
        }
    }
}

/// What the store does with an admitted record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plan {
    /// The same content is stored already, or, in repair, something that wins over it.
    Unchanged(Stored),
    /// Rows change, all in one atomic write.
    Write(Box<RowChanges>),
}

/// The rows that change when a record is taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowChanges {
    /// What is written: the record, or only its head where the body has expired.
    pub record: ValidRecord,
    /// What the slot holds afterwards.
    pub written: Existing,
    /// What the slot held before, to be released and its index rows removed.
    pub replaced: Option<Existing>,
    /// The answer, once all of it is on stable storage.
    pub stored: Stored,
}

impl Existing {
    /// What a store that keeps this record holds.
    #[must_use]
    pub fn of(record: &ValidRecord) -> Self {
        Existing {
            precedence: record.precedence(),
            expires_at: record.expires_at(),
            kind: record.kind(),
            charge: Charge {
                publisher: *record.publisher(),
                key: record.id().key,
                class: record.retention(),
                bytes: record.bytes().len() as u64 + ROW_OVERHEAD,
            },
        }
    }
}

impl Amount {
    /// The most there can be.
    pub const MAX: Amount = Amount { records: u64::MAX, bytes: u64::MAX };

    /// This and one record of so many bytes more.
    #[must_use]
    pub fn plus(self, bytes: u64) -> Self {
        Amount { records: self.records.saturating_add(1), bytes: self.bytes.saturating_add(bytes) }
    }

    /// This and one record of so many bytes less.
    #[must_use]
    pub fn minus(self, bytes: u64) -> Self {
        Amount { records: self.records.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }

    fn and(self, more: Amount) -> Self {
        let records = self.records.saturating_add(more.records);
        Amount { records, bytes: self.bytes.saturating_add(more.bytes) }
    }

    fn times(self, times: u64) -> Self {
        let records = self.records.saturating_mul(times);
        Amount { records, bytes: self.bytes.saturating_mul(times) }
    }

    fn within(self, limit: Amount) -> bool {
        self.records <= limit.records && self.bytes <= limit.bytes
    }

    fn percent(self, percent: u64) -> Amount {
        let part = |whole: u64| (u128::from(whole) * u128::from(percent) / 100) as u64;
        Amount { records: part(self.records), bytes: part(self.bytes) }
    }
}

/// Checks what can be checked before the signature: the times, and that there is a body.
///
/// # Errors
/// [`Refusal::FromTheFuture`], [`Refusal::Expired`] or [`Refusal::BodyMissing`].
pub fn check_times(record: &ParsedRecord, path: Path, now: UnixMs) -> Result<(), Refusal> {
    if record.created_at() > now.after(FUTURE_TOLERANCE_MS) {
        return Err(Refusal::FromTheFuture { clock: now });
    }
    let body_expired = record.expires_at() <= now;
    let useless = match path {
        Path::Store { .. } if record.kind() == Kind::Value => body_expired,
        Path::Store { .. } | Path::Repair | Path::Offered => record.keep_until() <= now,
    };
    if useless {
        return Err(Refusal::Expired { clock: now });
    }
    if record.kind() == Kind::Value && !body_expired && !record.has_body() {
        return Err(Refusal::BodyMissing);
    }
    Ok(())
}

/// Decides what a store does with a valid record.
///
/// `existing` is what the slot holds, even if it has expired and only waits to be swept; `usage`
/// is what is used before the put, and includes `existing`.
///
/// # Errors
/// [`Refusal`] says why the record is not taken. Nothing is to be written then.
pub fn plan_put(
    existing: Option<&Existing>,
    incoming: &ValidRecord,
    path: Path,
    usage: &Usage,
    limits: &Limits,
    now: UnixMs,
) -> Result<Plan, Refusal> {
    check_times(incoming, path, now)?;
    let live = existing.filter(|held| held.precedence.keep_until > now);
    let body_expired = incoming.kind() == Kind::Value && incoming.expires_at() <= now;
    let record = if body_expired { incoming.head_only() } else { incoming.clone() };
    let written = Existing::of(&record);
    if let Some(stored) = unchanged(live, &written, incoming.space(), path)? {
        return Ok(Plan::Unchanged(stored));
    }
    check_room(existing, &record, &written, path, usage, limits)?;
    let stored = Stored { expires_at: served_until(&written) };
    let replaced = existing.copied();
    Ok(Plan::Write(Box::new(RowChanges { record, written, replaced, stored })))
}

/// Whether nothing is to be written, by what the slot holds; refuses what does not supersede it.
fn unchanged(
    live: Option<&Existing>,
    written: &Existing,
    space: Space,
    path: Path,
) -> Result<Option<Stored>, Refusal> {
    let new = written.precedence;
    if let Some(held) = live
        && held.precedence.digest == new.digest
    {
        // A clock that went back makes a body due again that was dropped as expired: of the same
        // version, only the head is smaller, and to acknowledge it would promise what is not there.
        let body_lost = held.charge.bytes < written.charge.bytes;
        return Ok((!body_lost).then(|| Stored { expires_at: served_until(held) }));
    }
    let by_order = space == Space::Content || matches!(path, Path::Repair | Path::Offered);
    if let (Some(held), true) = (live, by_order)
        && held.precedence >= new
    {
        return Ok(Some(Stored { expires_at: served_until(held) }));
    }
    if let (Path::Store { expected_seq }, false) = (path, by_order) {
        check_supersedes(live.map(|held| held.precedence), new, expected_seq)?;
    }
    Ok(None)
}

/// What a publisher is told when its version does not supersede the stored one.
fn check_supersedes(
    held: Option<Precedence>,
    new: Precedence,
    expected_seq: Option<u64>,
) -> Result<(), Refusal> {
    let stored = held.map_or(0, |held| held.seq);
    if expected_seq.is_some_and(|expected| expected != stored) {
        return Err(Refusal::UnexpectedSeq { stored });
    }
    let Some(held) = held else { return Ok(()) };
    match new.seq.cmp(&held.seq) {
        std::cmp::Ordering::Less => Err(Refusal::SeqTooLow { stored: held.seq }),
        std::cmp::Ordering::Equal => Err(Refusal::SeqConflict),
        std::cmp::Ordering::Greater if new.keep_until < held.keep_until => {
            Err(Refusal::GuardTooShort { needed: held.keep_until })
        }
        std::cmp::Ordering::Greater => Ok(()),
    }
}

/// Until when what is stored is served: a tombstone for as long as it is kept.
pub(crate) fn served_until(held: &Existing) -> UnixMs {
    match held.kind {
        Kind::Value => held.expires_at,
        Kind::Tombstone => held.precedence.keep_until,
    }
}

/// Checks quotas and the work asked for.
fn check_room(
    existing: Option<&Existing>,
    record: &ValidRecord,
    written: &Existing,
    path: Path,
    usage: &Usage,
    limits: &Limits,
) -> Result<(), Refusal> {
    let released = existing.map(|held| held.charge);
    let not_larger = released.is_some_and(|charge| {
        charge.bytes >= written.charge.bytes
            && charge.publisher == written.charge.publisher
            && charge.class == written.charge.class
    });
    if not_larger {
        return Ok(());
    }
    let bytes = written.charge.bytes;
    let after = |used: Amount, shared: fn(&Charge, &Charge) -> bool| {
        let kept = released
            .filter(|charge| shared(charge, &written.charge))
            .map_or(used, |charge| used.minus(charge.bytes));
        kept.plus(bytes)
    };
    let full = |scope| Err(Refusal::Full { scope });
    let repair = path == Path::Repair;
    // A tombstone of what is not here adds a row like any value; free of quotas, a made-up key pair
    // could fill the store with them.
    let deletes = record.kind() == Kind::Tombstone && existing.is_some();
    let open_total = if repair || deletes {
        limits.total
    } else {
        limits.total.percent(100_u64.saturating_sub(limits.reserve_percent))
    };
    if !after(usage.total, |_, _| true).within(open_total) {
        return full(FullScope::Total);
    }
    if deletes {
        return Ok(());
    }
    let quota = |limit: Amount| if repair { limit.times(REPAIR_QUOTAS) } else { limit };
    let publisher = quota(limits.publisher);
    if !after(usage.publisher, |old, new| old.publisher == new.publisher).within(publisher) {
        return full(FullScope::Publisher);
    }
    if !after(usage.key, |old, new| old.key == new.key).within(quota(limits.key)) {
        return full(FullScope::Key);
    }
    let share = class_limit(limits, written.charge.class);
    let reserve = limits.total.percent(limits.reserve_percent);
    let room = if repair { share.and(reserve) } else { share };
    if !after(usage.class, |old, new| old.class == new.class).within(room) {
        return full(FullScope::Class);
    }
    // It was worked for, if at all, as much as was asked for where it was put.
    let needed = if repair { 0 } else { work_needed(usage.class, share) };
    if needed > 0 && record.work_bits() < needed {
        return Err(Refusal::WorkTooLow { needed });
    }
    Ok(())
}

fn class_limit(limits: &Limits, class: Retention) -> Amount {
    let [hours8, days7, days365] = limits.classes;
    match class {
        Retention::Hours8 => hours8,
        Retention::Days7 => days7,
        Retention::Days365 => days365,
    }
}

/// The leading zero bits of work that a class asks for: none while there is room, then more and
/// more as its share fills.
#[must_use]
pub fn work_needed(used: Amount, share: Amount) -> u32 {
    let percent = |used: u64, of: u64| match of {
        0 => 100,
        of => u64::try_from(u128::from(used) * 100 / u128::from(of)).unwrap_or(100),
    };
    let filled = percent(used.bytes, share.bytes).max(percent(used.records, share.records));
    let Some(above) = filled.min(100).checked_sub(WORK_FROM_PERCENT) else { return 0 };
    let steps = u64::from(WORK_BITS_LAST - WORK_BITS_FIRST);
    let more = above * steps / (100 - WORK_FROM_PERCENT);
    WORK_BITS_FIRST + u32::try_from(more).unwrap_or(0)
}

/// The place of a slot in a store's order: key, then publisher, then slot.
#[must_use]
pub fn row_key(id: &RecordId) -> [u8; 72] {
    let mut row = [0; 72];
    let (key, rest) = row.split_at_mut(32);
    let (publisher, slot) = rest.split_at_mut(32);
    key.copy_from_slice(&id.key.0);
    publisher.copy_from_slice(&id.publisher);
    slot.copy_from_slice(&id.slot.to_be_bytes());
    row
}
