//! [`Shared`]: what the callers' threads, the readers and the writer share.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dht_context::registry::SavedPeer;
use dht_context::store::{CommitObserver, Page, PageQuery, StoreUsage};
use dht_kad::reconcile::{Fingerprints, Item, Part, RowKey};
use dht_kad::{NetworkName, Refusal};
use tokio::sync::watch;

use super::clock_guard::ClockGuard;
use super::database::{Database, DatabaseCell, Fault, Reach};
use super::directory::HeldDirectory;
use super::read::{self, ReadJob};
use super::sets::{self, SetChange};
use super::write_job::{Remembered, WriteJob};
use crate::work_queue::{Load, WorkQueue};

/// What may wait for the writer: what it writes in about a second. More would time out waiting.
const WRITES_WAITING: Load = Load { items: 16_384, bytes: 32 << 20 };
/// Reads that may wait for the disk: what two reader threads read in about a second.
const READS_WAITING: Load = Load { items: 4_096, bytes: usize::MAX };

/// Whether writes are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Health {
    Open = 0,
    ReadOnly = 1,
    Closing = 2,
}

/// See the module.
pub(super) struct Shared {
    pub(super) network: NetworkName,
    pub(super) database: DatabaseCell,
    pub(super) clock: ClockGuard,
    pub(super) writes: WorkQueue<WriteJob>,
    pub(super) reads: WorkQueue<ReadJob>,
    pub(super) health: AtomicU8,
    pub(super) flush_at_end: AtomicBool,
    pub(super) writer_turns: AtomicU64,
    usage: Mutex<StoreUsage>,
    peers: Mutex<Vec<SavedPeer>>,
    progress: Mutex<Bytes>,
    /// Of what the rows of heads' ends say; changed by the writer alone.
    fingerprints: Mutex<Fingerprints>,
    /// The resolution of the fingerprints that is wished for.
    pub(super) resolution: AtomicUsize,
    /// Whom the writer tells of its commits.
    observer: Mutex<Option<Arc<dyn CommitObserver>>>,
    /// Holds the data directory until the writer has ended.
    directory: Mutex<Option<HeldDirectory>>,
    pub(super) ended: watch::Sender<bool>,
}

impl Shared {
    /// Around a database that was just opened.
    pub(super) fn new(
        network: NetworkName,
        clock: ClockGuard,
        database: Database,
        saved_peers: Vec<SavedPeer>,
        progress: Bytes,
        directory: HeldDirectory,
    ) -> Self {
        Shared {
            network,
            database: DatabaseCell::new(database),
            clock,
            writes: WorkQueue::new(WRITES_WAITING),
            reads: WorkQueue::new(READS_WAITING),
            health: AtomicU8::new(Health::Open as u8),
            flush_at_end: AtomicBool::new(false),
            writer_turns: AtomicU64::new(0),
            usage: Mutex::default(),
            peers: Mutex::new(saved_peers),
            progress: Mutex::new(progress),
            fingerprints: Mutex::default(),
            resolution: AtomicUsize::new(0),
            observer: Mutex::default(),
            directory: Mutex::new(Some(directory)),
            ended: watch::Sender::new(false),
        }
    }

    /// A page, if memory has all of it; nothing if the disk has to be asked.
    pub(super) fn find_in_memory(&self, query: &PageQuery) -> Option<Result<Page, Refusal>> {
        let guard = self.database.try_read()?;
        let Some(db) = guard.as_ref() else { return Some(Err(self.closed_refusal())) };
        let now = self.clock.look().now;
        match read::find(db, &self.network, query, now, Reach::Memory) {
            Ok(page) => Some(Ok(page)),
            Err(Fault::NotInMemory) => None,
            Err(fault) => Some(Err(unreadable(&fault))),
        }
    }

