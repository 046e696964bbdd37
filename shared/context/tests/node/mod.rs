//! One context on a real socket, for tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot start its node has failed"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dht_context::clock::{Clock, SystemClock};
use dht_context::node_key::NodeKey;
use dht_context::quic::{QuicConfig, QuicTransport, TransportLimits};
use dht_context::resolver::SystemResolver;
use dht_context::store::MemoryStore;
use dht_context::verify::InlineVerifier;
use dht_context::{ContextConfig, DhtContext, Foundations, PeerAddress};
use dht_kad::NetworkName;
use dht_kad::admission::Limits;
use dht_kad::message::Mode;

/// The most that anything here may take: generous, since the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

static NEXT_SEED: AtomicU64 = AtomicU64::new(1);

/// The network of these tests.
pub(crate) fn network() -> NetworkName {
    "test".parse().unwrap()
}

/// Waits for something that has to come.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it should have come within a minute")
}

/// How a node starts.
pub(crate) struct NodeOptions {
    pub(crate) mode: Mode,
    pub(crate) listen: SocketAddr,
    pub(crate) bootstrap: Vec<PeerAddress>,
    pub(crate) solo: bool,
}

impl NodeOptions {
    pub(crate) fn server() -> Self {
        NodeOptions {
            mode: Mode::Server,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            bootstrap: Vec::new(),
            solo: false,
        }
    }

    pub(crate) fn client(bootstrap: Vec<PeerAddress>) -> Self {
        NodeOptions { mode: Mode::Client, bootstrap, ..NodeOptions::server() }
    }
}

/// A running context.
pub(crate) struct Node {
    pub(crate) context: DhtContext,
}

impl Node {
    pub(crate) async fn start(options: NodeOptions) -> Self {
        let transport = QuicTransport::bind(QuicConfig {
            key: NodeKey::generate().unwrap(),
            network: network(),
            listen: vec![options.listen],
            limits: TransportLimits::default(),
        })
        .unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let limits = Limits::default_for(1 << 30);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&NEXT_SEED.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let config = ContextConfig {
            solo: options.solo,
            ..ContextConfig::new(network(), options.mode, options.bootstrap)
        };
        let context = DhtContext::start(
            config,
            Foundations {
                transport,
                store: Arc::new(MemoryStore::new(network(), clock.clone(), limits)),
                verifier: Arc::new(InlineVerifier::new(network())),
                clock,
                resolver: Arc::new(SystemResolver),
                seed,
            },
        )
        .unwrap();
        Node { context }
    }

    pub(crate) fn address(&self) -> PeerAddress {
        let addr = self.context.local_addrs()[0];
        PeerAddress { id: Some(self.context.node_id()), ..PeerAddress::from(addr) }
    }

    pub(crate) fn open_connections(&self) -> usize {
        self.context.stats().connections
    }
}
