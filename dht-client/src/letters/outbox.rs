//! What is to go out: the tables of the writing side.
//!
//! ```text
//! accept: payload, number, counter ─▶ queued ─ seal ─▶ sealed ─ delivery ─▶ stored ─ watermark ─▶ fetched
//!                                       └── not within 7 days ──▶ expired      └── 7 days ──▶ expired
//! ```
//!
//! Each arrow is one transaction. A letter is on disk before it counts as accepted, and its record is on
//! disk before it is sent: whoever goes on after a crash sends the same bytes to the same slot, which
//! changes nothing where they have arrived.

use std::collections::BTreeMap;

use bytes::Bytes;
use dht_kad::UnixMs;
use dht_kad::record::Retention;
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::inbox::opened;
use super::mailbox::{Tag, slot_of};
use super::rows::{RowKey, number_of, row_key};
use super::{OutboxLetter, OutboxState};
use crate::profile::{Profile, ProfileError, TableFault, from_row, to_row};

/// By contact.
const WRITERS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("letters out: directions");
/// By contact and number.
const ROWS: TableDefinition<&RowKey, &[u8]> = TableDefinition::new("letters out");
/// By contact and number: what is still to be sealed, or may have to be again.
const PAYLOADS: TableDefinition<&RowKey, &[u8]> = TableDefinition::new("letters out: payloads");
/// By contact and number: the record as it is sent.
const RECORDS: TableDefinition<&RowKey, &[u8]> = TableDefinition::new("letters out: records");
/// By contact and number ‖ place: the bodies of chunks.
const CHUNKS: TableDefinition<(&RowKey, u32), &[u8]> = TableDefinition::new("letters out: chunks");

/// Letters of one contact that are remembered after the last word about them was said.
const FINISHED_MAX: u64 = 1_000;

/// How long the network keeps a letter, and how long it is tried to hand it over.
const LIFETIME_MS: u64 = Retention::Days7.lifetime_ms();

/// What is known of one direction.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Writer {
    /// Which secret the tag belongs to.
    pub(crate) via: u32,
    pub(crate) tag: Tag,
    /// What the tag was salted with: 0 unless others were taken.
    pub(crate) salt: u64,
    /// The counter of the letter that was accepted last.
    pub(crate) counter: u64,
    /// The last letter that was sealed and not given up: its counter, and when its record was created.
    pub(crate) sealed: (u64, UnixMs),
    /// The number of the letter that was accepted last.
    pub(crate) number: u64,
    /// No letter up to this number is queued.
    pub(crate) delivered: u64,
    /// About no letter up to this number anything is to be learned.
    pub(crate) settled: u64,
    /// Letters that the recipient has not acknowledged, as far as is known.
    pub(crate) waiting: u64,
}

/// One letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) accepted_at: UnixMs,
    pub(crate) bytes: u64,
    pub(crate) tag: Tag,
    pub(crate) counter: u64,
    /// Whether its payload is a manifest, and of how many chunks.
    pub(crate) chunks: u32,
    pub(crate) sealed: Option<Sealed>,
    pub(crate) state: OutboxState,
}

/// What a letter's record was signed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Sealed {
    pub(crate) epoch: u64,
    pub(crate) created_at: UnixMs,
    pub(crate) previous: (u64, UnixMs),
}

/// A payload to accept.
pub(crate) struct Payload {
    /// As the application counts.
    pub(crate) bytes: u64,
    /// What the letter says: the payload, or the manifest of its chunks.
    pub(crate) letter: Zeroizing<Vec<u8>>,
    /// The bodies of the chunks.
    pub(crate) chunks: Vec<Bytes>,
}

/// A queued letter.
pub(crate) struct Queued {
    pub(crate) number: u64,
    pub(crate) row: Row,
    pub(crate) payload: Zeroizing<Vec<u8>>,
    /// Its record, if it was sealed already.
    pub(crate) record: Option<Bytes>,
}

