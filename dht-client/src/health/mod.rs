//! Whether each node of a fleet is well, asked through the network as anybody would.
//!
//! ```text
//! peers ─▶ a client each, which knows only its own node ─▶ ping, vital signs ─▶ a canary stored there alone
//!                                                             │ who answered          │ shown by it?
//!                                                             └───────▶ the canary, got through others
//! what was seen of each node ─▶ Finding: its faults, and the worst of them ─▶ Health
//! ```
//!
//! All nodes are asked side by side, each for a limited time, and every one of them whatever the others said: a
//! monitor that ends at the first node that answers, or looks at processes and ports, has asked nothing.
//!
//! The *canary* is a small signed value for eight hours, under a label whose key is closest to the node that
//! it is for, so that whoever looks it up through another node is led there. It is signed by a key that is made
//! for the run, or by an identity that is given; with that, each run replaces the canary of the one before.
//!
//! ```no_run
#![doc = include_str!("example.rs")]
//! ```

mod canary;
mod fleet;
mod judge;

use std::net::SocketAddr;
use std::time::Duration;

use dht_kad::message::{NodeInfo, Pong, VitalSigns};
use dht_kad::{NetworkName, NodeId};
use futures_util::future::join_all;
use tokio::time::timeout;

pub use canary::Canary;
pub use fleet::{FLEET_MAX, Fleet, FleetError};
pub use judge::{
    CLOCK_OFF_MAX_MS, DISK_FREE_MIN_PERCENT, Fault, Health, MEMORY_FREE_MIN_PERCENT,
    STORE_FREE_MIN_PERCENT, UNREPAIRED_MAX_SECS,
};

use crate::client::Client;
use crate::error::ClientError;
use crate::identity::Identity;
use crate::{DEFAULT_TIMEOUT, PeerAddress};

/// How nodes are asked.
#[derive(Clone, Debug)]
pub struct HealthOptions {
    /// How long one node may take to say how it is, and again as long for its canary. With
    /// [`DEFAULT_TIMEOUT`], all is known within 20 seconds however many nodes are dead.
    pub limit: Duration,
    /// Who signs the canaries; a key made for the run if nobody is named.
    pub identity: Option<Identity>,
    /// Who is asked for hosts; the system's name servers if nobody is named.
    pub dns_server: Option<SocketAddr>,
}

impl Default for HealthOptions {
    fn default() -> Self {
        HealthOptions { limit: DEFAULT_TIMEOUT, identity: None, dns_server: None }
    }
}

/// How one node is.
#[derive(Debug)]
pub struct Finding {
    /// Whom it was asked for.
    pub peer: PeerAddress,
    /// What it said, if it answered.
    pub answer: Option<NodeAnswer>,
    /// What became of its canary.
    pub canary: Canary,
    /// What is wrong with it, the worst first.
    pub faults: Vec<Fault>,
}

impl Finding {
    /// How it is in one word: as ill as the worst of its faults.
    #[must_use]
    pub fn health(&self) -> Health {
        self.faults.iter().map(Fault::health).max().unwrap_or(Health::Well)
    }
}

/// What a node answered.
#[derive(Debug)]
pub struct NodeAnswer {
    /// Who it is, which its handshake proved, and where it was reached.
    pub node: NodeInfo,
    /// Its pong.
    pub pong: Pong,
    /// How long that took.
    pub rtt: Option<Duration>,
    /// Its clock minus this machine's, in milliseconds, give or take half of `rtt`.
    pub clock_difference_ms: i64,
    /// How it is, or why it did not say.
    pub signs: Result<VitalSigns, ClientError>,
}

/// A node, and the client that knows no other.
struct Visit {
    peer: PeerAddress,
    client: Client,
    answer: Result<NodeAnswer, ClientError>,
}

/// Asks every one of these peers of a network how it is: one finding a peer, in their order.
///
/// # Cancel safety
/// Canaries that were stored stay until they expire.
///
/// # Errors
/// [`ClientError`] if this machine cannot ask: no socket, no entropy. What is wrong with a node is in
/// its finding.
pub async fn examine(
    network: &NetworkName,
    peers: &[PeerAddress],
    options: &HealthOptions,
) -> Result<Vec<Finding>, ClientError> {
    let identity = options.identity.clone().map_or_else(Identity::generate, Ok)?;
    let clients = peers.iter().map(|peer| start(network, peer, options));
    let clients: Vec<Client> = clients.collect::<Result<_, _>>()?;
    let visits = join_all(peers.iter().zip(clients).map(|(peer, client)| async move {
        let asked = timeout(options.limit, ask(&client, peer)).await;
        let answer = asked.unwrap_or(Err(ClientError::TimedOut(options.limit)));
        Visit { peer: peer.clone(), client, answer }
    }))
    .await;
    let canaries =
        join_all((0..visits.len()).map(|at| canary::send(&visits, at, &identity, options.limit)))
            .await;
    join_all(visits.iter().map(|visit| visit.client.stop())).await;
    let found = visits.into_iter().zip(canaries).map(|(Visit { peer, answer, .. }, canary)| {
        let faults = judge::faults(answer.as_ref(), &canary);
        Finding { peer, answer: answer.ok(), canary, faults }
    });
    Ok(found.collect())
}

/// A client that knows this peer and nobody else.
fn start(
    network: &NetworkName,
    peer: &PeerAddress,
    options: &HealthOptions,
) -> Result<Client, ClientError> {
    let builder = Client::builder(network.clone()).bootstrap(peer.clone()).timeout(options.limit);
    match options.dns_server {
        Some(server) => builder.dns_server(server),
        None => builder,
    }
    .start()
}

async fn ask(client: &Client, peer: &PeerAddress) -> Result<NodeAnswer, ClientError> {
    let report = client.ping(peer).await?;
    let signs = client.context.vitals(&report.node).await.map_err(ClientError::from);
    Ok(NodeAnswer {
        node: report.node,
        pong: report.pong,
        rtt: report.rtt,
        clock_difference_ms: report.clock_difference_ms,
        signs,
    })
}

impl Visit {
    fn node(&self) -> Option<&NodeInfo> {
        self.answer.as_ref().ok().map(|answer| &answer.node)
    }

    fn id(&self) -> Option<NodeId> {
        self.node().map(|node| node.id)
    }
}
