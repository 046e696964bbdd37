//! What has come: the tables of the reading side.
//!
//! ```text
//! take: letters as they come, cursors ── one transaction ──▶ held ─▶ ready (numbered by arrival)
//! acknowledge: ready ─▶ acknowledged, watermark               └ behind a gap
//! pruned: acknowledged ─▶ forgotten
//! ```
//!
//! A letter is taken and its tag's cursor moved in one transaction, and nothing at or before a cursor is
//! ever taken: each letter comes to the application once, however often it is fetched and wherever the
//! process stops.

mod take;

use std::collections::BTreeMap;

use dht_kad::UnixMs;
use dht_kad::record::Retention;
use dht_kad::time::DAY_MS;
use redb::{ReadableTable, TableDefinition, TableError};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::mailbox::{COUNTER_MAX, Tag, slot_of, split_slot};
use super::rows::{RowKey, number_of, row_key};
use super::tags::{Have, has_ended};
use super::{LetterId, ReceivedLetter};
use crate::profile::{Profile, ProfileError, TableFault, from_row};
use take::Take;

/// By contact and tag.
const TAGS: TableDefinition<&RowKey, &[u8]> = TableDefinition::new("letters in: tags");
/// By contact and slot.
const ROWS: TableDefinition<&RowKey, &[u8]> = TableDefinition::new("letters in");
/// By contact and slot.
const PAYLOADS: TableDefinition<&RowKey, &[u8]> = TableDefinition::new("letters in: payloads");
/// By the order in which they became ready: contact and slot.
const ARRIVALS: TableDefinition<u64, &RowKey> = TableDefinition::new("letters in: arrivals");
/// By contact.
const READERS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("letters in: directions");
/// One row: the next number of [`ARRIVALS`].
const NEXT: TableDefinition<(), u64> = TableDefinition::new("letters in: next arrival");

/// The most letters of one direction that wait to be acknowledged here; more stay in the network.
const READY_MAX: u64 = 20_000;
/// The most bytes of one direction that wait here.
const READY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// A tag that nothing came from for so long may be forgotten: all that it wrote has ended long ago.
const TAG_IDLE_MS: u64 = 60 * DAY_MS;
/// What is told in one page of letters, in bytes of payloads.
const PAGE_BYTES: u64 = 64 * 1024 * 1024;

/// What is known of one tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct TagRow {
    /// Up to here all is delivered, or was given up.
    delivered: u64,
    /// How many are here beyond it.
    held: u64,
    /// Up to here all is acknowledged.
    acknowledged: u64,
    /// When the youngest letter's record was created.
    last_at: UnixMs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum State {
    /// Its turn has not come.
    Held,
    /// The application has it.
    Ready {
        /// Its number in [`ARRIVALS`].
        arrival: u64,
    },
    /// The application has done with it.
    Acknowledged,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    via: u32,
    epoch: u64,
    created_at: UnixMs,
    sent_at: UnixMs,
    previous: u64,
    previous_at: UnixMs,
    state: State,
    /// Letters before it that never came.
    missed: u64,
    bytes: u64,
    /// Whether its chunks made up what was sent.
    whole: bool,
}

/// What is known of one direction besides its letters.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reader {
    /// Letters that are here and not acknowledged.
    letters: u64,
    /// Their bytes.
    bytes: u64,
    /// When this device's watermark was published last, 0 if never.
    pub(crate) published_at: UnixMs,
    /// What it said.
    pub(crate) published: BTreeMap<Tag, u64>,
}

/// A letter that was fetched, opened and checked.
pub(crate) struct Arrived {
    pub(crate) slot: u64,
    /// Under which of the contact's secrets.
    pub(crate) via: u32,
    pub(crate) epoch: u64,
    pub(crate) created_at: UnixMs,
    pub(crate) sent_at: UnixMs,
    pub(crate) previous: u64,
    pub(crate) previous_at: UnixMs,
    /// Nothing if its chunks do not make up what was sent.
    pub(crate) payload: Option<Zeroizing<Vec<u8>>>,
}

/// What a take came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Taken {
    /// Letters that became ready.
    pub(crate) ready: u64,
    /// Letters that were given up for lost.
    pub(crate) missed: u64,
    /// Letters whose chunks do not make up what was sent.
    pub(crate) damaged: u64,
    /// What is waited for: tag and counter.
    pub(crate) gaps: Vec<(Tag, u64)>,
    /// Whether something was left in the network, as there is no room for it here.
    pub(crate) full: bool,
}

