//! Connections: dialling, accepting and serving them, at most one a peer.
//!
//! ```text
//! callers ─▶ to(peer) ─▶ live one? ─ yes ─▶ it
//!                          │ no
//!                          └─▶ one dial a peer, shared by all who ask ─▶ adopt ─▶ registry decides
//! accept loop ─────────────────────────────────────────────────────────▶ adopt     │ loser: drained
//!                                                          each adopted one is served by its own task
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dht_kad::NodeId;
use dht_kad::message::{ADDRS_MAX, NodeInfo};
use futures_util::future::{BoxFuture, FutureExt, Shared};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::registry::{PeerRegistry, Registered};
use crate::stats::Stats;
use crate::transport::{CloseReason, Connection, DialError, Service, Transport};

/// A connection that lost is closed when nothing has been under way on it for so long: time for the
/// other end to notice that it lost, too.
const DRAIN_QUIET: Duration = Duration::from_secs(1);
/// A connection that lost is closed after so long whatever is under way.
const DRAIN_LONGEST: Duration = Duration::from_secs(15);
/// A stop lets what was promised to be finished run on for so long: the answers that a put no longer
/// needs come within this, unless their node has just died.
const FINISH_LONGEST: Duration = Duration::from_secs(1);
/// The most dials at once: what a burst of lookups may have open.
const DIALS_MAX: usize = 256;

type DialResult = Result<Arc<dyn Connection>, DialError>;

/// A dial under way, for all who wait for it. They wake in the order in which they came: tokio's
/// own `watch` wakes them in a random one, which no seed reproduces.
type SharedDial = Shared<BoxFuture<'static, DialResult>>;

/// Makes, takes and serves the connections of one node.
pub struct Connections {
    transport: Arc<dyn Transport>,
    registry: Arc<PeerRegistry>,
    service: Arc<dyn Service>,
    stats: Arc<Stats>,
    tasks: TaskTracker,
    finishing: TaskTracker,
    stop: CancellationToken,
    dial_limit: Duration,
    dials: Mutex<BTreeMap<NodeId, SharedDial>>,
}

impl Connections {
    /// Connections over `transport`, served by `service`, with `dial_limit` for each handshake.
    #[must_use]
    pub fn new(
        transport: Arc<dyn Transport>,
        registry: Arc<PeerRegistry>,
        service: Arc<dyn Service>,
        stats: Arc<Stats>,
        dial_limit: Duration,
    ) -> Arc<Self> {
        Arc::new(Connections {
            transport,
            registry,
            service,
            stats,
            tasks: TaskTracker::new(),
            finishing: TaskTracker::new(),
            stop: CancellationToken::new(),
            dial_limit,
            dials: Mutex::new(BTreeMap::new()),
        })
    }

    /// Starts to accept connections.
    pub fn start(self: &Arc<Self>) {
        let connections = Arc::clone(self);
        self.spawn(async move {
            while let Some(connection) = connections.transport.accept().await {
                if connection.peer() == connections.registry.own() {
                    continue;
                }
                connections.stats.accepted.fetch_add(1, Ordering::Relaxed);
                connections.adopt(connection);
            }
        });
    }

