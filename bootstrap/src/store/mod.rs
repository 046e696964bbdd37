//! [`RocksStore`]: records on disk, durable when they are acknowledged.
//!
//! ```text
//! network thread ── submit ──▶ queue ──▶ writer thread ──▶ RocksDB (one synced write a commit)
//!       │                                   └─ sweeps, watches clock and disk, recovers
//!       ├────────── find ────▶ memory ─────────────────▶ at once
//!       └────────── find ────▶ queue ──▶ reader threads ▶ later, from disk
//! ```
//!
//! The store decides nothing: [`dht_kad::admission::plan_put`] does. [`commit_plan`] turns its answers
//! into rows ([`rows`]), [`writer`] makes them durable, [`read`] shows them as of now, [`sweep`] takes
//! out what has ended, [`sets`] keeps the fingerprints that holders compare, [`recovery`] brings the store back after a failed write, [`open`] refuses what
//! it should not touch, and [`clock_guard`] says when the clock must not be believed.

mod clock_guard;
mod commit_plan;
mod database;
mod directory;
mod disk_room;
mod open;
mod read;
mod recovery;
mod rows;
mod sets;
mod settings;
mod shared;
mod sweep;
mod usage;
mod write_job;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use dht_context::clock::Clock;
use dht_context::registry::SavedPeer;
use dht_context::store::{
    CommitObserver, Fetch, Page, PageQuery, RecordStore, StoreUsage, Submission,
};
use dht_kad::admission::Limits;
use dht_kad::reconcile::{Fingerprints, Item, Part, RowKey};
use dht_kad::{NetworkName, Refusal, UnixMs};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

pub use self::clock_guard::{BACKWARD_TOLERANCE_MS, CONFIRM_MS, JUMP_MAX_MS};
pub use self::open::OpenError;

use self::clock_guard::ClockGuard;
use self::database::Fault;
use self::disk_room::DiskRoom;
pub use self::disk_room::DiskSpace;
use self::open::Opened;
use self::read::{Answer, ReadJob};
use self::settings::{Family, Settings};
use self::shared::{Health, Shared, lock};
use self::write_job::{PutResults, Remembered, WriteJob};
use self::writer::Writer;
use crate::work_queue::{Load, NotQueued};

/// Threads that read from disk: two reads at once keep a disk busy without crowding out the writer.
const READER_THREADS: usize = 2;
/// Peers that are remembered: several times what a routing table starts from.
const SAVED_PEERS_MAX: usize = 1_024;
/// Bytes of what replication remembers: one row, written whole each time.
const PROGRESS_BYTES_MAX: usize = 1 << 20;
/// Free bytes on the disk under which nothing more is taken: room for a log, a flush and a compaction.
pub const MIN_FREE_BYTES: u64 = 512 << 20;
/// Bytes of memory for blocks, blobs and memtables unless configured.
pub const CACHE_BYTES: usize = 192 << 20;

/// What a store is opened with.
#[derive(Clone)]
pub struct StoreConfig {
    /// The data directory; made if it is not there.
    pub dir: PathBuf,
    /// Whose records it keeps. Fixed when the directory is first used.
    pub network: NetworkName,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// What it may keep.
    pub limits: Limits,
    /// Bytes of memory for blocks, blobs and memtables, such as [`CACHE_BYTES`].
    pub cache_bytes: usize,
    /// Free bytes on the disk under which nothing more is taken, such as [`MIN_FREE_BYTES`].
    pub min_free_bytes: u64,
}

/// Records on disk. Dropping it without [`RecordStore::close`] leaves what a crash would leave.
pub struct RocksStore {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    incarnation: [u8; 16],
    dir: PathBuf,
    min_free_bytes: u64,
}

/// How many rows each column family has, by counting them; for tests of what is on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowCounts {
    /// Slots.
    pub records: u64,
    /// Bodies that lie apart.
    pub bodies: u64,
    /// Ends of heads and bodies.
    pub index: u64,
    /// Counters.
    pub usage: u64,
}

