//! Stub, replaced soon.

use std::net::SocketAddr;

use dht_kad::NodeId;

/// A peer as it is remembered across restarts.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct SavedPeer {
    /// Its proven name.
    pub id: NodeId,
    /// Where it was reached.
    pub addrs: Vec<SocketAddr>,
}
