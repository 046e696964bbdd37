//! The connection view: one connection a peer, however many callers ask and whoever dialled.

use std::sync::Arc;
use std::time::Duration;

use dht_kad::NodeId;
use tokio::time::Instant;

use super::PeerRegistry;
use super::peer::Held;
use crate::transport::Connection;

/// Two connections made within this span were dialled at the same time, by nodes that did not know
/// of the other's. A later one means that its dialler has lost the earlier one: the newer stays.
pub const SIMULTANEOUS: Duration = Duration::from_secs(5);

/// What became of a new connection.
pub struct Registered {
    /// The one to use from now on.
    pub winner: Arc<dyn Connection>,
    /// The one that carries no new requests, and is closed once it is quiet.
    pub loser: Option<Arc<dyn Connection>>,
}

impl PeerRegistry {
    /// The live connection to a peer.
    #[must_use]
    pub fn connection(&self, id: &NodeId) -> Option<Arc<dyn Connection>> {
        let state = self.lock();
        Some(state.peers.get(id)?.live()?.connection.clone())
    }

    /// Takes a new connection, and decides which one stays if there is another.
    ///
    /// Of two opposite ones the one dialled by the lower node id stays: both ends come to the same
    /// answer without a word. Of two in one direction the newer stays.
    pub fn register(&self, connection: Arc<dyn Connection>) -> Registered {
        let peer_id = connection.peer();
        let now = Instant::now();
        let mut state = self.lock();
        let peer = state.entry(peer_id);
        if connection.dialled() {
            peer.reached_at(connection.remote_addr());
        }
        let held = peer.live().map(|held| (held.connection.clone(), held.since));
        if let Some((old, since)) = held
            && old.dialled() != connection.dialled()
            && now.duration_since(since) < SIMULTANEOUS
            && old.dialled() == (self.own < peer_id)
        {
            return Registered { winner: old, loser: Some(connection) };
        }
        let loser = peer
            .connection
            .replace(Held { connection: connection.clone(), since: now })
            .map(|held| held.connection)
            .filter(|old| old.is_open());
        Registered { winner: connection, loser }
    }

    /// Forgets a connection that has ended, unless another has taken its place.
    pub fn unregister(&self, connection: &Arc<dyn Connection>) {
        let mut state = self.lock();
        let Some(peer) = state.peers.get_mut(&connection.peer()) else { return };
        if peer.connection.as_ref().is_some_and(|held| Arc::ptr_eq(&held.connection, connection)) {
            peer.connection = None;
        }
    }

    /// All live connections.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<dyn Connection>> {
        let state = self.lock();
        state.peers.values().filter_map(|peer| Some(peer.live()?.connection.clone())).collect()
    }
}
