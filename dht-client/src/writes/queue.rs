//! The queue's tables in the profile. Each change is one transaction.
//!
//! ```text
//! writes    id → what is to be written           signed   id → the version that was signed for it
//! progress  id → how far its delivery is         ended    id → how it ended (the last ENDED_MAX)
//! slots     slot ‖ id → ()   in order per slot   due      (moment, id) → ()   first of each slot
//! ```

use dht_kad::UnixMs;
use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};

use super::errand::Errand;
use super::row::{End, Finished, Progress, Row, WHAT};
use super::{Change, QueuedWrite, WriteError, WriteId, WriteState};
use crate::profile::{Profile, ProfileError, TableFault, from_row, to_row};

/// The most writes that wait: days of what a busy application writes.
pub const WAITING_MAX: u64 = 10_000;
/// The most bytes of values that wait: what a small device has to spare on disk.
pub const WAITING_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How many writes that ended are remembered.
const ENDED_MAX: u64 = 1_000;

/// A write that one process delivers is due for others only so much later: longer than a delivery
/// takes, so that who waits for it gets its report. Nothing breaks if two deliver it.
const OTHERS_LATER_MS: u64 = 20_000;

const WRITES: TableDefinition<u64, &[u8]> = TableDefinition::new("writes");
const PROGRESS: TableDefinition<u64, &[u8]> = TableDefinition::new("writes progress");
const SIGNED: TableDefinition<u64, &[u8]> = TableDefinition::new("writes signed");
const ENDED: TableDefinition<u64, &[u8]> = TableDefinition::new("writes ended");
const SLOTS: TableDefinition<&[u8], ()> = TableDefinition::new("writes slots");
const DUE: TableDefinition<(u64, u64), ()> = TableDefinition::new("writes due");
const COUNTS: TableDefinition<&str, u64> = TableDefinition::new("writes counts");
const COUNT_LAST: &str = "last id";
const COUNT_BYTES: &str = "waiting bytes";
const COUNT_ERRANDS: &str = "waiting errands";

/// The queue in a profile: cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    profile: Profile,
}

/// A waiting write as its delivery needs it.
pub(super) struct Waiting {
    pub(super) row: Row,
    /// What is to be done, based on what it is based on by now.
    pub(super) change: Change,
    pub(super) progress: Progress,
    /// The version that was signed for it, if one was.
    pub(super) signed: Option<Vec<u8>>,
}

impl Queue {
    /// The queue of this profile, made if there is none.
    pub(super) fn open(profile: Profile) -> Result<Self, ProfileError> {
        let exists = profile.read(|tables| Ok(tables.open_table(COUNTS).is_ok()))?;
        if !exists {
            profile.write(|tables| {
                for table in [WRITES, PROGRESS, SIGNED, ENDED] {
                    tables.open_table(table)?;
                }
                tables.open_table(SLOTS)?;
                tables.open_table(DUE)?;
                tables.open_table(COUNTS)?;
                Ok(())
            })?;
        }
        Ok(Queue { profile })
    }

    /// Takes a write in, behind those of the same slot that wait.
    pub(super) fn enqueue(
        &self,
        row: &Row,
        progress: Progress,
    ) -> Result<Result<WriteId, WriteError>, ProfileError> {
        self.profile.write(|tables| {
            let waiting = tables.open_table(WRITES)?.len()?;
            let counts = tables.open_table(COUNTS)?;
            let bytes = count(&counts, COUNT_BYTES)?.saturating_add(row.about.bytes);
            // Errands are bounded by what they are about, and take no value its room.
            let values = waiting.saturating_sub(count(&counts, COUNT_ERRANDS)?);
            drop(counts);
            if values >= WAITING_MAX || bytes > WAITING_BYTES_MAX {
                return Ok(Err(WriteError::Full { waiting: values }));
            }
            let before = last_of_slot(tables, &row.about.place)?;
            insert(tables, row, progress, before).map(Ok)
        })
    }

    /// What is due for `me` until `now`, the longest due first, and when the next may be; without
    /// `busy`.
    pub(super) fn due(
        &self,
        now: UnixMs,
        busy: &[u64],
        limit: usize,
        me: u64,
    ) -> Result<(Vec<u64>, Option<UnixMs>), ProfileError> {
        self.profile.read(|tables| {
            let (mut due, mut next) = (Vec::new(), None);
            let progress = tables.open_table(PROGRESS)?;
            for entry in tables.open_table(DUE)?.iter()? {
                let (moment, id) = entry?.0.value();
                if busy.contains(&id) {
                    continue;
                }
                if moment > now.0 || due.len() >= limit {
                    next = earlier(next, moment);
                    break;
                }
                let row = progress.get(id)?.ok_or(TableFault::Damaged(WHAT))?;
                let Progress { owner, .. } = from_row(WHAT, row.value())?;
                let for_others = moment.saturating_add(OTHERS_LATER_MS);
                match owner == 0 || owner == me || for_others <= now.0 {
                    true => due.push(id),
                    false => next = earlier(next, for_others),
                }
            }
            Ok((due, next.map(UnixMs)))
        })
    }

