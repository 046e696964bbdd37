//! The open database: typed access to its rows, and what can go wrong with them.

use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use dht_kad::reconcile::RowKey;
use dht_kad::record::MalformedRecord;
use rocksdb::{
    ColumnFamily, DB, DBPinnableSlice, DBRawIterator, ErrorKind, ReadOptions, ReadTier, WriteBatch,
    WriteOptions,
};
use thiserror::Error;

use super::rows::RecordRow;
use super::settings::{Family, Settings};

/// Bytes that a scan reads at once: a disk needs no longer for them than for the way there.
const SCAN_READAHEAD_BYTES: usize = 2 << 20;

/// Why rows could not be read or written.
#[derive(Debug, Error)]
pub(super) enum Fault {
    /// Memory does not have it, and only memory was asked.
    #[error("the row is not in memory")]
    NotInMemory,
    /// What is on disk is not what was written.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// RocksDB or the operating system failed.
    #[error("{0}")]
    Failed(String),
    /// The database is closed, or could not be opened again.
    #[error("the database is closed")]
    Closed,
}

impl From<rocksdb::Error> for Fault {
    fn from(error: rocksdb::Error) -> Self {
        match error.kind() {
            ErrorKind::Incomplete => Fault::NotInMemory,
            ErrorKind::Corruption => Fault::Damaged(error.into_string()),
            _ => Fault::Failed(error.into_string()),
        }
    }
}

impl From<MalformedRecord> for Fault {
    fn from(error: MalformedRecord) -> Self {
        Fault::Damaged(format!("a row is not a record: {error}"))
    }
}

/// Where reads may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// To memory only; [`Fault::NotInMemory`] otherwise.
    Memory,
    /// To the disk as well.
    Disk,
}

/// An open database.
pub(super) struct Database {
    db: DB,
}

impl Database {
    /// Opens what is there, for writing.
    pub(super) fn open(path: &Path, settings: &Settings) -> Result<Self, rocksdb::Error> {
        let options = settings.database(false);
        let db = DB::open_cf_descriptors(&options, path, settings.families())?;
        Ok(Database { db })
    }

    /// Makes a new database.
    pub(super) fn create(path: &Path, settings: &Settings) -> Result<Self, rocksdb::Error> {
        let options = settings.database(true);
        let db = DB::open_cf_descriptors(&options, path, settings.families())?;
        Ok(Database { db })
    }

    /// Opens what is there without writing anything.
    pub(super) fn open_for_reading(
        path: &Path,
        settings: &Settings,
    ) -> Result<Self, rocksdb::Error> {
        let options = settings.database(false);
        let db = DB::open_cf_descriptors_read_only(&options, path, settings.families(), false)?;
        Ok(Database { db })
    }

    pub(super) fn family(&self, family: Family) -> Result<&ColumnFamily, Fault> {
        self.db
            .cf_handle(family.name())
            .ok_or_else(|| Fault::Damaged(format!("column family {} is missing", family.name())))
    }

    /// One row's value.
    pub(super) fn get(
        &self,
        family: Family,
        key: &[u8],
        reach: Reach,
    ) -> Result<Option<DBPinnableSlice<'_>>, Fault> {
        Ok(self.db.get_pinned_cf_opt(self.family(family)?, key, &read_options(reach))?)
    }

    /// The row of a slot.
    pub(super) fn record_row(
        &self,
        slot: &RowKey,
        reach: Reach,
    ) -> Result<Option<RecordRow>, Fault> {
        let row = self.get(Family::Records, slot, reach)?;
        row.map(|row| RecordRow::decode(&row).ok_or_else(|| short_row(Family::Records))).transpose()
    }

    /// The rows of a family with keys in `from..to`; of one prefix if they share it.
    pub(super) fn rows(
        &self,
        family: Family,
        from: &[u8],
        to: Vec<u8>,
        reach: Reach,
    ) -> Result<DBRawIterator<'_>, Fault> {
        let mut options = read_options(reach);
        if family == Family::Records {
            options.set_prefix_same_as_start(true);
        }
        self.seek(family, from, to, options)
    }

    /// The same for very many rows that are read once: ahead, and past the cache.
    pub(super) fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Vec<u8>,
    ) -> Result<DBRawIterator<'_>, Fault> {
        let mut options = read_options(Reach::Disk);
        options.set_total_order_seek(true);
        options.set_readahead_size(SCAN_READAHEAD_BYTES);
        options.fill_cache(false);
        self.seek(family, from, to, options)
    }

    fn seek(
        &self,
        family: Family,
        from: &[u8],
        to: Vec<u8>,
        mut options: ReadOptions,
    ) -> Result<DBRawIterator<'_>, Fault> {
        options.set_iterate_upper_bound(to);
        let mut rows = self.db.raw_iterator_cf_opt(self.family(family)?, options);
        rows.seek(from);
        Ok(rows)
    }

    /// Applies a batch; if `synced`, it is on stable storage when this returns.
    pub(super) fn write(&self, batch: WriteBatch, synced: bool) -> Result<(), Fault> {
        let mut options = WriteOptions::default();
        options.set_sync(synced);
        Ok(self.db.write_opt(batch, &options)?)
    }

    /// Writes out all memtables, so that the next start replays little.
    pub(super) fn flush(&self) -> Result<(), Fault> {
        let families =
            Family::ALL.iter().map(|family| self.family(*family)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.db.flush_cfs_opt(&families, &rocksdb::FlushOptions::default())?)
    }

    /// How many rows a family has, by counting them.
    pub(super) fn count_rows(&self, family: Family) -> Result<u64, Fault> {
        let mut options = read_options(Reach::Disk);
        options.set_total_order_seek(true);
        let mut rows = self.db.raw_iterator_cf_opt(self.family(family)?, options);
        let mut count = 0;
        rows.seek_to_first();
        while rows.valid() {
            count += 1;
            rows.next();
        }
        rows.status()?;
        Ok(count)
    }
}

/// A row whose value ends early.
pub(super) fn short_row(family: Family) -> Fault {
    Fault::Damaged(format!("a row of {} ends early", family.name()))
}

fn read_options(reach: Reach) -> ReadOptions {
    let mut options = ReadOptions::default();
    if reach == Reach::Memory {
        options.set_read_tier(ReadTier::BlockCache);
    }
    options
}

/// The open database as readers and the writer share it. The writer alone replaces it: after a
/// failed write RocksDB has to be opened anew, and all readers have to let go of it for that.
pub(super) struct DatabaseCell(RwLock<Option<Database>>);

impl DatabaseCell {
    pub(super) fn new(database: Database) -> Self {
        DatabaseCell(RwLock::new(Some(database)))
    }

    /// The database; waits while it is being opened anew.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database, unless it is being opened anew.
    pub(super) fn try_read(&self) -> Option<RwLockReadGuard<'_, Option<Database>>> {
        match self.0.try_read() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The database for its owner, after all readers let go of it.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Option<Database>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
