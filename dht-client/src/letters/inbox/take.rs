//! [`Take`]: one transaction on what one contact wrote.

use std::collections::BTreeMap;

use dht_kad::UnixMs;
use redb::{ReadableTable, Table, WriteTransaction};

use super::{
    ARRIVALS, Arrived, NEXT, PAYLOADS, READERS, READY_BYTES_MAX, READY_MAX, ROWS, Reader, Row,
    State, TAG_IDLE_MS, TAGS, TagRow, Taken, after, last, reader_of, tags_of,
};
use crate::letters::LetterId;
use crate::letters::mailbox::{Tag, slot_of, split_slot};
use crate::letters::rows::{RowKey, number_of, row_key};
use crate::letters::tags::{Link, Step, TAGS_MAX, step};
use crate::profile::{TableFault, from_row, to_row};

/// One transaction on one direction.
pub(super) struct Take<'t> {
    contact: [u8; 32],
    now: UnixMs,
    tags: Table<'t, &'static RowKey, &'static [u8]>,
    rows: Table<'t, &'static RowKey, &'static [u8]>,
    payloads: Table<'t, &'static RowKey, &'static [u8]>,
    arrivals: Table<'t, u64, &'static RowKey>,
    readers: Table<'t, &'static [u8; 32], &'static [u8]>,
    next: Table<'t, (), u64>,
    known: BTreeMap<Tag, TagRow>,
    pub(super) reader: Reader,
    taken: Taken,
}

