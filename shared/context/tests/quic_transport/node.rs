//! Nodes and services to test with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dht_context::node_key::NodeKey;
use dht_context::quic::{QuicConfig, QuicTransport, TransportLimits};
use dht_context::transport::{Answer, Asker, Connection, Service, Transport};
use dht_kad::message::FRAME_HEADER;

/// What no step of a test may exceed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const LOOPBACK: &str = "127.0.0.1:0";

/// A node with a key of its own on a free loopback port.
pub(crate) fn node() -> Arc<QuicTransport> {
    bind(NodeKey::generate().unwrap(), LOOPBACK, "test")
}

pub(crate) fn bind(key: NodeKey, listen: &str, network: &str) -> Arc<QuicTransport> {
    let listen = vec![listen.parse().unwrap()];
    let network = network.parse().unwrap();
    let limits = TransportLimits::default();
    QuicTransport::bind(QuicConfig { key, network, listen, limits }).unwrap()
}

pub(crate) fn addr_of(node: &QuicTransport) -> SocketAddr {
    node.local_addrs()[0]
}

/// The two ends of a new connection: the dialler's, the listener's.
pub(crate) async fn connect(
    dialler: &QuicTransport,
    listener: &QuicTransport,
) -> (Arc<dyn Connection>, Arc<dyn Connection>) {
    let expected = Some(listener.local_id());
    let dialled = dialler.dial(addr_of(listener), expected);
    let (dialled, accepted) = within(async { tokio::join!(dialled, listener.accept()) }).await;
    (dialled.unwrap(), accepted.unwrap())
}

/// Serves every connection of a node with one service, each in a task of its own.
pub(crate) fn serve_all(node: &Arc<QuicTransport>, service: Arc<dyn Service>) {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        while let Some(connection) = node.accept().await {
            let service = Arc::clone(&service);
            tokio::spawn(async move { connection.serve(service).await });
        }
    });
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("done within the test's patience")
}

/// Waits until nothing is in flight any more.
pub(crate) async fn settled(connection: &dyn Connection) {
    within(async {
        while connection.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A frame with this payload.
pub(crate) fn frame(payload: &[u8]) -> Bytes {
    let mut frame = vec![0, 1];
    frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(payload);
    frame.into()
}

pub(crate) fn payload(frame: &Bytes) -> &[u8] {
    &frame[FRAME_HEADER..]
}

/// Answers with the request.
pub(crate) struct Echo;

impl Service for Echo {
    fn answer(&self, _asker: Asker, frame: Bytes) -> Answer {
        Answer::Ready(frame)
    }
}
