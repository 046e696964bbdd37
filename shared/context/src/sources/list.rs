//! The list that the holder of the network's registry key has signed: the newest that is known here.
//!
//! ```text
//! file beside the network file ─┐
//! file in the data directory   ─┼─▶ verified ─▶ newer than what is known? ─▶ counts, and is kept
//! the DHT, once a day          ─┘                      │ no
//!                                                      └─▶ counted, and nothing changes
//! ```
//!
//! A list is a record like any ([`bootstrap_list`](dht_kad::bootstrap_list)), so the DHT is asked for it
//! like for any. A server that knows a newer one than the network shows puts it there: so it is enough
//! that one server gets a new list as a file. Once a list has ended it vouches for nobody.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dht_kad::admission::FUTURE_TOLERANCE_MS;
use dht_kad::bootstrap_list::{self, ListFault, SignedList};
use dht_kad::message::Mode;
use dht_kad::{NetworkName, UnixMs, domain};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Registry, Source};
use crate::config::BOOTSTRAP_MAX;
use crate::context::{DhtContext, Inner};
use crate::latest::Latest;
use crate::operations::{GetError, GetOptions, Slot};
use crate::peer_address::PeerAddress;

/// How often the network is asked for a newer list: whoever signs one can wait a day.
const REFRESH_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// The first wait after the network could not be asked, or knows of no list; it doubles, with jitter.
const RETRY_FIRST: Duration = Duration::from_secs(10);
/// The longest of these waits.
const RETRY_LONGEST: Duration = Duration::from_secs(60 * 60);

/// How a list stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListStatus {
    /// Its number.
    pub seq: u64,
    /// How many nodes it names.
    pub nodes: usize,
    /// From this moment on it vouches for nobody: Unix milliseconds.
    pub ends_at_ms: u64,
}

/// The newest list that is known.
#[derive(Debug)]
pub(crate) struct ListBook {
    key: [u8; 32],
    network: NetworkName,
    state: Mutex<State>,
    /// The number of the newest list, 0 if there is none.
    newest: Latest<u64>,
}

#[derive(Debug, Default)]
struct State {
    newest: Option<Arc<SignedList>>,
    /// Lists that were forged or older than the known one.
    refused: u64,
    problem: Option<String>,
    /// When the network answered last.
    asked: Option<Instant>,
}

