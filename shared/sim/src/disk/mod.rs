//! [`SimDisk`]: a disk that outlives its node, and forgets what was not synced when the node dies.
//!
//! ```text
//! submit ─▶ cache (what the running node sees) ─▶ unsynced changes ─ fsync, some ms ─▶ platter
//!                                                        │
//! crash, or a disk that begins to fail: they are gone, and the cache is the platter again
//! ```
//!
//! One fsync runs at a time. What is written while it runs waits for the next one, and all that
//! waits shares it: a group commit. When each ends is known once it is drawn, so the disk has no
//! task: whoever looks at it next first moves to the platter what has been synced meanwhile.
//!
//! A disk can [fill up](SimDisk::set_room), [fail](SimDisk::set_failing) for a while, and be
//! [replaced](SimDisk::wipe) by an empty one.

mod contents;
mod store;

use std::collections::VecDeque;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dht_context::clock::Clock;
use dht_context::store::CommitObserver;
use dht_context::store::clock_trust::ClockTrust;
use dht_kad::admission::{Amount, Limits};
use dht_kad::message::Stored;
use dht_kad::{NetworkName, RecordId, Refusal, ValidRecord};
use tokio::time::Instant;

use crate::dice::Dice;
use crate::fault::Fault;
use contents::{Change, Contents};
pub use store::DiskStore;

/// What a disk is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskModel {
    /// The quickest fsync.
    pub sync_shortest: Duration,
    /// The slowest.
    pub sync_longest: Duration,
}

impl Default for DiskModel {
    /// A good SSD at best, a busy virtual one at worst.
    fn default() -> Self {
        DiskModel {
            sync_shortest: Duration::from_millis(2),
            sync_longest: Duration::from_millis(40),
        }
    }
}

/// A simulated disk, with what lies on it.
pub struct SimDisk {
    network: NetworkName,
    fault: Option<Fault>,
    state: Mutex<State>,
}

struct State {
    limits: Limits,
    /// How finely the running node wants its slots told apart.
    resolution: usize,
    platter: Contents,
    cache: Contents,
    /// Not on the platter yet, with the moment at which it will be, in this order.
    unsynced: VecDeque<(Instant, Change)>,
    syncs: Syncs,
    dice: Dice,
    model: DiskModel,
    /// Which life of the node has the disk open; what an earlier one asks for is refused.
    life: u64,
    /// How often the disk has begun to fail: who waited for a sync then waits in vain.
    failures: u64,
    failing: bool,
    closed: bool,
    lost: u64,
    /// How often the disk was replaced by an empty one.
    wipes: u64,
    /// Whom the running node has told of what reaches the platter.
    observer: Option<Arc<dyn CommitObserver>>,
}

/// When the running fsync ends, and the one after it, if anybody waits for that.
struct Syncs {
    running_until: Instant,
    next_until: Option<Instant>,
}

/// What the platter allows: what the cache has taken is never refused there.
const EVERYTHING: Limits = Limits {
    publisher: Amount::MAX,
    key: Amount::MAX,
    classes: [Amount::MAX; 3],
    total: Amount::MAX,
    reserve_percent: 0,
};

impl SimDisk {
    /// An empty disk for records of `network`, whose store has this fault, if any.
    #[must_use]
    pub fn new(
        network: NetworkName,
        limits: Limits,
        dice: Dice,
        model: DiskModel,
        fault: Option<Fault>,
    ) -> Arc<Self> {
        let state = State {
            limits,
            resolution: 0,
            platter: Contents::new(network.clone(), EVERYTHING, fault),
            cache: Contents::new(network.clone(), limits, fault),
            unsynced: VecDeque::new(),
            syncs: Syncs::idle(),
            dice,
            model,
            life: 0,
            failures: 0,
            failing: false,
            closed: false,
            lost: 0,
            wipes: 0,
            observer: None,
        };
        Arc::new(SimDisk { network, fault, state: Mutex::new(state) })
    }

    /// Opens the disk for a new life of its node, in which earlier lives have no part. `clock` is
    /// the host's idea of the time of day, and `steady` runs as its uptime does, which nobody sets.
    #[must_use]
    pub fn open(self: &Arc<Self>, clock: Arc<dyn Clock>, steady: Arc<dyn Clock>) -> DiskStore {
        let mut state = self.state();
        state.life += 1;
        state.closed = false;
        state.observer = None;
        let high_water = state.platter.high_water.unwrap_or_else(|| clock.now());
        let trust = ClockTrust::new(high_water, steady.now().0);
        DiskStore::new(Arc::clone(self), state.life, clock, steady, trust)
    }

    /// The node dies: what was not synced is gone.
    pub fn crash(&self) {
        let mut state = self.state();
        state.life += 1;
        state.observer = None;
        state.lose_unsynced();
    }

    /// From now on all writes fail, those under way among them; or none does any more.
    pub fn set_failing(&self, failing: bool) {
        let mut state = self.state();
        if failing && !state.failing {
            state.failures += 1;
            state.lose_unsynced();
        }
        state.failing = failing;
    }

    /// Leaves room for so many bytes of records in all. What is here stays, even if it is more.
    pub fn set_room(&self, bytes: u64) {
        let mut state = self.state();
        state.limits = Limits::default_for(bytes);
        let limits = state.limits;
        state.cache.rows.set_limits(limits);
    }

    /// Replaces the disk by an empty one of the same size; the node has to be down.
    pub fn wipe(&self) {
        let mut state = self.state();
        state.life += 1;
        state.wipes += 1;
        state.observer = None;
        state.unsynced.clear();
        state.syncs = Syncs::idle();
        state.platter = Contents::new(self.network.clone(), EVERYTHING, self.fault);
        state.cache = Contents::new(self.network.clone(), state.limits, self.fault);
    }

    /// What the node's store holds in this slot at present, ended or not.
    #[must_use]
    pub fn held(&self, slot: &RecordId) -> Option<ValidRecord> {
        self.state().cache.rows.get(slot).cloned()
    }

    /// All that the node's store holds at present, ended or not.
    #[must_use]
    pub fn records(&self) -> Vec<ValidRecord> {
        self.state().cache.rows.records().cloned().collect()
    }

    /// How many bytes of records the node's store holds at present.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.state().cache.rows.total().bytes
    }

    /// How many changes crashes and failures have undone.
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
    /// Moves to the platter what has been synced by `now`, and tells who observes.
    fn settle(&mut self, now: Instant) {
        while self.unsynced.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, change)) = self.unsynced.pop_front() {
                let before = self.platter.commit_no;
                // The cache took it with the same answer.
                let _ = self.platter.apply(&change);
                if self.platter.commit_no > before
                    && let (Some(observer), Change::Put(record, _, _)) = (&self.observer, &change)
                {
                    let written = self.platter.rows.get(record.id());
                    observer
                        .committed(self.platter.commit_no, written.map_or(&[], slice::from_ref));
                }
            }
        }
    }

    /// Makes a change in the cache, and notes it for the platter.
    fn change(&mut self, change: Change, due: Instant) -> Result<Option<Stored>, Refusal> {
        let stored = self.cache.apply(&change)?;
        self.unsynced.push_back((due, change));
        Ok(stored)
    }

    fn lose_unsynced(&mut self) {
        self.lost += self.unsynced.len() as u64;
        self.unsynced.clear();
        self.syncs = Syncs::idle();
        self.cache = self.platter.clone();
        self.cache.rows.set_limits(self.limits);
        self.cache.rows.set_resolution(self.resolution);
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

impl Syncs {
    fn idle() -> Self {
        Syncs { running_until: Instant::now(), next_until: None }
    }
}