    /// Runs a task until it ends or the context stops.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.until_stopped(task));
    }

    /// Runs a task that a stop waits for, a little: a record that is on its way to a node gets there
    /// although the program has heard enough.
    pub fn spawn_to_finish(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.finishing.spawn(self.until_stopped(task));
    }

    fn until_stopped(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let stop = self.stop.clone();
        async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = task => {}
            }
        }
    }

    /// Ends all tasks and connections, after what is to be finished.
    pub async fn stop(&self) {
        self.finishing.close();
        let _ = tokio::time::timeout(FINISH_LONGEST, self.finishing.wait()).await;
        self.stop.cancel();
        self.transport.close().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The connection to a peer: the live one, or one dialled now. All who ask while a dial is
    /// under way share it.
    ///
    /// # Errors
    /// [`DialError`] of the last of the peer's addresses.
    pub async fn to(self: &Arc<Self>, node: &NodeInfo) -> DialResult {
        if let Some(connection) = self.registry.connection(&node.id) {
            return Ok(connection);
        }
        self.join_dial(node).await
    }

    /// Connects to whoever answers at `addr`.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn to_address(
        self: &Arc<Self>,
        addr: SocketAddr,
        expected: Option<NodeId>,
    ) -> DialResult {
        if let Some(connection) = expected.and_then(|id| self.registry.connection(&id)) {
            return Ok(connection);
        }
        self.dial(addr, expected).await.map(|connection| self.adopt(connection))
    }

    /// Joins the dial that is under way to this peer, or starts one.
    fn join_dial(self: &Arc<Self>, node: &NodeInfo) -> SharedDial {
        let mut dials = self.lock_dials();
        if let Some(dial) = dials.get(&node.id) {
            return dial.clone();
        }
        if dials.len() >= DIALS_MAX {
            let addr = node.addrs.first().copied().unwrap_or_else(unknown_address);
            let reason = "too many dials are under way".to_owned();
            let refused = std::future::ready(Err(DialError::Local { addr, reason }));
            return refused.boxed().shared();
        }
        let (report, done) = oneshot::channel();
        let stopping = |_| Err(DialError::Stopping);
        let dial = done.map(move |done| done.unwrap_or_else(stopping)).boxed().shared();
        dials.insert(node.id, dial.clone());
        drop(dials);
        let connections = Arc::clone(self);
        let node = node.clone();
        self.spawn(async move {
            let result = connections.dial_each(&node).await;
            connections.lock_dials().remove(&node.id);
            let _ = report.send(result);
        });
        dial
    }

    /// Tries a peer's addresses one after the other: first those where it was reached before, so that
    /// nobody can hide it by naming false ones.
    async fn dial_each(self: &Arc<Self>, node: &NodeInfo) -> DialResult {
        let mut last = None;
        let mut addrs = self.registry.info(&node.id).map(|known| known.addrs).unwrap_or_default();
        for addr in &node.addrs {
            if !addrs.contains(addr) {
                addrs.push(*addr);
            }
        }
        for addr in addrs.into_iter().take(2 * ADDRS_MAX) {
            match self.dial(addr, Some(node.id)).await {
                Ok(connection) => return Ok(self.adopt(connection)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| DialError::Local {
            addr: unknown_address(),
            reason: format!("no address of node {} is known", node.id),
        }))
    }

    async fn dial(&self, addr: SocketAddr, expected: Option<NodeId>) -> DialResult {
        let handshake = self.transport.dial(addr, expected);
        let result = match tokio::time::timeout(self.dial_limit, handshake).await {
            Ok(Ok(connection)) if connection.peer() == self.registry.own() => {
                Err(DialError::Refused { addr, reason: "it is this node itself".to_owned() })
            }
            Ok(result) => result,
            Err(_) => Err(DialError::TimedOut(addr)),
        };
        let counter = match &result {
            Ok(_) => &self.stats.dials_ok,
            Err(_) => &self.stats.dials_failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Takes a new connection in, serves it, and returns the one to use for its peer.
    fn adopt(self: &Arc<Self>, connection: Arc<dyn Connection>) -> Arc<dyn Connection> {
        let Registered { winner, loser } = self.registry.register(connection.clone());
        let connections = Arc::clone(self);
        let served = connection;
        self.spawn(async move {
            let reason = served.serve(connections.service.clone()).await;
            tracing::debug!(peer = %served.peer(), ?reason, "connection ended");
            connections.registry.unregister(&served);
        });
        if let Some(loser) = loser {
            self.spawn(drain(loser));
        }
        winner
    }

    fn lock_dials(&self) -> MutexGuard<'_, BTreeMap<NodeId, SharedDial>> {
        self.dials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes a connection that lost, once nothing is under way on it.
async fn drain(connection: Arc<dyn Connection>) {
    let mut waited = Duration::ZERO;
    while connection.is_open() && waited < DRAIN_LONGEST {
        tokio::time::sleep(DRAIN_QUIET).await;
        waited += DRAIN_QUIET;
        if connection.in_flight() == 0 {
            break;
        }
    }
    connection.close(CloseReason::Duplicate);
}

/// Stands where an error names an address and none is known.
fn unknown_address() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use dht_kad::UnixMs;
    use futures_util::future::BoxFuture;
    use tokio::time::Instant;

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::transport::{Answer, Asker};

    /// A transport that reaches nobody.
    struct Nowhere;

    impl Transport for Nowhere {
        fn local_id(&self) -> NodeId {
            NodeId::from_bytes([1; 32])
        }

        fn local_addrs(&self) -> Vec<SocketAddr> {
            Vec::new()
        }

        fn dial(&self, addr: SocketAddr, _: Option<NodeId>) -> BoxFuture<'static, DialResult> {
            Box::pin(std::future::ready(Err(DialError::TimedOut(addr))))
        }

        fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
            Box::pin(std::future::ready(None))
        }

        fn close(&self) -> BoxFuture<'_, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    impl Service for Nowhere {
        fn answer(&self, _: Asker, frame: bytes::Bytes) -> Answer {
            Answer::Ready(frame)
        }
    }

    fn connections() -> Arc<Connections> {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(UnixMs(1)));
        let registry = Arc::new(PeerRegistry::new(Nowhere.local_id(), &[], &clock));
        let (transport, service) = (Arc::new(Nowhere), Arc::new(Nowhere));
        Connections::new(transport, registry, service, Arc::default(), Duration::from_secs(1))
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_what_is_to_be_finished_and_for_nothing_else() {
        let connections = connections();
        let finished = Arc::new(AtomicBool::new(false));
        let finishing = Arc::clone(&finished);
        connections.spawn(std::future::pending());
        connections.spawn_to_finish(async move {
            tokio::time::sleep(FINISH_LONGEST / 2).await;
            finishing.store(true, Ordering::Relaxed);
        });
        connections.stop().await;
        assert!(finished.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_finishes_does_not_hold_a_stop_up() {
        let connections = connections();
        connections.spawn_to_finish(std::future::pending());
        let started = Instant::now();
        connections.stop().await;
        assert_eq!(started.elapsed(), FINISH_LONGEST);
    }
}
