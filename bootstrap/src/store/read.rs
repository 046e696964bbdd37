//! Reading: pages of a key's records as of now, and what the threads that read from disk are asked for.
//!
//! A page is read on the caller's thread as long as memory has all of it and it is short; otherwise
//! a reader thread reads it from disk. Either way what has ended is not shown from its very
//! millisecond on, whether or not the sweep has been there.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dht_context::store::{Page, PageQuery};
use dht_kad::admission::row_key;
use dht_kad::message::Position;
use dht_kad::reconcile::{Item, Part, RowKey};
use dht_kad::{NetworkName, ParsedRecord, RecordId, Refusal, UnixMs};
use tokio::sync::oneshot;

use super::Shared;
use super::database::{Database, Fault, Reach};
use super::rows::{RecordRow, body_of_commit, successor};
use super::settings::Family;
use crate::work_queue::{Load, Taken};

/// Rows that a page may pass over on the caller's thread: some 0.3 ms.
const MEMORY_ROWS_MAX: usize = 256;
/// Rows that a page may pass over on a reader thread; a page that needs more ends early, with a
/// position to go on from.
const DISK_ROWS_MAX: usize = 16_384;
/// How often a body is looked for again because a newer version came between the two reads.
const BODY_TRIES: usize = 8;
/// How long a reader thread waits before it looks again; it is woken earlier by whatever comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is to be read from disk.
pub(super) enum ReadJob {
    /// A page of a key's records.
    Page { query: PageQuery, answer: Answer<Page> },
    /// Items of a part of the set.
    Items { part: Part, after: Option<RowKey>, limit: usize, answer: Answer<Vec<Item>> },
}

/// Where the result goes.
pub(super) type Answer<T> = oneshot::Sender<Result<T, Refusal>>;

/// What a reader thread does until the store is closed.
pub(super) fn serve_reads(shared: &Arc<Shared>) {
    let one = Load { items: 1, bytes: usize::MAX };
    loop {
        match shared.reads.take(one, PATIENCE) {
            Taken::Jobs(jobs) => {
                jobs.into_iter().for_each(|job| serve(shared, job));
            }
            Taken::Idle => {}
            Taken::Closed => return,
        }
    }
}

/// Reads what is asked for, if whoever asked still waits for it.
fn serve(shared: &Shared, job: ReadJob) {
    match job {
        ReadJob::Page { query, answer } if !answer.is_closed() => {
            let _ = answer.send(shared.find_on_disk(&query));
        }
        ReadJob::Items { part, after, limit, answer } if !answer.is_closed() => {
            let _ = answer.send(shared.items_on_disk(&part, after.as_ref(), limit));
        }
        ReadJob::Page { .. } | ReadJob::Items { .. } => {}
    }
}

/// Reads one page as of `now`.
pub(super) fn find(
    db: &Database,
    network: &NetworkName,
    query: &PageQuery,
    now: UnixMs,
    reach: Reach,
) -> Result<Page, Fault> {
    let Some(bounds) = Bounds::of(query) else { return Ok(Page::default()) };
    let pager = Pager { db, network, query, now, reach };
    match bounds.only_slot() {
        Some(slot) => pager.slot(&slot),
        None => pager.rows(&bounds),
    }
}

/// The stretch of rows that a query is about.
struct Bounds {
    /// The first row to look at, or the one before it, with a zero byte appended.
    from: Vec<u8>,
    /// The last row to look at.
    last: RowKey,
}

impl Bounds {
    /// Nothing if the stretch ends before it begins, as an asker may demand.
    fn of(query: &PageQuery) -> Option<Self> {
        let at = |publisher, slot| row_key(&RecordId { key: query.key, publisher, slot });
        let (first, last) = match (query.publisher, query.slots) {
            (Some(publisher), Some((first, last))) => (at(publisher, first), at(publisher, last)),
            (Some(publisher), None) => (at(publisher, 0), at(publisher, u64::MAX)),
            (None, _) => (at([0; 32], 0), at([0xff; 32], u64::MAX)),
        };
        let after = query.after.map(|after| at(after.publisher, after.slot));
        let in_order = first <= last && after.is_none_or(|after| after < last);
        let from = match after.filter(|after| *after >= first) {
            Some(after) => successor(&after),
            None => first.to_vec(),
        };
        in_order.then_some(Bounds { from, last })
    }

    fn only_slot(&self) -> Option<RowKey> {
        (self.from == self.last).then_some(self.last)
    }
}

