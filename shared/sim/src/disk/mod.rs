//! [`SimDisk`]: a disk that outlives its node, and forgets what was not synced when the node dies.
//!
//! ```text
//! submit ─▶ cache (what the running node sees) ─▶ unsynced changes ─ fsync, some ms ─▶ platter
//!                                                        │
//! crash: they are gone; the next life's cache is the platter
//! ```
//!
//! One fsync runs at a time. What is written while it runs waits for the next one, and all that
//! waits shares it: a group commit. When each ends is known once it is drawn, so the disk has no
//! task: whoever looks at it next first moves to the platter what has been synced meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dht_context::clock::Clock;
use dht_context::registry::SavedPeer;
use dht_context::store::{Fetch, Page, PageQuery, RecordStore, Rows, StoreUsage, Submission};
use dht_kad::admission::{Limits, Path};
use dht_kad::message::Stored;
use dht_kad::{NetworkName, Refusal, UnixMs, ValidRecord};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::dice::Dice;

/// Rows that one sweep looks at before a batch is written, as the memory store does.
const SWEEP_STEPS: usize = 1_024;

/// When a write is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Acknowledge {
    /// As promised: when it is synced.
    #[default]
    AfterSync,
    /// At once: the fault that the checker must catch.
    BeforeSync,
}

/// What a disk is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskModel {
    /// The quickest fsync.
    pub sync_shortest: Duration,
    /// The slowest.
    pub sync_longest: Duration,
    /// When a write is acknowledged.
    pub acknowledge: Acknowledge,
}

impl Default for DiskModel {
    /// A good SSD at best, a busy virtual one at worst.
    fn default() -> Self {
        DiskModel {
            sync_shortest: Duration::from_millis(2),
            sync_longest: Duration::from_millis(40),
            acknowledge: Acknowledge::AfterSync,
        }
    }
}

/// A simulated disk, with what lies on it.
pub struct SimDisk {
    state: Mutex<State>,
}

struct State {
    platter: Contents,
    cache: Contents,
    /// Not on the platter yet, with the moment at which it will be, in this order.
    unsynced: VecDeque<(Instant, Change)>,
    syncs: Syncs,
    dice: Dice,
    model: DiskModel,
    /// Which life of the node has the disk open; what an earlier one asks for is refused.
    life: u64,
    closed: bool,
    lost: u64,
}

#[derive(Clone)]
struct Contents {
    rows: Rows,
    peers: Vec<SavedPeer>,
    commit_no: u64,
    swept_to: UnixMs,
}

enum Change {
    Put(Box<ValidRecord>, Path, UnixMs),
    Sweep(UnixMs),
    Peers(Vec<SavedPeer>),
}

/// When the running fsync ends, and the one after it, if anybody waits for that.
struct Syncs {
    running_until: Instant,
    next_until: Option<Instant>,
}

impl SimDisk {
    /// An empty disk for records of `network`.
    #[must_use]
    pub fn new(network: NetworkName, limits: Limits, dice: Dice, model: DiskModel) -> Arc<Self> {
        let rows = Rows::new(network, limits);
        let empty = Contents { rows, peers: Vec::new(), commit_no: 0, swept_to: UnixMs(0) };
        let state = State {
            platter: empty.clone(),
            cache: empty,
            unsynced: VecDeque::new(),
            syncs: Syncs { running_until: Instant::now(), next_until: None },
            dice,
            model,
            life: 0,
            closed: false,
            lost: 0,
        };
        Arc::new(SimDisk { state: Mutex::new(state) })
    }

    /// Opens the disk for a new life of its node, in which earlier lives have no part.
    #[must_use]
    pub fn open(self: &Arc<Self>, clock: Arc<dyn Clock>) -> DiskStore {
        let mut state = self.state();
        state.life += 1;
        state.closed = false;
        let acknowledge = state.model.acknowledge;
        DiskStore { disk: Arc::clone(self), acknowledge, life: state.life, clock }
    }

    /// The node dies: what was not synced is gone.
    pub fn crash(&self) {
        let mut state = self.state();
        state.life += 1;
        state.lost += state.unsynced.len() as u64;
        state.unsynced.clear();
        state.cache = state.platter.clone();
        let now = Instant::now();
        state.syncs = Syncs { running_until: now, next_until: None };
    }

    /// How many changes crashes have undone.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.state().lost
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle(Instant::now());
        state
    }
}

impl State {
    /// Moves to the platter what has been synced by `now`.
    fn settle(&mut self, now: Instant) {
        while self.unsynced.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, change)) = self.unsynced.pop_front() {
                // The cache took it with the same answer.
                let _ = self.platter.apply(&change);
            }
        }
    }

    /// Makes a change in the cache, and notes it for the platter.
    fn change(&mut self, change: Change, due: Instant) -> Result<Option<Stored>, Refusal> {
        let stored = self.cache.apply(&change)?;
        self.unsynced.push_back((due, change));
        Ok(stored)
    }

    /// When what is written now will be synced.
    fn due(&mut self, now: Instant) -> Instant {
        if let Some(next) = self.syncs.next_until
            && self.syncs.running_until <= now
        {
            self.syncs = Syncs { running_until: next, next_until: None };
        }
        if let Some(next) = self.syncs.next_until {
            return next;
        }
        let took = self.dice.between(self.model.sync_shortest, self.model.sync_longest);
        if self.syncs.running_until <= now {
            self.syncs.running_until = now + took;
            return self.syncs.running_until;
        }
        let next = self.syncs.running_until + took;
        self.syncs.next_until = Some(next);
        next
    }
}