impl ListBook {
    /// Knows the newest of the lists that lie in files, as far as they are genuine.
    pub(crate) fn new(registry: &Registry, network: &NetworkName, now: UnixMs) -> Self {
        let book = ListBook {
            key: registry.key,
            network: network.clone(),
            state: Mutex::default(),
            newest: Latest::new(0),
        };
        let verified = registry
            .lists
            .iter()
            .map(|(from, bytes)| (from, SignedList::verify(bytes.clone(), network, &registry.key)));
        let mut genuine = Vec::new();
        for (from, list) in verified {
            match list {
                Ok(list) => genuine.push((from, list)),
                Err(fault) => book.refuse(from, &fault),
            }
        }
        // The newest first, so that the others are seen to be older.
        genuine.sort_by_key(|(_, list)| std::cmp::Reverse(list.record().precedence()));
        for (from, list) in genuine {
            book.take(from, list, now);
        }
        book
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a genuine list if none that is newer is known; whether it is the newest now.
    fn take(&self, from: &str, list: SignedList, now: UnixMs) -> bool {
        let mut state = self.lock();
        let seq = list.seq();
        if let Some(known) = state.newest.clone()
            && !list.supersedes(&known)
        {
            if list != *known {
                tracing::info!(from, seq, known = known.seq(), "an older list of the registry's");
                state.refused += 1;
            }
            return list == *known;
        }
        if list.record().created_at() > now.after(FUTURE_TOLERANCE_MS) {
            tracing::warn!(
                from,
                seq,
                "the registry's list is signed in the future; check the clocks"
            );
            state.refused += 1;
            state.problem =
                Some(format!("{from}: the list is signed in the future; check the clocks"));
            return false;
        }
        let nodes = list.nodes().len();
        if list.ends_at() <= now {
            tracing::warn!(from, seq, nodes, "the registry's list has ended; ask for a newer one");
        } else {
            tracing::info!(from, seq, nodes, "a list of the network's registry");
        }
        state.newest = Some(Arc::new(list));
        drop(state);
        self.newest.set(seq);
        true
    }

    fn refuse(&self, from: &str, fault: &ListFault) {
        tracing::warn!(from, %fault, "what should be the registry's list is none");
        let mut state = self.lock();
        state.refused += 1;
        state.problem = Some(format!("{from}: {fault}"));
    }

    /// The newest list, ended or not.
    fn newest(&self) -> Option<Arc<SignedList>> {
        self.lock().newest.clone()
    }

    /// The newest list, if it has not ended.
    pub(crate) fn current(&self, now: UnixMs) -> Option<Arc<SignedList>> {
        self.newest().filter(|list| list.ends_at() > now)
    }

    pub(super) fn refused(&self) -> u64 {
        self.lock().refused
    }

    pub(super) fn problem(&self, now: UnixMs) -> Option<String> {
        let state = self.lock();
        match &state.newest {
            Some(list) if list.ends_at() <= now => {
                Some("its list has ended; ask whoever runs the network for a newer one".to_owned())
            }
            None if state.problem.is_none() => {
                Some("no list is known yet; put the signed one beside the network file".to_owned())
            }
            _ => state.problem.clone(),
        }
    }

    pub(super) fn status(&self) -> Option<ListStatus> {
        let of = |list: Arc<SignedList>| ListStatus {
            seq: list.seq(),
            nodes: list.nodes().len(),
            ends_at_ms: list.ends_at().0,
        };
        self.newest().map(of)
    }
}

impl Inner {
    /// Peers that the registry vouches for: all of a short list, some of a long one.
    pub(crate) fn registry_peers(&self) -> Vec<PeerAddress> {
        let now = self.clock.now();
        let list = self.sources.list.as_ref().and_then(|book| book.current(now));
        let mut peers: Vec<PeerAddress> = Vec::new();
        for node in list.iter().flat_map(|list| list.nodes()) {
            peers.extend(node.addrs.iter().cloned());
        }
        while peers.len() > BOOTSTRAP_MAX {
            let drawn = self.chance.below(peers.len() as u64);
            peers.swap_remove(usize::try_from(drawn).unwrap_or(0));
        }
        self.sources.begin(Source::Registry, peers.len());
        peers
    }

