//! Opening a data directory: whose it is, whether it is whole, and what it says of itself.
//!
//! ```text
//! <data dir>/LOCK          held by the process that uses the directory
//! <data dir>/db            the database
//! <data dir>/db.creating   a database that is not finished; begun anew at the next start
//! ```
//!
//! A database comes into being under another name and is renamed when it is whole. So whatever lies
//! in `db` was a whole database once, and RocksDB is never told to create anything there: where
//! something is missing, opening fails and leaves all as it is.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dht_context::registry::SavedPeer;
use dht_kad::reconcile::Fingerprints;
use dht_kad::{ErrorNumber, NetworkName, UnixMs};
use rocksdb::WriteBatch;
use thiserror::Error;

use super::StoreConfig;
use super::database::{Database, Fault, Reach};
use super::directory::HeldDirectory;
use super::rows::state;
use super::sets;
use super::settings::{Family, Settings};
use super::sweep::SweepMarks;
use super::usage::UsageBook;

/// The layout of the rows that this version writes.
///
/// Schema 1 had heads' ends under their class, where this version would not look for those that are
/// kept longer. No release wrote it, so there is no way from it to here.
pub(super) const SCHEMA_VERSION: u32 = 2;

/// A data directory cannot be used. Nothing in it was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds the directory.
    #[error("another process uses the data directory {}; stop it or choose another directory", .0.display())]
    InUse(PathBuf),
    /// What is there is not what was written.
    #[error(
        "the database in {} is damaged ({reason}) and was left as it is; restore the directory from a backup, or move it away to start empty",
        dir.display()
    )]
    Damaged {
        /// The data directory.
        dir: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A newer version wrote it.
    #[error(
        "the database in {} has schema {found}, this version knows {SCHEMA_VERSION}; install the newer version again",
        dir.display()
    )]
    SchemaTooNew {
        /// The data directory.
        dir: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// An older version wrote it, in a layout that is not read any more.
    #[error(
        "the database in {} has schema {found}, which this version cannot read; start the version that wrote it, or move the directory away to start empty",
        dir.display()
    )]
    SchemaTooOld {
        /// The data directory.
        dir: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// It keeps the records of another network.
    #[error(
        "the data directory {} belongs to network {found}, not {wanted}; choose another directory or network",
        dir.display()
    )]
    OtherNetwork {
        /// The data directory.
        dir: PathBuf,
        /// Whose records it keeps.
        found: String,
        /// Whose records it should keep.
        wanted: NetworkName,
    },
    /// No room.
    #[error("the disk of {} has no room; make some and start again", .0.display())]
    DiskFull(PathBuf),
    /// The operating system refused.
    #[error("cannot use {} ({reason}); check its owner, permissions and disk", path.display())]
    FileAccess {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// The operating system starts no more threads.
    #[error("cannot start the store's threads ({0}); raise the limit on tasks")]
    Threads(String),
}

impl OpenError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            OpenError::InUse(_) => ErrorNumber::DataDirInUse,
            OpenError::Damaged { .. } => ErrorNumber::DatabaseDamaged,
            OpenError::SchemaTooNew { .. } => ErrorNumber::SchemaTooNew,
            OpenError::SchemaTooOld { .. } => ErrorNumber::SchemaTooOld,
            OpenError::OtherNetwork { .. } => ErrorNumber::BadConfig,
            OpenError::DiskFull(_) => ErrorNumber::DiskFull,
            OpenError::FileAccess { .. } => ErrorNumber::FileAccess,
            OpenError::Threads(_) => ErrorNumber::Internal,
        }
    }
}

/// An opened data directory.
pub(super) struct Opened {
    pub(super) directory: HeldDirectory,
    pub(super) database: Database,
    pub(super) incarnation: [u8; 16],
    pub(super) high_water: Option<UnixMs>,
    pub(super) saved_peers: Vec<SavedPeer>,
    pub(super) progress: Bytes,
    pub(super) cursors: Cursors,
}

