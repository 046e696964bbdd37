//! The routing view: servers as places in the keyspace.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use dht_kad::message::{Mode, NodeInfo};
use dht_kad::routing::{BucketIndex, Insertion, Prefix, is_global};
use dht_kad::{Key, NodeId, UnixMs};
use tokio::time::Instant;

use super::peer::Peer;
use super::{PeerRegistry, QUESTIONS_MAX, State};
use crate::chance::Chance;

/// After so many requests in a row without an answer a server leaves the table.
const FAILURES_MAX: u32 = 2;

/// Failures within this span count as one: many requests that are under way when an answerer stalls
/// or a connection breaks say no more than one of them does.
const FAILURES_APART: Duration = Duration::from_secs(1);

/// A server that was heard within this span is not moved in the table again: what keeps a busy
/// node from touching its table at each answer.
const FRESH: Duration = Duration::from_secs(1);

/// A server that was heard within this span counts as alive without being asked.
const ALIVE: Duration = Duration::from_secs(30);

/// An answer from an authenticated peer.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// Who answered.
    pub id: NodeId,
    /// From where.
    pub addr: SocketAddr,
    /// How long it took.
    pub took: Duration,
}

impl PeerRegistry {
    /// A peer answered a request that only servers answer, or said that it is a server: it may
    /// enter the table. Names a peer to question, if the bucket is full.
    pub fn heard_server(&self, heard: Heard) -> Option<NodeId> {
        let now = self.steady_now();
        let mut state = self.lock();
        state.answered = Instant::now();
        let peer = state.entry(heard.id);
        let nothing_new = peer.mode == Some(Mode::Server)
            && peer.heard_within(FRESH)
            && peer.addrs.first() == Some(&heard.addr);
        peer.mode = Some(Mode::Server);
        peer.failures = 0;
        peer.heard = Some(Instant::now());
        peer.note_rtt(heard.took);
        peer.reached_at(heard.addr);
        if nothing_new {
            return None;
        }
        match state.table.insert(heard.id, Prefix::of(&heard.addr), now) {
            Insertion::Added => {
                state.unsaved = true;
                state.table_changes += 1;
                state.entry(heard.id).entered = Some(Instant::now());
                self.entered.notify_one();
                None
            }
            Insertion::Waiting { revalidate } => {
                let unheard = state.peers.get(&revalidate).is_none_or(|p| !p.heard_within(ALIVE));
                unheard.then_some(revalidate)
            }
            _ => None,
        }
    }

    /// A peer says that it is a server. Whether that is true is to be asked, unless it has shown it
    /// lately and has not failed since, as one does that is restarted: two nodes that are not in
    /// each other's tables must not ping each other for ever.
    pub fn introduced(&self, id: &NodeId) {
        let known = {
            let state = self.lock();
            let shown = |peer: &Peer| {
                peer.mode == Some(Mode::Server) && peer.failures == 0 && peer.heard_within(ALIVE)
            };
            state.peers.get(id).is_some_and(shown)
        };
        if !known {
            self.question(*id);
        }
    }

    /// A peer said that it is a client: it does not belong into the table.
    pub fn heard_client(&self, heard: Heard) {
        let mut state = self.lock();
        let peer = state.entry(heard.id);
        peer.mode = Some(Mode::Client);
        peer.failures = 0;
        peer.heard = Some(Instant::now());
        peer.note_rtt(heard.took);
        if state.leave_table(&heard.id) {
            drop(state);
            self.questioned.notify_one();
        }
    }

    /// A peer did not answer, or could not be reached.
    pub fn failed(&self, id: &NodeId) {
        let mut state = self.lock();
        let Some(peer) = state.peers.get_mut(id) else { return };
        if peer.failures > 0 && peer.failed.is_some_and(|at| at.elapsed() < FAILURES_APART) {
            return;
        }
        peer.failures = peer.failures.saturating_add(1);
        peer.failed = Some(Instant::now());
        if peer.failures >= FAILURES_MAX && state.leave_table(id) {
            drop(state);
            self.questioned.notify_one();
        }
    }

    /// The servers to name to who looks for those closest to `target`, this node itself included:
    /// see [`RoutingTable::to_name`](dht_kad::routing::RoutingTable::to_name). Without `except`.
    #[must_use]
    pub fn to_name(&self, target: &Key, except: Option<&NodeId>) -> Vec<NodeInfo> {
        let state = self.lock();
        let ids = state.table.to_name(target, except, |id| state.says_whole(id));
        ids.iter().filter_map(|id| Some(state.peers.get(id)?.info(*id))).collect()
    }