/// Reads the rows of one page.
struct Pager<'a> {
    db: &'a Database,
    network: &'a NetworkName,
    query: &'a PageQuery,
    now: UnixMs,
    reach: Reach,
}

impl Pager<'_> {
    fn slot(&self, slot: &RowKey) -> Result<Page, Fault> {
        let row = self.db.record_row(slot, self.reach)?;
        let shown = row.map(|row| self.show(slot, row)).transpose()?.flatten();
        Ok(Page { records: shown.into_iter().collect(), next: None })
    }

    fn rows(&self, bounds: &Bounds) -> Result<Page, Fault> {
        let upper = successor(&bounds.last);
        let mut rows = self.db.rows(Family::Records, &bounds.from, upper, self.reach)?;
        let mut page = Page::default();
        let (mut bytes, mut visited) = (0, 0);
        let mut last_visited = None;
        while let Some((key, value)) = rows.item() {
            if visited == self.rows_max() {
                if self.reach == Reach::Memory {
                    return Err(Fault::NotInMemory);
                }
                page.next = last_visited;
                return Ok(page);
            }
            visited += 1;
            let (slot, row) = decode(key, value)?;
            if let Some(shown) = self.show(&slot, row)? {
                let fits = page.records.len() < self.query.limit
                    && bytes + shown.len() <= self.query.max_bytes;
                if !page.records.is_empty() && !fits {
                    page.next = last_visited;
                    return Ok(page);
                }
                bytes += shown.len();
                page.records.push(shown);
            }
            last_visited = Some(position(&slot)?);
            rows.next();
        }
        rows.status()?;
        Ok(page)
    }

    fn rows_max(&self) -> usize {
        match self.reach {
            Reach::Memory => MEMORY_ROWS_MAX,
            Reach::Disk => DISK_ROWS_MAX,
        }
    }

    /// What is shown of a row; nothing if it has ended or was not asked for.
    fn show(&self, slot: &RowKey, mut row: RecordRow) -> Result<Option<Bytes>, Fault> {
        for _ in 0..BODY_TRIES {
            if row.keep_until <= self.now || !self.asked_for(slot, &row)? {
                return Ok(None);
            }
            let record = ParsedRecord::parse(row.bytes.clone())?;
            if self.query.heads_only || record.expires_at() <= self.now {
                return Ok(Some(record.head_bytes()));
            }
            if row.apart == 0 {
                return Ok(Some(row.bytes));
            }
            let body_row = self.db.get(Family::Bodies, slot, self.reach)?;
            if let Some(body) = body_row.as_deref().and_then(|b| body_of_commit(b, row.commit_no)) {
                return Ok(Some(whole(&row.bytes, body)));
            }
            let Some(newer) = self.db.record_row(slot, self.reach)? else { return Ok(None) };
            row = newer;
        }
        Err(Fault::Damaged("a body does not belong to its head".to_owned()))
    }

    fn asked_for(&self, slot: &RowKey, row: &RecordRow) -> Result<bool, Fault> {
        let Position { slot: number, .. } = position(slot)?;
        if self.query.slots.is_some_and(|(first, last)| !(first..=last).contains(&number)) {
            return Ok(false);
        }
        let by = row.commit_no;
        if self.query.written.is_some_and(|(after, to)| by <= after || by > to) {
            return Ok(false);
        }
        if self.query.min_work == 0 {
            return Ok(true);
        }
        let (record, _) = row.open(self.network)?;
        Ok(record.work_bits() >= self.query.min_work)
    }
}

fn whole(head: &[u8], body: &[u8]) -> Bytes {
    let mut record = BytesMut::with_capacity(head.len() + body.len());
    record.extend_from_slice(head);
    record.extend_from_slice(body);
    record.freeze()
}

fn decode(key: &[u8], value: &[u8]) -> Result<(RowKey, RecordRow), Fault> {
    let slot = key.try_into().map_err(|_| damaged_key())?;
    let row =
        RecordRow::decode(value).ok_or_else(|| super::database::short_row(Family::Records))?;
    Ok((slot, row))
}

fn position(slot: &RowKey) -> Result<Position, Fault> {
    let (_, rest) = slot.split_first_chunk::<32>().ok_or_else(damaged_key)?;
    let (publisher, number) = rest.split_first_chunk::<32>().ok_or_else(damaged_key)?;
    let number = number.first_chunk().ok_or_else(damaged_key)?;
    Ok(Position { publisher: *publisher, slot: u64::from_be_bytes(*number) })
}

fn damaged_key() -> Fault {
    Fault::Damaged("a row of records has a key of another length".to_owned())
}
