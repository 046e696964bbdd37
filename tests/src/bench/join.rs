//! How soon a node that starts is ready, and knows three others.

use std::path::Path;

use serde_json::json;
use tokio::time::Instant;

use super::figures::median;
use super::nodes::Node;

/// Nodes that are there at first: the one that is joined by, and three more to find.
const NODES: usize = 4;
/// Peers that make a node part of the network rather than a leaf of its bootstrap peer.
const PEERS: u64 = 3;
/// How often it is measured.
const ROUNDS: usize = 7;

/// Starts a small network, then lets more nodes join one by one; prints the medians and the
/// slowest, from the start of the process.
///
/// # Errors
/// Where a node does not join until `deadline`.
pub fn measure(dir: &Path, json: bool, deadline: Instant) -> anyhow::Result<()> {
    let first = Node::start(dir, None, deadline)?;
    let mut others = Vec::with_capacity(NODES);
    for _ in 1..NODES {
        others.push(Node::start(dir, Some(&first.listen), deadline)?);
    }
    let (mut ready_ms, mut peers_ms) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut newcomer = Node::launch(dir, Some(&first.listen))?;
        let peers = newcomer.peers_after(PEERS, deadline)?;
        let ready = newcomer.ready_after(deadline)?;
        ready_ms.push(ready.as_secs_f64() * 1e3);
        peers_ms.push(peers.as_secs_f64() * 1e3);
        // It stays: a network that also has dead nodes is another measurement.
        others.push(newcomer);
    }
    let slowest = peers_ms.iter().copied().fold(0.0, f64::max);
    let (ready, peers) = (median(&ready_ms), median(&peers_ms));
    if json {
        println!(
            "{}",
            json!({
                "op": "join", "nodes": NODES, "peers": PEERS, "rounds": ROUNDS,
                "ready_ms": ready, "peers_ms": peers, "peers_ms_slowest": slowest,
            })
        );
    } else {
        println!(
            "join: ready {ready:.0} ms after its start, {PEERS} peers after {peers:.0} ms \
             (slowest of {ROUNDS}: {slowest:.0} ms), beside {NODES} nodes or more"
        );
    }
    Ok(())
}
