//! [`DiskStore`]: the store of one life of a node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dht_context::clock::Clock;
use dht_context::registry::SavedPeer;
use dht_context::store::clock_trust::{ClockTrust, Moment};
use dht_context::store::{
    CommitObserver, Fetch, Page, PageQuery, RecordStore, StoreUsage, Submission,
};
use dht_kad::message::Stored;
use dht_kad::reconcile::{Fingerprints, Item, Part, RowKey};
use dht_kad::{Refusal, UnixMs};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::contents::Change;
use super::{SimDisk, State};
use crate::fault::Fault;

/// A [`RecordStore`] on a simulated disk, for one life of its node.
pub struct DiskStore {
    disk: Arc<SimDisk>,
    life: u64,
    clock: Arc<dyn Clock>,
    steady: Arc<dyn Clock>,
    trust: Mutex<ClockTrust>,
}

impl DiskStore {
    pub(super) fn new(
        disk: Arc<SimDisk>,
        life: u64,
        clock: Arc<dyn Clock>,
        steady: Arc<dyn Clock>,
        trust: ClockTrust,
    ) -> Self {
        DiskStore { disk, life, clock, steady, trust: Mutex::new(trust) }
    }

    /// Removes what has ended.
    pub async fn sweep(&self) {
        let moment = self.look();
        let due = {
            let mut state = self.disk.state();
            let due = state.due(Instant::now());
            if moment.may_destroy {
                let now = moment.now;
                while state.cache.swept_to < now && state.change(Change::Sweep(now), due).is_ok() {}
            }
            due
        };
        tokio::time::sleep_until(due).await;
    }

    fn look(&self) -> Moment {
        let (wall, uptime) = (self.clock.now(), self.steady.now());
        self.trust().look(wall, uptime.0)
    }

    fn trust(&self) -> MutexGuard<'_, ClockTrust> {
        self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what a node that died, or closed its store, still asks for, and what the disk cannot.
    fn check(&self, state: &State) -> Result<(), Refusal> {
        if state.closed || state.life != self.life {
            Err(Refusal::Restarting)
        } else if state.failing {
            Err(Refusal::ReadOnly)
        } else {
            Ok(())
        }
    }

    fn check_clock(&self, moment: Moment) -> Result<(), Refusal> {
        if moment.sure { Ok(()) } else { Err(Refusal::ClockUnsure { clock: moment.now }) }
    }

    /// Changes something beside the records.
    fn save(&self, change: Change) -> BoxFuture<'static, Result<(), Refusal>> {
        let mut state = self.disk.state();
        if let Err(refusal) = self.check(&state) {
            return Box::pin(std::future::ready(Err(refusal)));
        }
        let due = state.due(Instant::now());
        let _ = state.change(change, due);
        self.after_sync(&state, due, Ok(()), Err)
    }

    /// Waits for the sync at `due`, and then says `answer`, unless the node has died or the disk has
    /// failed meanwhile.
    fn after_sync<T: Send + 'static>(
        &self,
        state: &State,
        due: Instant,
        answer: T,
        undone: impl FnOnce(Refusal) -> T + Send + 'static,
    ) -> BoxFuture<'static, T> {
        if self.disk.fault == Some(Fault::AcknowledgeBeforeSync) {
            return Box::pin(std::future::ready(answer));
        }
        let (disk, life, failures) = (Arc::clone(&self.disk), self.life, state.failures);
        Box::pin(async move {
            tokio::time::sleep_until(due).await;
            let state = disk.state();
            match (state.life == life, state.failures == failures) {
                (true, true) => answer,
                (true, false) => undone(Refusal::ReadOnly),
                (false, _) => undone(Refusal::Restarting),
            }
        })
    }
}

impl RecordStore for DiskStore {
    fn find(&self, query: PageQuery) -> Fetch<Result<Page, Refusal>> {
        let now = self.look().now;
        let state = self.disk.state();
        if state.life != self.life {
            return Fetch::Ready(Err(Refusal::Restarting));
        }
        // A commit's number is for good only on the platter.
        let contents = if query.written.is_some() { &state.platter } else { &state.cache };
        Fetch::Ready(Ok(contents.rows.find(&query, contents.shown_at(now))))
    }

