//! [`Hub`]: who watches which key, and what waits for whom.
//!
//! One lock guards all of it, and nobody holds it for longer than it takes to put one commit's records
//! into the queues of those who watch their keys. The store's writer calls it, so it calls no store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dht_kad::message::watch::{Cursor, WatchKey};
use dht_kad::message::{PAGE_BYTES, PAGE_RECORDS, PublisherKey};
use dht_kad::{Key, NodeId, Refusal, ValidRecord};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{WatchFigures, WatchLimits};
use crate::store::{CommitObserver, RecordStore};

/// Names a watcher in a node's life.
type WatcherId = u64;

/// How long an end waits for those who still take what they are told.
const END_LONGEST: Duration = Duration::from_secs(1);

/// All who watch this node.
pub(crate) struct Hub {
    limits: WatchLimits,
    incarnation: u64,
    state: Mutex<State>,
    /// Told when a watcher has left.
    left: Notify,
}

#[derive(Default)]
struct State {
    /// The last commit that was observed.
    shown_to: u64,
    next_id: WatcherId,
    watchers: BTreeMap<WatcherId, Entry>,
    by_asker: BTreeMap<NodeId, WatcherId>,
    by_key: BTreeSet<Interest>,
    /// No more watchers are taken.
    ended: bool,
    figures: WatchFigures,
}

/// Who is interested in a key, and in whose records there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Interest {
    key: Key,
    watcher: WatcherId,
    publisher: Option<PublisherKey>,
}

/// One watcher.
struct Entry {
    asker: NodeId,
    keys: Arc<[WatchKey]>,
    /// In the order of commits.
    queue: VecDeque<Waiting>,
    queued_bytes: usize,
    end: Option<End>,
    wake: Arc<Notify>,
}

/// A record that waits to be shown.
struct Waiting {
    commit_no: u64,
    bytes: Bytes,
}

/// How a stream ends, once what waits has been shown.
#[derive(Clone)]
pub(super) enum End {
    /// With a reason.
    Refused(Refusal),
    /// The asker's next watch has taken its place.
    Replaced,
}

/// What a watcher is to be shown next.
pub(super) enum Due {
    /// These, and with them everything up to this commit.
    Records(Vec<Bytes>, u64),
    /// Its stream ends.
    End(End),
    /// Nothing at present.
    Nothing,
}

/// A watcher's place; given back when dropped.
pub(super) struct Watcher {
    hub: Arc<Hub>,
    id: WatcherId,
    wake: Arc<Notify>,
    /// The last commit of which its queue will not bring anything.
    pub(super) from: u64,
}

impl Hub {
    /// A hub for what this store takes from now on. `incarnation` names the store if it has no name
    /// that outlives the process.
    pub(crate) fn start(
        store: &dyn RecordStore,
        limits: WatchLimits,
        incarnation: impl FnOnce() -> u64,
    ) -> Arc<Self> {
        let incarnation = store.incarnation().unwrap_or_else(incarnation);
        let hub =
            Arc::new(Hub { limits, incarnation, state: Mutex::default(), left: Notify::new() });
        let last = store.observe(hub.clone());
        let mut state = hub.state();
        state.shown_to = state.shown_to.max(last);
        drop(state);
        hub
    }

    /// Takes a watcher in, in the place of the same asker's one before.
    pub(super) fn admit(
        self: &Arc<Self>,
        asker: NodeId,
        keys: Arc<[WatchKey]>,
    ) -> Result<Watcher, Refusal> {
        let mut state = self.state();
        if state.ended {
            return Err(Refusal::Restarting);
        }
        let before = state.by_asker.get(&asker).and_then(|id| state.watchers.get(id));
        let (others, others_keys) = match before {
            Some(before) => (state.watchers.len() - 1, state.figures.keys - before.keys.len()),
            None => (state.watchers.len(), state.figures.keys),
        };
        if others >= self.limits.streams || others_keys + keys.len() > self.limits.keys {
            state.figures.refused += 1;
            return Err(Refusal::Busy);
        }
        if let Some(before) = state.by_asker.get(&asker).copied() {
            state.replace(before);
        }
        let id = state.next_id;
        state.next_id += 1;
        let interests = keys.iter().map(|watched| Interest::of(watched, id));
        state.by_key.extend(interests);
        state.figures.keys += keys.len();
        let wake = Arc::new(Notify::new());
        let entry = Entry {
            asker,
            keys,
            queue: VecDeque::new(),
            queued_bytes: 0,
            end: None,
            wake: Arc::clone(&wake),
        };
        state.watchers.insert(id, entry);
        state.by_asker.insert(asker, id);
        Ok(Watcher { hub: Arc::clone(self), id, wake, from: state.shown_to })
    }

    /// Ends all streams with `Restarting`, and takes no more. Resolves when each has been given its last
    /// frame, or after [`END_LONGEST`].
    pub(crate) async fn end(&self) {
        {
            let mut state = self.state();
            state.ended = true;
            state.end_all(&End::Refused(Refusal::Restarting));
        }
        let all_left = async {
            loop {
                let left = self.left.notified();
                if self.state().watchers.is_empty() {
                    break;
                }
                left.await;
            }
        };
        // Who takes nothing any more is not waited for.
        let _ = timeout(END_LONGEST, all_left).await;
    }

