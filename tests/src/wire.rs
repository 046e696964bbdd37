//! [`WirePeer`]: one authenticated connection to one node, on which a test sends what it likes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dht_context::node_key::NodeKey;
use dht_context::quic::{QuicConfig, QuicTransport, TransportLimits};
use dht_context::transport::{
    Answer, Asker, CloseReason, Connection, DialError, RequestError, Service, Transport,
};
use dht_kad::codec::{decode_response, encode_request, encode_response};
use dht_kad::message::{
    Find, Found, Mode, Ping, Pong, PublisherKey, Receipt, RecordBytes, Request, Response, Store,
    StoreItem, StoreResults,
};
use dht_kad::{NetworkName, NodeId, RecordId, Refusal, ValidRecord};

use crate::node_process::NodeProcess;
use crate::records::network;
use crate::user::{runtime, wait_for};
use crate::waiting::LIMIT;

/// How long a dial may take before it counts as unanswered.
const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// A connection to one node, as a client that serves nothing.
pub struct WirePeer {
    connection: Arc<dyn Connection>,
    // Holds the socket open.
    _transport: Arc<QuicTransport>,
}

/// What a client says to whoever asks it.
struct ServesNothing;

impl Service for ServesNothing {
    fn answer(&self, _asker: Asker, _frame: Bytes) -> Answer {
        let refused = Response::Refused(Refusal::NotAServer);
        Answer::Ready(encode_response(&refused).expect("a refusal fits a frame"))
    }
}

impl WirePeer {
    /// Connects to a node.
    #[must_use]
    pub fn to(node: &NodeProcess) -> Self {
        Self::dial(node.addr(), Some(node.id()), network()).expect("the node takes connections")
    }

    /// Connects to whoever is there, in whichever network.
    ///
    /// # Errors
    /// As the transport says.
    pub fn dial(
        addr: SocketAddr,
        expected: Option<NodeId>,
        network: NetworkName,
    ) -> Result<Self, DialError> {
        let _inside = runtime().enter();
        let transport = QuicTransport::bind(QuicConfig {
            key: NodeKey::generate().expect("entropy"),
            network,
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            limits: TransportLimits::default(),
        })
        .expect("a socket");
        let dialled = wait_for(async {
            let dialling = transport.dial(addr, expected);
            tokio::time::timeout(DIAL_LIMIT, dialling)
                .await
                .unwrap_or(Err(DialError::TimedOut(addr)))
        });
        let connection = dialled?;
        runtime().spawn(connection.serve(Arc::new(ServesNothing)));
        Ok(WirePeer { connection, _transport: transport })
    }

    /// Asks, and returns the answer.
    #[must_use]
    pub fn ask(&self, request: &Request) -> Response {
        let frame = encode_request(request).expect("a request that keeps the bounds");
        let answer = self.send(frame).expect("an answer");
        decode_response(&answer).expect("an answer that keeps the bounds")
    }

    /// Sends these bytes as a request, whatever they are, and returns the answer's.
    ///
    /// # Errors
    /// As the transport says.
    pub fn send(&self, frame: Bytes) -> Result<Bytes, RequestError> {
        let request = self.connection.request(frame);
        wait_for(async {
            tokio::time::timeout(LIMIT, request).await.expect("an answer within the limit")
        })
    }

    /// The connection itself.
    #[must_use]
    pub fn connection(&self) -> &Arc<dyn Connection> {
        &self.connection
    }

    /// What this very node holds in a slot: its bytes, or its head's.
    #[must_use]
    pub fn find(&self, id: &RecordId) -> Option<Bytes> {
        let find = find_of(id);
        match self.ask(&Request::Find(find)) {
            Response::Found(Found { records, .. }) => {
                assert!(records.len() <= 1, "one record was asked for");
                records.into_iter().next().map(|RecordBytes(bytes)| bytes)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Stores a record on this very node.
    ///
    /// # Errors
    /// The node's refusal.
    pub fn store(&self, record: &ValidRecord) -> Result<Receipt, Refusal> {
        self.store_bytes(record.bytes().clone(), None)
    }

    /// Stores bytes as a record on this very node.
    ///
    /// # Errors
    /// The node's refusal.
    pub fn store_bytes(&self, bytes: Bytes, expected_seq: Option<u64>) -> Result<Receipt, Refusal> {
        let item = StoreItem { record: RecordBytes(bytes), expected_seq };
        match self.ask(&Request::Store(Store { items: vec![item] })) {
            Response::StoreResults(StoreResults { mut results }) => {
                assert_eq!(results.len(), 1, "one result a record");
                results.remove(0)
            }
            Response::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a record, and does not wait for what becomes of it.
    pub fn begin_store(&self, record: &ValidRecord) {
        let item = StoreItem { record: RecordBytes(record.bytes().clone()), expected_seq: None };
        let request = Request::Store(Store { items: vec![item] });
        let frame = encode_request(&request).expect("a request that keeps the bounds");
        runtime().spawn(self.connection.request(frame));
    }

    /// Asks how the node is.
    #[must_use]
    pub fn ping(&self) -> Pong {
        match self.ask(&Request::Ping(Ping { mode: Mode::Client })) {
            Response::Pong(pong) => pong,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for WirePeer {
    fn drop(&mut self) {
        self.connection.close(CloseReason::Stopping);
    }
}

/// A request for one slot's record.
#[must_use]
pub fn find_of(id: &RecordId) -> Find {
    Find {
        key: id.key,
        publisher: Some(PublisherKey(id.publisher)),
        slots: Some((id.slot, id.slot)),
        after: None,
        heads_only: false,
        min_work: 0,
        limit: 1,
        want_closer: false,
    }
}