/// What one attempt to hand over a letter came to.
pub(crate) enum Attempt {
    /// So many nodes have it.
    Stored(u64),
    /// It is to be tried again.
    Failed(String),
    /// It never will be taken.
    Refused(String),
    /// It has to be signed again: this is the new record.
    Resigned(Bytes),
}

/// The writing side's tables.
pub(crate) struct Outbox<'a>(pub(crate) &'a Profile);

impl Outbox<'_> {
    /// Accepts letters to a contact: all of them, or none if more than `limit` would wait then.
    /// Returns the numbers that they got.
    pub(crate) fn accept(
        &self,
        contact: &[u8; 32],
        first_tag: (u32, Tag),
        payloads: &[Payload],
        limit: u64,
        now: UnixMs,
    ) -> Result<Option<Vec<u64>>, ProfileError> {
        self.0.write(|transaction| {
            let mut tables = Tables::open(transaction, contact)?;
            if tables.writer.waiting.saturating_add(payloads.len() as u64) > limit {
                return Ok(None);
            }
            if tables.writer.via != first_tag.0 || tables.writer.number == 0 {
                tables.retag(first_tag.0, first_tag.1, 0)?;
            }
            let mut numbers = Vec::with_capacity(payloads.len());
            for payload in payloads {
                numbers.push(tables.accept(payload, now)?);
            }
            tables.close()?;
            Ok(Some(numbers))
        })
    }

    /// Gives up what could not be handed over in time, and returns what is queued after a number,
    /// oldest first, at most so many letters and about so many bytes.
    pub(crate) fn queued_after(
        &self,
        contact: &[u8; 32],
        after: u64,
        limit: (usize, u64),
        now: UnixMs,
    ) -> Result<(Writer, Vec<Queued>), ProfileError> {
        let (writer, queued) = self.0.read(|transaction| {
            let mut queued = Vec::new();
            let Some(writers) = opened(transaction.open_table(WRITERS))? else {
                return Ok((Writer::default(), queued));
            };
            let writer = writer_of(&writers, contact)?;
            let rows = transaction.open_table(ROWS)?;
            let payloads = transaction.open_table(PAYLOADS)?;
            let records = transaction.open_table(RECORDS)?;
            let from = row_key(contact, writer.delivered.max(after).saturating_add(1));
            let mut bytes = 0;
            for row in rows.range::<&RowKey>(&from..=&row_key(contact, u64::MAX))? {
                let (key, row) = row?;
                let row: Row = from_row("a letter", row.value())?;
                if !matches!(row.state, OutboxState::Queued { .. }) {
                    continue;
                }
                let key = key.value();
                let payload = payloads.get(key)?.ok_or(TableFault::Damaged("a letter"))?;
                let payload = Zeroizing::new(payload.value().to_vec());
                bytes += payload.len() as u64;
                let record = records.get(key)?;
                let record = record.map(|record| Bytes::copy_from_slice(record.value()));
                queued.push(Queued { number: number_of(key), row, payload, record });
                if queued.len() >= limit.0 || bytes >= limit.1 {
                    break;
                }
            }
            Ok((writer, queued))
        })?;
        let late = |letter: &Queued| now.since(letter.row.accepted_at) >= LIFETIME_MS;
        if !queued.iter().any(late) {
            return Ok((writer, queued));
        }
        self.0.write(|transaction| {
            let mut tables = Tables::open(transaction, contact)?;
            for letter in queued.iter().filter(|letter| late(letter)) {
                tables.finish(letter.number, OutboxState::Expired)?;
            }
            tables.close()
        })?;
        // At most as often as there are letters to give up.
        self.queued_after(contact, after, limit, now)
    }

    /// Keeps the records that were made of queued letters, before they are sent: if nobody else has
    /// sealed or given up anything of this direction since `writer` was read.
    pub(crate) fn seal(
        &self,
        contact: &[u8; 32],
        writer: &Writer,
        sealed: &[(u64, Sealed, Bytes)],
    ) -> Result<bool, ProfileError> {
        self.0.write(|transaction| {
            let mut tables = Tables::open(transaction, contact)?;
            let now = &tables.writer;
            let same = (now.via, now.tag, now.sealed) == (writer.via, writer.tag, writer.sealed);
            if !same {
                return Ok(false);
            }
            for (number, sealed, record) in sealed {
                let key = row_key(contact, *number);
                let Some(mut row) = tables.row(*number)? else { return Ok(false) };
                row.sealed = Some(*sealed);
                tables.writer.sealed = (row.counter, sealed.created_at);
                tables.set(*number, &row)?;
                tables.records.insert(&key, record.as_ref())?;
            }
            tables.close()?;
            Ok(true)
        })
    }

    /// Takes note of what became of attempts.
    pub(crate) fn attempted(
        &self,
        contact: &[u8; 32],
        attempts: &[(u64, Attempt)],
    ) -> Result<(), ProfileError> {
        self.0.write(|transaction| {
            let mut tables = Tables::open(transaction, contact)?;
            for (number, attempt) in attempts {
                let Some(mut row) = tables.row(*number)? else { continue };
                let OutboxState::Queued { attempts, .. } = row.state else { continue };
                match attempt {
                    Attempt::Stored(nodes) => {
                        row.state = OutboxState::Stored { nodes: *nodes };
                        tables.drop_contents(*number, row.chunks)?;
                    }
                    Attempt::Failed(reason) => {
                        let last_error = Some(reason.clone());
                        let attempts = attempts.saturating_add(1);
                        row.state = OutboxState::Queued { attempts, last_error };
                    }
                    Attempt::Refused(reason) => {
                        tables.finish(*number, OutboxState::Refused { reason: reason.clone() })?;
                        continue;
                    }
                    Attempt::Resigned(record) => {
                        tables.records.insert(&row_key(contact, *number), record.as_ref())?;
                    }
                }
                tables.set(*number, &row)?;
            }
            tables.skip_delivered()?;
            tables.close()
        })
    }

    /// Gives what is queued another tag, as the one that it has is taken by somebody else.
    pub(crate) fn retag(
        &self,
        contact: &[u8; 32],
        taken: Tag,
        other: (u32, Tag, u64),
    ) -> Result<(), ProfileError> {
        self.0.write(|transaction| {
            let mut tables = Tables::open(transaction, contact)?;
            if tables.writer.tag == taken {
                tables.retag(other.0, other.1, other.2)?;
            }
            tables.close()
        })
    }

    /// Takes note of the recipient's watermarks, which say up to where of each tag some device of its
    /// has acknowledged all, and gives up what has ended unread.
    pub(crate) fn settle(
        &self,
        contact: &[u8; 32],
        marks: &BTreeMap<Tag, u64>,
        now: UnixMs,
    ) -> Result<Writer, ProfileError> {
        self.0.write(|transaction| {
            let mut tables = Tables::open(transaction, contact)?;
            let mut all_settled = true;
            for number in tables.writer.settled.saturating_add(1)..=tables.writer.number {
                all_settled &= tables.settle(number, marks, now)?;
                if all_settled {
                    tables.writer.settled = number;
                }
            }
            tables.forget_old()?;
            let writer = tables.writer.clone();
            tables.close()?;
            Ok(writer)
        })
    }

    /// One chunk's body.
    pub(crate) fn chunk(
        &self,
        contact: &[u8; 32],
        number: u64,
        place: u32,
    ) -> Result<Option<Bytes>, ProfileError> {
        self.0.read(|transaction| {
            let Some(chunks) = opened(transaction.open_table(CHUNKS))? else { return Ok(None) };
            let body = chunks.get((&row_key(contact, number), place))?;
            Ok(body.map(|body| Bytes::copy_from_slice(body.value())))
        })
    }

    /// Everything that is remembered, by contact and number.
    pub(crate) fn list(&self) -> Result<Vec<OutboxLetter>, ProfileError> {
        self.0.read(|transaction| {
            let mut letters = Vec::new();
            let Some(rows) = opened(transaction.open_table(ROWS))? else { return Ok(letters) };
            for row in rows.iter()? {
                let (key, row) = row?;
                let row: Row = from_row("a letter", row.value())?;
                letters.push(OutboxLetter {
                    contact: key.value().first_chunk().copied().unwrap_or_default(),
                    number: number_of(key.value()),
                    accepted_at: row.accepted_at,
                    bytes: row.bytes,
                    state: row.state,
                });
            }
            Ok(letters)
        })
    }

    /// Who is written to, and what is known of each direction.
    pub(crate) fn writers(&self) -> Result<Vec<([u8; 32], Writer)>, ProfileError> {
        self.0.read(|transaction| {
            let mut all = Vec::new();
            let Some(writers) = opened(transaction.open_table(WRITERS))? else { return Ok(all) };
            for row in writers.iter()? {
                let (contact, row) = row?;
                all.push((*contact.value(), from_row("a direction", row.value())?));
            }
            Ok(all)
        })
    }
}

