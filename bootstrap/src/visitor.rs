//! A node for a moment: in the network to ask or put something, without a data directory, a name that
//! lasts or a store.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use dht_context::clock::SystemClock;
use dht_context::node_key::NodeKey;
use dht_context::quic::{QuicConfig, QuicTransport, TransportLimits};
use dht_context::sources::Sources;
use dht_context::store::MemoryStore;
use dht_context::verify::{InlineSigner, InlineVerifier};
use dht_context::{ContextConfig, DhtContext, Foundations, PeerAddress};
use dht_kad::NetworkName;
use dht_kad::admission::Limits;
use dht_kad::message::Mode;

use crate::node::{StartError, VERSION, resolver};

/// Starts a node that only asks; it joins in the background. Needs a tokio runtime with I/O and time.
///
/// # Errors
/// [`StartError`] if there is nobody to ask, or no socket or entropy is to be had.
pub fn start(
    network: NetworkName,
    bootstrap: Vec<PeerAddress>,
    sources: Sources,
    dns_server: Option<SocketAddr>,
) -> Result<DhtContext, StartError> {
    let key = NodeKey::generate()?;
    let bind = |addr: SocketAddr| {
        QuicTransport::bind(QuicConfig {
            key: key.clone(),
            network: network.clone(),
            listen: vec![addr],
            limits: TransportLimits::default(),
        })
    };
    let transport = bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))
        .or_else(|_| bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))))?;
    let clock = Arc::new(SystemClock);
    // It stores nothing: there is no room in this store.
    let store = MemoryStore::new(network.clone(), clock.clone(), Limits::default_for(0));
    let config = ContextConfig::new(network.clone(), Mode::Client, bootstrap);
    let config = ContextConfig { sources, version: VERSION.to_owned(), ..config };
    let on = Foundations {
        transport,
        store: Arc::new(store),
        verifier: Arc::new(InlineVerifier::new(network)),
        signer: Arc::new(InlineSigner::new(key)),
        clock,
        resolver: resolver(dns_server),
        seed: *NodeKey::generate()?.to_seed_bytes(),
    };
    Ok(DhtContext::start(config, on)?)
}
