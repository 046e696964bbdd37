//! Asking a peer: a request goes out, an answer or a numbered error comes back.
//!
//! This is the only way out of a context. It finds the connection, limits the time, decodes and
//! checks the answer, tells the registry what it learnt of the peer, and counts.

use std::sync::Arc;
use std::time::Duration;

use dht_kad::codec::{self, CodecError};
use dht_kad::message::{FindNode, Found, Mode, NodeInfo, Nodes, Ping, Pong, Request, Response};
use dht_kad::{ErrorNumber, Key, NodeId, Refusal};
use futures_util::StreamExt;
use thiserror::Error;
use tokio::time::Instant;

use crate::connections::Connections;
use crate::registry::{Heard, PeerRegistry};
use crate::stats::{Ending, Stats};
use crate::transport::{CloseReason, Connection, DialError, FrameStream, RequestError};

/// How often a request is made whose connection is lost under it: the second time on a new one. A peer
/// that loses that, too, is given up.
const ATTEMPTS_MAX: u32 = 2;

/// A peer gave no usable answer.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskError {
    /// No connection could be made.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// No answer came in time.
    #[error("{0} did not answer in time; try again or use another node")]
    TimedOut(NodeId),
    /// The peer refused.
    #[error("{0}")]
    Refused(Refusal),
    /// The answer is not one to this request.
    #[error("{0} answered something that does not fit the request; use another node")]
    WrongAnswer(NodeId),
    /// The peer ended what it had been asked to go on with, and gave no reason.
    #[error("{0} ended the watch; begin it again")]
    Ended(NodeId),
    /// The request does not fit a frame.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl AskError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            AskError::Dial(error) => error.number(),
            AskError::Request(error) => error.number(),
            AskError::TimedOut(_) => ErrorNumber::TimedOut,
            AskError::Refused(refusal) => refusal.number(),
            AskError::WrongAnswer(_) => ErrorNumber::WrongAnswer,
            AskError::Ended(_) => ErrorNumber::ConnectionLost,
            AskError::Codec(_) => ErrorNumber::FrameTooLong,
        }
    }
}

/// An answer, and what it took of the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Measured {
    /// The answer.
    pub response: Response,
    /// Bytes of the request's and the answer's frames.
    pub bytes: usize,
}

/// Whose fault it is held to be if no answer comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blame {
    Peer,
    Nobody,
}

/// Asks peers.
pub struct Requests {
    connections: Arc<Connections>,
    registry: Arc<PeerRegistry>,
    stats: Arc<Stats>,
    own_mode: Mode,
    limit: Duration,
}

impl Requests {
    /// Requests over these connections, each answered within `limit`.
    #[must_use]
    pub fn new(
        connections: Arc<Connections>,
        registry: Arc<PeerRegistry>,
        stats: Arc<Stats>,
        own_mode: Mode,
        limit: Duration,
    ) -> Arc<Self> {
        Arc::new(Requests { connections, registry, stats, own_mode, limit })
    }