    fn submit(&self, batch: Vec<Submission>) -> BoxFuture<'static, Vec<Result<Stored, Refusal>>> {
        let moment = self.look();
        let mut state = self.disk.state();
        let count = batch.len();
        if let Err(refusal) = self.check(&state).and_then(|()| self.check_clock(moment)) {
            return Box::pin(std::future::ready(vec![Err(refusal); count]));
        }
        let (now, due) = (moment.now, state.due(Instant::now()));
        if moment.may_destroy {
            let high_water = Some(self.trust().high_water());
            state.cache.high_water = high_water;
            state.platter.high_water = high_water;
            let _ = state.change(Change::Sweep(now), due);
        }
        let mut results = Vec::with_capacity(count);
        for Submission { record, path } in batch {
            let result = state.change(Change::Put(Box::new(record), path, now), due);
            results.push(result.and_then(|stored| stored.ok_or(Refusal::Internal)));
        }
        self.after_sync(&state, due, results, move |refusal| vec![Err(refusal); count])
    }

    fn writable(&self) -> Result<(), Refusal> {
        let moment = self.look();
        self.check(&self.disk.state())?;
        self.check_clock(moment)
    }

    fn fingerprints(&self, look: &mut dyn FnMut(&Fingerprints)) {
        look(self.disk.state().cache.rows.fingerprints());
    }

    fn set_resolution(&self, half_bytes: usize) {
        let mut state = self.disk.state();
        if state.life == self.life {
            state.resolution = half_bytes;
            state.cache.rows.set_resolution(half_bytes);
        }
    }

    fn items(
        &self,
        part: Part,
        after: Option<RowKey>,
        limit: usize,
    ) -> Fetch<Result<Vec<Item>, Refusal>> {
        let state = self.disk.state();
        if state.life != self.life {
            return Fetch::Ready(Err(Refusal::Restarting));
        }
        Fetch::Ready(Ok(state.cache.rows.items(&part, after, limit)))
    }

    fn saved_progress(&self) -> Bytes {
        self.disk.state().cache.progress.clone()
    }

    fn save_progress(&self, progress: Bytes) -> BoxFuture<'static, Result<(), Refusal>> {
        self.save(Change::Progress(progress))
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
        self.save(Change::Peers(peers))
    }

    fn note_clock(&self, agrees: Option<bool>, wall: UnixMs) {
        self.trust().set_agrees(agrees, wall, self.steady.now().0);
    }

    fn incarnation(&self) -> Option<u64> {
        Some(self.disk.state().wipes)
    }

    fn observe(&self, observer: Arc<dyn CommitObserver>) -> u64 {
        let mut state = self.disk.state();
        if state.life == self.life {
            state.observer = Some(observer);
        }
        state.platter.commit_no
    }

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
    use dht_kad::admission::Limits;

    use super::super::DiskModel;
    use super::*;
    use crate::dice::Seed;

    struct Simulated;

    impl Subject for Simulated {
        type Store = DiskStore;

        async fn open(&self, clock: Arc<ManualClock>, limits: Limits) -> DiskStore {
            let (network, dice) = (conformance::network(), Seed(1).dice("disk", 0));
            let disk = SimDisk::new(network, limits, dice, DiskModel::default(), None);
            disk.open(clock.clone(), clock)
        }

        async fn sweep(&self, store: &DiskStore, _: UnixMs) {
            store.sweep().await;
        }

        async fn reopen(
            &self,
            store: DiskStore,
            clock: Arc<ManualClock>,
            _: Limits,
        ) -> Option<DiskStore> {
            store.disk.crash();
            let store = store.disk.open(clock.clone(), clock.clone());
            // Its peers confirm that so much time has passed while it was down.
            store.note_clock(Some(true), clock.now());
            Some(store)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_simulated_disk_keeps_every_rule_and_what_it_acknowledged_through_crashes() {
        conformance::run_all(&Simulated).await;
    }
}
