//! One entry of the registry.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dht_kad::NodeId;
use dht_kad::message::{ADDRS_MAX, Mode, NodeInfo};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::transport::Connection;

/// A peer as it is remembered across restarts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedPeer {
    /// Its proven name.
    pub id: NodeId,
    /// Where it was reached, best first.
    pub addrs: Vec<SocketAddr>,
}

/// What a person sees of a peer.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerSummary {
    /// Its proven name.
    pub id: NodeId,
    /// Where it was reached, best first.
    pub addrs: Vec<SocketAddr>,
    /// Server or client, once it said so.
    pub mode: Option<Mode>,
    /// Whether it is in the routing table.
    pub in_table: bool,
    /// Whether a connection to it is open.
    pub connected: bool,
    /// The smoothed time of its answers.
    pub rtt: Option<Duration>,
    /// Requests in a row that it did not answer.
    pub failures: u32,
}

/// All that is known of one peer.
#[derive(Default)]
pub(super) struct Peer {
    /// Best first, at most [`ADDRS_MAX`].
    pub(super) addrs: Vec<SocketAddr>,
    pub(super) mode: Option<Mode>,
    /// Whether it said last that it holds what it should.
    pub(super) whole: bool,
    /// When it said so.
    pub(super) said_whole: Option<Instant>,
    pub(super) connection: Option<Held>,
    pub(super) rtt: Option<Duration>,
    pub(super) failures: u32,
    /// Since when it has been in the table.
    pub(super) entered: Option<Instant>,
    /// When the last of these was counted.
    pub(super) failed: Option<Instant>,
    /// When it last answered; `None` sorts as longest ago.
    pub(super) heard: Option<Instant>,
}

/// The one connection to a peer, since when, and when this node last took it to ask something.
pub(super) struct Held {
    pub(super) connection: Arc<dyn Connection>,
    /// What the connection says of itself for good, at hand where all peers are gone through.
    pub(super) dialled: bool,
    pub(super) since: Instant,
    pub(super) used: Instant,
}

impl Peer {
    /// The connection, if it can still carry requests.
    pub(super) fn live(&self) -> Option<&Held> {
        self.connection.as_ref().filter(|held| held.connection.is_open())
    }

    /// Whether it answered within the last `span`.
    pub(super) fn heard_within(&self, span: Duration) -> bool {
        self.heard.is_some_and(|at| at.elapsed() < span)
    }

    /// Puts an address where the peer was just reached in front.
    pub(super) fn reached_at(&mut self, addr: SocketAddr) {
        if self.addrs.first() == Some(&addr) {
            return;
        }
        self.addrs.retain(|known| *known != addr);
        self.addrs.insert(0, addr);
        self.addrs.truncate(ADDRS_MAX);
    }

    /// Smooths the round-trip time as TCP does (RFC 6298): an eighth of the new one.
    pub(super) fn note_rtt(&mut self, took: Duration) {
        self.rtt = Some(match self.rtt {
            None => took,
            Some(smoothed) => (smoothed * 7 + took) / 8,
        });
    }

    pub(super) fn info(&self, id: NodeId) -> NodeInfo {
        NodeInfo { id, addrs: self.addrs.clone() }
    }

    pub(super) fn summary(&self, id: NodeId, in_table: bool) -> PeerSummary {
        PeerSummary {
            id,
            addrs: self.addrs.clone(),
            mode: self.mode,
            in_table,
            connected: self.live().is_some(),
            rtt: self.rtt,
            failures: self.failures,
        }
    }
}
