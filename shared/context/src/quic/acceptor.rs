//! Takes in connections that others dial: one task per socket.
//!
//! ```text
//! first packet ─▶ Gate: shake hands | Retry | refuse
//!                    │
//!                    └─▶ handshakes, all driven at once ─▶ ready connections ─▶ accept()
//! ```
//!
//! A slow handshake delays no other one. Both sets are bounded: handshakes by the gate, ready
//! connections by [`READY_MAX`]; what does not fit is refused.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quinn::Incoming;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connection::{QuicConnection, canonical, code_of};
use super::limits::{ConnectionPlace, Gate, HandshakePlace, Verdict};
use super::parameters::{HANDSHAKE_TIMEOUT, READY_MAX};
use super::socket::BoundEndpoint;
use super::tls::proven_id;
use crate::transport::{CloseReason, Connection};

/// Proven connections that wait to be accepted.
#[derive(Default)]
pub(super) struct ReadyQueue {
    state: Mutex<Ready>,
    changed: Notify,
}

#[derive(Default)]
struct Ready {
    waiting: VecDeque<QuicConnection>,
    closed: bool,
}

impl ReadyQueue {
    /// The next connection that is still open; `None` once the queue is closed.
    pub(super) async fn next(&self) -> Option<QuicConnection> {
        loop {
            let changed = self.changed.notified();
            {
                let mut ready = self.lock();
                if ready.closed {
                    return None;
                }
                while let Some(connection) = ready.waiting.pop_front() {
                    if connection.is_open() {
                        return Some(connection);
                    }
                }
            }
            changed.await;
        }
    }

    fn push(&self, connection: QuicConnection) {
        let mut ready = self.lock();
        if ready.closed || ready.waiting.len() >= READY_MAX {
            connection.close(CloseReason::Busy);
        } else {
            ready.waiting.push_back(connection);
            self.changed.notify_one();
        }
    }

    /// Lets go of what waits, and of whoever waits for it; whether it was open until now.
    pub(super) fn close(&self) -> bool {
        let mut ready = self.lock();
        let was_open = !std::mem::replace(&mut ready.closed, true);
        ready.waiting.clear();
        self.changed.notify_waiters();
        was_open
    }

    fn lock(&self) -> MutexGuard<'_, Ready> {
        // The queue stays whole even if a holder of the lock panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts on one socket until its endpoint is closed. If the socket fails, nobody may go on as if
/// the node could be reached: the queue is closed, which whoever accepts sees.
pub(super) async fn run(endpoint: BoundEndpoint, gate: Arc<Gate>, ready: Arc<ReadyQueue>) {
    let mut handshakes = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(done) = handshakes.next() => {
                if let Some(connection) = done {
                    ready.push(connection);
                }
            }
            incoming = endpoint.quic.accept() => {
                let Some(incoming) = incoming else { break };
                handshakes.extend(admit(&gate, incoming));
            }
        }
    }
    if ready.close() {
        let addr = endpoint.local_addr;
        tracing::error!(%addr, "the UDP socket failed; restart the node");
    }
}

/// Begins the handshake of an attempt that the gate lets through.
fn admit(
    gate: &Arc<Gate>,
    incoming: Incoming,
) -> Option<impl Future<Output = Option<QuicConnection>> + use<>> {
    let from = canonical(incoming.remote_address());
    match gate.judge(from.ip(), incoming.remote_address_validated()) {
        Verdict::Accept(under_way, place) => {
            Some(shake_hands(Arc::clone(gate), incoming, under_way, place))
        }
        Verdict::Retry => {
            // It fails only for a proven address, which is never asked to prove itself again.
            let _ = incoming.retry();
            None
        }
        Verdict::Refuse => {
            tracing::debug!(%from, "connection refused: no room");
            incoming.refuse();
            None
        }
    }
}

async fn shake_hands(
    gate: Arc<Gate>,
    incoming: Incoming,
    _under_way: HandshakePlace,
    place: Option<ConnectionPlace>,
) -> Option<QuicConnection> {
    let from = canonical(incoming.remote_address());
    let connecting = incoming.accept().ok()?;
    let quic = match timeout(HANDSHAKE_TIMEOUT, connecting).await.ok()? {
        Ok(quic) => quic,
        Err(error) => {
            tracing::debug!(%from, %error, "handshake failed");
            return None;
        }
    };
    let Some(peer) = proven_id(quic.peer_identity()) else {
        quic.close(code_of(CloseReason::Protocol), b"");
        return None;
    };
    // Having shaken hands proves an address as well as a Retry does.
    let Some(place) = place.or_else(|| gate.claim(from.ip())) else {
        quic.close(code_of(CloseReason::Busy), b"");
        return None;
    };
    Some(QuicConnection::new(quic, peer, gate, Some(place)))
}