    /// Lets every process deliver what only `me` was to deliver.
    pub(super) fn release(&self, me: u64) -> Result<(), ProfileError> {
        let owned = self.profile.read(|tables| {
            let mut owned = Vec::new();
            for entry in tables.open_table(PROGRESS)?.iter()? {
                let (id, row) = entry?;
                let progress: Progress = from_row(WHAT, row.value())?;
                if progress.owner == me {
                    owned.push(id.value());
                }
            }
            Ok(owned)
        })?;
        if owned.is_empty() {
            return Ok(());
        }
        self.profile.write(|tables| {
            for id in owned {
                if tables.open_table(WRITES)?.get(id)?.is_some() {
                    let progress = Progress { owner: 0, ..progress_of(tables, id)? };
                    put_progress(tables, id, &progress)?;
                }
            }
            Ok(())
        })
    }

    /// A waiting write; nothing if it ended meanwhile.
    pub(super) fn waiting(&self, id: u64) -> Result<Option<Waiting>, ProfileError> {
        self.profile.read(|tables| {
            let Some(row) = tables.open_table(WRITES)?.get(id)? else { return Ok(None) };
            let progress = tables.open_table(PROGRESS)?.get(id)?;
            let progress = progress.ok_or(TableFault::Damaged(WHAT))?;
            let signed = tables.open_table(SIGNED)?.get(id)?;
            let row: Row = from_row(WHAT, row.value())?;
            let progress: Progress = from_row(WHAT, progress.value())?;
            let change = row.change(&progress)?;
            let signed = signed.map(|signed| signed.value().to_vec());
            Ok(Some(Waiting { row, change, progress, signed }))
        })
    }

    /// Notes the version that is about to be sent; gives back that of another process if it was
    /// quicker. Nothing if the write ended meanwhile.
    pub(super) fn note_signed(
        &self,
        id: u64,
        seq: u64,
        signed: &[u8],
    ) -> Result<Option<Vec<u8>>, ProfileError> {
        self.profile.write(|tables| {
            if tables.open_table(WRITES)?.get(id)?.is_none() {
                return Ok(None);
            }
            let mut table = tables.open_table(SIGNED)?;
            if let Some(earlier) = table.get(id)?.map(|row| row.value().to_vec()) {
                return Ok(Some(earlier));
            }
            table.insert(id, signed)?;
            let mut progress = progress_of(tables, id)?;
            progress.own_seqs.push(seq);
            put_progress(tables, id, &progress)?;
            Ok(Some(signed.to_vec()))
        })
    }

    /// Gives up the version that was signed, so that another is signed in its place, with this work.
    pub(super) fn sign_again(&self, id: u64, work_bits: u32) -> Result<(), ProfileError> {
        self.profile.write(|tables| {
            tables.open_table(SIGNED)?.remove(id)?;
            if tables.open_table(WRITES)?.get(id)?.is_some() {
                let mut progress = progress_of(tables, id)?;
                progress.work_bits = progress.work_bits.max(work_bits);
                put_progress(tables, id, &progress)?;
            }
            Ok(())
        })
    }

    /// Notes that a delivery failed, and when the next one is due.
    pub(super) fn put_off(
        &self,
        id: u64,
        error: &str,
        until: UnixMs,
        me: u64,
    ) -> Result<(), ProfileError> {
        self.profile.write(|tables| {
            if tables.open_table(WRITES)?.get(id)?.is_none() {
                return Ok(());
            }
            let mut progress = progress_of(tables, id)?;
            progress.attempts = progress.attempts.saturating_add(1);
            progress.last_error = Some(error.to_owned());
            progress.owner = me;
            make_due(tables, id, &mut progress, until)
        })
    }

