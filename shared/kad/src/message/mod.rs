//! The messages: what is asked and answered on a stream.
//!
//! A request is one frame on a bidirectional stream of its own; the answer is one frame back, or
//! for [`watch`] as many as there is something to tell. A
//! frame is `type: u16 ‖ length: u32 ‖ payload`, integers big-endian; the payload is the message in
//! the form of [`codec`](crate::codec). An answer has its request's type, or [`TYPE_REFUSED`].
//! What a record is inside a message is opaque here: its canonical bytes, [`RecordBytes`].

pub mod audit;
pub mod reconcile;
pub mod vitals;
pub mod watch;

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::id::{Key, NodeId};
use crate::record::layout::RECORD_MAX;
use crate::refusal::Refusal;
use crate::time::UnixMs;
pub use audit::{Audit, AuditResults, Receipt};
pub use reconcile::{Reconcile, Reconciled};
pub use vitals::{VitalSigns, Vitals};
pub use watch::{Watch, Watched};

/// The most bytes of a frame's payload. One maximal record always fits, with room for the rest.
pub const FRAME_MAX: usize = 256 * 1024;
/// Bytes of a frame's header: type and length.
pub const FRAME_HEADER: usize = 6;
/// The most bytes of records in one page or batch: half a frame, and more than one maximal record.
pub const PAGE_BYTES: usize = FRAME_MAX / 2;
/// The most records in one page or batch.
pub const PAGE_RECORDS: usize = 256;
/// The most nodes in one answer: the k closest, and k that are whole where none of these is.
pub const NODES_MAX: usize = 40;
/// The most addresses of one node in an answer: dual stack, public and private.
pub const ADDRS_MAX: usize = 4;

/// The most bytes of a [`Pong`]'s software version.
pub const VERSION_TEXT_MAX: usize = 64;

const _: () = assert!(RECORD_MAX <= PAGE_BYTES, "one maximal record fits a page");

/// The answer's type where a request was refused.
pub const TYPE_REFUSED: u16 = 0;
/// [`Ping`].
pub const TYPE_PING: u16 = 1;
/// [`FindNode`].
pub const TYPE_FIND_NODE: u16 = 2;
/// [`Find`].
pub const TYPE_FIND: u16 = 3;
/// [`Store`].
pub const TYPE_STORE: u16 = 4;
/// [`Watch`].
pub const TYPE_WATCH: u16 = 5;
/// [`Reconcile`].
pub const TYPE_RECONCILE: u16 = 6;
/// [`Audit`].
pub const TYPE_AUDIT: u16 = 8;
/// [`Vitals`].
pub const TYPE_VITALS: u16 = 9;
// 7 is reserved for DialBack; until it is built it is unknown.

/// Whether a node answers requests and stores, or only asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Mode {
    /// Answers requests and stores records.
    Server,
    /// Only asks.
    Client,
}

/// A node as others are told of it: its name and where it may be reached.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeInfo {
    /// The node's name; whoever dials compares it with the key that the handshake proves.
    pub id: NodeId,
    /// At most [`ADDRS_MAX`] addresses, best first.
    #[serde(deserialize_with = "bounded::list::<_, _, ADDRS_MAX>")]
    pub addrs: Vec<SocketAddr>,
}

/// The canonical bytes of a record, or of a head alone. Unchecked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordBytes(pub Bytes);

/// Who are you, and how are you?
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ping {
    /// The asker's mode: a server that asks is worth a ping back.
    pub mode: Mode,
}

/// The answer to [`Ping`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pong {
    /// The answerer's mode.
    pub mode: Mode,
    /// The answerer's software version, such as `dht-bootstrap 0.1.0`; at most
    /// [`VERSION_TEXT_MAX`] bytes, without control characters.
    #[serde(deserialize_with = "bounded::text::<_, VERSION_TEXT_MAX>")]
    pub version: String,
    /// Whether the answerer's routing table can be relied on.
    pub settled: bool,
    /// Whether it holds what it should, as far as it knows: one that has just joined does not yet.
    pub whole: bool,
    /// Where the answerer sees the asker.
    pub observed: SocketAddr,
    /// The answerer's clock.
    pub clock: UnixMs,
}

/// Which servers do you know closest to `target`?
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FindNode {
    /// The place of interest.
    pub target: Key,
}

/// The answer to [`FindNode`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Nodes {
    /// The k closest servers, and farther ones that are whole where some of these are not, closest
    /// first, without the asker.
    #[serde(deserialize_with = "bounded::list::<_, _, NODES_MAX>")]
    pub nodes: Vec<NodeInfo>,
    /// Whether the answerer's routing table can be relied on.
    pub settled: bool,
    /// Whether it holds what it should, as far as it knows: one that has just joined does not yet.
    pub whole: bool,
}

/// Where a page of one key's records ends; the next one starts right after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Position {
    /// The last record's publisher; zeros in the `Content` space.
    #[serde(with = "serde_bytes")]
    pub publisher: [u8; 32],
    /// The last record's slot.
    pub slot: u64,
}

