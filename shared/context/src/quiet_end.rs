//! For tests: one end of a connection that carries nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use dht_kad::NodeId;
use futures_util::future::BoxFuture;

use crate::transport::{CloseReason, Connection, FrameStream, RequestError, Service};

/// An end whose requests are never answered, and that says of itself what a test tells it.
pub(crate) struct QuietEnd {
    peer: NodeId,
    dialled: bool,
    open: AtomicBool,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) subscriptions: AtomicUsize,
}

impl QuietEnd {
    pub(crate) fn new(peer: NodeId, dialled: bool) -> Self {
        let (in_flight, subscriptions) = (AtomicUsize::new(0), AtomicUsize::new(0));
        QuietEnd { peer, dialled, open: AtomicBool::new(true), in_flight, subscriptions }
    }
}

impl Connection for QuietEnd {
    fn peer(&self) -> NodeId {
        self.peer
    }

    fn remote_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1 + u16::from(self.peer.key().0[0])))
    }

    fn dialled(&self) -> bool {
        self.dialled
    }

    fn request(&self, _: Bytes) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        Box::pin(std::future::pending())
    }

    fn subscribe(&self, _: Bytes) -> BoxFuture<'static, Result<FrameStream, RequestError>> {
        Box::pin(std::future::pending())
    }

    fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }

    fn serve(&self, _: Arc<dyn Service>) -> BoxFuture<'static, CloseReason> {
        Box::pin(std::future::pending())
    }

    fn close(&self, _: CloseReason) {
        self.open.store(false, Ordering::Relaxed);
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn count_no_more(&self) {}
}
