//! The set that reconciliation compares: its fingerprints in memory, its items on disk.
//!
//! The rows of heads' ends in `index` are the set, in the order of groups and slots. Fingerprints are
//! made of one scan of them when the database is opened; from then on the writer, who alone changes
//! rows, changes them after each write that succeeded, and only then.
//!
//! ```text
//! commit ─▶ rows written ─▶ SetChange, each ─▶ fingerprints
//!                                                 │ a leaf has grown too large or is too coarse
//!                          rows of its part ◀─────┘
//!                                 └─▶ split
//! ```
//!
//! Between two commits rows and fingerprints say the same. That is when the writer reads the rows of
//! a leaf to split it, a few leaves a turn, so that puts never wait for long.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dht_kad::admission::Existing;
use dht_kad::reconcile::{Fingerprints, Group, Item, Part, RowKey};
use dht_kad::record::Retention;
use rocksdb::DBRawIterator;

use super::database::{Database, Fault, Reach, short_row};
use super::rows::{IndexRange, item_of, successor};
use super::settings::Family;
use super::shared::Shared;

/// Leaves that the writer splits between two commits: more than one commit can make too large, and
/// about a millisecond of its time.
const SPLITS_A_TURN: usize = 32;
/// How long it waits after a leaf's rows could not be read.
const SPLIT_RETRY: Duration = Duration::from_secs(30);

/// What one slot's change means for the set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SetChange {
    row: RowKey,
    removed: Option<Member>,
    added: Option<Member>,
}

/// A version, as fingerprints know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Member {
    group: Group,
    digest: [u8; 32],
}

impl SetChange {
    /// A slot holds something else. Nothing if it is the same version, with its body or without.
    pub(super) fn between(
        slot: &RowKey,
        before: Option<&Existing>,
        after: Option<&Existing>,
    ) -> Option<Self> {
        let (removed, added) = (before.map(Member::of), after.map(Member::of));
        (removed != added).then_some(SetChange { row: *slot, removed, added })
    }

    /// A slot's row in a group goes.
    pub(super) fn without(slot: &RowKey, group: Group, digest: [u8; 32]) -> Self {
        SetChange { row: *slot, removed: Some(Member { group, digest }), added: None }
    }

    /// Takes note of it.
    pub(super) fn apply(&self, fingerprints: &mut Fingerprints) {
        if let Some(Member { group, digest }) = &self.removed {
            fingerprints.remove(*group, &self.row, digest);
        }
        if let Some(Member { group, digest }) = &self.added {
            fingerprints.add(*group, &self.row, digest);
        }
    }
}

impl Member {
    fn of(version: &Existing) -> Self {
        Member { group: Group::of(version), digest: version.precedence.digest }
    }
}

/// Makes the fingerprints anew, of all rows.
pub(super) fn read_fingerprints(db: &Database) -> Result<Fingerprints, Fault> {
    let spans = Retention::ALL.into_iter().map(|span| ItemRows::of_span(db, span));
    let spans = spans.collect::<Result<Vec<_>, Fault>>()?;
    let mut outcome = Ok(());
    let items = spans
        .into_iter()
        .flatten()
        .map_while(|item| item.map_err(|fault| outcome = Err(fault)).ok());
    let fingerprints = Fingerprints::from_sorted(items);
    outcome.map(|()| fingerprints)
}

/// The items of a part, from the row after `after` on, at most `limit`.
pub(super) fn items(
    db: &Database,
    part: &Part,
    after: Option<&RowKey>,
    limit: usize,
) -> Result<Vec<Item>, Fault> {
    let rows = ItemRows::of_part(db, part, after)?;
    rows.take(limit).map(|item| item.map(|(_, item)| item)).collect()
}

/// Rows of heads' ends, read one after the other. Nothing is to be asked of it after a fault.
struct ItemRows<'a> {
    span: Retention,
    rows: DBRawIterator<'a>,
}

impl<'a> ItemRows<'a> {
    /// All of one span.
    fn of_span(db: &'a Database, span: Retention) -> Result<Self, Fault> {
        let range = IndexRange::heads(span);
        let rows = db.scan(Family::Index, &range.prefix(0), range.upper_bound().to_vec())?;
        Ok(ItemRows { span, rows })
    }

