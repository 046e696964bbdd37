//! From a failed write back to a store that takes records, without believing anything on the way.
//!
//! RocksDB has no call by which a program could ask it to go on after an error, and its own attempts
//! to do so may succeed in memory only. So: a file is written beside it and synced, to see whether
//! the disk works; then the database is closed and opened anew, which replays its log; then a row is
//! written and synced. Only when all of this succeeded does the store take records again. Until
//! then reads go on, from the old database or from one that was opened for reading.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rocksdb::WriteBatch;

use super::database::{Database, DatabaseCell, Fault};
use super::rows::state;
use super::settings::{Family, Settings};

/// The first wait before an attempt.
const WAIT_FIRST: Duration = Duration::from_millis(500);
/// The longest wait between attempts: what an operator who made room has to wait for.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Bytes of the file that tries the disk: as much as the largest commit.
const PROBE_BYTES: usize = 1 << 20;

/// Attempts to come back, ever less often.
#[derive(Debug)]
pub(super) struct Recovery {
    wait: Duration,
    due: Instant,
}

impl Recovery {
    pub(super) fn new() -> Self {
        Recovery { wait: WAIT_FIRST, due: Instant::now() + WAIT_FIRST }
    }

    /// When it is time for the next attempt.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Tries all of it once. On success the cell holds a database that is known to take writes.
    pub(super) fn attempt(
        &mut self,
        cell: &DatabaseCell,
        path: &Path,
        settings: &Settings,
    ) -> Result<(), Fault> {
        self.wait = (self.wait * 2).min(WAIT_MAX);
        self.due = Instant::now() + self.wait;
        try_disk(path)?;
        open_anew(cell, path, settings)?;
        let guard = cell.read();
        let db = guard.as_ref().ok_or(Fault::Closed)?;
        let mut batch = WriteBatch::default();
        batch.put_cf(db.family(Family::State)?, state::PROBE, []);
        db.write(batch, true)
    }
}

/// Writes and syncs a file next to the database, and removes it.
fn try_disk(path: &Path) -> Result<(), Fault> {
    let probe = path.with_extension("probe");
    let written = File::create(&probe)
        .and_then(|mut file| {
            file.write_all(&vec![0; PROBE_BYTES])?;
            file.sync_all()
        })
        .map_err(|error| Fault::Failed(format!("cannot write {}: {error}", probe.display())));
    let removed = std::fs::remove_file(&probe);
    written?;
    removed.map_err(|error| Fault::Failed(format!("cannot remove {}: {error}", probe.display())))
}

/// Closes the database and opens it again, for reading only if it cannot be opened for writing.
fn open_anew(cell: &DatabaseCell, path: &Path, settings: &Settings) -> Result<(), Fault> {
    let mut slot = cell.write();
    drop(slot.take());
    match Database::open(path, settings) {
        Ok(database) => {
            *slot = Some(database);
            Ok(())
        }
        Err(error) => {
            *slot = Database::open_for_reading(path, settings).ok();
            Err(error.into())
        }
    }
}