    /// A page, from wherever it lies. Blocks.
    pub(super) fn find_on_disk(&self, query: &PageQuery) -> Result<Page, Refusal> {
        let guard = self.database.read();
        let Some(db) = guard.as_ref() else { return Err(self.closed_refusal()) };
        let now = self.clock.look().now;
        read::find(db, &self.network, query, now, Reach::Disk).map_err(|fault| unreadable(&fault))
    }

    /// Items of a part of the set. Blocks.
    pub(super) fn items_on_disk(
        &self,
        part: &Part,
        after: Option<&RowKey>,
        limit: usize,
    ) -> Result<Vec<Item>, Refusal> {
        let guard = self.database.read();
        let Some(db) = guard.as_ref() else { return Err(self.closed_refusal()) };
        sets::items(db, part, after, limit).map_err(|fault| unreadable(&fault))
    }

    pub(super) fn check_health(&self) -> Result<(), Refusal> {
        match self.health.load(Ordering::SeqCst) {
            health if health == Health::Open as u8 => Ok(()),
            health if health == Health::ReadOnly as u8 => Err(Refusal::ReadOnly),
            _ => Err(Refusal::Restarting),
        }
    }

    fn closed_refusal(&self) -> Refusal {
        match self.check_health() {
            Err(Refusal::Restarting) => Refusal::Restarting,
            _ => Refusal::Internal,
        }
    }

    /// Notes how the writer fares, unless the store is closing.
    pub(super) fn set_health(&self, health: Health) {
        let _ = self.health.try_update(Ordering::SeqCst, Ordering::SeqCst, |held| {
            (held != Health::Closing as u8).then_some(health as u8)
        });
    }

    pub(super) fn stop(&self) {
        self.health.store(Health::Closing as u8, Ordering::SeqCst);
        self.writes.close();
    }

    pub(super) fn show_usage(&self, usage: StoreUsage) {
        *lock(&self.usage) = usage;
    }

    pub(super) fn usage(&self) -> StoreUsage {
        *lock(&self.usage)
    }

    /// Tells this observer of the commits after the last one, which it returns.
    pub(super) fn observe(&self, observer: Arc<dyn CommitObserver>) -> u64 {
        let mut held = lock(&self.observer);
        *held = Some(observer);
        self.usage().commit_no
    }

    /// Tells the observer, if there is one. The writer has shown the commit's number in `usage` before:
    /// so no commit is neither told of nor the last one when somebody began to observe.
    pub(super) fn tell_observer(&self, tell: impl FnOnce(&dyn CommitObserver)) {
        if let Some(observer) = lock(&self.observer).as_deref() {
            tell(observer);
        }
    }

    /// Takes note of what was saved.
    pub(super) fn remember(&self, what: Remembered) {
        match what {
            Remembered::Peers(peers) => *lock(&self.peers) = peers,
            Remembered::Progress(progress) => *lock(&self.progress) = progress,
        }
    }

    pub(super) fn peers(&self) -> Vec<SavedPeer> {
        lock(&self.peers).clone()
    }

    pub(super) fn progress(&self) -> Bytes {
        lock(&self.progress).clone()
    }

    /// The fingerprints. The writer waits while somebody has them.
    pub(super) fn fingerprints(&self) -> MutexGuard<'_, Fingerprints> {
        lock(&self.fingerprints)
    }

    /// Changes the fingerprints by what was written.
    pub(super) fn change_set(&self, changes: &[SetChange]) {
        if !changes.is_empty() {
            let mut fingerprints = self.fingerprints();
            changes.iter().for_each(|change| change.apply(&mut fingerprints));
        }
    }

    /// Lets go of the data directory, and says that all has ended.
    pub(super) fn release_directory(&self) {
        drop(lock(&self.directory).take());
        self.ended.send_replace(true);
    }
}

fn unreadable(fault: &Fault) -> Refusal {
    tracing::error!(reason = %fault, "records could not be read");
    Refusal::Internal
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that can panic changes anything under these locks, so what a poisoned one guards is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