/// An acknowledged letter that may still be in the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Prunable {
    pub(crate) slot: u64,
    pub(crate) via: u32,
    pub(crate) epoch: u64,
    pub(crate) created_at: UnixMs,
}

/// The reading side's tables.
pub(crate) struct Inbox<'a>(pub(crate) &'a Profile);

impl Inbox<'_> {
    /// What is here of the tags that may still have something in the network.
    pub(crate) fn have(
        &self,
        contact: &[u8; 32],
        now: UnixMs,
    ) -> Result<BTreeMap<Tag, Have>, ProfileError> {
        self.0.read(|transaction| {
            let mut have = BTreeMap::new();
            let Some(tags) = opened(transaction.open_table(TAGS))? else { return Ok(have) };
            let rows = transaction.open_table(ROWS)?;
            for (tag, row) in tags_of(&tags, contact)? {
                if has_ended(row.last_at, now) {
                    continue;
                }
                let mut held = Vec::new();
                if row.held > 0 {
                    for row in rows.range::<&RowKey>(
                        &after(contact, tag, row.delivered)..=&last(contact, tag),
                    )? {
                        held.push(split_slot(number_of(row?.0.value())).1);
                    }
                }
                have.insert(tag, Have { delivered: row.delivered, held });
            }
            Ok(have)
        })
    }

    /// Takes what came, and moves on the cursors: what is next in its tag becomes ready. `gone` says of
    /// a letter that it was pruned, or acknowledged by another device.
    pub(crate) fn take(
        &self,
        contact: &[u8; 32],
        arrived: &[Arrived],
        gone: &dyn Fn(Tag, u64) -> bool,
        now: UnixMs,
    ) -> Result<Taken, ProfileError> {
        self.0.write(|transaction| {
            let mut take = Take::open(transaction, contact, now)?;
            for letter in arrived {
                take.add(letter)?;
            }
            take.advance(gone)?;
            take.close()
        })
    }

    /// The letters that became ready after the one with this number, oldest first.
    pub(crate) fn ready(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<ReceivedLetter>, ProfileError> {
        self.0.read(|transaction| {
            let mut letters = Vec::new();
            let Some(arrivals) = opened(transaction.open_table(ARRIVALS))? else {
                return Ok(letters);
            };
            let rows = transaction.open_table(ROWS)?;
            let payloads = transaction.open_table(PAYLOADS)?;
            let mut bytes = 0;
            for arrival in arrivals.range(after.saturating_add(1)..)?.take(limit) {
                let (number, key) = arrival?;
                let key = key.value();
                let lost = || TableFault::Damaged("a letter");
                let row: Row = from_row("a letter", rows.get(key)?.ok_or_else(lost)?.value())?;
                let payload = payloads.get(key)?.ok_or_else(lost)?.value().to_vec();
                bytes += row.bytes;
                if bytes > PAGE_BYTES && !letters.is_empty() {
                    break;
                }
                letters.push(ReceivedLetter {
                    id: id_of(key),
                    arrival: number.value(),
                    sent_at: row.sent_at,
                    missed: row.missed,
                    payload,
                });
            }
            Ok(letters)
        })
    }

    /// Marks letters as done with. Says which of them never became ready here, and so cannot be.
    pub(crate) fn acknowledge(&self, ids: &[LetterId]) -> Result<Vec<LetterId>, ProfileError> {
        self.0.write(|transaction| {
            let mut unknown = Vec::new();
            let mut by_contact: BTreeMap<[u8; 32], Vec<LetterId>> = BTreeMap::new();
            for id in ids {
                by_contact.entry(id.contact).or_default().push(*id);
            }
            for (contact, ids) in by_contact {
                // The time matters to what comes, not to what is done with.
                let mut take = Take::open(transaction, &contact, UnixMs(0))?;
                for id in ids {
                    if !take.acknowledge(id)? {
                        unknown.push(id);
                    }
                }
                take.raise_marks()?;
                take.close()?;
            }
            Ok(unknown)
        })
    }

    /// This device's watermark of a direction as it should be, and what else is known of it.
    pub(crate) fn marks(
        &self,
        contact: &[u8; 32],
    ) -> Result<(BTreeMap<Tag, u64>, Reader), ProfileError> {
        self.0.read(|transaction| {
            let Some(tags) = opened(transaction.open_table(TAGS))? else {
                return Ok(Default::default());
            };
            let readers = transaction.open_table(READERS)?;
            let marks = tags_of(&tags, contact)?.into_iter();
            let marks = marks.map(|(tag, row)| (tag, row.acknowledged));
            let marks = marks.filter(|(_, mark)| *mark > 0).collect();
            Ok((marks, reader_of(&readers, contact)?))
        })
    }

    /// Takes note of what this device published.
    pub(crate) fn published(
        &self,
        contact: &[u8; 32],
        marks: &BTreeMap<Tag, u64>,
        now: UnixMs,
    ) -> Result<(), ProfileError> {
        self.0.write(|transaction| {
            let mut take = Take::open(transaction, contact, now)?;
            take.reader.published_at = now;
            take.reader.published.clone_from(marks);
            take.close().map(drop)
        })
    }

    /// Acknowledged letters up to these marks that may still be in the network, at most `limit`.
    /// What has ended is forgotten on the way.
    pub(crate) fn prunable(
        &self,
        contact: &[u8; 32],
        marks: &BTreeMap<Tag, u64>,
        now: UnixMs,
        limit: usize,
    ) -> Result<Vec<Prunable>, ProfileError> {
        let mut ended = Vec::new();
        let prunable = self.0.read(|transaction| {
            let mut prunable = Vec::new();
            let Some(rows) = opened(transaction.open_table(ROWS))? else { return Ok(prunable) };
            for row in rows.range::<&RowKey>(&row_key(contact, 0)..=&row_key(contact, u64::MAX))? {
                let (key, row) = row?;
                let slot = number_of(key.value());
                let (tag, counter) = split_slot(slot);
                let row: Row = from_row("a letter", row.value())?;
                if row.state != State::Acknowledged {
                    continue;
                }
                if now.since(row.created_at) > Retention::Days7.lifetime_ms() {
                    ended.push(slot);
                } else if marks.get(&tag).is_some_and(|mark| counter <= *mark) {
                    let Row { via, epoch, created_at, .. } = row;
                    prunable.push(Prunable { slot, via, epoch, created_at });
                }
                if prunable.len() >= limit {
                    break;
                }
            }
            Ok(prunable)
        })?;
        self.pruned(contact, &ended)?;
        Ok(prunable)
    }

    /// Forgets letters that are acknowledged and gone from the network.
    pub(crate) fn pruned(&self, contact: &[u8; 32], slots: &[u64]) -> Result<(), ProfileError> {
        if slots.is_empty() {
            return Ok(());
        }
        self.0.write(|transaction| {
            let mut rows = transaction.open_table(ROWS)?;
            let tags = transaction.open_table(TAGS)?;
            for slot in slots {
                let (tag, counter) = split_slot(*slot);
                // Beyond the watermark it is what the watermark waits behind.
                let mark = tags.get(&row_key(contact, u64::from(tag)))?;
                let mark: Option<TagRow> =
                    mark.map(|row| from_row("a tag", row.value())).transpose()?;
                if mark.is_some_and(|row| counter <= row.acknowledged) {
                    rows.remove(&row_key(contact, *slot))?;
                }
            }
            Ok(())
        })
    }
}