/// What the writer goes on from.
pub(super) struct Cursors {
    pub(super) commit_no: u64,
    pub(super) marks: SweepMarks,
    pub(super) usage: UsageBook,
    pub(super) fingerprints: Fingerprints,
}

/// Where the database lies.
pub(super) fn database_path(dir: &Path) -> PathBuf {
    dir.join("db")
}

/// Opens a data directory; makes what is not there yet.
pub(super) fn open(config: &StoreConfig, settings: &Settings) -> Result<Opened, OpenError> {
    let dir = config.dir.as_path();
    let directory = HeldDirectory::take(dir)?;
    if !exists(&database_path(dir))? {
        create(config, settings)?;
    }
    let faults = Faults { dir };
    let database =
        Database::open(&database_path(dir), settings).map_err(|error| faults.of(error.into()))?;
    check_identity(&database, config)?;
    let incarnation = read_incarnation(&database).map_err(|fault| faults.of(fault))?;
    let high_water = read_u64(&database, state::CLOCK).map_err(|fault| faults.of(fault))?;
    let saved_peers = read_peers(&database).map_err(|fault| faults.of(fault))?;
    let progress = read_state(&database, state::PROGRESS).map_err(|fault| faults.of(fault))?;
    let cursors = read_cursors(&database).map_err(|fault| faults.of(fault))?;
    let (high_water, progress) = (high_water.map(UnixMs), progress.unwrap_or_default().into());
    Ok(Opened { directory, database, incarnation, high_water, saved_peers, progress, cursors })
}

/// Makes a database under another name and renames it once it is whole.
fn create(config: &StoreConfig, settings: &Settings) -> Result<(), OpenError> {
    let dir = config.dir.as_path();
    let faults = Faults { dir };
    let unfinished = dir.join("db.creating");
    if exists(&unfinished)? {
        std::fs::remove_dir_all(&unfinished).map_err(|error| access(&unfinished, &error))?;
    }
    let database =
        Database::create(&unfinished, settings).map_err(|error| faults.of(error.into()))?;
    write_identity(&database, &config.network).map_err(|fault| faults.of(fault))?;
    database.flush().map_err(|fault| faults.of(fault))?;
    drop(database);
    let path = database_path(dir);
    std::fs::rename(&unfinished, &path).map_err(|error| access(&path, &error))?;
    sync_directory(dir)
}

fn write_identity(database: &Database, network: &NetworkName) -> Result<(), Fault> {
    let mut incarnation = [0; 16];
    getrandom::fill(&mut incarnation).map_err(|error| Fault::Failed(error.to_string()))?;
    let family = database.family(Family::State)?;
    let mut batch = WriteBatch::default();
    batch.put_cf(family, state::SCHEMA, SCHEMA_VERSION.to_be_bytes());
    batch.put_cf(family, state::NETWORK, network.as_str());
    batch.put_cf(family, state::INCARNATION, incarnation);
    database.write(batch, true)
}

/// Checks that the rows are ones that this version understands, and of the right network.
fn check_identity(database: &Database, config: &StoreConfig) -> Result<(), OpenError> {
    let dir = config.dir.as_path();
    let faults = Faults { dir };
    let read = |key| read_state(database, key).map_err(|fault| faults.of(fault));
    let damaged = |reason: &str| OpenError::Damaged { dir: dir.to_owned(), reason: reason.into() };
    let schema = read(state::SCHEMA)?
        .and_then(|row| Some(u32::from_be_bytes(row.try_into().ok()?)))
        .ok_or_else(|| damaged("its schema version is missing"))?;
    if schema > SCHEMA_VERSION {
        return Err(OpenError::SchemaTooNew { dir: dir.to_owned(), found: schema });
    }
    if schema < SCHEMA_VERSION {
        return Err(OpenError::SchemaTooOld { dir: dir.to_owned(), found: schema });
    }
    let network = read(state::NETWORK)?.ok_or_else(|| damaged("its network is missing"))?;
    if network != config.network.as_str().as_bytes() {
        let found = String::from_utf8_lossy(&network).into_owned();
        let wanted = config.network.clone();
        return Err(OpenError::OtherNetwork { dir: dir.to_owned(), found, wanted });
    }
    Ok(())
}

