//! A transport that carries frames through memory, as slowly and unreliably as a seed says.
//!
//! ```text
//! SimTransport ─ dial ─▶ ┐                                                   ┌─▶ accept
//! SimConnection ─ ask ─▶ ├─▶ Network::post ─▶ letters by moment ─▶ deliver ──┼─▶ End: inbox ─▶ serve
//!               answer ─▶┘     Links: delay, loss     carry()     trace      └─▶ End: waiting ask
//! ```
//!
//! Everything that crosses the network is a letter. [`Network::carry`] is the one task that
//! delivers them, in the order of their moments, so that a run has one order of events. What the
//! model keeps of QUIC is what nodes can notice: a handshake takes a round trip; a lost packet
//! costs a retransmission; a peer that died is silent until the idle timeout, or until the same
//! address is alive again and answers with a stateless reset; closing tells the other side why.

mod connection;
mod delivery;
mod end;
mod letter;
mod links;
mod network;
mod sent;

use std::net::SocketAddr;
use std::sync::Arc;

use dht_context::transport::{Connection, DialError, Transport};
use dht_kad::NodeId;
use futures_util::future::BoxFuture;

pub use links::{LinkModel, Links};
pub use network::Network;
pub use sent::{Purpose, Sent};

use connection::SimConnection;
use delivery::PortRef;

/// One life of one host on the simulated network.
pub struct SimTransport {
    network: Arc<Network>,
    port: PortRef,
}

impl SimTransport {
    /// Binds `addr` for the node `id`. Whoever still believes in a connection to an earlier life of
    /// this address will be told better when it next sends something.
    #[must_use]
    pub fn bind(network: &Arc<Network>, addr: SocketAddr, id: NodeId) -> Arc<Self> {
        let port = network.bind(addr, id);
        Arc::new(SimTransport { network: Arc::clone(network), port })
    }
}

impl Transport for SimTransport {
    fn local_id(&self) -> NodeId {
        self.port.id
    }

    fn local_addrs(&self) -> Vec<SocketAddr> {
        vec![self.port.addr]
    }

    fn dial(
        &self,
        addr: SocketAddr,
        expected: Option<NodeId>,
    ) -> BoxFuture<'static, Result<Arc<dyn Connection>, DialError>> {
        let network = Arc::clone(&self.network);
        let answer = network.hello(&self.port, addr, expected);
        Box::pin(async move {
            // A letter that is never answered is dropped, and its answer's sender with it.
            let end = answer.await.map_err(|_| DialError::TimedOut(addr))??;
            Ok(Arc::new(SimConnection::new(network, end)) as Arc<dyn Connection>)
        })
    }

    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
        Box::pin(async move {
            loop {
                match self.network.next_arrived(&self.port) {
                    Some(Some(end)) => {
                        let connection = SimConnection::new(Arc::clone(&self.network), end);
                        return Some(Arc::new(connection) as Arc<dyn Connection>);
                    }
                    Some(None) => self.port.arrived.notified().await,
                    None => return None,
                }
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.network.unbind(&self.port);
        Box::pin(std::future::ready(()))
    }
}
