//! [`MemoryStore`]: records kept until the process ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dht_kad::admission::Limits;
use dht_kad::message::Stored;
use dht_kad::reconcile::{Fingerprints, Item, Part, RowKey};
use dht_kad::{NetworkName, Refusal, UnixMs};
use futures_util::future::BoxFuture;

use super::{CommitObserver, Fetch, Page, PageQuery, RecordStore, Rows, StoreUsage, Submission};
use crate::clock::Clock;
use crate::registry::SavedPeer;

/// Rows that one sweep looks at while it holds the lock: well under a millisecond.
const SWEEP_STEPS: usize = 1_024;

/// A [`RecordStore`] in memory. What it holds is as stable as the process is.
///
/// It needs no task of its own: each `submit` first removes a bounded part of what has ended, which
/// is more than it can add, so that dead rows do not add up.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    rows: Rows,
    peers: Vec<SavedPeer>,
    progress: Bytes,
    commit_no: u64,
    swept_to: UnixMs,
    observer: Option<Arc<dyn CommitObserver>>,
    closed: bool,
}

impl MemoryStore {
    /// An empty store for records of `network`.
    #[must_use]
    pub fn new(network: NetworkName, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        let state = State {
            rows: Rows::new(network, limits),
            peers: Vec::new(),
            progress: Bytes::new(),
            commit_no: 0,
            swept_to: UnixMs(0),
            observer: None,
            closed: false,
        };
        MemoryStore { clock, state: Mutex::new(state) }
    }

    /// Removes what has ended, in steps between which others get their turn.
    pub fn sweep(&self) {
        let now = self.clock.now();
        while !self.state().sweep(now) {}
    }

    /// The state. A panic elsewhere cannot leave it half changed in a way that later calls mind:
    /// every change of a row is complete before the next begins.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// One bounded part of a sweep; true when nothing that has ended is left.
    fn sweep(&mut self, now: UnixMs) -> bool {
        let done = self.rows.sweep(now, SWEEP_STEPS);
        if done {
            self.swept_to = self.swept_to.max(now);
        }
        done
    }

    /// Changes something beside the records, unless the store is closed.
    fn save(&mut self, change: impl FnOnce(&mut Self)) -> Result<(), Refusal> {
        if self.closed {
            return Err(Refusal::Restarting);
        }
        change(self);
        Ok(())
    }

    fn take(&mut self, submission: &Submission, now: UnixMs) -> Result<Stored, Refusal> {
        let Submission { record, path } = submission;
        let commit_no = self.commit_no + 1;
        let (stored, changed) = self.rows.put(record, *path, now, commit_no)?;
        if changed {
            self.commit_no = commit_no;
            let held = self.rows.get(record.id());
            if let (Some(observer), Some(written)) = (&self.observer, held) {
                observer.committed(commit_no, std::slice::from_ref(written));
            }
        }
        Ok(stored)
    }
}

impl RecordStore for MemoryStore {
    fn find(&self, query: PageQuery) -> Fetch<Result<Page, Refusal>> {
        Fetch::Ready(Ok(self.state().rows.find(&query, self.clock.now())))
    }

