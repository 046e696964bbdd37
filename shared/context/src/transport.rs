//! What carries frames between nodes: QUIC in the world, seeded delays in the simulator.
//!
//! A [`Transport`] dials and accepts [`Connection`]s whose other end has proven its node key. On a
//! connection both sides ask: [`Connection::request`] sends one frame and awaits one,
//! [`Connection::subscribe`] sends one and awaits as many as come, and [`Connection::serve`] answers what the other side asks through a [`Service`], within the
//! connection's own task. Time limits are the caller's.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dht_kad::{ErrorNumber, NodeId};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use thiserror::Error;

/// Makes and accepts connections for one node.
pub trait Transport: Send + Sync + 'static {
    /// The node's own name, as its key proves it.
    fn local_id(&self) -> NodeId;

    /// The addresses that it is bound to.
    fn local_addrs(&self) -> Vec<SocketAddr>;

    /// Connects to whoever answers at `addr`, and, if `expected` is given, refuses anyone else.
    /// Resolves when the other end has proven its key.
    fn dial(
        &self,
        addr: SocketAddr,
        expected: Option<NodeId>,
    ) -> BoxFuture<'static, Result<Arc<dyn Connection>, DialError>>;

    /// The next connection that somebody dialled and whose key is proven; `None` once closed.
    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>>;

    /// Closes all connections with [`CloseReason::Stopping`] and waits until that has been sent.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// One authenticated connection. Dropping the last handle closes it.
pub trait Connection: Send + Sync + 'static {
    /// Who is at the other end.
    fn peer(&self) -> NodeId;

    /// Where the other end is seen.
    fn remote_addr(&self) -> SocketAddr;

    /// Whether this side dialled.
    fn dialled(&self) -> bool;

    /// Sends one request frame and resolves to the answer's frame. Cancel by dropping.
    fn request(&self, frame: Bytes) -> BoxFuture<'static, Result<Bytes, RequestError>>;

    /// Sends one request frame whose answer is a stream of frames, which goes on until either side ends
    /// it: this one by dropping the stream. It does not count as [in flight](Self::in_flight).
    fn subscribe(&self, frame: Bytes) -> BoxFuture<'static, Result<FrameStream, RequestError>>;

    /// Streams of this side's [`subscribe`](Self::subscribe) that it still holds.
    fn subscriptions(&self) -> usize;

    /// Answers the other side's requests until the connection ends; says why it ended.
    /// Called once per connection.
    fn serve(&self, service: Arc<dyn Service>) -> BoxFuture<'static, CloseReason>;

    /// Ends the connection and tells the other side why.
    fn close(&self, reason: CloseReason);

    /// Whether it can still carry requests.
    fn is_open(&self) -> bool;

    /// Requests of either side that are not answered yet.
    fn in_flight(&self) -> usize;

    /// Leaves requests that begin from now on out of [`in_flight`](Self::in_flight): whoever stops waits
    /// for those that were there, and not for others without end. They are carried as before. Where the
    /// two cannot be told apart all are counted on.
    fn count_no_more(&self);
}

/// The frames of one answer as they arrive, in their order; an error is the last.
pub type FrameStream = BoxStream<'static, Result<Bytes, RequestError>>;

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asker {
    /// The proven name.
    pub id: NodeId,
    /// Where it is seen.
    pub addr: SocketAddr,
}

/// Answers request frames, from local information only.
pub trait Service: Send + Sync + 'static {
    /// Answers one frame, header included, with one frame.
    fn answer(&self, asker: Asker, frame: Bytes) -> Answer;
}

/// An answer, now or later.
pub enum Answer {
    /// The answer's frame.
    Ready(Bytes),
    /// It takes a disk or a signature check; polled within the connection's task.
    Later(BoxFuture<'static, Bytes>),
    /// Frames one after the other, until there are no more or the asker wants no more; polled within
    /// the connection's task, and only while the asker takes what was sent.
    Stream(BoxStream<'static, Bytes>),
}

/// Why a connection ended. The number is QUIC's application error code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum CloseReason {
    /// The node stops.
    Stopping = 0,
    /// Another connection to the same peer stays.
    Duplicate = 1,
    /// A limit was reached.
    Busy = 2,
    /// Nothing was asked for long.
    Idle = 3,
    /// The other side broke the protocol.
    Protocol = 4,
    /// The network or the other side went silent, or was reset.
    Lost = 5,
}

/// A connection could not be made.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialError {
    /// Nobody answered in time.
    #[error("{0} does not answer; check the address and that UDP is let through")]
    TimedOut(SocketAddr),
    /// The handshake failed, or the connection was refused.
    #[error("{addr} refused the connection ({reason}); check that it serves the same network")]
    Refused {
        /// Where.
        addr: SocketAddr,
        /// What the other side or TLS said.
        reason: String,
    },
    /// This node answered itself.
    #[error("{0} is this node itself; name another one")]
    Itself(SocketAddr),
    /// Somebody else is there.
    #[error("{addr} is node {found}, not {expected}; correct the pinned node id or the address")]
    WrongNode {
        /// Where.
        addr: SocketAddr,
        /// Who was asked for.
        expected: NodeId,
        /// Who answered.
        found: NodeId,
    },
    /// This machine could not even send.
    #[error("cannot dial {addr} ({reason}); check this machine's network and address family")]
    Local {
        /// Where.
        addr: SocketAddr,
        /// What the operating system said.
        reason: String,
    },
    /// The name of a host leads nowhere.
    #[error("the host {0} is not known; check its spelling and this machine's network")]
    UnknownHost(String),
    /// This node dials as many others as it may already.
    #[error("this node is dialling too many others; try again in a moment")]
    TooMany,
    /// The transport was closed.
    #[error("this node is stopping; start it again")]
    Stopping,
}

/// A request got no answer.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The connection ended before the answer.
    #[error("the connection ended before the answer ({0:?}); try again")]
    ConnectionLost(CloseReason),
    /// The answer is longer than a frame may be, or cut short.
    #[error("the peer's answer is not a frame; use another peer")]
    MalformedAnswer,
}

impl DialError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            DialError::WrongNode { .. } => ErrorNumber::WrongNode,
            DialError::TimedOut(_) => ErrorNumber::TimedOut,
            DialError::TooMany => ErrorNumber::Busy,
            DialError::Refused { .. }
            | DialError::Itself(_)
            | DialError::Local { .. }
            | DialError::UnknownHost(_)
            | DialError::Stopping => ErrorNumber::Unreachable,
        }
    }
}

impl RequestError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            RequestError::ConnectionLost(_) => ErrorNumber::ConnectionLost,
            RequestError::MalformedAnswer => ErrorNumber::WrongAnswer,
        }
    }
}

impl CloseReason {
    /// The reason with this application error code; an unknown one counts as lost.
    #[must_use]
    pub const fn from_code(code: u64) -> Self {
        match code {
            0 => CloseReason::Stopping,
            1 => CloseReason::Duplicate,
            2 => CloseReason::Busy,
            3 => CloseReason::Idle,
            4 => CloseReason::Protocol,
            _ => CloseReason::Lost,
        }
    }
}