/// A table, or nothing if nothing was ever written to it.
pub(in crate::letters) fn opened<T>(table: Result<T, TableError>) -> Result<Option<T>, TableFault> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn tags_of(
    tags: &impl ReadableTable<&'static RowKey, &'static [u8]>,
    contact: &[u8; 32],
) -> Result<BTreeMap<Tag, TagRow>, TableFault> {
    let mut known = BTreeMap::new();
    for row in tags.range::<&RowKey>(&row_key(contact, 0)..=&row_key(contact, u64::MAX))? {
        let (key, row) = row?;
        let tag =
            Tag::try_from(number_of(key.value())).map_err(|_| TableFault::Damaged("a tag"))?;
        known.insert(tag, from_row("a tag", row.value())?);
    }
    Ok(known)
}

fn reader_of(
    readers: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
    contact: &[u8; 32],
) -> Result<Reader, TableFault> {
    let row = readers.get(contact)?;
    row.map_or(Ok(Reader::default()), |row| from_row("a direction", row.value()))
}

/// The first key after a tag's counter.
fn after(contact: &[u8; 32], tag: Tag, counter: u64) -> RowKey {
    row_key(contact, slot_of(tag, counter.saturating_add(1).min(COUNTER_MAX)))
}

/// The last key of a tag.
fn last(contact: &[u8; 32], tag: Tag) -> RowKey {
    row_key(contact, slot_of(tag, COUNTER_MAX))
}

fn id_of(key: &RowKey) -> LetterId {
    let (tag, counter) = split_slot(number_of(key));
    let contact = key.first_chunk().copied().unwrap_or_default();
    LetterId { contact, tag, counter }
}
