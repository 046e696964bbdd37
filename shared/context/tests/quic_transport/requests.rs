//! Frames of all lengths, requests that are given up, and what is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dht_context::transport::{Answer, Asker, CloseReason, Connection, RequestError, Service};
use dht_kad::codec::decode_response;
use dht_kad::message::{FRAME_HEADER, FRAME_MAX, Response};
use dht_kad::refusal::Refusal;
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use crate::node::{Echo, connect, frame, node, settled, within};

async fn echoing_pair() -> (Arc<dyn Connection>, impl Drop) {
    let (dialler, listener) = (node(), node());
    let (dialled, accepted) = connect(&dialler, &listener).await;
    tokio::spawn(accepted.serve(Arc::new(Echo)));
    (dialled, KeepOpen(Box::new((dialler, listener, accepted))))
}

/// Holds what would close the connection when dropped.
struct KeepOpen(#[expect(dead_code, reason = "only held")] Box<dyn std::any::Any>);

impl Drop for KeepOpen {
    fn drop(&mut self) {}
}

#[tokio::test]
async fn frames_of_every_allowed_length_pass_both_ways() {
    let (dialled, _open) = echoing_pair().await;
    for length in [0, 1, 1000, 1500, 70_000, FRAME_MAX - 1, FRAME_MAX] {
        let sent = frame(&vec![3; length]);
        assert_eq!(within(dialled.request(sent.clone())).await, Ok(sent));
    }
}

#[tokio::test]
async fn a_frame_longer_than_allowed_is_refused_and_the_connection_stays() {
    let (dialled, _open) = echoing_pair().await;
    for excess in [1, 10 * FRAME_MAX] {
        let sent = frame(&vec![3; FRAME_MAX + excess]);
        let answer = within(dialled.request(sent)).await.unwrap();
        let refusal = Refusal::FrameTooLong((FRAME_MAX + excess) as u64);
        assert_eq!(decode_response(&answer), Ok(Response::Refused(refusal)));
        assert_eq!(within(dialled.request(frame(b"next"))).await, Ok(frame(b"next")));
    }
}

#[tokio::test]
async fn what_is_not_a_frame_is_refused_and_the_connection_stays() {
    let (dialled, _open) = echoing_pair().await;
    let whole = frame(b"whole");
    let cut = whole.slice(..whole.len() - 1);
    let longer = Bytes::from([&whole[..], b"x"].concat());
    for sent in [cut, longer, whole.slice(..FRAME_HEADER - 1), Bytes::new()] {
        let answer = within(dialled.request(sent)).await.unwrap();
        assert_eq!(decode_response(&answer), Ok(Response::Refused(Refusal::MalformedFrame)));
    }
    assert_eq!(within(dialled.request(whole.clone())).await, Ok(whole));
}

/// Answers with a fixed frame, whatever it is.
struct Fixed(Bytes);

impl Service for Fixed {
    fn answer(&self, _asker: Asker, _frame: Bytes) -> Answer {
        Answer::Ready(self.0.clone())
    }
}

#[tokio::test]
async fn an_answer_that_is_not_a_frame_is_an_error_of_that_request_alone() {
    let overlong = frame(&vec![0; FRAME_MAX + 1]);
    for bad in [overlong, frame(b"whole").slice(..8), Bytes::new()] {
        let (dialler, listener) = (node(), node());
        let (dialled, accepted) = connect(&dialler, &listener).await;
        tokio::spawn(accepted.serve(Arc::new(Fixed(bad))));
        let answer = within(dialled.request(frame(b"?"))).await;
        assert_eq!(answer, Err(RequestError::MalformedAnswer));
        assert!(dialled.is_open());
    }
}

/// Answers only once permits are given, and notes the most that waited at once.
struct Gated {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// Has a permit for each request that has come.
    came: Arc<Semaphore>,
}

impl Service for Gated {
    fn answer(&self, _asker: Asker, frame: Bytes) -> Answer {
        let (permits, waiting) = (Arc::clone(&self.permits), Arc::clone(&self.waiting));
        waiting.fetch_add(1, Ordering::Relaxed);
        self.came.add_permits(1);
        Answer::Later(Box::pin(async move {
            permits.acquire().await.unwrap().forget();
            waiting.fetch_sub(1, Ordering::Relaxed);
            frame
        }))
    }
}

fn gated() -> (Arc<Gated>, Arc<Semaphore>, Arc<Semaphore>) {
    let (permits, came) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let service =
        Gated { permits: Arc::clone(&permits), waiting: Arc::default(), came: Arc::clone(&came) };
    (Arc::new(service), permits, came)
}

async fn wait_for(came: &Semaphore, requests: u32) {
    within(came.acquire_many(requests)).await.unwrap().forget();
}

#[tokio::test]
async fn the_streams_allowed_grow_with_use_up_to_256() {
    let (dialler, listener) = (node(), node());
    let (dialled, accepted) = connect(&dialler, &listener).await;
    let (service, permits, came) = gated();
    let waiting = Arc::clone(&service.waiting);
    tokio::spawn(accepted.serve(service));
    let asking: Vec<_> = (0..300).map(|_| tokio::spawn(dialled.request(frame(b"wait")))).collect();

    wait_for(&came, 256).await;
    assert_eq!(waiting.load(Ordering::Relaxed), 256);
    assert_eq!(dialled.in_flight(), 300);
    assert_eq!(accepted.in_flight(), 256);

    permits.add_permits(300);
    for asked in asking {
        assert_eq!(within(asked).await.unwrap(), Ok(frame(b"wait")));
    }
    settled(&*dialled).await;
    settled(&*accepted).await;
}

#[tokio::test]
async fn who_stops_waits_for_what_was_asked_before_though_others_go_on_asking() {
    let (dialler, listener) = (node(), node());
    let (dialled, accepted) = connect(&dialler, &listener).await;
    let (service, permits, came) = gated();
    tokio::spawn(accepted.serve(service));
    let before = tokio::spawn(dialled.request(frame(b"before")));
    wait_for(&came, 1).await;
    accepted.count_no_more();
    let after = tokio::spawn(dialled.request(frame(b"after")));
    wait_for(&came, 1).await;
    assert_eq!(accepted.in_flight(), 1, "what came later is not counted");

    permits.add_permits(1);
    settled(&*accepted).await;
    assert_eq!(within(before).await.unwrap(), Ok(frame(b"before")));
    permits.add_permits(1);
    assert_eq!(within(after).await.unwrap(), Ok(frame(b"after")), "and is answered all the same");
    assert_eq!(accepted.in_flight(), 0);
}

#[tokio::test]
async fn a_request_that_is_given_up_frees_its_stream_and_is_not_counted() {
    let (dialler, listener) = (node(), node());
    let (dialled, accepted) = connect(&dialler, &listener).await;
    let (service, permits, came) = gated();
    tokio::spawn(accepted.serve(service));
    for _ in 0..1000 {
        // Polled once: the stream is open and the frame handed over.
        let mut request = dialled.request(frame(b"never mind"));
        let _ = (&mut request).now_or_never();
        tokio::task::yield_now().await;
        drop(request);
        permits.add_permits(1);
    }
    assert_eq!(dialled.in_flight(), 0);
    permits.add_permits(1);
    assert_eq!(within(dialled.request(frame(b"still"))).await, Ok(frame(b"still")));
    assert!(came.available_permits() > 0, "some came before they were given up");
}

#[tokio::test]
async fn a_connection_that_is_closed_with_nothing_in_flight_loses_no_answer() {
    for _ in 0..20 {
        let (dialler, listener) = (node(), node());
        let (dialled, accepted) = connect(&dialler, &listener).await;
        let (service, permits, came) = gated();
        tokio::spawn(accepted.serve(service));
        let longest = frame(&vec![3; FRAME_MAX]);
        let asking = tokio::spawn(dialled.request(longest.clone()));
        wait_for(&came, 1).await;
        permits.add_permits(1);
        settled(&*accepted).await;
        accepted.close(CloseReason::Duplicate);
        assert_eq!(within(asking).await.unwrap(), Ok(longest));
    }
}