/// Which records do you hold at `key`? In the order of publisher and slot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Find {
    /// The place of interest.
    pub key: Key,
    /// Only this publisher's records; all publishers' if absent.
    pub publisher: Option<PublisherKey>,
    /// Only slots from the first to the last, both included; all if absent.
    pub slots: Option<(u64, u64)>,
    /// Only what comes after this position; from the start if absent.
    pub after: Option<Position>,
    /// Only heads, tombstones and heads past expiry among them.
    pub heads_only: bool,
    /// Only records with at least so many leading zero bits of work.
    pub min_work: u32,
    /// The most records in the page; at least one and at most [`PAGE_RECORDS`] are sent.
    pub limit: u32,
    /// Whether the answer should name the closest servers too.
    pub want_closer: bool,
}

/// A publisher's Ed25519 public key in a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublisherKey(#[serde(with = "serde_bytes")] pub [u8; 32]);

/// The answer to [`Find`].
///
/// A live value comes with its body unless heads were asked for. A version whose body has expired,
/// and a tombstone, come as heads, so that a reader can tell them from an older version elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Found {
    /// The records, or heads; at most [`PAGE_BYTES`] together.
    #[serde(deserialize_with = "bounded::list::<_, _, PAGE_RECORDS>")]
    pub records: Vec<RecordBytes>,
    /// Where the page ends, if there is more.
    pub next: Option<Position>,
    /// Up to k servers closest to the key, if asked for.
    #[serde(deserialize_with = "bounded::list::<_, _, NODES_MAX>")]
    pub closer: Vec<NodeInfo>,
    /// Whether the answerer's routing table can be relied on.
    pub settled: bool,
    /// Whether it holds what it should, as far as it knows: what one that has just joined does not
    /// hold may still be elsewhere.
    pub whole: bool,
}

/// One record to store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoreItem {
    /// The record, with its body.
    pub record: RecordBytes,
    /// Compare and swap: store only if this version is the stored one, 0 meaning none.
    pub expected_seq: Option<u64>,
}

/// Keep these records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Store {
    /// At most [`PAGE_RECORDS`] records of at most [`PAGE_BYTES`] together.
    #[serde(deserialize_with = "bounded::list::<_, _, PAGE_RECORDS>")]
    pub items: Vec<StoreItem>,
}

/// A record is on stable storage: what a store says. On the wire it is a [`Receipt`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Until when its body is served.
    pub expires_at: UnixMs,
}

/// The answer to [`Store`]: one result a record, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoreResults {
    /// What became of each record.
    #[serde(deserialize_with = "bounded::list::<_, _, PAGE_RECORDS>")]
    pub results: Vec<Result<Receipt, Refusal>>,
}

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// See [`Ping`].
    Ping(Ping),
    /// See [`FindNode`].
    FindNode(FindNode),
    /// See [`Find`].
    Find(Find),
    /// See [`Store`].
    Store(Store),
    /// See [`Reconcile`].
    Reconcile(Reconcile),
    /// See [`Audit`].
    Audit(Audit),
    /// See [`Watch`].
    Watch(Watch),
    /// See [`Vitals`].
    Vitals(Vitals),
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// To [`Ping`].
    Pong(Pong),
    /// To [`FindNode`].
    Nodes(Nodes),
    /// To [`Find`].
    Found(Found),
    /// To [`Store`].
    StoreResults(StoreResults),
    /// To [`Reconcile`].
    Reconciled(Reconciled),
    /// To [`Audit`].
    AuditResults(AuditResults),
    /// To [`Watch`]; one of several.
    Watched(Watched),
    /// To [`Vitals`].
    VitalSigns(VitalSigns),
    /// The request as a whole was refused.
    Refused(Refusal),
}

impl Request {
    /// The frame's type.
    #[must_use]
    pub const fn frame_type(&self) -> u16 {
        match self {
            Request::Ping(_) => TYPE_PING,
            Request::FindNode(_) => TYPE_FIND_NODE,
            Request::Find(_) => TYPE_FIND,
            Request::Store(_) => TYPE_STORE,
            Request::Reconcile(_) => TYPE_RECONCILE,
            Request::Audit(_) => TYPE_AUDIT,
            Request::Watch(_) => TYPE_WATCH,
            Request::Vitals(_) => TYPE_VITALS,
        }
    }
}

impl Response {
    /// The frame's type.
    #[must_use]
    pub const fn frame_type(&self) -> u16 {
        match self {
            Response::Refused(_) => TYPE_REFUSED,
            Response::Pong(_) => TYPE_PING,
            Response::Nodes(_) => TYPE_FIND_NODE,
            Response::Found(_) => TYPE_FIND,
            Response::StoreResults(_) => TYPE_STORE,
            Response::Reconciled(_) => TYPE_RECONCILE,
            Response::AuditResults(_) => TYPE_AUDIT,
            Response::Watched(_) => TYPE_WATCH,
            Response::VitalSigns(_) => TYPE_VITALS,
        }
    }
}

impl Serialize for RecordBytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for RecordBytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: serde_bytes::ByteBuf = Deserialize::deserialize(deserializer)?;
        Ok(RecordBytes(Bytes::from(bytes.into_vec())))
    }
}