    /// Those of a part, from the row after `after` on.
    fn of_part(db: &'a Database, part: &Part, after: Option<&RowKey>) -> Result<Self, Fault> {
        let Group { span, period } = part.group;
        let key = |row: &RowKey| IndexRange::heads(span).row_key(period, row);
        let (first, last) = part.prefix.rows().into_inner();
        let first = key(&first).to_vec();
        let from = after.map_or(first.clone(), |after| successor(&key(after)).max(first));
        let rows = db.rows(Family::Index, &from, successor(&key(&last)), Reach::Disk)?;
        Ok(ItemRows { span, rows })
    }
}

impl Iterator for ItemRows<'_> {
    type Item = Result<(Group, Item), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some((key, value)) = self.rows.item() else {
            return self.rows.status().err().map(|error| Err(error.into()));
        };
        let item = item_of(self.span, key, value).ok_or_else(|| short_row(Family::Index));
        self.rows.next();
        Some(item)
    }
}

/// What the writer does for the fingerprints between commits.
#[derive(Debug, Default)]
pub(super) struct SetKeeper {
    /// The resolution that the fingerprints know of.
    resolution: usize,
    /// When to go on splitting; absent while nothing is left to be split.
    pub(super) next: Option<Instant>,
}

impl SetKeeper {
    /// Sets the resolution that is wished for, and splits some leaves.
    pub(super) fn step(&mut self, shared: &Shared) {
        if self.next.is_some_and(|next| Instant::now() < next) {
            return;
        }
        let wished = shared.resolution.load(Ordering::Relaxed);
        if wished != self.resolution {
            shared.fingerprints().set_resolution(wished);
            self.resolution = wished;
        }
        self.next = match split_some(shared) {
            Ok(more) => more.then(Instant::now),
            Err(fault) => {
                tracing::error!(
                    reason = %fault,
                    "a leaf of the fingerprints could not be read: neighbours compare it as it is"
                );
                Some(Instant::now() + SPLIT_RETRY)
            }
        };
    }
}

