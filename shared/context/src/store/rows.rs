//! [`Rows`]: a store's table in memory, without a lock, a clock or a disk.
//!
//! ```text
//! rows   slot ─▶ record, what it is charged          in the order of key, publisher, slot
//! ends   moment ─▶ slot                              when the row's body, or the row, ends
//! usage  publisher, key, class, total ─▶ amount      always the sum of the rows' charges
//! set    group, slot ─▶ version; fingerprints        what reconciliation compares
//! ```
//!
//! [`Rows::put`] asks [`plan_put`] and applies its answer; [`Rows::find`] shows a page as of `now`,
//! so that nothing that has ended is shown although it may still lie in the table; [`Rows::sweep`]
//! takes it out, oldest first, in as many steps as it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use dht_kad::admission::{Amount, Charge, Existing, Limits, Path, Plan, Usage, plan_put, row_key};
use dht_kad::message::{Position, Stored};
use dht_kad::reconcile::{Fingerprints, Item, Part, RowKey};
use dht_kad::record::{Kind, Retention};
use dht_kad::{Key, NetworkName, RecordId, Refusal, UnixMs, ValidRecord};

use super::set::KeptSet;
use super::{Page, PageQuery};

/// Records in memory, within limits. Cloning copies the table, not the records' bytes.
#[derive(Clone, Debug)]
pub struct Rows {
    network: NetworkName,
    limits: Limits,
    rows: BTreeMap<RowKey, Row>,
    ends: BTreeSet<(UnixMs, RowKey)>,
    publishers: BTreeMap<[u8; 32], Amount>,
    keys: BTreeMap<Key, Amount>,
    classes: [Amount; 3],
    total: Amount,
    set: KeptSet,
}

#[derive(Clone, Debug)]
struct Row {
    record: ValidRecord,
    existing: Existing,
    /// The commit that wrote this version.
    commit_no: u64,
}

impl Rows {
    /// An empty table for records of `network`.
    #[must_use]
    pub fn new(network: NetworkName, limits: Limits) -> Self {
        Rows {
            network,
            limits,
            rows: BTreeMap::new(),
            ends: BTreeSet::new(),
            publishers: BTreeMap::new(),
            keys: BTreeMap::new(),
            classes: [Amount::default(); 3],
            total: Amount::default(),
            set: KeptSet::default(),
        }
    }

    /// Takes a record in the commit of this number, or says why not. The flag says whether the table
    /// has changed.
    ///
    /// # Errors
    /// [`Refusal`], as [`plan_put`] decides, and [`Refusal::BadSignature`] for a record that was
    /// found valid in another network.
    pub fn put(
        &mut self,
        record: &ValidRecord,
        path: Path,
        now: UnixMs,
        commit_no: u64,
    ) -> Result<(Stored, bool), Refusal> {
        let id = record.id();
        if *id != record.claimed_id(&self.network) {
            return Err(Refusal::BadSignature);
        }
        let existing = self.rows.get(&row_key(id)).map(|row| row.existing);
        let usage = self.usage_for(id, record.publisher(), record.retention());
        match plan_put(existing.as_ref(), record, path, &usage, &self.limits, now)? {
            Plan::Unchanged(stored) => Ok((stored, false)),
            Plan::Write(changes) => {
                self.write(changes.record, commit_no);
                Ok((changes.stored, true))
            }
        }
    }

    /// Takes a slot's row out, whatever it holds, and leaves nothing to guard the slot.
    pub fn remove(&mut self, id: &RecordId) {
        self.take(&row_key(id));
    }

    /// Changes what is allowed from now on. What is here stays, even if it is more.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// One page of what is served at `now`.
    #[must_use]
    pub fn find(&self, query: &PageQuery, now: UnixMs) -> Page {
        let mut page = Page::default();
        let mut bytes = 0;
        let mut last = None;
        let Some(bounds) = bounds(query) else { return page };
        for (_, row) in self.rows.range(bounds) {
            if !row.matches(query, now) {
                continue;
            }
            let shown = row.shown(query, now);
            let fits = page.records.len() < query.limit && bytes + shown.len() <= query.max_bytes;
            if !page.records.is_empty() && !fits {
                page.next = last;
                break;
            }
            bytes += shown.len();
            page.records.push(shown);
            let id = row.record.id();
            last = Some(Position { publisher: id.publisher, slot: id.slot });
        }
        page
    }

    /// Takes out what has ended by `now`, oldest first, in at most `steps` steps. True when nothing
    /// that has ended is left.
    pub fn sweep(&mut self, now: UnixMs, steps: usize) -> bool {
        for _ in 0..steps {
            let Some((ends_at, key)) = self.ends.first().copied() else { return true };
            if ends_at > now {
                return true;
            }
            let Some(row) = self.take(&key) else { continue };
            if row.existing.precedence.keep_until > now {
                self.write(row.record.head_only(), row.commit_no);
            }
        }
        self.ends.first().is_none_or(|(ends_at, _)| *ends_at > now)
    }

