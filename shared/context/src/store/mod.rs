//! Where records are kept, behind a trait: memory, a simulated disk, or RocksDB.
//!
//! A store decides nothing: for each [`Submission`] it asks [`dht_kad::admission::plan_put`] and
//! applies the answer. It answers a `submit` only when everything in it is on stable storage, and
//! a `find` never shows what has expired. What was written it tells one [`CommitObserver`], commit
//! after commit. [`conformance`] is the suite that each one passes,
//! and [`clock_trust`] says when none of them may believe the clock.
//!
//! [`MemoryStore`] keeps its [`Rows`] until the process ends: for clients, tests and the simulator.

pub mod clock_trust;
pub mod conformance;
mod memory;
mod rows;
mod set;

use std::sync::Arc;

use bytes::Bytes;
use dht_kad::admission::{Amount, Path};
use dht_kad::message::{Position, Stored};
use dht_kad::reconcile::{Fingerprints, Item, Part, RowKey};
use dht_kad::{Key, Refusal, UnixMs, ValidRecord};
use futures_util::future::BoxFuture;

use crate::registry::SavedPeer;
pub use memory::MemoryStore;
pub use rows::Rows;

/// Keeps records, and the few things that a node remembers beside them.
pub trait RecordStore: Send + Sync + 'static {
    /// One page of a key's records, at once from memory or later from disk.
    fn find(&self, query: PageQuery) -> Fetch<Result<Page, Refusal>>;

    /// Takes a batch, and resolves, one result a record, after all of it is on stable storage.
    fn submit(&self, batch: Vec<Submission>) -> BoxFuture<'static, Vec<Result<Stored, Refusal>>>;

    /// Whether a write would be refused whatever it is; asked before a signature is checked.
    ///
    /// # Errors
    /// [`Refusal::ReadOnly`], [`Refusal::ClockUnsure`] or [`Refusal::Restarting`].
    fn writable(&self) -> Result<(), Refusal>;

    /// Shows the fingerprints of what is kept, as they are right now. The caller's look is short:
    /// writers may wait for it.
    fn fingerprints(&self, look: &mut dyn FnMut(&Fingerprints));

    /// Tells slots apart by at least so many half bytes from now on, as soon as it can: see
    /// [`Fingerprints::set_resolution`].
    fn set_resolution(&self, half_bytes: usize);

    /// What a part of the kept set consists of, in the order of rows, from the row after `after` on;
    /// at most `limit` items, fewer only at the end. What has ended but was not swept is among them.
    fn items(
        &self,
        part: Part,
        after: Option<RowKey>,
        limit: usize,
    ) -> Fetch<Result<Vec<Item>, Refusal>>;

    /// How far replication had come when that was saved last; empty if it never was.
    fn saved_progress(&self) -> Bytes;

    /// Remembers how far replication has come; resolves when that is done.
    fn save_progress(&self, progress: Bytes) -> BoxFuture<'static, Result<(), Refusal>>;

    /// What is kept at present.
    fn usage(&self) -> StoreUsage;

    /// The peers that were saved last, best first.
    fn saved_peers(&self) -> Vec<SavedPeer>;

    /// Remembers these peers in place of those saved before; resolves when that is done.
    fn save_peers(&self, peers: Vec<SavedPeer>) -> BoxFuture<'static, Result<(), Refusal>>;

    /// Takes note of whether long-lived peers agree with a clock that shows `wall` now, as this
    /// machine's did unless it was set since they were asked; `None` while nobody can say. A store that
    /// destroys by the clock heeds it.
    fn note_clock(&self, agrees: Option<bool>, wall: UnixMs);

    /// Which store it is: another number where commits are counted anew. `None` if nothing of it
    /// outlives the process.
    fn incarnation(&self) -> Option<u64>;

    /// Tells this observer, in place of any other, of every commit from now on. Says which was the
    /// last commit that it is not told of.
    fn observe(&self, observer: Arc<dyn CommitObserver>) -> u64;

    /// Refuses further writes with [`Refusal::Restarting`], finishes those under way, flushes.
    fn close(&self) -> BoxFuture<'static, ()>;
}

/// Is told what a store has taken: after it is on stable storage, and before whoever put it is
/// answered.
pub trait CommitObserver: Send + Sync + 'static {
    /// The commit of this number wrote these versions; a slot's last one is what it holds now. Commits
    /// come in their order, also those that wrote no record. Called on whatever thread writes, while
    /// writes wait: it has to be quick, and must not call the store.
    fn committed(&self, commit_no: u64, records: &[ValidRecord]);

    /// Commits up to this one may have been made without being told: a write failed, and some of it
    /// turned out to be on disk.
    fn interrupted(&self, commit_no: u64);
}

/// A result, now or later.
pub enum Fetch<T> {
    /// It was in memory.
    Ready(T),
    /// It takes a read from disk.
    Pending(BoxFuture<'static, T>),
}

impl<T> Fetch<T> {
    /// Waits for it if need be.
    pub async fn wait(self) -> T {
        match self {
            Fetch::Ready(result) => result,
            Fetch::Pending(future) => future.await,
        }
    }
}

/// Which of a key's records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageQuery {
    /// The place.
    pub key: Key,
    /// Only this publisher's; all if absent. In the `Content` space it is zeros, as in
    /// [`RecordId`](dht_kad::RecordId).
    pub publisher: Option<[u8; 32]>,
    /// Only these slots, both ends included; all if absent.
    pub slots: Option<(u64, u64)>,
    /// Only what comes after; from the start if absent.
    pub after: Option<Position>,
    /// Heads instead of records.
    pub heads_only: bool,
    /// Only with at least so many bits of work.
    pub min_work: u32,
    /// Only versions that were written after the first of these commits, and up to the second.
    pub written: Option<(u64, u64)>,
    /// The most records; one is shown even for 0, so that each page gets on.
    pub limit: usize,
    /// The most bytes of records; one record always fits.
    pub max_bytes: usize,
}

impl PageQuery {
    /// All records at `key`, in pages of the largest size.
    #[must_use]
    pub fn all(key: Key) -> Self {
        PageQuery {
            key,
            publisher: None,
            slots: None,
            after: None,
            heads_only: false,
            min_work: 0,
            written: None,
            limit: dht_kad::message::PAGE_RECORDS,
            max_bytes: dht_kad::message::PAGE_BYTES,
        }
    }
}

/// One page of records in the order of publisher and slot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// Canonical bytes of records; of heads for tombstones, for versions whose body has expired,
    /// and where heads were asked for.
    pub records: Vec<Bytes>,
    /// Where the page ends, if there is more.
    pub next: Option<Position>,
}

/// A record on its way into a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Submission {
    /// The record.
    pub record: ValidRecord,
    /// How it came.
    pub path: Path,
}

/// What a store keeps, and how its writes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreUsage {
    /// In all.
    pub total: Amount,
    /// By class, in the order of [`dht_kad::record::Retention::ALL`].
    pub classes: [Amount; 3],
    /// The number of the last commit.
    pub commit_no: u64,
    /// Up to when what has ended was removed.
    pub swept_to: UnixMs,
}
