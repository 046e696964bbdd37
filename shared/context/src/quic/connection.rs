//! One QUIC connection: its asking side, its end, and what both sides count.
//!
//! Three kinds of owners share the [`Link`]. Handles and requests under way keep the connection
//! open, through one [`OpenLink`]; the task that serves does not, so that dropping the last handle
//! ends the connection and with it that task.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dht_kad::NodeId;
use futures_util::future::BoxFuture;
use futures_util::stream;
use quinn::{ConnectionError, VarInt, WriteError};

use super::frame_io::{FrameReader, FrameWriter, ReadFault, read_frame};
use super::limits::{ConnectionPlace, Gate};
use super::serve::serve;
use crate::transport::{CloseReason, Connection, FrameStream, RequestError, Service};

/// An authenticated QUIC connection.
pub(super) struct QuicConnection {
    open: Arc<OpenLink>,
}

/// Keeps the connection open; the last one dropped closes it as [`CloseReason::Idle`], since nobody
/// has anything left to ask.
struct OpenLink {
    link: Arc<Link>,
    /// Counted as long as somebody may use the connection.
    _place: Option<ConnectionPlace>,
}

/// What is known of a connection.
pub(super) struct Link {
    pub(super) quic: quinn::Connection,
    pub(super) peer: NodeId,
    pub(super) gate: Arc<Gate>,
    /// Bytes of the other side's requests and of their answers.
    pub(super) held_bytes: AtomicUsize,
    dialled: bool,
    in_flight: AtomicUsize,
    counts: AtomicBool,
    subscriptions: AtomicUsize,
    closed_as: OnceLock<CloseReason>,
}

/// One answer of many frames.
struct Subscribed {
    open: Arc<OpenLink>,
    answer: FrameReader,
}

/// One request in flight, if it is counted; ends when dropped.
pub(super) struct InFlight<'a>(Option<&'a AtomicUsize>);

impl QuicConnection {
    /// Takes over a connection whose other end has proven to be `peer`. One that the peer dialled
    /// has a place.
    pub(super) fn new(
        quic: quinn::Connection,
        peer: NodeId,
        gate: Arc<Gate>,
        place: Option<ConnectionPlace>,
    ) -> Self {
        let link = Arc::new(Link {
            quic,
            peer,
            gate,
            held_bytes: AtomicUsize::new(0),
            dialled: place.is_none(),
            in_flight: AtomicUsize::new(0),
            counts: AtomicBool::new(true),
            subscriptions: AtomicUsize::new(0),
            closed_as: OnceLock::new(),
        });
        QuicConnection { open: Arc::new(OpenLink { link, _place: place }) }
    }

    fn link(&self) -> &Arc<Link> {
        &self.open.link
    }
}

impl Connection for QuicConnection {
    fn peer(&self) -> NodeId {
        self.link().peer
    }

    fn remote_addr(&self) -> SocketAddr {
        self.link().remote_addr()
    }

    fn dialled(&self) -> bool {
        self.link().dialled
    }

    fn request(&self, frame: Bytes) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        let open = Arc::clone(&self.open);
        Box::pin(async move { request(&open.link, frame).await })
    }

    fn subscribe(&self, frame: Bytes) -> BoxFuture<'static, Result<FrameStream, RequestError>> {
        Box::pin(subscribe(Arc::clone(&self.open), frame))
    }

    fn subscriptions(&self) -> usize {
        self.link().subscriptions.load(Ordering::Relaxed)
    }

    fn serve(&self, service: Arc<dyn Service>) -> BoxFuture<'static, CloseReason> {
        let link = Arc::clone(self.link());
        Box::pin(async move { serve(&link, &*service).await })
    }

    fn close(&self, reason: CloseReason) {
        self.link().close(reason);
    }

    fn is_open(&self) -> bool {
        self.link().quic.close_reason().is_none()
    }

    fn in_flight(&self) -> usize {
        self.link().in_flight.load(Ordering::Relaxed)
    }

    fn count_no_more(&self) {
        self.link().counts.store(false, Ordering::Relaxed);
    }
}