impl Row {
    /// Where it lies in its mailbox.
    pub(crate) fn slot(&self) -> u64 {
        slot_of(self.tag, self.counter)
    }
}

impl Writer {
    /// Whether something is still to be handed over.
    pub(crate) fn has_queued(&self) -> bool {
        self.delivered < self.number
    }

    /// Whether the recipient's watermarks may say something new.
    pub(crate) fn has_unsettled(&self) -> bool {
        self.settled < self.delivered
    }
}

/// One transaction on one direction.
struct Tables<'t> {
    contact: [u8; 32],
    writers: Table<'t, &'static [u8; 32], &'static [u8]>,
    rows: Table<'t, &'static RowKey, &'static [u8]>,
    payloads: Table<'t, &'static RowKey, &'static [u8]>,
    records: Table<'t, &'static RowKey, &'static [u8]>,
    chunks: Table<'t, (&'static RowKey, u32), &'static [u8]>,
    writer: Writer,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction, contact: &[u8; 32]) -> Result<Self, TableFault> {
        let writers = transaction.open_table(WRITERS)?;
        Ok(Tables {
            contact: *contact,
            writer: writer_of(&writers, contact)?,
            writers,
            rows: transaction.open_table(ROWS)?,
            payloads: transaction.open_table(PAYLOADS)?,
            records: transaction.open_table(RECORDS)?,
            chunks: transaction.open_table(CHUNKS)?,
        })
    }

    fn accept(&mut self, payload: &Payload, now: UnixMs) -> Result<u64, TableFault> {
        let writer = &mut self.writer;
        writer.number += 1;
        writer.counter += 1;
        writer.waiting += 1;
        let (number, tag, counter) = (writer.number, writer.tag, writer.counter);
        let key = row_key(&self.contact, number);
        let row = Row {
            accepted_at: now,
            bytes: payload.bytes,
            tag,
            counter,
            chunks: u32::try_from(payload.chunks.len()).unwrap_or(u32::MAX),
            sealed: None,
            state: OutboxState::Queued { attempts: 0, last_error: None },
        };
        self.set(number, &row)?;
        self.payloads.insert(&key, payload.letter.as_slice())?;
        for (place, body) in (0..).zip(&payload.chunks) {
            self.chunks.insert((&key, place), body.as_ref())?;
        }
        Ok(number)
    }

    /// Another tag for what is queued and what comes: counters begin anew, nothing is sealed any more.
    fn retag(&mut self, via: u32, tag: Tag, salt: u64) -> Result<(), TableFault> {
        let (first, last) = (self.writer.delivered.saturating_add(1), self.writer.number);
        (self.writer.via, self.writer.tag, self.writer.salt) = (via, tag, salt);
        (self.writer.counter, self.writer.sealed) = (0, (0, UnixMs(0)));
        for number in first..=last {
            let Some(mut row) = self.row(number)? else { continue };
            if !matches!(row.state, OutboxState::Queued { .. }) {
                continue;
            }
            self.writer.counter += 1;
            (row.tag, row.counter, row.sealed) = (tag, self.writer.counter, None);
            self.set(number, &row)?;
            self.records.remove(&row_key(&self.contact, number))?;
        }
        Ok(())
    }

    /// Gives up a letter that has ended, or takes note that it was read; whether the last word about
    /// it is said.
    fn settle(
        &mut self,
        number: u64,
        marks: &BTreeMap<Tag, u64>,
        now: UnixMs,
    ) -> Result<bool, TableFault> {
        let Some(row) = self.row(number)? else { return Ok(true) };
        match row.state {
            OutboxState::Queued { .. } => return Ok(false),
            OutboxState::Stored { .. } => {}
            OutboxState::Fetched | OutboxState::Expired | OutboxState::Refused { .. } => {
                return Ok(true);
            }
        }
        let created_at = row.sealed.map_or(row.accepted_at, |sealed| sealed.created_at);
        if marks.get(&row.tag).is_some_and(|mark| row.counter <= *mark) {
            self.finish(number, OutboxState::Fetched)?;
        } else if now.since(created_at) >= LIFETIME_MS {
            self.finish(number, OutboxState::Expired)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// The last word about a letter.
    fn finish(&mut self, number: u64, state: OutboxState) -> Result<(), TableFault> {
        let Some(mut row) = self.row(number)? else { return Ok(()) };
        if matches!(row.state, OutboxState::Queued { .. } | OutboxState::Stored { .. }) {
            self.writer.waiting = self.writer.waiting.saturating_sub(1);
        }
        // Nobody should wait for what was given up before it was handed over.
        if let (OutboxState::Queued { .. }, Some(sealed)) = (&row.state, row.sealed)
            && (row.tag, row.counter) == (self.writer.tag, self.writer.sealed.0)
        {
            self.writer.sealed = sealed.previous;
        }
        row.state = state;
        self.set(number, &row)?;
        self.drop_contents(number, row.chunks)?;
        self.skip_delivered()
    }

    /// Forgets what was only needed to hand a letter over.
    fn drop_contents(&mut self, number: u64, chunks: u32) -> Result<(), TableFault> {
        let key = row_key(&self.contact, number);
        self.payloads.remove(&key)?;
        self.records.remove(&key)?;
        for place in 0..chunks {
            self.chunks.remove((&key, place))?;
        }
        Ok(())
    }

    /// Moves on past what is not queued any more.
    fn skip_delivered(&mut self) -> Result<(), TableFault> {
        while self.writer.delivered < self.writer.number {
            let next = self.writer.delivered + 1;
            let row = self.row(next)?;
            if row.is_some_and(|row| matches!(row.state, OutboxState::Queued { .. })) {
                break;
            }
            self.writer.delivered = next;
        }
        Ok(())
    }

    /// Forgets the oldest of those about which the last word was said long ago.
    fn forget_old(&mut self) -> Result<(), TableFault> {
        let keep_from = self.writer.settled.saturating_sub(FINISHED_MAX);
        let (first, last) = (row_key(&self.contact, 0), row_key(&self.contact, keep_from));
        self.rows.retain_in::<&RowKey, _>(&first..=&last, |_, _| false)?;
        Ok(())
    }

    fn row(&self, number: u64) -> Result<Option<Row>, TableFault> {
        let row = self.rows.get(&row_key(&self.contact, number))?;
        row.map(|row| from_row("a letter", row.value())).transpose()
    }

    fn set(&mut self, number: u64, row: &Row) -> Result<(), TableFault> {
        let bytes = to_row("a letter", row)?;
        self.rows.insert(&row_key(&self.contact, number), bytes.as_slice())?;
        Ok(())
    }

    fn close(mut self) -> Result<(), TableFault> {
        let writer = to_row("a direction", &self.writer)?;
        self.writers.insert(&self.contact, writer.as_slice())?;
        Ok(())
    }
}

fn writer_of(
    writers: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
    contact: &[u8; 32],
) -> Result<Writer, TableFault> {
    let row = writers.get(contact)?;
    row.map_or(Ok(Writer::default()), |row| from_row("a direction", row.value()))
}