    /// Asks a peer. A connection that turns out to be lost is replaced once: all requests of this
    /// protocol may be repeated without harm.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(
        self: &Arc<Self>,
        to: &NodeInfo,
        request: &Request,
    ) -> Result<Response, AskError> {
        Ok(self.ask_measured(to, request).await?.response)
    }

    /// As [`Self::ask`], and tells how many bytes went to and fro.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask_measured(
        self: &Arc<Self>,
        to: &NodeInfo,
        request: &Request,
    ) -> Result<Measured, AskError> {
        self.ask_blaming(to, request, Blame::Peer).await
    }

    async fn ask_blaming(
        self: &Arc<Self>,
        to: &NodeInfo,
        request: &Request,
        blame: Blame,
    ) -> Result<Measured, AskError> {
        let frame = codec::encode_request(request)?;
        let ask = |connection| self.exchange(connection, request, frame.clone());
        self.on_connection(to, request.frame_type(), blame, ask).await
    }

    /// Asks a peer whether this node can be answered at all. That it is not says nothing of the peer, and
    /// is not held against it.
    pub async fn feel_pulse(self: &Arc<Self>, at: &NodeInfo) {
        let request = Request::Ping(Ping { mode: self.own_mode });
        if let Err(error) = self.ask_blaming(at, &request, Blame::Nobody).await {
            tracing::debug!(peer = %at.id, %error, "nobody answers at present, and this peer does not");
        }
    }

    /// Asks a peer how it is.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ping(self: &Arc<Self>, to: &NodeInfo) -> Result<Pong, AskError> {
        match self.ask(to, &Request::Ping(Ping { mode: self.own_mode })).await? {
            Response::Pong(pong) => Ok(pong),
            _ => Err(AskError::WrongAnswer(to.id)),
        }
    }

    /// Asks a peer for the servers closest to `target`; addresses of no use are left out.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn find_node(
        self: &Arc<Self>,
        to: &NodeInfo,
        target: &Key,
    ) -> Result<Nodes, AskError> {
        match self.ask(to, &Request::FindNode(FindNode { target: *target })).await? {
            Response::Nodes(answer) => {
                Ok(Nodes { nodes: self.registry.admit(answer.nodes), ..answer })
            }
            _ => Err(AskError::WrongAnswer(to.id)),
        }
    }

    /// Asks a peer for an answer of many frames: the first of them, and those that follow as they come.
    /// Only the first has to come in time.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn subscribe(
        self: &Arc<Self>,
        to: &NodeInfo,
        request: &Request,
    ) -> Result<(Response, FrameStream), AskError> {
        let frame = codec::encode_request(request)?;
        let open = |connection| self.open_stream(connection, request, frame.clone());
        self.on_connection(to, request.frame_type(), Blame::Peer, open).await
    }

    /// Does one exchange on a connection to a peer, counts it, and tells the registry what came of it.
    /// A connection that turns out to be lost is replaced once.
    async fn on_connection<T, F>(
        self: &Arc<Self>,
        to: &NodeInfo,
        frame_type: u16,
        blame: Blame,
        exchange: impl Fn(Arc<dyn Connection>) -> F,
    ) -> Result<T, AskError>
    where
        F: Future<Output = Result<T, AskError>>,
    {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let started = Instant::now();
            let had_connection = self.registry.connection(&to.id).is_some();
            let result = match self.connect(to, had_connection).await {
                Ok(connection) => exchange(connection).await,
                Err(error) => Err(error.into()),
            };
            let lost = matches!(result, Err(AskError::Request(RequestError::ConnectionLost(_))));
            let again = lost && attempts < ATTEMPTS_MAX;
            let forgiven = again || blame == Blame::Nobody;
            self.note(to.id, frame_type, &result, started, forgiven);
            if !again {
                return result;
            }
        }
    }

    async fn open_stream(
        &self,
        connection: Arc<dyn Connection>,
        request: &Request,
        frame: bytes::Bytes,
    ) -> Result<(Response, FrameStream), AskError> {
        let peer = connection.peer();
        let started = Instant::now();
        let first = async {
            let mut frames = connection.subscribe(frame).await?;
            let first = frames.next().await.ok_or(AskError::Ended(peer))??;
            Ok::<_, AskError>((first, frames))
        };
        let first = tokio::time::timeout(self.limit, first).await;
        let (first, frames) = first.map_err(|_| AskError::TimedOut(peer))??;
        let response = codec::decode_response(&first).map_err(|_| AskError::WrongAnswer(peer))?;
        match response {
            Response::Refused(refusal) => Err(AskError::Refused(refusal)),
            response if response.frame_type() != request.frame_type() => {
                Err(AskError::WrongAnswer(peer))
            }
            response => {
                let addr = connection.remote_addr();
                self.heard(Heard { id: peer, addr, took: started.elapsed() }, Mode::Server);
                Ok((response, frames))
            }
        }
    }

    /// The connection to use. A server introduces itself on each one that it makes, so that the
    /// other end asks back and takes it into its table.
    async fn connect(
        self: &Arc<Self>,
        to: &NodeInfo,
        had_connection: bool,
    ) -> Result<Arc<dyn Connection>, DialError> {
        let connection = self.connections.to(to).await?;
        if !had_connection && self.own_mode == Mode::Server {
            self.introduce(connection.clone());
        }
        Ok(connection)
    }

    /// Sends a ping, without anyone waiting for the answer.
    pub fn introduce(self: &Arc<Self>, connection: Arc<dyn Connection>) {
        let requests = Arc::clone(self);
        self.connections.spawn(async move {
            let request = Request::Ping(Ping { mode: requests.own_mode });
            let Ok(frame) = codec::encode_request(&request) else { return };
            let started = Instant::now();
            let peer = connection.peer();
            let result = requests.exchange(connection, &request, frame).await;
            requests.note(peer, request.frame_type(), &result, started, false);
        });
    }

    /// One request and its answer on one connection.
    async fn exchange(
        &self,
        connection: Arc<dyn Connection>,
        request: &Request,
        frame: bytes::Bytes,
    ) -> Result<Measured, AskError> {
        let peer = connection.peer();
        let asked_bytes = frame.len();
        let started = Instant::now();
        let answer = match tokio::time::timeout(self.limit, connection.request(frame)).await {
            Ok(answer) => answer?,
            Err(_) => {
                // A connection on which an answer failed to come in time may be a black hole: the
                // next request makes a new one.
                if connection.in_flight() == 0 {
                    connection.close(CloseReason::Lost);
                }
                return Err(AskError::TimedOut(peer));
            }
        };
        let response = codec::decode_response(&answer).map_err(|_| AskError::WrongAnswer(peer))?;
        let heard = Heard { id: peer, addr: connection.remote_addr(), took: started.elapsed() };
        match &response {
            Response::Refused(refusal) => return Err(AskError::Refused(refusal.clone())),
            response if response.frame_type() != request.frame_type() => {
                return Err(AskError::WrongAnswer(peer));
            }
            Response::Pong(pong) => {
                self.registry.note_observed(&pong.observed, &heard.addr);
                self.heard(heard, pong.mode);
            }
            _ => self.heard(heard, Mode::Server),
        }
        if let Response::Pong(Pong { whole, .. })
        | Response::Nodes(Nodes { whole, .. })
        | Response::Found(Found { whole, .. }) = &response
        {
            self.registry.note_whole(&peer, *whole);
        }
        Ok(Measured { response, bytes: asked_bytes.saturating_add(answer.len()) })
    }

    /// Tells the registry of an answer; a full bucket's longest-unheard peer is asked in turn.
    fn heard(&self, heard: Heard, mode: Mode) {
        match mode {
            Mode::Client => self.registry.heard_client(heard),
            Mode::Server => {
                if let Some(unheard) = self.registry.heard_server(heard) {
                    self.registry.question(unheard);
                }
            }
        }
    }

    fn note<T>(
        &self,
        peer: NodeId,
        frame_type: u16,
        result: &Result<T, AskError>,
        started: Instant,
        forgiven: bool,
    ) {
        let ending = match result {
            Ok(_) => Ending::Ok,
            Err(AskError::Refused(_)) => Ending::Refused,
            Err(_) => Ending::Failed,
        };
        // Not the peer's fault: that this node cannot, or that the connection gave way to another.
        let own_fault = matches!(
            result,
            Err(AskError::Dial(DialError::TooMany | DialError::Stopping) | AskError::Codec(_))
        );
        if ending == Ending::Failed && !own_fault && !forgiven {
            self.registry.failed(&peer);
        }
        self.stats.note_asked(frame_type, ending, started.elapsed());
    }
}