/// What the writer goes on from; also after the database was opened anew. Reads all of `index`.
pub(super) fn read_cursors(database: &Database) -> Result<Cursors, Fault> {
    let commit_no = read_u64(database, state::COMMIT_NO)?.unwrap_or(0);
    let marks = match read_state(database, state::SWEEP)? {
        Some(row) => SweepMarks::decode(&row).ok_or_else(|| short(state::SWEEP))?,
        None => SweepMarks::default(),
    };
    let mut usage = UsageBook::default();
    let (total, classes) = usage.summary(database)?;
    let sum = |part: fn(&dht_kad::admission::Amount) -> u64| {
        classes.iter().fold(0_u64, |sum, class| sum.saturating_add(part(class)))
    };
    if (sum(|amount| amount.records), sum(|amount| amount.bytes)) != (total.records, total.bytes) {
        return Err(Fault::Damaged("the counters of its classes do not add up".to_owned()));
    }
    let fingerprints = sets::read_fingerprints(database)?;
    Ok(Cursors { commit_no, marks, usage, fingerprints })
}

fn read_incarnation(database: &Database) -> Result<[u8; 16], Fault> {
    read_state(database, state::INCARNATION)?
        .and_then(|row| row.try_into().ok())
        .ok_or_else(|| short(state::INCARNATION))
}

fn read_peers(database: &Database) -> Result<Vec<SavedPeer>, Fault> {
    let Some(row) = read_state(database, state::SAVED_PEERS)? else { return Ok(Vec::new()) };
    serde_json::from_slice(&row).map_err(|error| Fault::Damaged(format!("saved peers: {error}")))
}

fn read_u64(database: &Database, key: &[u8]) -> Result<Option<u64>, Fault> {
    let Some(row) = read_state(database, key)? else { return Ok(None) };
    row.try_into().map(|row| Some(u64::from_be_bytes(row))).map_err(|_| short(key))
}

fn read_state(database: &Database, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    Ok(database.get(Family::State, key, Reach::Disk)?.map(|row| row.to_vec()))
}

fn short(key: &[u8]) -> Fault {
    Fault::Damaged(format!("state row {} is not whole", String::from_utf8_lossy(key)))
}

/// Turns what RocksDB says into what its operator can act on.
struct Faults<'a> {
    dir: &'a Path,
}

impl Faults<'_> {
    fn of(&self, fault: Fault) -> OpenError {
        let dir = self.dir.to_owned();
        let reason = match fault {
            Fault::Damaged(reason) => return OpenError::Damaged { dir, reason },
            other => other.to_string(),
        };
        let says = |text: &str| reason.contains(text);
        if says("No space left on device") || says("Disk quota exceeded") {
            return OpenError::DiskFull(dir);
        }
        // The lock is RocksDB's own: somebody opened the database without our LOCK.
        if says("lock ") && says("Resource temporarily unavailable") {
            return OpenError::InUse(dir);
        }
        // A file that is named but not there, or rows without their families.
        let missing = says("No such file or directory")
            || says("does not exist (create_if_missing is false)")
            || says("Column families not opened")
            || says("Column family not found")
            || says("Invalid column family specified");
        if missing {
            return OpenError::Damaged { dir, reason };
        }
        OpenError::FileAccess { path: database_path(self.dir), reason }
    }
}

pub(super) fn exists(path: &Path) -> Result<bool, OpenError> {
    path.try_exists().map_err(|error| access(path, &error))
}

pub(super) fn sync_directory(dir: &Path) -> Result<(), OpenError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| access(dir, &error))
}

pub(super) fn access(path: &Path, error: &io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            OpenError::DiskFull(path.to_owned())
        }
        _ => OpenError::FileAccess { path: path.to_owned(), reason: error.to_string() },
    }
}