    /// What is used in all, of all kinds of rows, ended ones included until they are swept.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.total
    }

    /// What is used by class, in the order of [`Retention::ALL`].
    #[must_use]
    pub fn classes(&self) -> [Amount; 3] {
        self.classes
    }

    /// What the slot holds, ended or not.
    #[must_use]
    pub fn get(&self, id: &RecordId) -> Option<&ValidRecord> {
        self.rows.get(&row_key(id)).map(|row| &row.record)
    }

    /// All records, ended ones included until they are swept, in the order of [`row_key`].
    pub fn records(&self) -> impl Iterator<Item = &ValidRecord> {
        self.rows.values().map(|row| &row.record)
    }

    /// The fingerprints of all rows, ended ones included until they are swept.
    #[must_use]
    pub fn fingerprints(&self) -> &Fingerprints {
        self.set.fingerprints()
    }

    /// Tells slots apart by at least so many half bytes: see [`Fingerprints::set_resolution`].
    pub fn set_resolution(&mut self, half_bytes: usize) {
        self.set.set_resolution(half_bytes);
    }

    /// What a part of the rows consists of, in their order, from the row after `after` on; at most
    /// `limit` items.
    #[must_use]
    pub fn items(&self, part: &Part, after: Option<RowKey>, limit: usize) -> Vec<Item> {
        self.set.items(part, after).take(limit).collect()
    }

    fn usage_for(&self, id: &RecordId, publisher: &[u8; 32], class: Retention) -> Usage {
        let of_class = self.classes.get(class as usize).copied();
        Usage {
            publisher: self.publishers.get(publisher).copied().unwrap_or_default(),
            key: self.keys.get(&id.key).copied().unwrap_or_default(),
            class: of_class.unwrap_or_default(),
            total: self.total,
        }
    }

    /// Puts a record in the place of whatever its slot holds.
    fn write(&mut self, record: ValidRecord, commit_no: u64) {
        let record = compact(record, &self.network);
        let key = row_key(record.id());
        self.take(&key);
        let row = Row { existing: Existing::of(&record), record, commit_no };
        let charge = row.existing.charge;
        self.account(&charge, |used| used.plus(charge.bytes));
        self.ends.insert((row.ends_at(), key));
        self.set.insert(key, &row.existing);
        self.rows.insert(key, row);
    }

    fn take(&mut self, key: &RowKey) -> Option<Row> {
        let row = self.rows.remove(key)?;
        self.ends.remove(&(row.ends_at(), *key));
        self.set.remove(*key, &row.existing);
        let charge = row.existing.charge;
        self.account(&charge, |used| used.minus(charge.bytes));
        Some(row)
    }

    /// Changes every amount that a charge counts towards, and forgets those that become zero, so
    /// that publishers and keys that are gone leave nothing behind.
    fn account(&mut self, charge: &Charge, change: impl Fn(Amount) -> Amount) {
        let nothing = Amount::default();
        let publisher = self.publishers.entry(charge.publisher).or_default();
        *publisher = change(*publisher);
        if *publisher == nothing {
            self.publishers.remove(&charge.publisher);
        }
        let key = self.keys.entry(charge.key).or_default();
        *key = change(*key);
        if *key == nothing {
            self.keys.remove(&charge.key);
        }
        if let Some(class) = self.classes.get_mut(charge.class as usize) {
            *class = change(*class);
        }
        self.total = change(self.total);
    }
}

impl Row {
    /// When the next part of the row ends: its body, or all of it.
    fn ends_at(&self) -> UnixMs {
        let is_head = self.record.kind() == Kind::Tombstone
            || self.record.bytes().len() == self.record.head_bytes().len();
        if is_head { self.record.keep_until() } else { self.record.expires_at() }
    }

    fn matches(&self, query: &PageQuery, now: UnixMs) -> bool {
        let id = self.record.id();
        self.record.keep_until() > now
            && query.slots.is_none_or(|(first, last)| (first..=last).contains(&id.slot))
            && self.record.work_bits() >= query.min_work
            && query
                .written
                .is_none_or(|(after, to)| self.commit_no > after && self.commit_no <= to)
    }

    fn shown(&self, query: &PageQuery, now: UnixMs) -> Bytes {
        if query.heads_only || self.record.expires_at() <= now {
            self.record.head_bytes()
        } else {
            self.record.bytes().clone()
        }
    }
}

/// A head's bytes may be a part of its whole record's, which would stay in memory with it.
fn compact(record: ValidRecord, network: &NetworkName) -> ValidRecord {
    if record.bytes().len() > record.head_bytes().len() {
        return record;
    }
    let bytes = Bytes::copy_from_slice(record.bytes());
    ValidRecord::from_own_store(bytes, network).unwrap_or(record)
}

/// Where in the table the page's rows lie; nowhere if its end lies before its start, as an asker
/// may demand.
fn bounds(query: &PageQuery) -> Option<(Bound<RowKey>, Bound<RowKey>)> {
    let at = |publisher, slot| row_key(&RecordId { key: query.key, publisher, slot });
    let (first, last) = match (query.publisher, query.slots) {
        (Some(publisher), Some((first, last))) => (at(publisher, first), at(publisher, last)),
        (Some(publisher), None) => (at(publisher, 0), at(publisher, u64::MAX)),
        (None, _) => (at([0; 32], 0), at([0xff; 32], u64::MAX)),
    };
    let after = query.after.map(|after| at(after.publisher, after.slot));
    let start = match after.filter(|after| *after >= first) {
        Some(after) => Bound::Excluded(after),
        None => Bound::Included(first),
    };
    let in_order = first <= last && after.is_none_or(|after| after <= last);
    in_order.then_some((start, Bound::Included(last)))
}
