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

mod tables;

use std::collections::BTreeMap;

use bytes::Bytes;
use dht_kad::UnixMs;
use dht_kad::record::Retention;
use redb::{ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::inbox::opened;
use super::mailbox::{Tag, slot_of};
use super::rows::{RowKey, number_of, row_key};
use super::{OutboxLetter, OutboxState};
use crate::profile::{Profile, ProfileError, TableFault, from_row};
use tables::Tables;

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

fn writer_of(
    writers: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
    contact: &[u8; 32],
) -> Result<Writer, TableFault> {
    let row = writers.get(contact)?;
    row.map_or(Ok(Writer::default()), |row| from_row("a direction", row.value()))
}
