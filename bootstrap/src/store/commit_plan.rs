//! [`CommitPlan`]: what one commit changes, put together row by row.
//!
//! The rule decides ([`plan_put`], with what the slot holds and what is used); the plan applies its
//! answer to a write batch, and remembers it, so that a later version of the same slot in the same
//! batch meets the earlier one. Sweeping goes the same way: what ends is taken out by the same
//! rows, in the same batch, under the same counters.

use std::collections::BTreeMap;

use dht_context::store::Submission;
use dht_kad::admission::{Existing, Limits, Plan, RowChanges, plan_put, row_key};
use dht_kad::message::Stored;
use dht_kad::reconcile::{Group, RowKey};
use dht_kad::{NetworkName, Refusal, UnixMs, ValidRecord};
use rocksdb::WriteBatch;

use super::database::{Database, Fault, Reach};
use super::rows::{
    End, Ending, IndexRange, RecordRow, body_value, ends, index_value, state, version_of,
};
use super::sets::SetChange;
use super::settings::Family;
use super::sweep::SweepMarks;
use super::usage::UsageBook;

/// What every commit of one store needs.
pub(super) struct Grounds<'a> {
    pub(super) db: &'a Database,
    pub(super) network: &'a NetworkName,
    pub(super) limits: &'a Limits,
    pub(super) now: UnixMs,
}

/// The rows that one commit changes.
pub(super) struct CommitPlan<'a> {
    grounds: Grounds<'a>,
    commit_no: u64,
    usage: &'a mut UsageBook,
    marks: &'a mut SweepMarks,
    /// Slots as this commit leaves them.
    slots: BTreeMap<RowKey, Option<Held>>,
    batch: WriteBatch,
    set_changes: Vec<SetChange>,
    written: Vec<ValidRecord>,
}

/// What one commit comes to.
pub(super) struct Commit {
    /// The rows to be written.
    pub(super) batch: WriteBatch,
    /// What the set that fingerprints are kept of loses and gains, once they are written.
    pub(super) set_changes: Vec<SetChange>,
    /// The versions that it writes, in their order.
    pub(super) written: Vec<ValidRecord>,
}

/// What a slot holds.
#[derive(Clone, Debug)]
struct Held {
    existing: Existing,
    row: RecordRow,
}

impl<'a> CommitPlan<'a> {
    /// A plan for the commit of this number, in which nothing changes yet.
    pub(super) fn new(
        grounds: Grounds<'a>,
        commit_no: u64,
        usage: &'a mut UsageBook,
        marks: &'a mut SweepMarks,
    ) -> Self {
        // Here, as a commit that refuses everything and a sweep read counters as well.
        usage.trim();
        CommitPlan {
            grounds,
            commit_no,
            usage,
            marks,
            slots: BTreeMap::new(),
            batch: WriteBatch::default(),
            set_changes: Vec::new(),
            written: Vec::new(),
        }
    }