impl RocksStore {
    /// Opens the store in a data directory, making it if it is not there. Blocks while the log is
    /// replayed.
    ///
    /// # Errors
    /// [`OpenError`]; nothing in the directory was changed then.
    pub fn open(config: StoreConfig) -> Result<Self, OpenError> {
        let settings = Settings::new(config.cache_bytes);
        let opened = open::open(&config, &settings)?;
        let Opened { directory, database, incarnation, high_water, saved_peers, progress, cursors } =
            opened;
        let clock = ClockGuard::new(config.clock, high_water);
        let shared = Shared::new(config.network, clock, database, saved_peers, progress, directory);
        let shared = Arc::new(shared);
        let path = open::database_path(&config.dir);
        let dir = config.dir;
        let room = DiskRoom::new(dir.clone(), config.min_free_bytes);
        let writer = Writer::new(Arc::clone(&shared), config.limits, path, settings, room, cursors);
        let writer = start_threads(&shared, writer)
            .map_err(|error| OpenError::Threads(error.to_string()))?;
        let min_free_bytes = config.min_free_bytes;
        Ok(RocksStore {
            shared,
            writer: Mutex::new(Some(writer)),
            incarnation,
            dir,
            min_free_bytes,
        })
    }

    /// Names this store: new with each one that is made. Commit numbers mean something only within.
    #[must_use]
    pub fn incarnation(&self) -> [u8; 16] {
        self.incarnation
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// The room on the disk that it lies on right now; `None` if the system does not tell.
    #[must_use]
    pub fn disk(&self) -> Option<DiskSpace> {
        DiskSpace::at(&self.dir, self.min_free_bytes).ok()
    }

    /// Counts up while the writer makes progress, also if it only refuses.
    #[must_use]
    pub fn writer_turns(&self) -> u64 {
        self.shared.writer_turns.load(Ordering::Relaxed)
    }

    /// Asks the writer for a sign of life, through the queue that puts go through: resolves to true when
    /// its thread has come to it, and to false if it never will.
    ///
    /// A store that is full or unsure of its clock answers like any other. One that is read-only says
    /// that it knows of its fault, so it is not asked: to open a large database anew, by which it
    /// recovers, may take longer than anyone who watches waits.
    pub fn writer_answers(&self) -> BoxFuture<'static, bool> {
        if self.shared.check_health() == Err(Refusal::ReadOnly) {
            return Box::pin(std::future::ready(true));
        }
        let (answer, done) = oneshot::channel();
        let queued = self.shared.writes.push(Load::default(), WriteJob::Nothing { answer });
        Box::pin(async move { queued.is_ok() && done.await.is_ok() })
    }

    /// Takes out everything that has ended by now; resolves when that is done. It looks at more
    /// rows than the store's own sweep, which waits until a period is over.
    pub fn sweep(&self) -> BoxFuture<'static, ()> {
        let (answer, done) = oneshot::channel();
        let queued = self.shared.writes.push(Load::default(), WriteJob::Sweep { answer });
        Box::pin(async move {
            if queued.is_ok() {
                let _ = done.await;
            }
        })
    }

    /// Counts the rows on disk. Reads all of them.
    ///
    /// # Errors
    /// What RocksDB says if it cannot read them.
    pub fn count_rows(&self) -> Result<RowCounts, String> {
        let guard = self.shared.database.read();
        let count = |family| match guard.as_ref() {
            Some(db) => db.count_rows(family).map_err(|fault| fault.to_string()),
            None => Err(Fault::Closed.to_string()),
        };
        Ok(RowCounts {
            records: count(Family::Records)?,
            bodies: count(Family::Bodies)?,
            index: count(Family::Index)?,
            usage: count(Family::Usage)?,
        })
    }

    /// Hands a job to the writer, or says why not.
    fn queue_write(&self, load: Load, job: WriteJob) -> Result<(), Refusal> {
        self.shared.check_health()?;
        self.shared.writes.push(load, job).map_err(|refused| match refused {
            NotQueued::Full(_) => Refusal::Busy,
            NotQueued::Closed(_) => Refusal::Restarting,
        })
    }

    /// Has something remembered that is about so many bytes.
    fn save(&self, bytes: usize, what: Remembered) -> BoxFuture<'static, Result<(), Refusal>> {
        let (answer, saved) = oneshot::channel();
        let load = Load { items: 1, bytes };
        let queued = self.queue_write(load, WriteJob::Save { what, answer });
        Box::pin(async move {
            queued?;
            saved.await.unwrap_or(Err(Refusal::Restarting))
        })
    }

    /// Hands a job to the readers, or says why not.
    fn queue_read<T: Send + 'static>(
        &self,
        job: impl FnOnce(Answer<T>) -> ReadJob,
    ) -> Fetch<Result<T, Refusal>> {
        let (answer, result) = oneshot::channel();
        match self.shared.reads.push(Load { items: 1, bytes: 0 }, job(answer)) {
            Ok(()) => {
                Fetch::Pending(Box::pin(
                    async move { result.await.unwrap_or(Err(Refusal::Restarting)) },
                ))
            }
            Err(NotQueued::Full(_)) => Fetch::Ready(Err(Refusal::Busy)),
            Err(NotQueued::Closed(_)) => Fetch::Ready(Err(Refusal::Restarting)),
        }
    }
}

