//! How many connections and bytes others may make this node hold.
//!
//! An attempt goes through the [`Gate`] twice. At its first packet the gate says whether to shake
//! hands, to make the sender prove its address first (a *Retry*, which holds no state here), or to
//! refuse. An address counts against its prefix only once it is proven, by a Retry or by the whole
//! handshake: a forged sender cannot use up the places of somebody else. Places are given back when
//! a connection is let go of, and a prefix without connections is forgotten; nothing is stored.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dht_kad::routing::Prefix;

use super::parameters::FRAME_BYTES;

/// The most that others may make a node hold. The defaults suit a small VPS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransportLimits {
    /// Connections that others dialled. An idle one costs about 40 KiB.
    pub connections: usize,
    /// Of these, connections of one global prefix (IPv4 /24, IPv6 /48): households and offices
    /// share one, and so does whoever floods from one machine.
    pub connections_per_prefix: usize,
    /// Of these, connections of one loopback or private address: a whole test network is one.
    pub connections_per_local_address: usize,
    /// Handshakes that are under way. One costs as much memory as a connection, and a third of a
    /// millisecond of a processor.
    pub handshakes: usize,
    /// While more handshakes than this are under way, a sender must prove its address first.
    pub handshakes_before_retry: usize,
    /// Bytes of requests and answers that are being received, worked on or sent.
    pub request_bytes: usize,
}

impl Default for TransportLimits {
    fn default() -> Self {
        TransportLimits {
            connections: 4096,
            connections_per_prefix: 64,
            connections_per_local_address: 4096,
            handshakes: 512,
            handshakes_before_retry: 64,
            request_bytes: 128 * 1024 * 1024,
        }
    }
}

/// What to do with a connection attempt.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Shake hands. A proven address has its place already.
    Accept(HandshakePlace, Option<ConnectionPlace>),
    /// Let the sender prove its address.
    Retry,
    /// There is no room.
    Refuse,
}

/// Counts handshakes, connections and bytes, for all sockets of a node together.
#[derive(Debug)]
pub(super) struct Gate {
    limits: TransportLimits,
    handshakes: AtomicUsize,
    connections: Mutex<Connections>,
    request_bytes: AtomicUsize,
}

/// At most `limits.connections` prefixes, since each has at least one connection.
#[derive(Debug, Default)]
struct Connections {
    total: usize,
    by_prefix: BTreeMap<Prefix, usize>,
}

/// One of the handshakes under way; ends when dropped.
#[derive(Debug)]
pub(super) struct HandshakePlace(Arc<Gate>);

/// One of the connections; given back when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPlace {
    gate: Arc<Gate>,
    prefix: Prefix,
}

/// Bytes held for one request; given back when dropped.
#[derive(Debug)]
pub(super) struct HeldBytes<'a> {
    connection: &'a AtomicUsize,
    gate: &'a Gate,
    held: usize,
}

/// The most bytes of requests and answers of one connection: 64 whole frames, which is what a busy
/// peer has in flight.
const CONNECTION_BYTES: usize = 16 * 1024 * 1024;

/// The same once half of all bytes are held: a whole frame and its answer. So the connections of
/// one prefix, which may hold the one half, cannot hold the other as well.
const CONNECTION_BYTES_UNDER_LOAD: usize = 2 * FRAME_BYTES;

impl Gate {
    pub(super) fn new(limits: TransportLimits) -> Arc<Self> {
        Arc::new(Gate {
            limits,
            handshakes: AtomicUsize::new(0),
            connections: Mutex::default(),
            request_bytes: AtomicUsize::new(0),
        })
    }

    /// Judges an attempt from `ip`; `proven` says whether a Retry has shown that it is there.
    pub(super) fn judge(self: &Arc<Self>, ip: IpAddr, proven: bool) -> Verdict {
        let under_way = self.handshakes.load(Ordering::Relaxed);
        if !proven && under_way >= self.limits.handshakes_before_retry {
            return Verdict::Retry;
        }
        if under_way >= self.limits.handshakes || !self.has_room(Prefix::of_host(&ip)) {
            return Verdict::Refuse;
        }
        let place = if proven {
            match self.claim(ip) {
                Some(place) => Some(place),
                None => return Verdict::Refuse,
            }
        } else {
            None
        };
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        Verdict::Accept(HandshakePlace(Arc::clone(self)), place)
    }

    /// A place for a connection from this proven address, if there is one.
    pub(super) fn claim(self: &Arc<Self>, ip: IpAddr) -> Option<ConnectionPlace> {
        let prefix = Prefix::of_host(&ip);
        let mut connections = self.connections();
        if connections.total >= self.limits.connections {
            return None;
        }
        let count = connections.by_prefix.entry(prefix).or_default();
        if *count >= self.most_of(prefix) {
            return None;
        }
        *count += 1;
        connections.total += 1;
        Some(ConnectionPlace { gate: Arc::clone(self), prefix })
    }