    /// Where a peer can be reached, as far as is known.
    #[must_use]
    pub fn info(&self, id: &NodeId) -> Option<NodeInfo> {
        self.lock().peers.get(id).map(|peer| peer.info(*id))
    }

    /// Whether a peer is in the table.
    #[must_use]
    pub fn in_table(&self, id: &NodeId) -> bool {
        self.lock().table.contains(id)
    }

    /// The servers in the table.
    #[must_use]
    pub fn servers(&self) -> Vec<NodeId> {
        self.lock().table.ids()
    }

    /// How often a server has entered the table or left it: who has seen this number has seen the
    /// table as it is.
    #[must_use]
    pub fn table_changes(&self) -> u64 {
        self.lock().table_changes
    }

    /// Whether any server of the table said last that it holds what it should.
    #[must_use]
    pub fn knows_whole(&self) -> bool {
        let state = self.lock();
        state.table.ids().iter().any(|id| state.says_whole(id))
    }

    /// The servers of the table that said last that they hold what they should.
    #[must_use]
    pub fn whole_servers(&self) -> BTreeSet<NodeId> {
        let state = self.lock();
        state.table.ids().into_iter().filter(|id| state.says_whole(id)).collect()
    }

    /// A server says whether it holds what it should.
    pub fn note_whole(&self, id: &NodeId, whole: bool) {
        if let Some(peer) = self.lock().peers.get_mut(id) {
            peer.whole = whole;
            peer.said_whole = Some(Instant::now());
        }
    }

    /// How many servers are in the table.
    #[must_use]
    pub fn table_len(&self) -> usize {
        self.lock().table.len()
    }

    /// For how long no server has answered anything.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        self.lock().answered.elapsed()
    }

    /// Up to `count` servers that have been in the table longest.
    #[must_use]
    pub fn longest_known(&self, count: usize) -> Vec<NodeInfo> {
        let state = self.lock();
        let mut known: Vec<(Option<Instant>, NodeId)> = Vec::new();
        for id in state.table.ids() {
            known.extend(state.peers.get(&id).map(|peer| (peer.entered, id)));
        }
        known.sort_unstable();
        let ids = known.into_iter().take(count).map(|(_, id)| id);
        ids.filter_map(|id| Some(state.peers.get(&id)?.info(id))).collect()
    }

    /// Servers that were not heard for `span`, longest unheard first, and those that have not said
    /// for as long whether they hold what they should, and did not when they said it last.
    #[must_use]
    pub fn unheard_for(&self, span: Duration) -> Vec<NodeInfo> {
        let before = self.ago(span);
        let state = self.lock();
        let unheard = state.table.unheard_since(before);
        let silent = |id: &NodeId| {
            let peer = state.peers.get(id);
            let long_ago = |peer: &Peer| peer.said_whole.is_none_or(|at| at.elapsed() >= span);
            peer.is_some_and(|peer| !peer.whole && long_ago(peer)) && !unheard.contains(id)
        };
        let unsaid = state.table.ids().into_iter().filter(silent);
        let due: Vec<NodeId> = unheard.iter().copied().chain(unsaid).collect();
        due.into_iter().filter_map(|id| Some(state.peers.get(&id)?.info(id))).collect()
    }

    /// A random key in each bucket that was not looked up for `span`.
    #[must_use]
    pub fn keys_to_refresh(&self, span: Duration, chance: &Chance) -> Vec<Key> {
        let before = self.ago(span);
        let state = self.lock();
        let stale: Vec<BucketIndex> = state.table.stale_buckets(before);
        stale
            .into_iter()
            .map(|bucket| chance.with(|rng| state.table.random_key_in(bucket, rng)))
            .collect()
    }

    /// Notes that `target` was looked up.
    pub fn note_lookup(&self, target: &Key) {
        let now = self.steady_now();
        self.lock().table.note_lookup(target, now);
    }

    /// Notes at which address the peer at `from` sees this node. A peer at a private address cannot
    /// see it at a global one, and may not cut it off from its private neighbours by saying so.
    pub fn note_observed(&self, addr: &SocketAddr, from: &SocketAddr) {
        if is_global(&addr.ip()) && is_global(&from.ip()) {
            self.lock().own_is_global = true;
        }
    }

    /// Leaves out of `nodes` the addresses that are no use here: a node with a global address
    /// admits no others' private ones. Nodes without an address left are dropped, and so is this
    /// node itself.
    #[must_use]
    pub fn admit(&self, nodes: Vec<NodeInfo>) -> Vec<NodeInfo> {
        let only_global = self.lock().own_is_global;
        let usable = |addr: &SocketAddr| {
            addr.port() != 0
                && !addr.ip().is_unspecified()
                && (!only_global || is_global(&addr.ip()))
        };
        nodes
            .into_iter()
            .filter(|node| node.id != self.own)
            .filter_map(|mut node| {
                node.addrs.retain(usable);
                (!node.addrs.is_empty()).then_some(node)
            })
            .collect()
    }

    fn ago(&self, span: Duration) -> UnixMs {
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        UnixMs(self.steady_now().since(UnixMs(span_ms)))
    }
}

