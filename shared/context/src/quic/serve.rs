//! The answering side of a connection: one future that accepts streams and polls their handlers.
//!
//! ```text
//! accept_bi ─▶ handler: read the frame ─▶ Service::answer ─▶ write the answer, or its frames
//!     ▲            (polled here, not spawned: a request costs no task and no wake of another)
//!     └── as many at once as the peer may have streams open, STREAMS_MAX at most
//! ```
//!
//! What a peer can make this side hold is bounded by its streams, by bytes
//! ([`HeldBytes`](super::limits::HeldBytes)) and by time. Whoever does not read its answers fills
//! its own windows only.

use bytes::Bytes;
use dht_kad::codec::encode_response;
use dht_kad::message::Response;
use dht_kad::refusal::Refusal;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, FuturesUnordered};
use quinn::{ConnectionError, RecvStream, SendStream};
use tokio::time::timeout;

use super::connection::Link;
use super::frame_io::{FrameWriter, ReadFault, read_frame};
use super::limits::HeldBytes;
use super::parameters::{
    ANSWER_TIMEOUT, HANDLERS_MAX, REQUEST_READ_TIMEOUT, STREAM_REFUSED, STREAMS_AT_FIRST,
    STREAMS_MAX,
};
use crate::transport::{Answer, Asker, CloseReason, Service};

/// An answer of so many bytes is not worth counting: all streams together hold 64 KiB of such.
const SMALL_ANSWER: usize = 256;

/// Answers the peer's requests until the connection ends.
pub(super) async fn serve(link: &Link, service: &dyn Service) -> CloseReason {
    let mut handlers = FuturesUnordered::new();
    let mut streams_allowed = STREAMS_AT_FIRST;
    loop {
        // New streams come first, so that the number of handlers shows how many streams the peer
        // uses at once. They cannot starve the handlers: a stream stays open, and counts against the
        // peer's allowance, until its answer has arrived.
        tokio::select! {
            biased;
            accepted = link.quic.accept_bi(), if handlers.len() < HANDLERS_MAX => match accepted {
                Ok((send, recv)) => handlers.push(handle(link, service, send, recv)),
                Err(error) => return ended(link, &error),
            },
            Some(()) = handlers.next() => {}
        }
        if streams_allowed < STREAMS_MAX && handlers.len() * 2 >= streams_allowed as usize {
            streams_allowed = streams_allowed.saturating_mul(2).min(STREAMS_MAX);
            link.quic.set_max_concurrent_bi_streams(streams_allowed.into());
        }
    }
}

fn ended(link: &Link, error: &ConnectionError) -> CloseReason {
    let reason = link.reason_of(error);
    tracing::debug!(peer = %link.peer, ?reason, %error, "connection ended");
    reason
}

/// Answers the request of one stream.
async fn handle(link: &Link, service: &dyn Service, send: SendStream, mut recv: RecvStream) {
    let in_flight = link.begin();
    let mut held = link.gate.hold(&link.held_bytes);
    let writer = FrameWriter::new(send);
    let reading = read_frame(&mut recv, |bytes| held.grow(bytes));
    let answer = match timeout(REQUEST_READ_TIMEOUT, reading).await {
        Ok(Ok(frame)) => {
            let asker = Asker { id: link.peer, addr: link.remote_addr() };
            match service.answer(asker, frame) {
                Answer::Ready(answer) => answer,
                Answer::Later(answer) => answer.await,
                Answer::Stream(frames) => {
                    drop((in_flight, held));
                    return write_frames(link, writer, frames).await;
                }
            }
        }
        Ok(Err(ReadFault::NotAFrame(error))) => refuse(&mut recv, error.into()),
        Ok(Err(ReadFault::NoRoom)) => refuse(&mut recv, Refusal::Busy),
        Ok(Err(ReadFault::Abandoned | ReadFault::Lost(_))) | Err(_) => return,
    };
    write_answer(writer, answer, &mut held).await;
    drop(in_flight);
}

/// Sends frames as they come, until there are no more or the peer wants no more. Nobody waits for
/// the next one, so that it counts as in flight only when the last one is on its way.
async fn write_frames(link: &Link, mut writer: FrameWriter, mut frames: BoxStream<'_, Bytes>) {
    loop {
        let frame = tokio::select! {
            biased;
            () = writer.ended() => return,
            frame = frames.next() => frame,
        };
        let Some(frame) = frame else { break };
        let mut held = link.gate.hold(&link.held_bytes);
        let admitted = frame.len() <= SMALL_ANSWER || held.grow(frame.len());
        // A peer that takes nothing for so long has lost its stream.
        let sending = timeout(ANSWER_TIMEOUT, writer.write_one(frame));
        if !admitted || !matches!(sending.await, Ok(Ok(()))) {
            return;
        }
    }
    let _in_flight = link.begin();
    let sending = async { writer.finish().is_ok() && writer.delivered().await };
    if let Ok(true) = timeout(ANSWER_TIMEOUT, sending).await {
        writer.keep();
    }
}

/// Stops the rest of a request that gets this answer without having been read.
fn refuse(recv: &mut RecvStream, refusal: Refusal) -> Bytes {
    // It fails only if the stream has ended already.
    let _ = recv.stop(STREAM_REFUSED);
    // A refusal always fits a frame; an empty answer would reset the stream.
    encode_response(&Response::Refused(refusal)).unwrap_or_default()
}

/// Sends an answer; where that fails, takes too long or would hold too much, the stream is reset.
async fn write_answer(mut writer: FrameWriter, answer: Bytes, held: &mut HeldBytes<'_>) {
    // A refusal must get through even where there is no room for more.
    let admitted = answer.len() <= SMALL_ANSWER || held.grow(answer.len());
    if !admitted || answer.is_empty() {
        return;
    }
    // The request counts as in flight until its answer has arrived: so who waits for none to be in
    // flight before closing loses no answer.
    let sending = async { writer.write(answer).await.is_ok() && writer.delivered().await };
    if let Ok(true) = timeout(ANSWER_TIMEOUT, sending).await {
        writer.keep();
    }
}
