//! [`Transport`] over QUIC: what carries frames between nodes in the world.
//!
//! A node has one UDP socket (or a few), and both dials and accepts on it. Every connection is
//! QUIC version 1 under TLS 1.3, in which both ends prove their node key by its raw public half; the
//! peer's [`NodeId`] is the hash of that, and an address is nothing but a place to send to. A request is a bidirectional stream of its own, so no request waits for another, and answers
//! cannot be mixed up.
//!
//! ```text
//! dial ──▶ dial ───────────────▶ QuicConnection ◀── accept ◀── acceptor ◀── Gate ◀── first packet
//!                                  │       │
//!                    request: open_bi,   serve: accept_bi, read, Service::answer, write
//!                    write, read         (a stream of frames: write, write, …)
//! ```
//!
//! Everything that others can make this node hold is bounded ([`TransportLimits`] and the constants
//! in `parameters`). It runs on tokio, best on a current-thread runtime: with several threads the
//! same request costs several times the processor time.

mod acceptor;
mod connection;
mod dial;
mod frame_io;
#[cfg(test)]
mod hostile_tests;
mod limits;
mod parameters;
mod serve;
mod socket;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use dht_kad::{NetworkName, NodeId};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::timeout;

pub use self::limits::TransportLimits;
pub use self::socket::BindError;

use self::acceptor::ReadyQueue;
use self::connection::code_of;
use self::dial::Dialler;
use self::limits::Gate;
use self::parameters::CLOSE_LONGEST;
use self::socket::BoundEndpoint;
use crate::node_key::NodeKey;
use crate::transport::{CloseReason, Connection, DialError, Transport};

/// What a [`QuicTransport`] needs to know.
#[derive(Clone, Debug)]
pub struct QuicConfig {
    /// The node's secret.
    pub key: NodeKey,
    /// The network that it takes part in; nodes of another one cannot even shake hands.
    pub network: NetworkName,
    /// Where to listen, usually one address; port 0 lets the system choose. `[::]:port` serves IPv4
    /// too, unless an IPv4 address is listed as well.
    pub listen: Vec<SocketAddr>,
    /// The most that others may make the node hold.
    pub limits: TransportLimits,
}

/// A node's QUIC sockets. Dropping it closes all of its connections and, once these have been told,
/// frees its ports.
pub struct QuicTransport {
    id: NodeId,
    dialler: Dialler,
    ready: Arc<ReadyQueue>,
}

impl QuicTransport {
    /// Binds the sockets and begins to accept. Call it within a tokio runtime; what it spawns there
    /// ends with the transport.
    ///
    /// # Errors
    /// [`BindError`], one sentence for each reason why an address cannot be had.
    pub fn bind(config: QuicConfig) -> Result<Arc<Self>, BindError> {
        let QuicConfig { key, network, listen, limits } = config;
        let tls =
            tls::configs(&key, &network).map_err(|error| BindError::Tls(error.to_string()))?;
        let endpoints: Arc<[BoundEndpoint]> = socket::bind_all(&listen, &key, &tls)?.into();
        let gate = Gate::new(limits);
        let ready = Arc::new(ReadyQueue::default());
        for endpoint in endpoints.iter() {
            let (endpoint, gate) = (endpoint.clone(), Arc::clone(&gate));
            tokio::spawn(acceptor::run(endpoint, gate, Arc::clone(&ready)));
        }
        let config = dial::client_config(&tls);
        let dialler = Dialler { endpoints, config, network, gate };
        Ok(Arc::new(QuicTransport { id: key.id(), dialler, ready }))
    }

    fn begin_to_close(&self) {
        self.ready.close();
        for endpoint in self.dialler.endpoints.iter() {
            endpoint.quic.close(code_of(CloseReason::Stopping), b"");
        }
    }
}

impl Transport for QuicTransport {
    fn local_id(&self) -> NodeId {
        self.id
    }

    fn local_addrs(&self) -> Vec<SocketAddr> {
        self.dialler.endpoints.iter().map(|endpoint| endpoint.local_addr).collect()
    }

    fn dial(
        &self,
        addr: SocketAddr,
        expected: Option<NodeId>,
    ) -> BoxFuture<'static, Result<Arc<dyn Connection>, DialError>> {
        let dialling = self.dialler.clone().dial(addr, expected);
        Box::pin(dialling.map(|made| made.map(|made| Arc::new(made) as Arc<dyn Connection>)))
    }

    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
        let next = self.ready.next();
        Box::pin(next.map(|next| next.map(|next| Arc::new(next) as Arc<dyn Connection>)))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.begin_to_close();
            let drained = join_all(self.dialler.endpoints.iter().map(|one| one.quic.wait_idle()));
            let _ = timeout(CLOSE_LONGEST, drained).await;
        })
    }
}

impl Drop for QuicTransport {
    fn drop(&mut self) {
        self.begin_to_close();
    }
}
