//! The connection view: one connection a peer, however many callers ask and whoever dialled.

use std::net::SocketAddr;
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
    /// The live connection to a peer, to be used now.
    #[must_use]
    pub fn connection(&self, id: &NodeId) -> Option<Arc<dyn Connection>> {
        let mut state = self.lock();
        let held = state.peers.get_mut(id)?.connection.as_mut()?;
        held.used = Instant::now();
        held.connection.is_open().then(|| held.connection.clone())
    }

    /// The live connection to whoever is at an address, to be used now.
    #[must_use]
    pub fn connection_at(&self, addr: &SocketAddr) -> Option<Arc<dyn Connection>> {
        let mut state = self.lock();
        let mut held = state.peers.values_mut().filter_map(|peer| peer.connection.as_mut());
        let held =
            held.find(|held| held.connection.remote_addr() == *addr && held.connection.is_open())?;
        held.used = Instant::now();
        Some(held.connection.clone())
    }

    /// Lets go of connections that this node dialled and that carry nothing: those not used for
    /// `span` whose peer is not in the table, and of the rest the longest unused beyond `keep`.
    ///
    /// Each end sees to those that it dialled; what others dial is bounded by the transport. Whoever
    /// still needs one that the other end let go of dials it anew, and then it is theirs to keep.
    #[must_use]
    pub fn take_idle(&self, span: Duration, keep: usize) -> Vec<Arc<dyn Connection>> {
        let mut state = self.lock();
        let state = &mut *state;
        let now = Instant::now();
        let mut dialled: Vec<(Instant, NodeId)> = Vec::new();
        for (id, peer) in &state.peers {
            let held = peer.connection.as_ref().filter(|held| held.dialled);
            dialled.extend(held.map(|held| (held.used, *id)));
        }
        let unused = |used: Instant, id: &NodeId| {
            now.duration_since(used) >= span && !state.table.contains(id)
        };
        if dialled.len() <= keep {
            dialled.retain(|(used, id)| unused(*used, id));
        }
        // Last, of as few as can be: it looks into the connection itself.
        dialled.retain(|(_, id)| state.peers.get(id).is_some_and(|peer| peer.live().is_some()));
        let too_many = dialled.len().saturating_sub(keep);
        dialled.sort_unstable();
        let mut idle = Vec::new();
        for (place, (used, id)) in dialled.into_iter().enumerate() {
            let goes = place < too_many || unused(used, &id);
            let Some(peer) = state.peers.get_mut(&id).filter(|_| goes) else {
                continue;
            };
            let quiet = peer.connection.take_if(|held| {
                held.connection.in_flight() == 0 && held.connection.subscriptions() == 0
            });
            idle.extend(quiet.map(|held| held.connection));
        }
        idle
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
        let dialled = connection.dialled();
        if dialled {
            peer.reached_at(connection.remote_addr());
        }
        if let Some(held) = peer.live()
            && held.dialled != dialled
            && now.duration_since(held.since) < SIMULTANEOUS
            && held.dialled == (self.own < peer_id)
        {
            return Registered { winner: held.connection.clone(), loser: Some(connection) };
        }
        let loser = peer
            .connection
            .replace(Held { connection: connection.clone(), dialled, since: now, used: now })
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use dht_kad::UnixMs;

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::quiet_end::QuietEnd;
    use crate::registry::Heard;
    use crate::transport::CloseReason;

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn end(peer: u8, dialled: bool) -> Arc<QuietEnd> {
        Arc::new(QuietEnd::new(id(peer), dialled))
    }

    fn registry(own: u8) -> PeerRegistry {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(UnixMs(1 << 40)));
        PeerRegistry::new(id(own), &[], &clock)
    }

    #[tokio::test(start_paused = true)]
    async fn both_ends_keep_the_one_that_the_lower_id_dialled_in_whatever_order_they_come() {
        // What node 1 dialled, and what node 2 dialled, as each of them sees it.
        for (own, peer) in [(1, 2), (2, 1)] {
            for lower_first in [true, false] {
                let registry = registry(own);
                let by_lower = end(peer, own == 1);
                let by_higher = end(peer, own == 2);
                let (first, second) =
                    if lower_first { (&by_lower, &by_higher) } else { (&by_higher, &by_lower) };
                registry.register(first.clone());
                let registered = registry.register(second.clone());
                assert_eq!(registered.winner.dialled(), by_lower.dialled());
                assert_eq!(registered.loser.unwrap().dialled(), by_higher.dialled());
                assert_eq!(registry.connection(&id(peer)).unwrap().dialled(), by_lower.dialled());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_one_replaces_one_that_its_dialler_must_have_lost() {
        let registry = registry(1);
        registry.register(end(2, true));
        tokio::time::advance(SIMULTANEOUS).await;
        assert!(!registry.register(end(2, false)).winner.dialled());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_dialled_and_is_not_used_is_let_go_of_unless_its_peer_is_in_the_table() {
        let span = Duration::from_secs(60);
        let registry = registry(1);
        let (neighbour, met, busy, theirs) =
            (end(2, true), end(3, true), end(4, true), end(5, false));
        busy.in_flight.store(1, Ordering::Relaxed);
        let watched = end(6, true);
        watched.subscriptions.store(1, Ordering::Relaxed);
        for connection in [&neighbour, &met, &busy, &theirs, &watched] {
            registry.register(connection.clone());
        }
        let addr = neighbour.remote_addr();
        registry.heard_server(Heard { id: id(2), addr, took: Duration::from_millis(1) });
        assert!(registry.take_idle(span, 10).is_empty());
        tokio::time::advance(span / 2).await;
        assert!(registry.connection(&id(3)).is_some(), "used");
        tokio::time::advance(span / 2).await;
        assert!(registry.take_idle(span, 10).is_empty());
        tokio::time::advance(span).await;
        let idle = registry.take_idle(span, 10);
        assert_eq!(idle.iter().map(|c| c.peer()).collect::<Vec<_>>(), [id(3)]);
        assert!(registry.connection(&id(3)).is_none());
        let too_many = registry.take_idle(span, 0);
        assert_eq!(too_many.iter().map(|c| c.peer()).collect::<Vec<_>>(), [id(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_found_by_its_address() {
        let registry = registry(1);
        let connection = end(7, false);
        registry.register(connection.clone());
        let addr = connection.remote_addr();
        assert_eq!(registry.connection_at(&addr).unwrap().peer(), id(7));
        connection.close(CloseReason::Lost);
        assert!(registry.connection_at(&addr).is_none());
    }
}