    /// Asks the network for the list once a day, and again sooner while it has none to show.
    pub(crate) async fn keep_list_fresh(self: Arc<Self>) {
        let mut failures: u32 = 0;
        loop {
            self.membership.settled().await;
            let refreshed = self.refresh_list().await;
            if let Err(error) = &refreshed {
                tracing::debug!(%error, "the registry's list could not be asked for");
            }
            let now = self.clock.now();
            let known = self.sources.list.as_ref().is_some_and(|book| book.current(now).is_some());
            let wait = if refreshed.is_ok() && known {
                failures = 0;
                self.chance.jittered(REFRESH_EVERY)
            } else {
                failures = failures.saturating_add(1);
                self.chance.backoff(failures - 1, RETRY_FIRST, RETRY_LONGEST)
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Asks the network for the list; a server puts its own one there if that is newer.
    async fn refresh_list(self: &Arc<Self>) -> Result<(), GetError> {
        let Some(book) = &self.sources.list else { return Ok(()) };
        let context = DhtContext { inner: Arc::clone(self) };
        let label = domain::label(&self.config.network, bootstrap_list::NAME);
        let slot = Slot::Owned { publisher: book.key, label, slot: 0 };
        let now = self.clock.now();
        let up_to_date = match context.get(&slot, GetOptions::default()).boxed().await {
            Ok(found) => match SignedList::of(found.record, &book.network, &book.key) {
                Ok(list) => book.take("the network", list, now),
                Err(fault) => {
                    book.refuse("the network", &fault);
                    false
                }
            },
            Err(GetError::NotFound | GetError::Deleted) => false,
            Err(error) => return Err(error),
        };
        book.lock().asked = Some(Instant::now());
        if let Some(list) = book.current(now).filter(|_| !up_to_date)
            && self.config.mode == Mode::Server
            && let Err(error) = context.put_record(list.record(), None, None).boxed().await
        {
            tracing::info!(%error, "the registry's list could not be put; trying again later");
            return Err(GetError::NetworkUnsettled);
        }
        Ok(())
    }
}

impl DhtContext {
    /// The newest list of the network's registry, if one is known that has not ended.
    #[must_use]
    pub fn registry_list(&self) -> Option<Arc<SignedList>> {
        self.inner.sources.list.as_ref()?.current(self.now())
    }

    /// Whether the network has a registry that signs the list of its bootstrap nodes.
    #[must_use]
    pub fn has_registry(&self) -> bool {
        self.inner.sources.list.is_some()
    }

    /// Whether the network has not been asked for its registry's list within the last day.
    #[must_use]
    pub fn registry_list_is_stale(&self) -> bool {
        let asked = self.inner.sources.list.as_ref().and_then(|book| book.lock().asked);
        asked.is_none_or(|at| at.elapsed() >= REFRESH_EVERY)
    }

    /// Asks the network for its registry's list now, and returns the newest that is known.
    ///
    /// # Errors
    /// [`GetError`] if the network cannot be asked and no list is known either.
    pub async fn refreshed_registry_list(&self) -> Result<Option<Arc<SignedList>>, GetError> {
        let refreshed = self.inner.refresh_list().await;
        match self.registry_list() {
            Some(list) => Ok(Some(list)),
            None => refreshed.map(|()| None),
        }
    }

    /// Waits for a list of the registry's with a greater number than `seq`, and returns that number and
    /// its record's bytes: to be kept for the next start. Waits for ever where no registry is configured.
    pub async fn newer_registry_list(&self, seq: u64) -> (u64, Bytes) {
        if let Some(book) = &self.inner.sources.list {
            book.newest.wait_for(|newest| *newest > seq).await;
            if let Some(list) = book.newest() {
                return (list.seq(), list.record().bytes().clone());
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use dht_kad::bootstrap_list::{BootstrapList, BootstrapNode};
    use dht_kad::record::Retention;
    use dht_kad::{NodeId, UnixMs};
    use ed25519_dalek::SigningKey;

    use super::*;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn network() -> NetworkName {
        "test".parse().unwrap()
    }

    fn list(key: u8, at: UnixMs, nodes: u8) -> Bytes {
        let node = |number| BootstrapNode {
            id: NodeId::from_bytes([number; 32]),
            addrs: vec!["node.example:1".parse().unwrap()],
            tags: String::new(),
        };
        let list = BootstrapList::new((0..nodes).map(node).collect()).unwrap();
        let key = SigningKey::from_bytes(&[key; 32]);
        list.draft(&network(), at).sign(&key, &network()).unwrap().bytes().clone()
    }

    fn book(lists: Vec<Bytes>, now: UnixMs) -> ListBook {
        let key = SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes();
        let lists = lists.into_iter().map(|bytes| ("a file".to_owned(), bytes)).collect();
        ListBook::new(&Registry { key, lists }, &network(), now)
    }

    #[test]
    fn the_newest_genuine_list_counts_whatever_order_they_come_in() {
        let (old, new) = (list(1, NOW, 1), list(1, NOW.after(1), 2));
        let forged = list(2, NOW.after(2), 3);
        for lists in [[&old, &new, &forged], [&forged, &new, &old]] {
            let book = book(lists.into_iter().cloned().collect(), NOW.after(9));
            assert_eq!(book.current(NOW.after(9)).unwrap().nodes().len(), 2);
            assert_eq!((book.refused(), book.newest.get()), (2, NOW.0 + 1));
            assert!(book.problem(NOW).unwrap().contains("registry key"));
        }
        let same = book(vec![new.clone(), new], NOW);
        assert_eq!((same.refused(), same.problem(NOW)), (0, None));
    }

    #[test]
    fn an_older_list_changes_nothing_and_is_counted() {
        let book = book(vec![list(1, NOW.after(1), 2)], NOW);
        let key = book.key;
        let older = SignedList::verify(list(1, NOW, 5), &network(), &key).unwrap();
        assert!(!book.take("the network", older, NOW));
        assert_eq!((book.current(NOW).unwrap().nodes().len(), book.refused()), (2, 1));
    }

    #[test]
    fn a_list_that_has_ended_vouches_for_nobody() {
        let book = book(vec![list(1, NOW, 1)], NOW);
        let end = NOW.after(Retention::Days365.lifetime_ms());
        assert!(book.current(UnixMs(end.0 - 1)).is_some() && book.current(end).is_none());
        assert!(book.problem(end).unwrap().contains("ended"));
        assert_eq!(book.status().unwrap().ends_at_ms, end.0);
    }
}