/// Splits some leaves by their rows. True if more may be left.
fn split_some(shared: &Shared) -> Result<bool, Fault> {
    let guard = shared.database.read();
    let db = guard.as_ref().ok_or(Fault::Closed)?;
    for _ in 0..SPLITS_A_TURN {
        let leaf = shared.fingerprints().to_split();
        let Some(leaf) = leaf else { return Ok(false) };
        // Not under the lock. A leaf has no more items than the last commits could add to it.
        let items = items(db, &leaf, None, usize::MAX)?;
        if !shared.fingerprints().split(&leaf, &items) {
            tracing::error!(?leaf, "fingerprints had missed a change and were healed; report this");
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use dht_kad::admission::{Charge, row_key};
    use dht_kad::reconcile::{Cut, Fingerprint, Prefix};
    use dht_kad::record::{Kind, Precedence};
    use dht_kad::time::DAY_MS;
    use dht_kad::{Key, RecordId, UnixMs};
    use rocksdb::WriteBatch;
    use rustix::time::{ClockId, clock_gettime};

    use super::super::rows::{End, Ending, index_value};
    use super::super::settings::Settings;
    use super::*;

    /// A version in a slot of its own, anywhere, of any class.
    fn version(number: u64) -> (RowKey, Existing) {
        // Spreads numbers over the keyspace (Fibonacci hashing).
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut bytes = [0x5a; 32];
        bytes[..8].copy_from_slice(&spread.to_be_bytes());
        let key = Key(bytes);
        let class = Retention::ALL[number as usize % 3];
        let created_at = UnixMs(20_600 * DAY_MS + spread % class.lifetime_ms());
        let expires_at = created_at.after(class.lifetime_ms());
        let precedence = Precedence { keep_until: expires_at, seq: 1, digest: bytes };
        let charge = Charge { publisher: bytes, key, class, bytes: 1_000 };
        let existing = Existing { precedence, expires_at, kind: Kind::Value, charge };
        (row_key(&RecordId { key, publisher: bytes, slot: number }), existing)
    }

    fn filled(settings: &Settings, dir: &std::path::Path, count: u64) -> Database {
        let db = Database::create(dir, settings).unwrap();
        for start in (0..count).step_by(1_000) {
            let mut batch = WriteBatch::default();
            for number in start..count.min(start + 1_000) {
                let (row, existing) = version(number);
                let key = End::of(&existing, Ending::Head).row_key(&row);
                batch.put_cf(db.family(Family::Index).unwrap(), key, index_value(&existing));
            }
            db.write(batch, false).unwrap();
        }
        db.flush().unwrap();
        db
    }

    fn whole(fingerprints: &Fingerprints) -> Fingerprint {
        fingerprints.whole(&Cut([0; 3]), &[Prefix::all()]).unwrap()
    }

    #[test]
    fn what_a_scan_meets_is_the_same_as_what_was_changed_one_by_one() {
        let directory = tempfile::tempdir().unwrap();
        let db = filled(&Settings::new(16 << 20), directory.path(), 5_000);
        let mut changed = Fingerprints::default();
        for (row, existing) in (0..5_000).rev().map(version) {
            let same = SetChange::between(&row, Some(&existing), Some(&existing));
            assert_eq!(same, None, "nothing is done for the same version");
            SetChange::between(&row, None, Some(&existing)).unwrap().apply(&mut changed);
        }
        let scanned = read_fingerprints(&db).unwrap();
        assert_eq!(whole(&scanned), whole(&changed));
        let (row, existing) = version(0);
        SetChange::between(&row, Some(&existing), None).unwrap().apply(&mut changed);
        let one = Fingerprint::of(&existing.precedence.digest);
        assert_eq!(whole(&scanned).minus(one), whole(&changed));
    }

    #[test]
    fn a_row_that_is_not_whole_is_a_fault_and_not_a_smaller_set() {
        let directory = tempfile::tempdir().unwrap();
        let db = filled(&Settings::new(16 << 20), directory.path(), 3);
        let (row, existing) = version(0);
        let key = End::of(&existing, Ending::Head).row_key(&row);
        let mut batch = WriteBatch::default();
        batch.put_cf(db.family(Family::Index).unwrap(), key, b"short");
        db.write(batch, false).unwrap();
        assert!(matches!(read_fingerprints(&db), Err(Fault::Damaged(_))));
        let part = Part { group: Group::of(&existing), prefix: Prefix::all() };
        assert!(matches!(items(&db, &part, None, 10), Err(Fault::Damaged(_))));
    }

    /// What some work costs this thread, whatever else the machine does, and how long it takes.
    fn measured<T>(what: &str, times: u32, work: impl FnOnce() -> T) -> T {
        let spent = || {
            let spent = clock_gettime(ClockId::ThreadCPUTime);
            Duration::new(spent.tv_sec.try_into().unwrap(), spent.tv_nsec.try_into().unwrap())
        };
        let (begun, before) = (Instant::now(), spent());
        let result = work();
        let [cpu, wall] = [spent() - before, begun.elapsed()].map(|span| span / times);
        println!("{what}: {cpu:?} of a processor's time in {wall:?}");
        result
    }

    #[test]
    #[ignore = "measures, and writes 150 MB"]
    fn what_a_million_slots_take() {
        let count = 1_000_000;
        let directory = tempfile::tempdir().unwrap();
        drop(filled(&Settings::new(192 << 20), directory.path(), count));
        let db = Database::open(directory.path(), &Settings::new(192 << 20)).unwrap();
        let mut set = measured("all anew", 1, || read_fingerprints(&db).unwrap());
        assert_eq!(whole(&set).count, count);
        let others: Vec<_> = (count..count + 100_000).map(version).collect();
        measured("each of 100,000 versions added", 100_000, || {
            for (row, existing) in &others {
                SetChange::between(row, None, Some(existing)).unwrap().apply(&mut set);
            }
        });
        for (row, existing) in &others {
            SetChange::between(row, Some(existing), None).unwrap().apply(&mut set);
        }
        set.set_resolution(3);
        measured("each of 10,000 splits", 10_000, || {
            for _ in 0..10_000 {
                let Some(leaf) = set.to_split() else { break };
                assert!(set.split(&leaf, &items(&db, &leaf, None, usize::MAX).unwrap()));
            }
        });
    }
}