    /// Makes all that wait for their time due now.
    pub(super) fn hurry(&self, now: UnixMs) -> Result<(), ProfileError> {
        let later = (now.0.saturating_add(1), 0)..;
        let is_any = self
            .profile
            .read(|tables| Ok(tables.open_table(DUE)?.range(later.clone())?.next().is_some()))?;
        if !is_any {
            return Ok(());
        }
        self.profile.write(|tables| {
            let later: Result<Vec<_>, _> = tables
                .open_table(DUE)?
                .range(later)?
                .map(|entry| entry.map(|entry| entry.0.value().1))
                .collect();
            for id in later? {
                let mut progress = progress_of(tables, id)?;
                make_due(tables, id, &mut progress, now)?;
            }
            Ok(())
        })
    }

    /// Ends a write, once; the next one of its slot is due then.
    pub(super) fn finish(&self, id: u64, end: End, now: UnixMs) -> Result<(), ProfileError> {
        self.profile.write(|tables| {
            let row: Row = match tables.open_table(WRITES)?.remove(id)? {
                Some(row) => from_row(WHAT, row.value())?,
                None => return Ok(()),
            };
            let progress = progress_of(tables, id)?;
            if let Some(moment) = progress.next_at {
                tables.open_table(DUE)?.remove((moment, id))?;
            }
            tables.open_table(PROGRESS)?.remove(id)?;
            tables.open_table(SIGNED)?.remove(id)?;
            tables.open_table(SLOTS)?.remove(in_slot(&row.about.place, id).as_slice())?;
            let mut counts = tables.open_table(COUNTS)?;
            let bytes = count(&counts, COUNT_BYTES)?.saturating_sub(row.about.bytes);
            counts.insert(COUNT_BYTES, bytes)?;
            if row.about.errand.is_some() {
                let errands = count(&counts, COUNT_ERRANDS)?.saturating_sub(1);
                counts.insert(COUNT_ERRANDS, errands)?;
            }
            drop(counts);
            if let Some(next) = first_of_slot(tables, &row.about.place)? {
                let mut behind = progress_of(tables, next)?;
                if let (End::Done { seq, .. }, false) = (&end, behind.is_base_given) {
                    behind.based_on = Some(*seq);
                }
                // One that was dropped while it waited behind another leaves the first as it is.
                if behind.next_at.is_none() {
                    make_due(tables, next, &mut behind, now)?;
                }
            }
            let mut ended = tables.open_table(ENDED)?;
            let finished = Finished { about: row.about, end };
            ended.insert(id, to_row(WHAT, &finished)?.as_slice())?;
            while ended.len()? > ENDED_MAX {
                ended.pop_first()?;
            }
            Ok(())
        })
    }

    /// What has become of a write; nothing if it is not known.
    pub(super) fn state(&self, id: WriteId) -> Result<Option<WriteState>, ProfileError> {
        self.profile.read(|tables| {
            if let Some(progress) = tables.open_table(PROGRESS)?.get(id.0)? {
                let progress: Progress = from_row(WHAT, progress.value())?;
                return Ok(Some(progress.state()));
            }
            let Some(ended) = tables.open_table(ENDED)?.get(id.0)? else { return Ok(None) };
            let ended: Finished = from_row(WHAT, ended.value())?;
            Ok(Some(ended.end.into()))
        })
    }

    /// All that is known, in the order of ids.
    pub(super) fn list(&self) -> Result<Vec<QueuedWrite>, ProfileError> {
        self.profile.read(|tables| {
            let mut list = Vec::new();
            for entry in tables.open_table(ENDED)?.iter()? {
                let (id, ended) = entry?;
                let Finished { about, end } = from_row(WHAT, ended.value())?;
                list.push(about.listed(id.value(), end.into()));
            }
            list_waiting(tables, &mut list)?;
            list.sort_by_key(|write| write.id);
            Ok(list)
        })
    }
}

/// Takes an errand in, within the caller's transaction: behind one of the same place that may be under
/// way, together with one that is not.
pub(super) fn take_errand(
    tables: &WriteTransaction,
    errand: Errand,
    now: UnixMs,
    owner: u64,
) -> Result<WriteId, TableFault> {
    let place = errand.place();
    let (first, last) = (first_of_slot(tables, &place)?, last_of_slot(tables, &place)?);
    if let Some(last) = last.filter(|last| first != Some(*last)) {
        let mut writes = tables.open_table(WRITES)?;
        let row = writes.get(last)?.map(|row| from_row::<Row>(WHAT, row.value()));
        let mut row = row.ok_or(TableFault::Damaged(WHAT))??;
        if let Some(waiting) = &mut row.about.errand {
            waiting.join(errand);
        }
        writes.insert(last, to_row(WHAT, &row)?.as_slice())?;
        return Ok(WriteId(last));
    }
    let mut counts = tables.open_table(COUNTS)?;
    let errands = count(&counts, COUNT_ERRANDS)?.saturating_add(1);
    counts.insert(COUNT_ERRANDS, errands)?;
    drop(counts);
    insert(tables, &Row::of_errand(errand, now), Progress { owner, ..Progress::default() }, last)
}