impl<'t> Take<'t> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        contact: &[u8; 32],
        now: UnixMs,
    ) -> Result<Self, TableFault> {
        let tags = transaction.open_table(TAGS)?;
        let readers = transaction.open_table(READERS)?;
        Ok(Take {
            contact: *contact,
            now,
            known: tags_of(&tags, contact)?,
            reader: reader_of(&readers, contact)?,
            tags,
            rows: transaction.open_table(ROWS)?,
            payloads: transaction.open_table(PAYLOADS)?,
            arrivals: transaction.open_table(ARRIVALS)?,
            readers,
            next: transaction.open_table(NEXT)?,
            taken: Taken::default(),
        })
    }

    /// Keeps a letter, unless it was here before.
    pub(super) fn add(&mut self, letter: &Arrived) -> Result<(), TableFault> {
        let (tag, counter) = split_slot(letter.slot);
        let key = row_key(&self.contact, letter.slot);
        let known = self.known.get(&tag).copied();
        let before = known.is_some_and(|row| counter <= row.delivered);
        if counter == 0 || before || self.rows.get(&key)?.is_some() {
            return Ok(());
        }
        let bytes = letter.payload.as_ref().map_or(0, |payload| payload.len() as u64);
        let fits = self.reader.letters < READY_MAX
            && self.reader.bytes.saturating_add(bytes) <= READY_BYTES_MAX;
        if !fits || (known.is_none() && !self.room_for_a_tag()?) {
            self.taken.full = true;
            return Ok(());
        }
        let row = Row {
            via: letter.via,
            epoch: letter.epoch,
            created_at: letter.created_at,
            sent_at: letter.sent_at,
            previous: letter.previous,
            previous_at: letter.previous_at,
            state: State::Held,
            missed: 0,
            bytes,
            whole: letter.payload.is_some(),
        };
        self.rows.insert(&key, to_row("a letter", &row)?.as_slice())?;
        if let Some(payload) = &letter.payload {
            self.payloads.insert(&key, payload.as_slice())?;
        }
        self.reader.letters += 1;
        self.reader.bytes += bytes;
        let known = self.known.entry(tag).or_default();
        known.held += 1;
        known.last_at = known.last_at.max(letter.created_at);
        Ok(())
    }

    /// Whether another tag may be remembered; forgets those that nothing came from for long.
    fn room_for_a_tag(&mut self) -> Result<bool, TableFault> {
        if self.known.len() < TAGS_MAX {
            return Ok(true);
        }
        let now = self.now;
        let idle = |row: &TagRow| row.held == 0 && now.since(row.last_at) > TAG_IDLE_MS;
        let idle: Vec<Tag> =
            self.known.iter().filter(|(_, row)| idle(row)).map(|(tag, _)| *tag).collect();
        for tag in idle {
            self.known.remove(&tag);
            self.tags.remove(&row_key(&self.contact, u64::from(tag)))?;
        }
        Ok(self.known.len() < TAGS_MAX)
    }

    /// Makes ready what is next in its tag.
    pub(super) fn advance(&mut self, gone: &dyn Fn(Tag, u64) -> bool) -> Result<(), TableFault> {
        let waiting: Vec<Tag> =
            self.known.iter().filter(|(_, row)| row.held > 0).map(|(tag, _)| *tag).collect();
        for tag in waiting {
            let Some(mut known) = self.known.get(&tag).copied() else { continue };
            while let Some((slot, row)) = self.first_after(tag, known.delivered)? {
                let counter = split_slot(slot).1;
                let (previous, previous_at) = (row.previous, row.previous_at);
                let link = Link { counter, previous, previous_at };
                match step(known.delivered, link, |counter| gone(tag, counter), self.now) {
                    Step::Wait { missing } => {
                        self.taken.gaps.push((tag, missing));
                        break;
                    }
                    Step::Deliver { missed } => self.deliver(slot, Row { missed, ..row })?,
                }
                known.delivered = counter;
                known.held = known.held.saturating_sub(1);
            }
            self.known.insert(tag, known);
        }
        self.raise_marks()
    }

    fn first_after(&self, tag: Tag, delivered: u64) -> Result<Option<(u64, Row)>, TableFault> {
        let mut rows = self
            .rows
            .range::<&RowKey>(&after(&self.contact, tag, delivered)..=&last(&self.contact, tag))?;
        let Some(row) = rows.next() else { return Ok(None) };
        let (key, row) = row?;
        Ok(Some((number_of(key.value()), from_row("a letter", row.value())?)))
    }

    fn deliver(&mut self, slot: u64, mut row: Row) -> Result<(), TableFault> {
        let key = row_key(&self.contact, slot);
        self.taken.missed += row.missed;
        if row.whole {
            let arrival = self.next.get(())?.map_or(1, |next| next.value());
            self.next.insert((), arrival.saturating_add(1))?;
            self.arrivals.insert(arrival, &key)?;
            self.taken.ready += 1;
            row.state = State::Ready { arrival };
        } else {
            self.taken.damaged += 1;
            self.reader.letters = self.reader.letters.saturating_sub(1);
            row.state = State::Acknowledged;
        }
        self.rows.insert(&key, to_row("a letter", &row)?.as_slice())?;
        Ok(())
    }

    /// Marks one letter; whether it ever became ready here.
    pub(super) fn acknowledge(&mut self, id: LetterId) -> Result<bool, TableFault> {
        let key = row_key(&self.contact, slot_of(id.tag, id.counter));
        let row = self.rows.get(&key)?.map(|row| from_row::<Row>("a letter", row.value()));
        let Some(row) = row.transpose()? else {
            let mark = self.known.get(&id.tag).map_or(0, |known| known.acknowledged);
            return Ok((1..=mark).contains(&id.counter));
        };
        match row.state {
            State::Held => return Ok(false),
            State::Acknowledged => {}
            State::Ready { arrival } => {
                self.arrivals.remove(arrival)?;
                self.payloads.remove(&key)?;
                self.reader.letters = self.reader.letters.saturating_sub(1);
                self.reader.bytes = self.reader.bytes.saturating_sub(row.bytes);
                let row = Row { state: State::Acknowledged, ..row };
                self.rows.insert(&key, to_row("a letter", &row)?.as_slice())?;
            }
        }
        Ok(true)
    }

    /// Raises each tag's watermark as far as all is acknowledged.
    pub(super) fn raise_marks(&mut self) -> Result<(), TableFault> {
        for (tag, known) in &mut self.known {
            if known.acknowledged == known.delivered {
                continue;
            }
            let from = after(&self.contact, *tag, known.acknowledged);
            let to = row_key(&self.contact, slot_of(*tag, known.delivered));
            let mut mark = known.delivered;
            for row in self.rows.range::<&RowKey>(&from..=&to)? {
                let (key, row) = row?;
                let row: Row = from_row("a letter", row.value())?;
                if row.state != State::Acknowledged {
                    mark = split_slot(number_of(key.value())).1.saturating_sub(1);
                    break;
                }
            }
            known.acknowledged = mark;
        }
        Ok(())
    }

    pub(super) fn close(mut self) -> Result<Taken, TableFault> {
        for (tag, row) in &self.known {
            let key = row_key(&self.contact, u64::from(*tag));
            self.tags.insert(&key, to_row("a tag", row)?.as_slice())?;
        }
        let reader = to_row("a direction", &self.reader)?;
        self.readers.insert(&self.contact, reader.as_slice())?;
        Ok(self.taken)
    }
}