/// Sends one frame on a stream of its own and reads the answer from it. Dropped half-way it resets
/// the one and stops the other half of the stream.
async fn request(link: &Link, frame: Bytes) -> Result<Bytes, RequestError> {
    let _in_flight = link.begin();
    let lost = |error: ConnectionError| RequestError::ConnectionLost(link.reason_of(&error));
    let (send, mut answer) = link.quic.open_bi().await.map_err(lost)?;
    let mut writer = FrameWriter::new(send);
    match writer.write(frame).await {
        Ok(()) => {}
        Err(WriteError::ConnectionLost(error)) => return Err(lost(error)),
        // The peer does not want to read on, and its answer says why.
        Err(_) => {}
    }
    let answer = read_frame(&mut answer, |_| true).await;
    let answer = answer.map_err(|fault| request_error(link, fault))?;
    writer.keep();
    Ok(answer)
}

/// Sends one frame on a stream of its own, and hands out the frames that come back. The connection
/// stays open as long as somebody holds these.
async fn subscribe(open: Arc<OpenLink>, frame: Bytes) -> Result<FrameStream, RequestError> {
    let link = &open.link;
    let lost = |error: ConnectionError| RequestError::ConnectionLost(link.reason_of(&error));
    let (send, answer) = link.quic.open_bi().await.map_err(lost)?;
    let mut writer = FrameWriter::new(send);
    match writer.write(frame).await {
        Err(WriteError::ConnectionLost(error)) => return Err(lost(error)),
        // What the peer did not read of it, its answer says.
        Ok(()) | Err(_) => writer.keep(),
    }
    link.subscriptions.fetch_add(1, Ordering::Relaxed);
    let subscribed = Subscribed { open, answer: FrameReader::new(answer) };
    let frames = stream::unfold(Some(subscribed), |subscribed| async move {
        let mut subscribed = subscribed?;
        match subscribed.answer.next().await {
            Ok(Some(frame)) => Some((Ok(frame), Some(subscribed))),
            Ok(None) => None,
            Err(fault) => {
                let link = &subscribed.open.link;
                Some((Err(request_error(link, fault)), None))
            }
        }
    });
    Ok(Box::pin(frames))
}

fn request_error(link: &Link, fault: ReadFault) -> RequestError {
    match fault {
        ReadFault::Lost(error) => RequestError::ConnectionLost(link.reason_of(&error)),
        ReadFault::NotAFrame(_) | ReadFault::NoRoom | ReadFault::Abandoned => {
            RequestError::MalformedAnswer
        }
    }
}

impl Link {
    /// Counts a request until the result is dropped.
    pub(super) fn begin(&self) -> InFlight<'_> {
        let counted = self.counts.load(Ordering::Relaxed).then_some(&self.in_flight);
        if let Some(in_flight) = counted {
            in_flight.fetch_add(1, Ordering::Relaxed);
        }
        InFlight(counted)
    }

    pub(super) fn remote_addr(&self) -> SocketAddr {
        canonical(self.quic.remote_address())
    }

    /// Why the connection ended, given what QUIC says.
    pub(super) fn reason_of(&self, error: &ConnectionError) -> CloseReason {
        match error {
            ConnectionError::LocallyClosed => {
                // Not closed here: then the whole transport was.
                self.closed_as.get().copied().unwrap_or(CloseReason::Stopping)
            }
            ConnectionError::ApplicationClosed(close) => {
                CloseReason::from_code(close.error_code.into_inner())
            }
            ConnectionError::TransportError(_) => CloseReason::Protocol,
            _ => CloseReason::Lost,
        }
    }

    /// Ends the connection at once; what is in flight is lost. The first reason given counts.
    ///
    /// quinn 0.11 holds the farewell back, for good, while the path's congestion window is full:
    /// then the peer learns of the end by a stateless reset, at its next request or keep-alive.
    fn close(&self, reason: CloseReason) {
        if self.quic.close_reason().is_none() && self.closed_as.set(reason).is_ok() {
            self.quic.close(code_of(reason), b"");
        }
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        self.link.close(CloseReason::Idle);
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.open.link.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(in_flight) = self.0 {
            in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// QUIC's application error code for a reason.
pub(super) fn code_of(reason: CloseReason) -> VarInt {
    VarInt::from_u32(u32::from(reason as u8))
}

/// An address as people write it: an IPv4 peer of a dual-stack socket is an IPv4 address.
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