impl RecordStore for RocksStore {
    fn find(&self, query: PageQuery) -> Fetch<Result<Page, Refusal>> {
        match self.shared.find_in_memory(&query) {
            Some(result) => Fetch::Ready(result),
            None => self.queue_read(|answer| ReadJob::Page { query, answer }),
        }
    }

    fn submit(&self, batch: Vec<Submission>) -> BoxFuture<'static, PutResults> {
        let count = batch.len();
        let bytes = batch.iter().map(|submission| submission.record.bytes().len()).sum();
        let (answer, results) = oneshot::channel();
        let load = Load { items: count, bytes };
        let queued =
            self.writable().and_then(|()| self.queue_write(load, WriteJob::Put { batch, answer }));
        Box::pin(async move {
            let all = |refusal: Refusal| std::iter::repeat_n(Err(refusal), count).collect();
            match queued {
                Ok(()) => results.await.unwrap_or_else(|_| all(Refusal::Restarting)),
                Err(refusal) => all(refusal),
            }
        })
    }

    fn writable(&self) -> Result<(), Refusal> {
        self.shared.check_health()?;
        let moment = self.shared.clock.look();
        if moment.sure { Ok(()) } else { Err(Refusal::ClockUnsure { clock: moment.now }) }
    }

    fn fingerprints(&self, look: &mut dyn FnMut(&Fingerprints)) {
        look(&self.shared.fingerprints());
    }

    fn set_resolution(&self, half_bytes: usize) {
        self.shared.resolution.store(half_bytes, Ordering::Relaxed);
    }

    fn items(
        &self,
        part: Part,
        after: Option<RowKey>,
        limit: usize,
    ) -> Fetch<Result<Vec<Item>, Refusal>> {
        self.queue_read(|answer| ReadJob::Items { part, after, limit, answer })
    }

    fn saved_progress(&self) -> Bytes {
        self.shared.progress()
    }

    fn save_progress(&self, progress: Bytes) -> BoxFuture<'static, Result<(), Refusal>> {
        if progress.len() > PROGRESS_BYTES_MAX {
            return Box::pin(std::future::ready(Err(Refusal::TooLarge)));
        }
        self.save(progress.len(), Remembered::Progress(progress))
    }

    fn usage(&self) -> StoreUsage {
        self.shared.usage()
    }

    fn saved_peers(&self) -> Vec<SavedPeer> {
        self.shared.peers()
    }

    fn save_peers(&self, mut peers: Vec<SavedPeer>) -> BoxFuture<'static, Result<(), Refusal>> {
        peers.truncate(SAVED_PEERS_MAX);
        self.save(0, Remembered::Peers(peers))
    }

    fn note_clock(&self, agrees: Option<bool>, wall: UnixMs) {
        self.shared.clock.set_agrees(agrees, wall);
    }

    fn incarnation(&self) -> Option<u64> {
        let [a, b, c, d, e, f, g, h, ..] = self.incarnation;
        Some(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    fn observe(&self, observer: Arc<dyn CommitObserver>) -> u64 {
        self.shared.observe(observer)
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.shared.flush_at_end.store(true, Ordering::SeqCst);
        self.shared.stop();
        let mut ended = self.shared.ended.subscribe();
        Box::pin(async move {
            // An error means that the writer is gone, and with it everything to wait for.
            let _ = ended.wait_for(|ended| *ended).await;
        })
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        self.shared.stop();
        let writer = lock(&self.writer).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the thread that writes records failed; report this fault");
        }
    }
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

/// Starts readers and writer; the writer ends the readers.
fn start_threads(shared: &Arc<Shared>, writer: Writer) -> std::io::Result<JoinHandle<()>> {
    let mut readers = Vec::new();
    let started = (0..READER_THREADS)
        .try_for_each(|number| {
            let shared = Arc::clone(shared);
            let name = format!("store-read-{number}");
            let reader = std::thread::Builder::new().name(name);
            readers.push(reader.spawn(move || read::serve_reads(&shared))?);
            Ok(())
        })
        .and_then(|()| {
            let writer_thread = std::thread::Builder::new().name("store-write".to_owned());
            writer_thread.spawn(move || writer.run(readers))
        });
    if started.is_err() {
        shared.reads.close();
    }
    started
}