impl Contents {
    fn apply(&mut self, change: &Change) -> Result<Option<Stored>, Refusal> {
        match change {
            Change::Put(record, path, now) => {
                let (stored, changed) = self.rows.put(record, *path, *now)?;
                self.commit_no += u64::from(changed);
                return Ok(Some(stored));
            }
            Change::Sweep(now) => {
                if self.rows.sweep(*now, SWEEP_STEPS) {
                    self.swept_to = self.swept_to.max(*now);
                }
            }
            Change::Peers(peers) => self.peers.clone_from(peers),
        }
        Ok(None)
    }
}

/// A [`RecordStore`] on a simulated disk, for one life of its node.
pub struct DiskStore {
    disk: Arc<SimDisk>,
    acknowledge: Acknowledge,
    life: u64,
    clock: Arc<dyn Clock>,
}

impl DiskStore {
    /// Removes what has ended.
    pub async fn sweep(&self) {
        let now = self.clock.now();
        let due = {
            let mut state = self.disk.state();
            let due = state.due(Instant::now());
            while state.cache.swept_to < now && state.change(Change::Sweep(now), due).is_ok() {}
            due
        };
        tokio::time::sleep_until(due).await;
    }

    /// Refuses what a node that died, or closed its store, still asks for.
    fn check(&self, state: &State) -> Result<(), Refusal> {
        if state.closed || state.life != self.life { Err(Refusal::Restarting) } else { Ok(()) }
    }

    /// Waits for the sync at `due`, and then says `answer`, unless the node has died meanwhile.
    fn after_sync<T: Send + 'static>(
        &self,
        due: Instant,
        answer: T,
        died: impl FnOnce() -> T + Send + 'static,
    ) -> BoxFuture<'static, T> {
        if self.acknowledge == Acknowledge::BeforeSync {
            return Box::pin(std::future::ready(answer));
        }
        let (disk, life) = (Arc::clone(&self.disk), self.life);
        Box::pin(async move {
            tokio::time::sleep_until(due).await;
            if disk.state().life == life { answer } else { died() }
        })
    }
}

impl RecordStore for DiskStore {
    fn find(&self, query: PageQuery) -> Fetch<Result<Page, Refusal>> {
        let state = self.disk.state();
        if state.life != self.life {
            return Fetch::Ready(Err(Refusal::Restarting));
        }
        Fetch::Ready(Ok(state.cache.rows.find(&query, self.clock.now())))
    }

    fn submit(&self, batch: Vec<Submission>) -> BoxFuture<'static, Vec<Result<Stored, Refusal>>> {
        let now = self.clock.now();
        let mut state = self.disk.state();
        let count = batch.len();
        if let Err(refusal) = self.check(&state) {
            return Box::pin(std::future::ready(vec![Err(refusal); count]));
        }
        let due = state.due(Instant::now());
        let _ = state.change(Change::Sweep(now), due);
        let mut results = Vec::with_capacity(count);
        for Submission { record, path } in batch {
            let result = state.change(Change::Put(Box::new(record), path, now), due);
            results.push(result.and_then(|stored| stored.ok_or(Refusal::Internal)));
        }
        drop(state);
        self.after_sync(due, results, move || vec![Err(Refusal::Restarting); count])
    }

    fn writable(&self) -> Result<(), Refusal> {
        self.check(&self.disk.state())
    }

    fn usage(&self) -> StoreUsage {
        let state = self.disk.state();
        StoreUsage {
            total: state.cache.rows.total(),
            classes: state.cache.rows.classes(),
            commit_no: state.cache.commit_no,
            swept_to: state.cache.swept_to,
        }
    }

    fn saved_peers(&self) -> Vec<SavedPeer> {
        self.disk.state().cache.peers.clone()
    }

    fn save_peers(&self, peers: Vec<SavedPeer>) -> BoxFuture<'static, Result<(), Refusal>> {
        let mut state = self.disk.state();
        if let Err(refusal) = self.check(&state) {
            return Box::pin(std::future::ready(Err(refusal)));
        }
        let due = state.due(Instant::now());
        let _ = state.change(Change::Peers(peers), due);
        drop(state);
        self.after_sync(due, Ok(()), || Err(Refusal::Restarting))
    }

    /// Nothing is destroyed here but what has ended by the clock that shows it.
    fn note_clock(&self, _agrees: Option<bool>) {}

    fn close(&self) -> BoxFuture<'static, ()> {
        let mut state = self.disk.state();
        if self.check(&state).is_err() {
            return Box::pin(std::future::ready(()));
        }
        state.closed = true;
        let due = state.unsynced.back().map_or_else(Instant::now, |(due, _)| *due);
        Box::pin(tokio::time::sleep_until(due))
    }
}

#[cfg(test)]
mod tests {
    use dht_context::clock::ManualClock;
    use dht_context::store::conformance::{self, Subject};

    use super::*;
    use crate::dice::Seed;

    struct Simulated;

    impl Subject for Simulated {
        type Store = DiskStore;

        async fn open(&self, clock: Arc<ManualClock>, limits: Limits) -> DiskStore {
            let dice = Seed(1).dice("disk", 0);
            SimDisk::new(conformance::network(), limits, dice, DiskModel::default()).open(clock)
        }

        async fn sweep(&self, store: &DiskStore) {
            store.sweep().await;
        }

        async fn reopen(
            &self,
            store: DiskStore,
            clock: Arc<ManualClock>,
            _: Limits,
        ) -> Option<DiskStore> {
            store.disk.crash();
            Some(store.disk.open(clock))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_simulated_disk_keeps_every_rule_and_what_it_acknowledged_through_crashes() {
        conformance::run_all(&Simulated).await;
    }
}
