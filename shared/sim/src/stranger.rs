//! [`Stranger`]: a node that is none of ours: it speaks the protocol, and has neither a table nor a
//! store. Alone it asks one node what it shows; with a [`Service`] of its own it is what an attacker
//! is made of.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dht_context::node_key::NodeKey;
use dht_context::transport::{Answer, Asker, Connection, Service, Transport};
use dht_kad::message::{Find, NodeInfo, PublisherKey, Request, Response};
use dht_kad::{NodeId, RecordId, Refusal, codec};
use tokio::task::AbortHandle;

use crate::host::HostId;
use crate::transport::{Network, SimTransport};
use crate::world::{PORT, World};

/// It waits so long for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections that it keeps: one to each node of the largest world that it is used in.
const CONNECTIONS_MAX: usize = 16_384;

/// A node that is none of ours. It vanishes when it is dropped.
pub struct Stranger {
    network: Arc<Network>,
    hosts: Vec<SocketAddr>,
    transport: Arc<SimTransport>,
    service: Arc<dyn Service>,
    addr: SocketAddr,
    connections: Arc<Mutex<BTreeMap<SocketAddr, Arc<dyn Connection>>>>,
    accepting: AbortHandle,
}

/// Answers nothing that it is asked.
struct Deaf;

impl Service for Deaf {
    fn answer(&self, _: Asker, _: Bytes) -> Answer {
        let refused = codec::encode_response(&Response::Refused(Refusal::NotAServer));
        Answer::Ready(refused.unwrap_or_default())
    }
}

impl Stranger {
    /// A passer-by who only asks.
    #[must_use]
    pub fn arrive(world: &World) -> Self {
        let number = world.next_stranger();
        let key = NodeKey::from_seed(world.seed().derive("stranger", number));
        Stranger::settle(world, number, &key, Arc::new(Deaf))
    }

    /// A node with this key, which answers as `service` does. Each has a /24 of its own within
    /// 21.0.0.0/8, by its number.
    pub(crate) fn settle(
        world: &World,
        number: u64,
        key: &NodeKey,
        service: Arc<dyn Service>,
    ) -> Self {
        let [.., high, low] = number.to_be_bytes();
        let addr = SocketAddr::from(([21, high, low, 1], PORT));
        let network = Arc::clone(world.network());
        network.place(addr);
        let transport = SimTransport::bind(&network, addr, key.id());
        let (accepts, serves) = (Arc::clone(&transport), Arc::clone(&service));
        let connections: Arc<Mutex<BTreeMap<_, _>>> = Arc::default();
        let kept = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            while let Some(connection) = accepts.accept().await {
                keep(&kept, connection, Arc::clone(&serves));
            }
        });
        Stranger {
            network,
            hosts: world.view().addrs(),
            transport,
            service,
            addr,
            connections,
            accepting: accepting.abort_handle(),
        }
    }

    /// Who it is, and where.
    #[must_use]
    pub fn info(&self) -> NodeInfo {
        NodeInfo { id: self.id(), addrs: vec![self.addr] }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.transport.local_id()
    }

    /// What a host shows of a slot; `None` if it does not answer, or refuses.
    pub async fn find(&self, host: HostId, slot: &RecordId) -> Option<Vec<Bytes>> {
        let find = Find {
            key: slot.key,
            publisher: Some(PublisherKey(slot.publisher)),
            slots: Some((slot.slot, slot.slot)),
            after: None,
            heads_only: false,
            min_work: 0,
            limit: 1,
            want_closer: false,
        };
        match self.ask(host, &Request::Find(find)).await? {
            Response::Found(found) => {
                Some(found.records.into_iter().map(|bytes| bytes.0).collect())
            }
            _ => None,
        }
    }

    /// Asks a host something; `None` if it does not answer.
    pub async fn ask(&self, host: HostId, request: &Request) -> Option<Response> {
        let frame = codec::encode_request(request).ok()?;
        codec::decode_response(&self.ask_raw(host, frame).await?).ok()
    }

    /// Sends a host a frame, whatever it is, and returns the one that it answers.
    pub async fn ask_raw(&self, host: HostId, frame: Bytes) -> Option<Bytes> {
        let addr = *self.hosts.get(host)?;
        let asked = async { self.connection(addr).await?.request(frame).await.ok() };
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
    }

    async fn connection(&self, addr: SocketAddr) -> Option<Arc<dyn Connection>> {
        let known = lock(&self.connections).get(&addr).cloned();
        if let Some(connection) = known.filter(|connection| connection.is_open()) {
            return Some(connection);
        }
        let connection = self.transport.dial(addr, None).await.ok()?;
        keep(&self.connections, Arc::clone(&connection), Arc::clone(&self.service));
        Some(connection)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.accepting.abort();
        lock(&self.connections).clear();
        self.network.crash(self.addr);
    }
}

type Connections = Mutex<BTreeMap<SocketAddr, Arc<dyn Connection>>>;

/// Serves a connection until it ends, and keeps it to ask on.
fn keep(connections: &Connections, connection: Arc<dyn Connection>, service: Arc<dyn Service>) {
    tokio::spawn(connection.serve(service));
    let mut kept = lock(connections);
    if kept.len() < CONNECTIONS_MAX {
        kept.insert(connection.remote_addr(), connection);
    }
}

fn lock(connections: &Connections) -> MutexGuard<'_, BTreeMap<SocketAddr, Arc<dyn Connection>>> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}
