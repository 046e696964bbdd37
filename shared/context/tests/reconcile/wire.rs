//! A transport through memory, without delay or loss.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dht_context::transport::{
    Answer, Asker, CloseReason, Connection, DialError, FrameStream, RequestError, Service,
    Transport,
};
use dht_kad::NodeId;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Connections that wait to be accepted, and requests on their way: more than any test has.
const QUEUE: usize = 4_096;

type Arrived = Arc<dyn Connection>;

/// What joins all ends.
#[derive(Default)]
pub(crate) struct Wire {
    doors: Mutex<BTreeMap<SocketAddr, (NodeId, mpsc::Sender<Arrived>)>>,
}

/// One node's end of the wire.
pub(crate) struct WireTransport {
    wire: Arc<Wire>,
    id: NodeId,
    addr: SocketAddr,
    arrived: tokio::sync::Mutex<mpsc::Receiver<Arrived>>,
}

/// A request on its way, and where its answer goes.
type Call = (Bytes, oneshot::Sender<Bytes>);

/// One end of a connection.
struct End {
    peer: NodeId,
    remote_addr: SocketAddr,
    dialled: bool,
    out: mpsc::Sender<Call>,
    calls: Mutex<Option<mpsc::Receiver<Call>>>,
    closed: CancellationToken,
    in_flight: Arc<AtomicUsize>,
}

impl Wire {
    /// Binds the next free address.
    pub(crate) fn bind(self: &Arc<Self>, id: NodeId) -> Arc<WireTransport> {
        let mut doors = self.doors.lock().unwrap();
        let port = u16::try_from(doors.len() + 1).unwrap();
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let (door, arrived) = mpsc::channel(QUEUE);
        doors.insert(addr, (id, door));
        let arrived = tokio::sync::Mutex::new(arrived);
        Arc::new(WireTransport { wire: self.clone(), id, addr, arrived })
    }
}

impl Transport for WireTransport {
    fn local_id(&self) -> NodeId {
        self.id
    }

    fn local_addrs(&self) -> Vec<SocketAddr> {
        vec![self.addr]
    }

    fn dial(
        &self,
        addr: SocketAddr,
        _expected: Option<NodeId>,
    ) -> BoxFuture<'static, Result<Arc<dyn Connection>, DialError>> {
        let found = self.wire.doors.lock().unwrap().get(&addr).cloned();
        let (id, own_addr) = (self.id, self.addr);
        Box::pin(async move {
            let (peer, door) = found.ok_or(DialError::TimedOut(addr))?;
            let (to_there, there) = mpsc::channel(QUEUE);
            let (to_here, here) = mpsc::channel(QUEUE);
            let closed = CancellationToken::new();
            let end = |peer, remote_addr, dialled, out, calls| End {
                peer,
                remote_addr,
                dialled,
                out,
                calls: Mutex::new(Some(calls)),
                closed: closed.clone(),
                in_flight: Arc::default(),
            };
            let arriving: Arrived = Arc::new(end(id, own_addr, false, to_here, there));
            door.send(arriving).await.map_err(|_| DialError::TimedOut(addr))?;
            Ok(Arc::new(end(peer, addr, true, to_there, here)) as Arc<dyn Connection>)
        })
    }

    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
        Box::pin(async move { self.arrived.lock().await.recv().await })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.wire.doors.lock().unwrap().remove(&self.addr);
        Box::pin(std::future::ready(()))
    }
}

impl Connection for End {
    fn peer(&self) -> NodeId {
        self.peer
    }

    fn remote_addr(&self) -> SocketAddr {
        self.remote_addr
    }

    fn dialled(&self) -> bool {
        self.dialled
    }

    fn request(&self, frame: Bytes) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        let (out, in_flight) = (self.out.clone(), self.in_flight.clone());
        Box::pin(async move {
            let lost = RequestError::ConnectionLost(CloseReason::Lost);
            let (answer, answered) = oneshot::channel();
            in_flight.fetch_add(1, Ordering::Relaxed);
            let sent = out.send((frame, answer)).await;
            let answered = answered.await;
            in_flight.fetch_sub(1, Ordering::Relaxed);
            if sent.is_err() { Err(lost) } else { answered.map_err(|_| lost) }
        })
    }

    fn subscribe(&self, _: Bytes) -> BoxFuture<'static, Result<FrameStream, RequestError>> {
        // Nobody watches here.
        Box::pin(std::future::ready(Err(RequestError::ConnectionLost(CloseReason::Lost))))
    }

    fn subscriptions(&self) -> usize {
        0
    }

    fn serve(&self, service: Arc<dyn Service>) -> BoxFuture<'static, CloseReason> {
        let mut calls = self.calls.lock().unwrap().take().expect("served once");
        let (asker, closed) =
            (Asker { id: self.peer, addr: self.remote_addr }, self.closed.clone());
        Box::pin(async move {
            let mut answering = FuturesUnordered::new();
            loop {
                tokio::select! {
                    biased;
                    () = closed.cancelled() => return CloseReason::Lost,
                    call = calls.recv() => {
                        let Some((frame, answer)) = call else { return CloseReason::Lost };
                        let result = service.answer(asker, frame);
                        answering.push(async move {
                            let frame = match result {
                                Answer::Ready(frame) => frame,
                                Answer::Later(frame) => frame.await,
                                Answer::Stream(_) => panic!("nobody watches here"),
                            };
                            let _ = answer.send(frame);
                        });
                    }
                    Some(()) = answering.next() => {}
                }
            }
        })
    }

    fn close(&self, _: CloseReason) {
        self.closed.cancel();
    }

    fn is_open(&self) -> bool {
        !self.closed.is_cancelled()
    }

    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn count_no_more(&self) {}
}