    /// What was counted.
    pub(crate) fn figures(&self) -> WatchFigures {
        let state = self.state();
        WatchFigures { streams: state.watchers.len(), ..state.figures }
    }

    /// The cursor of a commit here.
    pub(super) fn cursor(&self, commit_no: u64) -> Cursor {
        Cursor { incarnation: self.incarnation, commit_no }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is complete before anything in it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommitObserver for Hub {
    fn committed(&self, commit_no: u64, records: &[ValidRecord]) {
        let mut state = self.state();
        state.shown_to = state.shown_to.max(commit_no);
        let State { by_key, watchers, figures, .. } = &mut *state;
        for record in records {
            let id = record.id();
            for interest in by_key.range(Interest::all_of(&id.key)) {
                if interest.publisher.is_none_or(|publisher| publisher.0 == id.publisher)
                    && let Some(entry) = watchers.get_mut(&interest.watcher)
                {
                    entry.queue(commit_no, record.bytes(), &self.limits, figures);
                }
            }
        }
    }

    fn interrupted(&self, commit_no: u64) {
        let mut state = self.state();
        state.shown_to = state.shown_to.max(commit_no);
        // They come back with their cursors, and are shown what is on disk since.
        state.end_all(&End::Refused(Refusal::Busy));
    }
}

impl State {
    /// Ends a watcher's stream because the asker has begun another one.
    fn replace(&mut self, id: WatcherId) {
        let wake = self.watchers.get(&id).map(|entry| Arc::clone(&entry.wake));
        self.forget(id);
        if let Some(wake) = wake {
            wake.notify_one();
        }
    }

    /// Ends every stream after what waits for it.
    fn end_all(&mut self, end: &End) {
        for entry in self.watchers.values_mut() {
            entry.end.get_or_insert(end.clone());
            entry.wake.notify_one();
        }
    }

    /// Gives a watcher's room back, if it still has any.
    fn forget(&mut self, id: WatcherId) {
        let Some(entry) = self.watchers.remove(&id) else { return };
        if self.by_asker.get(&entry.asker) == Some(&id) {
            self.by_asker.remove(&entry.asker);
        }
        for watched in entry.keys.iter() {
            self.by_key.remove(&Interest::of(watched, id));
        }
        self.figures.keys -= entry.keys.len();
        self.figures.queued_bytes -= entry.queued_bytes;
    }
}

impl Interest {
    fn of(watched: &WatchKey, watcher: WatcherId) -> Self {
        Interest { key: watched.key, watcher, publisher: watched.publisher }
    }

    /// Where those lie that are about one key.
    fn all_of(key: &Key) -> RangeInclusive<Interest> {
        let last = Some(PublisherKey([0xff; 32]));
        let end = |watcher, publisher| Interest { key: *key, watcher, publisher };
        end(0, None)..=end(WatcherId::MAX, last)
    }
}

impl Entry {
    /// Lets a record wait, or cuts the stream if too much waits already.
    fn queue(
        &mut self,
        commit_no: u64,
        bytes: &Bytes,
        limits: &WatchLimits,
        figures: &mut WatchFigures,
    ) {
        if self.end.is_some() {
            return;
        }
        let fits = self.queue.len() < limits.queue_records
            && self.queued_bytes + bytes.len() <= limits.queue_bytes
            && figures.queued_bytes + bytes.len() <= limits.queued_bytes;
        if fits {
            self.queue.push_back(Waiting { commit_no, bytes: bytes.clone() });
            self.queued_bytes += bytes.len();
            figures.queued_bytes += bytes.len();
        } else {
            self.queue.clear();
            figures.queued_bytes -= std::mem::take(&mut self.queued_bytes);
            figures.cut += 1;
            self.end = Some(End::Refused(Refusal::Busy));
        }
        self.wake.notify_one();
    }

    /// Takes what one frame carries, and says up to which commit everything has been taken then.
    fn take(&mut self, figures: &mut WatchFigures) -> Option<(Vec<Bytes>, u64)> {
        let (mut records, mut bytes, mut last) = (Vec::new(), 0, 0);
        while let Some(first) = self.queue.front() {
            let fits = records.len() < PAGE_RECORDS && bytes + first.bytes.len() <= PAGE_BYTES;
            if !fits && !records.is_empty() {
                break;
            }
            let Some(waiting) = self.queue.pop_front() else { break };
            bytes += waiting.bytes.len();
            last = waiting.commit_no;
            records.push(waiting.bytes);
        }
        if records.is_empty() {
            return None;
        }
        self.queued_bytes -= bytes;
        figures.queued_bytes -= bytes;
        figures.shown += records.len() as u64;
        // All records of a commit came at once: if more of it wait, it is not shown as a whole.
        let whole = self.queue.front().is_none_or(|next| next.commit_no > last);
        Some((records, if whole { last } else { last - 1 }))
    }
}

impl Watcher {
    /// What is to be shown next.
    pub(super) fn due(&self) -> Due {
        let mut state = self.hub.state();
        let State { watchers, figures, .. } = &mut *state;
        let Some(entry) = watchers.get_mut(&self.id) else { return Due::End(End::Replaced) };
        match (entry.take(figures), &entry.end) {
            (Some((records, commit_no)), _) => Due::Records(records, commit_no),
            (None, Some(end)) => Due::End(end.clone()),
            (None, None) => Due::Nothing,
        }
    }

    /// Waits until something may be due.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Counts records that were shown from the store.
    pub(super) fn note_shown(&self, records: usize) {
        self.hub.state().figures.shown += records as u64;
    }

    /// Counts that it goes on from a cursor.
    pub(super) fn note_resumed(&self) {
        self.hub.state().figures.resumed += 1;
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.hub.state().forget(self.id);
        self.hub.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::store::MemoryStore;
    use dht_kad::admission::Limits;
    use futures_util::FutureExt;
    use tokio::time::Instant;

    fn hub(limits: WatchLimits) -> Arc<Hub> {
        let network = "test".parse().unwrap();
        let store = MemoryStore::new(network, Arc::new(SystemClock), Limits::default_for(1 << 20));
        Hub::start(&store, limits, || 7)
    }

    fn keys(from: u64, count: u64) -> Arc<[WatchKey]> {
        let key = |number| WatchKey {
            key: Key(*blake3::hash(&u64::to_be_bytes(number)).as_bytes()),
            publisher: None,
        };
        (from..from + count).map(key).collect()
    }

    /// Kilobytes of memory that this process holds.
    #[cfg(target_os = "linux")]
    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_watched_key_takes_less_than_350_bytes() {
        let hub = hub(WatchLimits::default());
        let before = resident_kib();
        let watchers: Vec<_> = (0..256_u64)
            .map(|number| {
                let asker = NodeId::from_public_key(&[u8::try_from(number).unwrap(); 32]);
                hub.admit(asker, keys(number * 1_024, 1_024)).ok().unwrap()
            })
            .collect();
        let bytes = (resident_kib() - before) * 1_024 / (256 * 1_024);
        println!("{bytes} bytes for each watched key");
        assert!(bytes < 350, "{bytes}");
        assert_eq!(hub.figures().keys, 256 * 1_024);
        drop(watchers);
        assert_eq!(hub.figures(), WatchFigures::default());
        assert!(hub.state().by_key.is_empty() && hub.state().by_asker.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_waits_until_all_have_left_and_for_who_stays_not_for_ever() {
        let hub = hub(WatchLimits::default());
        let watcher = |number| {
            let asker = NodeId::from_bytes([number; 32]);
            hub.admit(asker, keys(u64::from(number), 1)).ok().unwrap()
        };
        let (first, second, stays) = (watcher(1), watcher(2), watcher(3));
        let began = Instant::now();
        let mut ending = std::pin::pin!(hub.end());
        drop(first);
        assert!(ending.as_mut().now_or_never().is_none(), "two are there");
        drop(second);
        assert!(ending.as_mut().now_or_never().is_none(), "one is there");
        ending.await;
        assert_eq!(began.elapsed(), END_LONGEST);
        assert!(matches!(stays.due(), Due::End(End::Refused(Refusal::Restarting))));

        let mut ending = std::pin::pin!(hub.end());
        assert!(ending.as_mut().now_or_never().is_none(), "it stays");
        drop(stays);
        assert!(ending.now_or_never().is_some(), "all have left");
    }

    #[test]
    fn a_commit_that_does_not_fit_a_frame_is_shown_as_a_whole_only_with_its_end() {
        let hub = hub(WatchLimits { queue_records: 600, ..WatchLimits::default() });
        let watcher = hub.admit(NodeId::from_bytes([1; 32]), keys(0, 1)).ok().unwrap();
        let mut state = hub.state();
        let State { watchers, figures, .. } = &mut *state;
        let entry = watchers.get_mut(&watcher.id).unwrap();
        for number in 0..600 {
            let commit_no = if number < 10 { 4 } else { 9 };
            entry.queue(commit_no, &Bytes::from_static(b"record"), &hub.limits, figures);
        }
        drop(state);
        let mut frames = Vec::new();
        while let Due::Records(records, commit_no) = watcher.due() {
            frames.push((records.len(), commit_no));
        }
        assert_eq!(frames, [(256, 8), (256, 8), (88, 9)]);
        assert_eq!(hub.figures().queued_bytes, 0);
        assert_eq!(hub.figures().shown, 600);
    }

    #[test]
    fn after_an_interruption_everybody_has_to_come_back() {
        let hub = hub(WatchLimits::default());
        let watcher = hub.admit(NodeId::from_bytes([1; 32]), keys(0, 1)).ok().unwrap();
        hub.interrupted(12);
        assert!(matches!(watcher.due(), Due::End(End::Refused(Refusal::Busy))));
        let again = hub.admit(NodeId::from_bytes([1; 32]), keys(0, 1)).ok().unwrap();
        assert_eq!(again.from, 12);
        assert!(matches!(again.due(), Due::Nothing));
    }
}