    /// Takes a record, or says why not. A fault changes nothing.
    pub(super) fn put(
        &mut self,
        submission: &Submission,
    ) -> Result<Result<Stored, Refusal>, Fault> {
        let record = &submission.record;
        if *record.id() != record.claimed_id(self.grounds.network) {
            return Ok(Err(Refusal::BadSignature));
        }
        let slot = row_key(record.id());
        let held = self.held(&slot)?;
        let usage = self.usage.usage(self.grounds.db, &Existing::of(record).charge)?;
        let existing = held.as_ref().map(|held| &held.existing);
        if let Some(existing) = existing {
            // Into memory before anything changes, so that releasing it cannot fail halfway.
            self.usage.usage(self.grounds.db, &existing.charge)?;
        }
        let Grounds { limits, now, .. } = self.grounds;
        match plan_put(existing, record, submission.path, &usage, limits, now) {
            Ok(Plan::Unchanged(stored)) => Ok(Ok(stored)),
            Ok(Plan::Write(changes)) => {
                let stored = changes.stored;
                self.write(&slot, held.as_ref(), &changes)?;
                Ok(Ok(stored))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Takes out what an index row of this range and period stands for, if it has ended; says
    /// whether it has. A row that stands for nothing any more goes as well. A fault changes nothing.
    pub(super) fn end(
        &mut self,
        range: IndexRange,
        period: u32,
        slot: &RowKey,
    ) -> Result<bool, Fault> {
        let held = self.held(slot)?;
        let end = held.as_ref().map(|held| End::of(&held.existing, range.ending));
        let standing = end.filter(|end| end.range == range && end.period() == period);
        if standing.is_some_and(|end| end.at > self.grounds.now) {
            return Ok(false);
        }
        if let Some(held) = &held {
            // Into memory before anything changes, so that releasing it cannot fail halfway.
            self.usage.usage(self.grounds.db, &held.existing.charge)?;
        }
        match (held, range.ending) {
            (Some(held), Ending::Head) if standing.is_some() => self.remove(slot, &held)?,
            (Some(held), Ending::Body) if standing.is_some() => self.drop_body(slot, &held)?,
            (_, Ending::Head) => self.forget_item(range, period, slot)?,
            _ => {}
        }
        let row = range.row_key(period, slot);
        self.batch.delete_cf(self.grounds.db.family(Family::Index)?, row);
        Ok(true)
    }

    /// Changes a row of `state`.
    pub(super) fn set_state(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.batch.put_cf(self.grounds.db.family(Family::State)?, key, value);
        Ok(())
    }

    /// Where the sweep has come to.
    pub(super) fn marks(&mut self) -> &mut SweepMarks {
        self.marks
    }

    /// Whether nothing changes.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Adds the counters, cursors and the number of the commit, and hands all of it out.
    pub(super) fn finish(mut self) -> Result<Commit, Fault> {
        self.usage.write(self.grounds.db, &mut self.batch)?;
        let commit_no = self.commit_no.to_be_bytes();
        self.set_state(state::COMMIT_NO, &commit_no)?;
        let marks = self.marks.encode();
        self.set_state(state::SWEEP, &marks)?;
        Ok(Commit { batch: self.batch, set_changes: self.set_changes, written: self.written })
    }

    fn held(&self, slot: &RowKey) -> Result<Option<Held>, Fault> {
        if let Some(held) = self.slots.get(slot) {
            return Ok(held.clone());
        }
        let Some(row) = self.grounds.db.record_row(slot, Reach::Disk)? else { return Ok(None) };
        let (_, existing) = row.open(self.grounds.network)?;
        Ok(Some(Held { existing, row }))
    }

    fn write(
        &mut self,
        slot: &RowKey,
        held: Option<&Held>,
        changes: &RowChanges,
    ) -> Result<(), Fault> {
        let db = self.grounds.db;
        let index = db.family(Family::Index)?;
        let bodies = db.family(Family::Bodies)?;
        if let Some(held) = held {
            self.usage.release(db, &held.existing.charge)?;
            self.delete_index_rows(slot, &held.existing)?;
        }
        self.usage.charge(db, &changes.written.charge)?;
        let (row, body) = RecordRow::of(&changes.record, self.commit_no);
        self.batch.put_cf(db.family(Family::Records)?, slot, row.encode());
        match body {
            Some(body) => self.batch.put_cf(bodies, slot, body_value(self.commit_no, &body)),
            None if held.is_some_and(|held| held.row.apart > 0) => {
                self.batch.delete_cf(bodies, slot);
            }
            None => {}
        }
        let written = &changes.written;
        let value = index_value(written);
        let (head, body) = ends(written);
        let has_body = changes.record.bytes().len() > changes.record.head_bytes().len();
        for end in std::iter::once(head).chain(body.filter(|_| has_body)) {
            self.batch.put_cf(index, end.row_key(slot), &value);
            self.marks.lower(end);
        }
        let before = held.map(|held| &held.existing);
        self.set_changes.extend(SetChange::between(slot, before, Some(written)));
        self.slots.insert(*slot, Some(Held { existing: *written, row }));
        self.written.push(changes.record.clone());
        Ok(())
    }

    fn remove(&mut self, slot: &RowKey, held: &Held) -> Result<(), Fault> {
        let db = self.grounds.db;
        self.usage.release(db, &held.existing.charge)?;
        self.delete_index_rows(slot, &held.existing)?;
        self.batch.delete_cf(db.family(Family::Records)?, slot);
        if held.row.apart > 0 {
            self.batch.delete_cf(db.family(Family::Bodies)?, slot);
        }
        self.set_changes.extend(SetChange::between(slot, Some(&held.existing), None));
        self.slots.insert(*slot, None);
        Ok(())
    }

    /// A row of a head's end that stands for nothing was found when fingerprints were made.
    fn forget_item(&mut self, range: IndexRange, period: u32, slot: &RowKey) -> Result<(), Fault> {
        let row = range.row_key(period, slot);
        let value = self.grounds.db.get(Family::Index, &row, Reach::Disk)?;
        if let Some(version) = value.as_deref().and_then(version_of) {
            let group = Group { span: range.span, period };
            self.set_changes.push(SetChange::without(slot, group, version.digest));
        }
        Ok(())
    }

    /// Leaves the head, under the commit that wrote it: no newer version came. Nor does the set
    /// change, as a version's digest is the same with its body and without.
    fn drop_body(&mut self, slot: &RowKey, held: &Held) -> Result<(), Fault> {
        let db = self.grounds.db;
        let (record, _) = held.row.open(self.grounds.network)?;
        let head = record.head_only();
        let existing = Existing::of(&head);
        self.usage.release(db, &held.existing.charge)?;
        self.usage.charge(db, &existing.charge)?;
        let row = RecordRow { apart: 0, bytes: head.bytes().clone(), ..held.row.clone() };
        self.batch.put_cf(db.family(Family::Records)?, slot, row.encode());
        if held.row.apart > 0 {
            self.batch.delete_cf(db.family(Family::Bodies)?, slot);
        }
        let row_key = End::of(&existing, Ending::Head).row_key(slot);
        self.batch.put_cf(db.family(Family::Index)?, row_key, index_value(&existing));
        self.slots.insert(*slot, Some(Held { existing, row }));
        Ok(())
    }

    fn delete_index_rows(&mut self, slot: &RowKey, version: &Existing) -> Result<(), Fault> {
        let index = self.grounds.db.family(Family::Index)?;
        let (head, body) = ends(version);
        for end in std::iter::once(head).chain(body) {
            self.batch.delete_cf(index, end.row_key(slot));
        }
        Ok(())
    }
}
