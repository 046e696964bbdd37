//! `peers`.

use dht_context::registry::PeerSummary;
use serde_json::{Value, json};

use super::failure::Failure;
use super::ping::mode_name;
use super::print;
use super::session::Session;

/// Shows the peers that a look around the client's own place in the keyspace meets.
pub(crate) async fn run(session: &Session) -> Result<(), Failure> {
    let client = session.reader()?;
    client.lookup(client.node_id().key()).await?;
    let peers = client.peers();
    if session.json() {
        let peers: Vec<Value> = peers.iter().map(object).collect();
        return print::object(&json!({ "peers": peers }));
    }
    peers.iter().try_for_each(|peer| print::line(&plain(peer)))
}

fn addresses(peer: &PeerSummary) -> Vec<String> {
    peer.addrs.iter().map(ToString::to_string).collect()
}

fn object(peer: &PeerSummary) -> Value {
    json!({
        "id": peer.id.to_string(),
        "addresses": addresses(peer),
        "mode": peer.mode.map(mode_name),
        "in_table": peer.in_table,
        "connected": peer.connected,
        "rtt_us": peer.rtt.map(|rtt| rtt.as_micros()),
        "failures": peer.failures,
    })
}

fn plain(peer: &PeerSummary) -> String {
    format!(
        "{} {} {} rtt {} us, {} failures",
        peer.id,
        addresses(peer).join(" "),
        if peer.connected { "connected" } else { "not connected" },
        peer.rtt.map_or_else(|| "?".to_owned(), |rtt| rtt.as_micros().to_string()),
        peer.failures,
    )
}