/// Puts a row at the end of the queue, behind `before` of the same slot.
fn insert(
    tables: &WriteTransaction,
    row: &Row,
    mut progress: Progress,
    before: Option<u64>,
) -> Result<WriteId, TableFault> {
    let mut counts = tables.open_table(COUNTS)?;
    let id = count(&counts, COUNT_LAST)?.saturating_add(1);
    let bytes = count(&counts, COUNT_BYTES)?.saturating_add(row.about.bytes);
    counts.insert(COUNT_LAST, id)?;
    counts.insert(COUNT_BYTES, bytes)?;
    match before {
        Some(before) => {
            let before = progress_of(tables, before)?;
            progress.based_on = progress.based_on.or(before.based_on);
        }
        None => {
            progress.next_at = Some(row.about.enqueued_at);
            tables.open_table(DUE)?.insert((row.about.enqueued_at, id), ())?;
        }
    }
    tables.open_table(SLOTS)?.insert(in_slot(&row.about.place, id).as_slice(), ())?;
    tables.open_table(WRITES)?.insert(id, to_row(WHAT, row)?.as_slice())?;
    put_progress(tables, id, &progress)?;
    Ok(WriteId(id))
}

fn count(counts: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, TableFault> {
    Ok(counts.get(name)?.map_or(0, |row| row.value()))
}

fn list_waiting(tables: &ReadTransaction, list: &mut Vec<QueuedWrite>) -> Result<(), TableFault> {
    let progress = tables.open_table(PROGRESS)?;
    for entry in tables.open_table(WRITES)?.iter()? {
        let (id, row) = entry?;
        let row: Row = from_row(WHAT, row.value())?;
        let known = progress.get(id.value())?.ok_or(TableFault::Damaged(WHAT))?;
        let known: Progress = from_row(WHAT, known.value())?;
        list.push(row.about.listed(id.value(), known.state()));
    }
    Ok(())
}

fn earlier(next: Option<u64>, moment: u64) -> Option<u64> {
    Some(next.map_or(moment, |next| next.min(moment)))
}

/// The key under which a slot's writes lie in their order.
fn in_slot(place: &[u8], id: u64) -> Vec<u8> {
    [place, &id.to_be_bytes()].concat()
}

fn last_of_slot(tables: &WriteTransaction, place: &[u8]) -> Result<Option<u64>, TableFault> {
    of_slot(tables, place, true)
}

fn first_of_slot(tables: &WriteTransaction, place: &[u8]) -> Result<Option<u64>, TableFault> {
    of_slot(tables, place, false)
}

fn of_slot(tables: &WriteTransaction, place: &[u8], last: bool) -> Result<Option<u64>, TableFault> {
    let slots = tables.open_table(SLOTS)?;
    let (from, to) = (in_slot(place, 0), in_slot(place, u64::MAX));
    let mut range = slots.range(from.as_slice()..=to.as_slice())?;
    let entry = if last { range.next_back() } else { range.next() };
    let Some(entry) = entry.transpose()? else { return Ok(None) };
    let id = entry.0.value().last_chunk::<8>().map(|id| u64::from_be_bytes(*id));
    id.map(Some).ok_or(TableFault::Damaged(WHAT))
}

fn progress_of(tables: &WriteTransaction, id: u64) -> Result<Progress, TableFault> {
    let table = tables.open_table(PROGRESS)?;
    let row = table.get(id)?.ok_or(TableFault::Damaged(WHAT))?;
    from_row(WHAT, row.value())
}

fn put_progress(tables: &WriteTransaction, id: u64, progress: &Progress) -> Result<(), TableFault> {
    tables.open_table(PROGRESS)?.insert(id, to_row(WHAT, progress)?.as_slice())?;
    Ok(())
}

fn make_due(
    tables: &WriteTransaction,
    id: u64,
    progress: &mut Progress,
    moment: UnixMs,
) -> Result<(), TableFault> {
    let mut due = tables.open_table(DUE)?;
    if let Some(before) = progress.next_at.replace(moment.0) {
        due.remove((before, id))?;
    }
    due.insert((moment.0, id), ())?;
    drop(due);
    put_progress(tables, id, progress)
}
