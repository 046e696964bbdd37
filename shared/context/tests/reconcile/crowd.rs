//! Many servers that know each other and keep no records: what they answer other holders, the test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dht_context::node_key::NodeKey;
use dht_context::transport::{Answer, Asker, Service, Transport};
use dht_context::{PeerAddress, Timing};
use dht_kad::codec::{decode_request, encode_response};
use dht_kad::message::{Mode, NodeInfo, Nodes, Pong, Reconcile, Reconciled, Request, Response};
use dht_kad::reconcile::Neighbourhood;
use dht_kad::routing::K;
use dht_kad::{Key, NodeId, Refusal, ValidRecord};

use crate::holders::{Holder, START, until};
use crate::wire::Wire;

/// Repair that begins at once.
pub(crate) const PROMPT: Timing = Timing {
    repair_wait: Duration::from_millis(50),
    repair_soon: Duration::from_millis(50),
    ..Timing::DEFAULT
};

type Script = dyn Fn(&NodeId, &Reconcile) -> Reconciled + Send + Sync;

/// So many that one bucket of a table takes all that are in the other half of the keyspace.
const MANY: u8 = 30;

/// The servers.
pub(crate) struct Crowd {
    pub(crate) servers: Arc<Mutex<Vec<NodeInfo>>>,
}

/// One of them.
struct Server {
    id: NodeId,
    crowd: Arc<Mutex<Vec<NodeInfo>>>,
    script: Arc<Script>,
}

impl Crowd {
    /// Starts them; they live as long as the wire.
    pub(crate) fn start(
        wire: &Arc<Wire>,
        script: impl Fn(&NodeId, &Reconcile) -> Reconciled + Send + Sync + 'static,
    ) -> Self {
        let script: Arc<Script> = Arc::new(script);
        let servers = Arc::<Mutex<Vec<NodeInfo>>>::default();
        for number in 100..100 + MANY {
            let transport = wire.bind(NodeKey::from_seed([number; 32]).id());
            let id = transport.local_id();
            servers.lock().unwrap().push(NodeInfo { id, addrs: transport.local_addrs() });
            let service =
                Arc::new(Server { id, crowd: Arc::clone(&servers), script: Arc::clone(&script) });
            tokio::spawn(async move {
                while let Some(connection) = transport.accept().await {
                    tokio::spawn(connection.serve(service.clone()));
                }
            });
        }
        Crowd { servers }
    }

    /// A holder of these records that joins them.
    pub(crate) async fn joined_by(
        &self,
        wire: &Arc<Wire>,
        timing: Timing,
        records: &[ValidRecord],
    ) -> Holder {
        let bootstrap = self.servers.lock().unwrap().iter().take(3).map(address).collect();
        let here = Holder::start_among(wire, 1, bootstrap, timing);
        here.give(records).await;
        until(|| here.context.stats().replication.neighbours >= u64::from(MANY)).await;
        here
    }

    /// Who should hold what around a holder.
    pub(crate) fn around(&self, here: &Holder) -> Neighbourhood {
        let others: Vec<NodeId> = self.servers.lock().unwrap().iter().map(|node| node.id).collect();
        Neighbourhood::new(here.info.id, &others, K)
    }
}

fn address(node: &NodeInfo) -> PeerAddress {
    PeerAddress { id: Some(node.id), ..PeerAddress::from(node.addrs[0]) }
}

impl Server {
    fn closest(&self, target: &Key, asker: NodeId) -> Vec<NodeInfo> {
        let mut nodes = self.crowd.lock().unwrap().clone();
        nodes.retain(|node| node.id != asker);
        nodes.sort_by_key(|node| node.id.key().distance(target));
        nodes.truncate(K);
        nodes
    }
}

impl Service for Server {
    fn answer(&self, asker: Asker, frame: Bytes) -> Answer {
        let response = match decode_request(&frame).unwrap() {
            Request::Ping(_) => Response::Pong(Pong {
                mode: Mode::Server,
                version: "one of many".into(),
                settled: true,
                whole: true,
                observed: asker.addr,
                clock: START,
            }),
            Request::FindNode(find) => Response::Nodes(Nodes {
                nodes: self.closest(&find.target, asker.id),
                settled: true,
                whole: true,
            }),
            Request::Reconcile(question) => {
                Response::Reconciled((self.script)(&self.id, &question))
            }
            _ => Response::Refused(Refusal::Busy),
        };
        Answer::Ready(encode_response(&response).unwrap())
    }
}
