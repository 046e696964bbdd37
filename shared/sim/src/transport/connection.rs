//! [`SimConnection`]: one end of a connection as the context holds it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dht_context::transport::{
    Answer, Asker, CloseReason, Connection, FrameStream, RequestError, Service,
};
use dht_kad::NodeId;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, FuturesUnordered, StreamExt};
use tokio::sync::mpsc;

use super::end::End;
use super::letter::Message;
use super::network::Network;

/// Requests that one end serves at once, as in the QUIC transport; the others wait.
const SERVED_MAX: usize = 256;

/// A handle on one end; dropping the last one closes it as idle.
pub(super) struct SimConnection {
    open: Arc<OpenEnd>,
}

struct OpenEnd {
    network: Arc<Network>,
    end: Arc<End>,
}

/// An asker of many frames: when it goes away, the other side is told.
struct Subscribed {
    open: Arc<OpenEnd>,
    number: u64,
    frames: mpsc::Receiver<Result<Bytes, RequestError>>,
}

/// An asker that goes away before its answer leaves nothing behind.
struct Waiting<'a> {
    end: &'a End,
    number: u64,
}

impl SimConnection {
    pub(super) fn new(network: Arc<Network>, end: Arc<End>) -> Self {
        SimConnection { open: Arc::new(OpenEnd { network, end }) }
    }
}

impl Connection for SimConnection {
    fn peer(&self) -> NodeId {
        self.open.end.peer
    }

    fn remote_addr(&self) -> SocketAddr {
        self.open.end.peer_addr
    }

    fn dialled(&self) -> bool {
        self.open.end.dialled
    }

    fn request(&self, frame: Bytes) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        let open = Arc::clone(&self.open);
        Box::pin(async move {
            let (number, answer) = open.end.ask()?;
            let _waiting = Waiting { end: &open.end, number };
            open.network.send(&open.end, Message::Request { number, frame });
            let lost = |_| RequestError::ConnectionLost(CloseReason::Lost);
            answer.await.map_err(lost)?
        })
    }

    fn subscribe(&self, frame: Bytes) -> BoxFuture<'static, Result<FrameStream, RequestError>> {
        let open = Arc::clone(&self.open);
        Box::pin(async move {
            let (number, frames) = open.end.subscribe()?;
            open.network.send(&open.end, Message::Request { number, frame });
            let subscribed = Subscribed { open, number, frames };
            let frames = stream::unfold(subscribed, |mut subscribed| async move {
                let frame = subscribed.frames.recv().await?;
                Some((frame, subscribed))
            });
            Ok(Box::pin(frames) as FrameStream)
        })
    }

    fn subscriptions(&self) -> usize {
        self.open.end.subscriptions()
    }

    fn serve(&self, service: Arc<dyn Service>) -> BoxFuture<'static, CloseReason> {
        let (network, end) = (Arc::clone(&self.open.network), Arc::clone(&self.open.end));
        Box::pin(async move { serve(&network, &end, &*service).await })
    }

    fn close(&self, reason: CloseReason) {
        self.open.network.close(&self.open.end, reason);
    }

    fn is_open(&self) -> bool {
        self.open.end.closed().is_none()
    }

    fn in_flight(&self) -> usize {
        self.open.end.in_flight()
    }

    // A stop in simulated time may well wait for what comes later, too.
    fn count_no_more(&self) {}
}

/// Answers what the other side asks, until the connection ends.
async fn serve(network: &Network, end: &End, service: &dyn Service) -> CloseReason {
    let asker = Asker { id: end.peer, addr: end.peer_addr };
    let mut handlers = FuturesUnordered::new();
    let mut streams = FuturesUnordered::new();
    let answer = |number, frame| {
        end.served();
        network.send(end, Message::Answer { number, frame });
    };
    loop {
        while handlers.len() + streams.len() < SERVED_MAX
            && let Some((number, frame)) = end.next_request()
        {
            match service.answer(asker, frame) {
                Answer::Ready(frame) => answer(number, frame),
                Answer::Later(later) => handlers.push(async move { (number, later.await) }),
                Answer::Stream(frames) => {
                    end.served();
                    streams.push(send_parts(network, end, number, frames));
                }
            }
        }
        if let Some(reason) = end.closed() {
            return reason;
        }
        tokio::select! {
            biased;
            () = end.wake.notified() => {}
            Some((number, frame)) = handlers.next() => answer(number, frame),
            Some(()) = streams.next() => {}
        }
    }
}

/// Sends frames as they come, until there are no more or the asker wants no more.
async fn send_parts(
    network: &Network,
    end: &End,
    number: u64,
    mut frames: BoxStream<'static, Bytes>,
) {
    let mut enough = end.stream(number);
    for place in 0.. {
        let frame = tokio::select! {
            biased;
            _ = &mut enough => return,
            frame = frames.next() => frame,
        };
        let last = frame.is_none();
        network.send(end, Message::Part { number, place, frame });
        if last {
            end.enough(number);
            return;
        }
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.open.end.unsubscribe(self.number);
        self.open.network.send(&self.open.end, Message::Enough { number: self.number });
    }
}

impl Drop for OpenEnd {
    fn drop(&mut self) {
        self.network.close(&self.end, CloseReason::Idle);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.end.forget(self.number);
    }
}
