//! [`Tables`]: one transaction on what is written to one contact.

use std::collections::BTreeMap;

use dht_kad::UnixMs;
use redb::{ReadableTable, Table, WriteTransaction};

use super::{
    CHUNKS, FINISHED_MAX, LIFETIME_MS, PAYLOADS, Payload, RECORDS, ROWS, Row, WRITERS, Writer,
    writer_of,
};
use crate::letters::OutboxState;
use crate::letters::mailbox::Tag;
use crate::letters::rows::{RowKey, row_key};
use crate::profile::{TableFault, from_row, to_row};

/// One transaction on one direction.
pub(super) struct Tables<'t> {
    contact: [u8; 32],
    writers: Table<'t, &'static [u8; 32], &'static [u8]>,
    rows: Table<'t, &'static RowKey, &'static [u8]>,
    payloads: Table<'t, &'static RowKey, &'static [u8]>,
    pub(super) records: Table<'t, &'static RowKey, &'static [u8]>,
    chunks: Table<'t, (&'static RowKey, u32), &'static [u8]>,
    pub(super) writer: Writer,
}

impl<'t> Tables<'t> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        contact: &[u8; 32],
    ) -> Result<Self, TableFault> {
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

    pub(super) fn accept(&mut self, payload: &Payload, now: UnixMs) -> Result<u64, TableFault> {
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
    pub(super) fn retag(&mut self, via: u32, tag: Tag, salt: u64) -> Result<(), TableFault> {
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
    pub(super) fn settle(
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
    pub(super) fn finish(&mut self, number: u64, state: OutboxState) -> Result<(), TableFault> {
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
    pub(super) fn drop_contents(&mut self, number: u64, chunks: u32) -> Result<(), TableFault> {
        let key = row_key(&self.contact, number);
        self.payloads.remove(&key)?;
        self.records.remove(&key)?;
        for place in 0..chunks {
            self.chunks.remove((&key, place))?;
        }
        Ok(())
    }

    /// Moves on past what is not queued any more.
    pub(super) fn skip_delivered(&mut self) -> Result<(), TableFault> {
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
    pub(super) fn forget_old(&mut self) -> Result<(), TableFault> {
        let keep_from = self.writer.settled.saturating_sub(FINISHED_MAX);
        let (first, last) = (row_key(&self.contact, 0), row_key(&self.contact, keep_from));
        self.rows.retain_in::<&RowKey, _>(&first..=&last, |_, _| false)?;
        Ok(())
    }

    pub(super) fn row(&self, number: u64) -> Result<Option<Row>, TableFault> {
        let row = self.rows.get(&row_key(&self.contact, number))?;
        row.map(|row| from_row("a letter", row.value())).transpose()
    }

    pub(super) fn set(&mut self, number: u64, row: &Row) -> Result<(), TableFault> {
        let bytes = to_row("a letter", row)?;
        self.rows.insert(&row_key(&self.contact, number), bytes.as_slice())?;
        Ok(())
    }

    pub(super) fn close(mut self) -> Result<(), TableFault> {
        let writer = to_row("a direction", &self.writer)?;
        self.writers.insert(&self.contact, writer.as_slice())?;
        Ok(())
    }
}