    /// Starts to count the bytes of one request on a connection that counts its own in `connection`.
    pub(super) fn hold<'a>(&'a self, connection: &'a AtomicUsize) -> HeldBytes<'a> {
        HeldBytes { connection, gate: self, held: 0 }
    }

    fn has_room(&self, prefix: Prefix) -> bool {
        let connections = self.connections();
        let of_prefix = connections.by_prefix.get(&prefix).copied().unwrap_or_default();
        connections.total < self.limits.connections && of_prefix < self.most_of(prefix)
    }

    fn most_of(&self, prefix: Prefix) -> usize {
        if prefix.is_local() {
            self.limits.connections_per_local_address
        } else {
            self.limits.connections_per_prefix
        }
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        // Counts stay whole even if a holder of the lock panicked.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldBytes<'_> {
    /// Counts `bytes` more; false, and nothing changed, if there is no room for them.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let most = self.gate.limits.request_bytes;
        let of_all = self.gate.request_bytes.load(Ordering::Relaxed) + bytes;
        let of_connection = self.connection.load(Ordering::Relaxed) + bytes;
        let share = if of_all > most / 2 { CONNECTION_BYTES_UNDER_LOAD } else { CONNECTION_BYTES };
        if of_all > most || of_connection > share {
            return false;
        }
        self.gate.request_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.connection.fetch_add(bytes, Ordering::Relaxed);
        self.held += bytes;
        true
    }
}

impl Drop for HeldBytes<'_> {
    fn drop(&mut self) {
        self.connection.fetch_sub(self.held, Ordering::Relaxed);
        self.gate.request_bytes.fetch_sub(self.held, Ordering::Relaxed);
    }
}

impl Drop for HandshakePlace {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut connections = self.gate.connections();
        connections.total = connections.total.saturating_sub(1);
        if let Some(count) = connections.by_prefix.get_mut(&self.prefix) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                connections.by_prefix.remove(&self.prefix);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TransportLimits = TransportLimits {
        connections: 5,
        connections_per_prefix: 2,
        connections_per_local_address: 4,
        handshakes: 3,
        handshakes_before_retry: 1,
        request_bytes: 100,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_prefix_has_its_share_and_all_together_the_total() {
        let gate = Gate::new(LIMITS);
        let first = [gate.claim(ip("8.8.8.1")).unwrap(), gate.claim(ip("8.8.8.2")).unwrap()];
        assert!(gate.claim(ip("8.8.8.3")).is_none());
        let local: Vec<_> = (0..3).map(|_| gate.claim(ip("127.0.0.1")).unwrap()).collect();
        assert!(gate.claim(ip("127.0.0.1")).is_none(), "the total is reached");
        drop(first);
        assert!(gate.claim(ip("8.8.8.3")).is_some());
        drop(local);
    }

    #[test]
    fn a_prefix_without_connections_is_forgotten() {
        let gate = Gate::new(LIMITS);
        for third in 0..100 {
            drop(gate.claim(ip(&format!("8.8.{third}.1"))));
        }
        assert!(gate.connections().by_prefix.is_empty());
        assert_eq!(gate.connections().total, 0);
    }

    #[test]
    fn above_a_few_handshakes_an_address_must_be_proven_and_only_a_proven_one_counts() {
        let gate = Gate::new(LIMITS);
        let Verdict::Accept(_first, None) = gate.judge(ip("8.8.8.1"), false) else {
            panic!("the first is accepted, and not counted");
        };
        assert!(matches!(gate.judge(ip("8.8.8.1"), false), Verdict::Retry));
        let Verdict::Accept(_second, Some(_)) = gate.judge(ip("8.8.8.1"), true) else {
            panic!("a proven one is accepted, and counted");
        };
        let Verdict::Accept(_third, Some(_)) = gate.judge(ip("9.9.9.1"), true) else {
            panic!("there is room for three");
        };
        assert!(matches!(gate.judge(ip("7.7.7.1"), true), Verdict::Refuse));
    }

    #[test]
    fn bytes_are_bounded_and_given_back() {
        let gate = Gate::new(LIMITS);
        let (one, other) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut held = gate.hold(&one);
        assert!(held.grow(60) && !held.grow(60) && held.grow(40));
        assert!(!gate.hold(&other).grow(1));
        drop(held);
        assert!(gate.hold(&other).grow(100));
        assert_eq!(gate.request_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn under_load_a_connection_holds_no_more_than_its_share() {
        let request_bytes = 16 * FRAME_BYTES;
        let gate = Gate::new(TransportLimits { request_bytes, ..LIMITS });
        let (greedy, modest) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut of_greedy = gate.hold(&greedy);
        assert!(of_greedy.grow(8 * FRAME_BYTES), "there is no load yet");
        assert!(!of_greedy.grow(1));
        let mut of_modest = gate.hold(&modest);
        assert!(of_modest.grow(2 * FRAME_BYTES));
        assert!(!of_modest.grow(1));
    }
}