    fn submit(&self, batch: Vec<Submission>) -> BoxFuture<'static, Vec<Result<Stored, Refusal>>> {
        let now = self.clock.now();
        let mut state = self.state();
        let results = if state.closed {
            batch.iter().map(|_| Err(Refusal::Restarting)).collect()
        } else {
            state.sweep(now);
            batch.iter().map(|submission| state.take(submission, now)).collect()
        };
        Box::pin(std::future::ready(results))
    }

    fn writable(&self) -> Result<(), Refusal> {
        if self.state().closed { Err(Refusal::Restarting) } else { Ok(()) }
    }

    fn fingerprints(&self, look: &mut dyn FnMut(&Fingerprints)) {
        look(self.state().rows.fingerprints());
    }

    fn set_resolution(&self, half_bytes: usize) {
        self.state().rows.set_resolution(half_bytes);
    }

    fn items(
        &self,
        part: Part,
        after: Option<RowKey>,
        limit: usize,
    ) -> Fetch<Result<Vec<Item>, Refusal>> {
        Fetch::Ready(Ok(self.state().rows.items(&part, after, limit)))
    }

    fn saved_progress(&self) -> Bytes {
        self.state().progress.clone()
    }

    fn save_progress(&self, progress: Bytes) -> BoxFuture<'static, Result<(), Refusal>> {
        let result = self.state().save(|state| state.progress = progress);
        Box::pin(std::future::ready(result))
    }

    fn usage(&self) -> StoreUsage {
        let state = self.state();
        StoreUsage {
            total: state.rows.total(),
            classes: state.rows.classes(),
            commit_no: state.commit_no,
            swept_to: state.swept_to,
        }
    }

    fn saved_peers(&self) -> Vec<SavedPeer> {
        self.state().peers.clone()
    }

    fn save_peers(&self, peers: Vec<SavedPeer>) -> BoxFuture<'static, Result<(), Refusal>> {
        let result = self.state().save(|state| state.peers = peers);
        Box::pin(std::future::ready(result))
    }

    /// Nothing is destroyed here but what has ended by the clock that shows it.
    fn note_clock(&self, _agrees: Option<bool>, _wall: UnixMs) {}

    fn incarnation(&self) -> Option<u64> {
        None
    }

    fn observe(&self, observer: Arc<dyn CommitObserver>) -> u64 {
        let mut state = self.state();
        state.observer = Some(observer);
        state.commit_no
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.state().closed = true;
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use dht_kad::admission::{Amount, Path};
    use dht_kad::record::{Kind, RecordDraft, Retention, Space};
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::clock::ManualClock;
    use crate::store::conformance::{self, Subject};

    struct Memory;

    impl Subject for Memory {
        type Store = MemoryStore;

        async fn open(&self, clock: Arc<ManualClock>, limits: Limits) -> MemoryStore {
            MemoryStore::new(conformance::network(), clock, limits)
        }

        async fn sweep(&self, store: &MemoryStore, _: UnixMs) {
            store.sweep();
        }

        async fn reopen(
            &self,
            _: MemoryStore,
            _: Arc<ManualClock>,
            _: Limits,
        ) -> Option<MemoryStore> {
            None
        }
    }

    #[tokio::test]
    async fn the_memory_store_keeps_every_rule() {
        conformance::run_all(&Memory).await;
    }

    fn announcement(slot: u64, created_at: UnixMs, network: &NetworkName) -> Submission {
        let draft = RecordDraft {
            space: Space::Owned,
            kind: Kind::Value,
            retention: Retention::Hours8,
            label: [0; 32],
            slot,
            seq: 1,
            created_at,
            guard_until: UnixMs(0),
            work_bits: 0,
            ext: bytes::Bytes::new(),
            body: bytes::Bytes::new(),
        };
        let record = draft.sign(&SigningKey::from_bytes(&[1; 32]), network).unwrap();
        Submission { record, path: Path::Store { expected_seq: None } }
    }

    #[tokio::test]
    async fn dead_rows_do_not_add_up_though_nobody_sweeps() {
        let clock = Arc::new(ManualClock::new(UnixMs(1_800_000_000_000)));
        let ten = Amount { records: 10, bytes: u64::MAX };
        let limits = Limits { publisher: ten, ..Limits::default_for(1 << 30) };
        let store = MemoryStore::new(conformance::network(), clock.clone(), limits);
        for slot in 0..100 {
            let submission = announcement(slot, clock.now(), &conformance::network());
            let results = store.submit(vec![submission]).await;
            assert!(results[0].is_ok(), "slot {slot}: {results:?}");
            clock.advance(Retention::Hours8.lifetime_ms() / 10);
        }
        assert_eq!(store.usage().total.records, 10);
    }

    #[tokio::test]
    async fn a_record_of_another_network_is_not_kept() {
        let clock = Arc::new(ManualClock::new(UnixMs(1_800_000_000_000)));
        let limits = Limits::default_for(1 << 30);
        let store = MemoryStore::new(conformance::network(), clock.clone(), limits);
        let foreign = announcement(0, clock.now(), &"another".parse().unwrap());
        assert_eq!(store.submit(vec![foreign]).await, [Err(Refusal::BadSignature)]);
    }
}
