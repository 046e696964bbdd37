//! [`Letter`]: anything on its way through the simulated network.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dht_context::transport::{CloseReason, DialError};
use dht_kad::NodeId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::end::{End, EndId, Ends};

/// Bytes of a handshake's flight: three full packets, as with a hybrid key exchange.
const HANDSHAKE_BYTES: usize = 3_600;
/// Bytes of a packet that carries next to nothing.
const SMALL_BYTES: usize = 60;

/// The end that a dialler waits for.
pub(super) type DialAnswer = oneshot::Sender<Result<Arc<End>, DialError>>;

/// Something on its way.
pub(super) struct Letter {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) sent_at: Instant,
    /// How often it did not get through.
    pub(super) failures: u32,
    pub(super) cargo: Cargo,
}

/// What is on its way.
pub(super) enum Cargo {
    /// A dialler's first flight.
    Hello(Hello),
    /// The answer to it, which proves who answers.
    Welcome { hello: Hello, found: NodeId, port: u64 },
    /// Something on a connection.
    Message { ends: Ends, message: Message },
    /// Not on its way at all: an end looks whether it has been cut off since it set this alarm.
    Alarm { end: EndId },
}

/// Who dials, and whom it expects.
pub(super) struct Hello {
    pub(super) dialler: NodeId,
    /// The dialler's life.
    pub(super) port: u64,
    pub(super) expected: Option<NodeId>,
    pub(super) answer: DialAnswer,
}

/// What one end tells the other.
pub(super) enum Message {
    /// The handshake is complete: the dialled side may take the connection now.
    Finished {
        acceptor_port: u64,
    },
    Request {
        number: u64,
        frame: Bytes,
    },
    Answer {
        number: u64,
        frame: Bytes,
    },
    /// A frame of an answer of many, with its place among them; none after the last one.
    Part {
        number: u64,
        place: u64,
        frame: Option<Bytes>,
    },
    /// The asker wants no more of such an answer.
    Enough {
        number: u64,
    },
    Close(CloseReason),
    /// The address is alive and knows nothing of this connection.
    Reset,
}

impl Cargo {
    /// How many bytes cross the network.
    pub(super) fn size(&self) -> usize {
        match self {
            Cargo::Hello(_) | Cargo::Welcome { .. } => HANDSHAKE_BYTES,
            Cargo::Message {
                message:
                    Message::Request { frame, .. }
                    | Message::Answer { frame, .. }
                    | Message::Part { frame: Some(frame), .. },
                ..
            } => SMALL_BYTES + frame.len(),
            Cargo::Message { .. } | Cargo::Alarm { .. } => SMALL_BYTES,
        }
    }

    /// What the trace notes of it: which kind, and what it carries.
    pub(super) fn traced(&self) -> (u8, &[u8]) {
        match self {
            Cargo::Hello(_) => (0, &[]),
            Cargo::Welcome { .. } => (1, &[]),
            Cargo::Message { message, .. } => match message {
                Message::Finished { .. } => (2, &[]),
                Message::Request { frame, .. } => (3, frame),
                Message::Answer { frame, .. } => (4, frame),
                Message::Part { frame, .. } => (8, frame.as_deref().unwrap_or_default()),
                Message::Enough { .. } => (9, &[]),
                Message::Close(_) => (5, &[]),
                Message::Reset => (6, &[]),
            },
            Cargo::Alarm { .. } => (7, &[]),
        }
    }
}