impl State {
    fn says_whole(&self, id: &NodeId) -> bool {
        self.peers.get(id).is_some_and(|peer| peer.whole)
    }

    /// Takes a peer out of the table. Who takes its place has waited, perhaps for long, and is to be
    /// questioned; true if there is one.
    fn leave_table(&mut self, id: &NodeId) -> bool {
        let mut removal = self.table.remove(id);
        self.unsaved |= removal.removed;
        self.table_changes += u64::from(removal.removed);
        // Of those who only waited some may have been forgotten: nobody could ask these.
        while let Some(promoted) = removal.promoted {
            if let Some(peer) = self.peers.get_mut(&promoted) {
                peer.entered = Some(Instant::now());
                return self.questions.len() < QUESTIONS_MAX && self.questions.insert(promoted);
            }
            removal = self.table.remove(&promoted);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::{Clock, ManualClock};

    fn registry() -> PeerRegistry {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(UnixMs(1 << 40)));
        PeerRegistry::new(NodeId::from_bytes([0; 32]), &[], &clock)
    }

    /// A node in the half of the keyspace that the own id is not in, on a port of its own.
    fn far(number: u16) -> Heard {
        let mut id = [0xff; 32];
        id[30..].copy_from_slice(&number.to_be_bytes());
        let addr = SocketAddr::from(([127, 0, 0, 1], 1000 + number));
        Heard { id: NodeId::from_bytes(id), addr, took: Duration::from_millis(1) }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_fail_together_count_as_one_failure() {
        let registry = registry();
        let peer = far(1);
        registry.heard_server(peer);
        for _ in 0..50 {
            registry.failed(&peer.id);
        }
        assert!(registry.in_table(&peer.id));
        tokio::time::advance(FAILURES_APART).await;
        registry.failed(&peer.id);
        assert!(!registry.in_table(&peer.id));
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_failed_peers_place_is_questioned() {
        let registry = registry();
        // Half of the own side of the keyspace, so that the far bucket is split off and full.
        for number in 0..20 {
            registry.heard_server(far(number));
        }
        let mut near = far(100);
        near.id = NodeId::from_bytes([0x0f; 32]);
        registry.heard_server(near);
        let waiting = far(50);
        registry.heard_server(waiting);
        assert!(!registry.in_table(&waiting.id));
        for _ in 0..FAILURES_MAX {
            registry.failed(&far(3).id);
            tokio::time::advance(FAILURES_APART).await;
        }
        assert!(registry.in_table(&waiting.id));
        let questioned = registry.questions().await;
        assert!(questioned.iter().any(|node| node.id == waiting.id));
    }

    #[tokio::test(start_paused = true)]
    async fn a_private_peer_cannot_cut_a_node_off_from_its_private_neighbours() {
        let registry = registry();
        let private: SocketAddr = "192.168.1.2:4".parse().unwrap();
        let (global, other) = ("8.8.8.8:1".parse().unwrap(), "9.9.9.9:1".parse().unwrap());
        let neighbour = NodeInfo { id: NodeId::from_bytes([9; 32]), addrs: vec![private] };
        registry.note_observed(&global, &private);
        assert_eq!(registry.admit(vec![neighbour.clone()]).len(), 1);
        registry.note_observed(&global, &other);
        assert_eq!(registry.admit(vec![neighbour]).len(), 0);
    }
}
