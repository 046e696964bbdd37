//! Elsewhere, one slow peer stalled all sends, because the registry's lock was held while writing.

use std::sync::Arc;

use bytes::Bytes;
use dht_context::transport::{Answer, Asker, Service, Transport};
use dht_kad::message::FRAME_MAX;
use futures_util::future::{join_all, poll_immediate};

use crate::node::{Echo, addr_of, frame, node, payload, serve_all, within};

/// Echoes, and answers the one-byte request with as much as there can be.
struct Generous;

impl Service for Generous {
    fn answer(&self, asker: Asker, request: Bytes) -> Answer {
        match payload(&request) {
            [_] => Answer::Ready(frame(&vec![7; FRAME_MAX])),
            _ => Echo.answer(asker, request),
        }
    }
}

#[tokio::test]
async fn a_peer_that_never_reads_delays_nobody_else() {
    let listener = node();
    serve_all(&listener, Arc::new(Generous));
    let (addr, id) = (addr_of(&listener), Some(listener.local_id()));
    let (idler, reader) = (node(), node());
    let idle = within(idler.dial(addr, id)).await.unwrap();
    let busy = within(reader.dial(addr, id)).await.unwrap();

    // Polled once, so they are sent, and then held: nobody reads their answers.
    let mut unread = Vec::new();
    for _ in 0..64 {
        let mut request = idle.request(frame(b"!"));
        assert!(poll_immediate(&mut request).await.is_none());
        unread.push(request);
    }
    for round in 0..50u32 {
        let sent = frame(&round.to_be_bytes());
        let answers = join_all((0..20).map(|_| busy.request(sent.clone())));
        for answer in within(answers).await {
            assert_eq!(answer, Ok(sent.clone()));
        }
    }
    assert!(idle.is_open());
    // The other way about, the idle peer still gets everything once it reads.
    for answer in within(join_all(unread.drain(..16))).await {
        assert_eq!(answer.unwrap().len(), frame(&vec![7; FRAME_MAX]).len());
    }
}
