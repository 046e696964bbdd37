//! The peer registry: the only owner of what is known of a peer.
//!
//! One map of entries, one lock, two views of it:
//!
//! ```text
//!            ┌── routing_view: which servers are close, alive, due for a question ──▶ lookups, server
//! entries ───┤
//!            └── connection_view: which connection to use, which one loses ─────────▶ connections
//! ```
//!
//! Both views read and change the same [`Peer`] entries, so a peer cannot be alive in one and gone
//! in the other. The lock is held for memory operations only, never while anything is sent or
//! awaited; nothing in here does I/O.

mod connection_view;
mod peer;
mod routing_view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dht_kad::message::NodeInfo;
use dht_kad::routing::{RoutingTable, TableConfig, is_global};
use dht_kad::{NodeId, UnixMs};
use tokio::sync::Notify;
use tokio::time::Instant;

pub use connection_view::{Registered, SIMULTANEOUS};
pub use peer::{PeerSummary, SavedPeer};
pub use routing_view::Heard;

use crate::clock::Clock;
use peer::Peer;

/// The most peers remembered. A table holds a few hundred; the rest are connected clients and peers
/// that lookups met. Beyond it the one that was heard longest ago and is not in use goes.
pub const PEERS_MAX: usize = 8192;

/// The most peers saved for the next start: enough to find a network again after most have gone.
pub const SAVED_PEERS_MAX: usize = 128;

/// The most peers that wait to be pinged. More than that come from a flood, and are left out.
const QUESTIONS_MAX: usize = 256;

/// What is known of all peers. See the [module](self).
pub struct PeerRegistry {
    own: NodeId,
    started: Instant,
    started_at: UnixMs,
    state: Mutex<State>,
    questioned: Notify,
    entered: Notify,
}

struct State {
    peers: BTreeMap<NodeId, Peer>,
    table: RoutingTable,
    own_is_global: bool,
    /// Peers that maintenance is to ping soon.
    questions: BTreeSet<NodeId>,
    /// Changes of the table since the peers were saved last.
    unsaved: bool,
    /// How often a server has entered the table or left it.
    table_changes: u64,
    /// When any server answered last; at first, when the registry was made.
    answered: Instant,
}

impl PeerRegistry {
    /// An empty registry of the node `own`, which is bound to `local_addrs`.
    #[must_use]
    pub fn new(own: NodeId, local_addrs: &[SocketAddr], clock: &Arc<dyn Clock>) -> Self {
        PeerRegistry {
            own,
            started: Instant::now(),
            started_at: clock.now(),
            state: Mutex::new(State {
                peers: BTreeMap::new(),
                table: RoutingTable::new(own, TableConfig::default()),
                own_is_global: local_addrs.iter().any(|addr| is_global(&addr.ip())),
                questions: BTreeSet::new(),
                unsaved: false,
                table_changes: 0,
                answered: Instant::now(),
            }),
            questioned: Notify::new(),
            entered: Notify::new(),
        }
    }

    /// The node's own name.
    #[must_use]
    pub fn own(&self) -> NodeId {
        self.own
    }

    /// The present moment on a clock that never jumps: the start's wall clock plus what has passed.
    fn steady_now(&self) -> UnixMs {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.started_at.after(passed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks maintenance to ping this peer: somebody says that it is a server, or its place in a full
    /// bucket is wanted.
    pub fn question(&self, id: NodeId) {
        let mut state = self.lock();
        if state.questions.len() < QUESTIONS_MAX && state.questions.insert(id) {
            drop(state);
            self.questioned.notify_one();
        }
    }

    /// Waits until peers are to be pinged, and takes them.
    pub async fn questions(&self) -> Vec<NodeInfo> {
        loop {
            let taken = {
                let mut state = self.lock();
                let ids = std::mem::take(&mut state.questions);
                let info = |id: &NodeId| state.peers.get(id).map(|peer| peer.info(*id));
                ids.iter().filter_map(info).collect::<Vec<_>>()
            };
            if !taken.is_empty() {
                return taken;
            }
            self.questioned.notified().await;
        }
    }

    /// Waits until a server enters the table, if none has since the last wait.
    pub async fn peer_entered(&self) {
        self.entered.notified().await;
    }

    /// How many peers are known, how many are in the table, and how many are connected.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize, usize) {
        let state = self.lock();
        let connected = state.peers.values().filter(|peer| peer.live().is_some()).count();
        (state.peers.len(), state.table.len(), connected)
    }

    /// What is known of each peer, by name.
    #[must_use]
    pub fn summaries(&self) -> Vec<PeerSummary> {
        let state = self.lock();
        let summary = |(id, peer): (&NodeId, &Peer)| peer.summary(*id, state.table.contains(id));
        state.peers.iter().map(summary).collect()
    }

    /// The table's peers to save for the next start, if they have changed since they were taken
    /// last: fewest failures first.
    #[must_use]
    pub fn take_unsaved(&self) -> Option<Vec<SavedPeer>> {
        let mut state = self.lock();
        if !std::mem::take(&mut state.unsaved) {
            return None;
        }
        let mut kept: Vec<(u32, SavedPeer)> = Vec::new();
        for id in state.table.ids() {
            if let Some(peer) = state.peers.get(&id).filter(|peer| !peer.addrs.is_empty()) {
                kept.push((peer.failures, SavedPeer { id, addrs: peer.addrs.clone() }));
            }
        }
        kept.sort_by_key(|(failures, _)| *failures);
        kept.truncate(SAVED_PEERS_MAX);
        Some(kept.into_iter().map(|(_, peer)| peer).collect())
    }

    /// Asks for the peers to be saved again: the last attempt failed.
    pub fn note_unsaved(&self) {
        self.lock().unsaved = true;
    }
}

impl State {
    /// The entry of a peer, made if need be; the map stays within its bound.
    fn entry(&mut self, id: NodeId) -> &mut Peer {
        if !self.peers.contains_key(&id) && self.peers.len() >= PEERS_MAX {
            self.forget_one();
        }
        self.peers.entry(id).or_default()
    }

    /// Forgets the peer that was heard longest ago among those that nothing uses.
    fn forget_one(&mut self) {
        let unused = self
            .peers
            .iter()
            .filter(|(id, peer)| peer.live().is_none() && !self.table.contains(id))
            .min_by_key(|(_, peer)| peer.heard);
        if let Some(id) = unused.map(|(id, _)| *id) {
            self.peers.remove(&id);
        }
    }
}
