//! Servers that run in the test's own process.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use dht_context::clock::{Clock, SystemClock};
use dht_context::node_key::NodeKey;
use dht_context::quic::{QuicConfig, QuicTransport, TransportLimits};
use dht_context::resolver::SystemResolver;
use dht_context::store::MemoryStore;
use dht_context::transport::Transport;
use dht_context::verify::{InlineSigner, InlineVerifier};
use dht_context::{ContextConfig, DhtContext, Foundations};
use dht_kad::NodeId;
use dht_kad::admission::Limits;
use dht_kad::message::Mode;

/// The network that they make up.
pub(crate) const NETWORK: &str = "test";

/// Any port of this machine.
pub(crate) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A server of the network that all tests of this process share.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub(crate) id: NodeId,
    pub(crate) addr: SocketAddr,
}

/// Three servers that know each other, on a thread of their own until the process ends.
pub(crate) fn servers() -> &'static [Server; 3] {
    static SERVERS: OnceLock<[Server; 3]> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let (report, reported) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let first = start_at(ANY_PORT, None);
                let place = first.local_addrs()[0];
                let others = [start_at(ANY_PORT, place), start_at(ANY_PORT, place)];
                let all = [&first, &others[0], &others[1]];
                for node in all {
                    node.ready().await;
                }
                let server =
                    |node: &DhtContext| Server { id: node.node_id(), addr: node.local_addrs()[0] };
                report.send(all.map(server)).unwrap();
                std::future::pending::<()>().await;
            });
        });
        reported.recv().unwrap()
    })
}

/// A server at this address that is a network of its own, on a thread of its own until the process
/// ends.
pub(crate) fn start_alone_at(listen: SocketAddr) -> Server {
    let (report, reported) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let node = start_at(listen, None);
            node.ready().await;
            report.send(Server { id: node.node_id(), addr: node.local_addrs()[0] }).unwrap();
            std::future::pending::<()>().await;
        });
    });
    reported.recv().unwrap()
}

/// A server that asks `first`, or is the first.
#[allow(dead_code, reason = "not every test crate starts servers of its own")]
pub(crate) fn start(first: impl Into<Option<SocketAddr>>) -> DhtContext {
    start_at(ANY_PORT, first)
}

/// A server at this address that asks `first`, or is the first.
pub(crate) fn start_at(listen: SocketAddr, first: impl Into<Option<SocketAddr>>) -> DhtContext {
    let key = NodeKey::generate().unwrap();
    let transport = socket(listen, &key);
    node(Mode::Server, key, transport, Arc::new(SystemClock), first.into())
}

/// A socket for the node with this key.
pub(crate) fn socket(listen: SocketAddr, key: &NodeKey) -> Arc<QuicTransport> {
    let config = QuicConfig {
        key: key.clone(),
        network: NETWORK.parse().unwrap(),
        listen: vec![listen],
        limits: TransportLimits::default(),
    };
    QuicTransport::bind(config).unwrap()
}

/// A node of this key and clock that asks `first`, or is the first.
pub(crate) fn node(
    mode: Mode,
    key: NodeKey,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    first: Option<SocketAddr>,
) -> DhtContext {
    let bootstrap: Vec<_> = first.into_iter().map(Into::into).collect();
    let network: dht_kad::NetworkName = NETWORK.parse().unwrap();
    let mut config = ContextConfig::new(network.clone(), mode, bootstrap);
    config.solo = config.bootstrap.is_empty();
    let limits = Limits::default_for(1 << 30);
    let foundations = Foundations {
        transport,
        store: Arc::new(MemoryStore::new(network.clone(), Arc::clone(&clock), limits)),
        verifier: Arc::new(InlineVerifier::new(network)),
        signer: Arc::new(InlineSigner::new(key)),
        clock,
        resolver: Arc::new(SystemResolver),
        seed: *NodeKey::generate().unwrap().to_seed_bytes(),
    };
    DhtContext::start(config, foundations).unwrap()
}
