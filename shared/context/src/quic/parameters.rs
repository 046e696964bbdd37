//! The numbers of the QUIC layer, each with its reason.

use std::sync::Arc;
use std::time::Duration;

use dht_kad::message::{FRAME_HEADER, FRAME_MAX};
use quinn::{IdleTimeout, TransportConfig, VarInt};

/// The most bytes of a whole frame.
pub(super) const FRAME_BYTES: usize = FRAME_HEADER + FRAME_MAX;

/// Streams that a peer may have open at first: each one allowed is registered at once, and with it
/// what it once needed is kept while the connection is idle.
pub(super) const STREAMS_AT_FIRST: u32 = 16;
/// Streams that a peer may have open at most, reached by doubling while it uses them.
pub(super) const STREAMS_MAX: u32 = 256;
/// Handlers of one connection: one for each stream that is open, and one for each that has just
/// ended, whose handler is about to.
pub(super) const HANDLERS_MAX: usize = 2 * STREAMS_MAX as usize;

/// Bytes that a peer may send on one stream before they are read: a whole frame passes in one
/// flight.
const STREAM_WINDOW: u32 = 288 * 1024;
/// Bytes that a peer may send on all streams before they are read, and that wait for the peer's
/// acknowledgement: 10 MB/s at a round trip of 100 ms, and the most that a hostile peer can make
/// us hold in either direction.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Silence after which a connection is lost.
const IDLE_TIMEOUT_MS: u32 = 30_000;
/// How often the dialler says something when there is nothing to say: often enough for NATs, which
/// forget after 30 s, and to learn of a restarted peer soon. The other end needs no timer for it.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The round trip that is assumed before one is measured: the first loss probe then comes after
/// 0.3 s, not after the 1 s that the RFC's 333 ms would make it. Too low a guess only repeats a
/// packet.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// A handshake that takes longer is given up, on both sides.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A request must have come whole within this time after its stream was opened: a frame passes at
/// 70 kbit/s.
pub(super) const REQUEST_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// An answer must have arrived within this time.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Closing goes on for so long: the farewells are out at once, and who sends something in this time is told again.
/// It need not last until the connections have drained, three probe times and on a busy machine more than a second:
/// the sockets are closed after it, so that nothing late can be answered wrongly (RFC 9000, section 10.2).
pub(super) const CLOSE_LONGEST: Duration = Duration::from_millis(250);

/// Proven connections that wait for [`accept`](crate::transport::Transport::accept).
pub(super) const READY_MAX: usize = 256;
/// Connection attempts that wait for the acceptor's next turn.
pub(super) const INCOMING_MAX: usize = 1024;
/// Bytes of one waiting attempt's further packets: a ClientHello with its hybrid key share has two.
pub(super) const INCOMING_BYTES: u64 = 8 * 1024;
/// Bytes of all waiting attempts' further packets.
pub(super) const INCOMING_BYTES_TOTAL: u64 = 4 * 1024 * 1024;

/// The least time between two stateless resets: a restarted node tells a thousand peers a second.
/// Each is smaller than the packet that it answers, so that it can neither amplify nor loop.
pub(super) const RESET_INTERVAL: Duration = Duration::from_millis(1);
/// What the socket's buffers are asked to hold: a burst of a thousand requests of a KiB and more.
pub(super) const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// The error code of a stream that is given up; the reason is the connection's, or none is needed.
pub(super) const STREAM_ABANDONED: VarInt = VarInt::from_u32(1);
/// The error code that stops a request stream after its answer has been sent early.
pub(super) const STREAM_REFUSED: VarInt = VarInt::from_u32(2);

/// QUIC's own settings, for the dialling or the accepting end.
pub(super) fn transport_config(dialler: bool) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(STREAMS_AT_FIRST.into())
        .max_concurrent_uni_streams(0u32.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(CONNECTION_WINDOW.into())
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .keep_alive_interval(dialler.then_some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT)
        // Finish one frame before the next is begun: it is of use only as a whole.
        .send_fairness(false)
        // Datagrams are not used.
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0);
    Arc::new(config)
}

const _: () = assert!(FRAME_BYTES <= STREAM_WINDOW as usize, "a frame passes in one flight");
