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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dht_kad::NodeId;
use dht_kad::message::{ADDRS_MAX, NodeInfo};
use futures_util::future::{BoxFuture, FutureExt, Shared};
use futures_util::stream::{FuturesUnordered, StreamExt};
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
/// needs come within this, unless their node has just died, and so do the answers that others await.
const FINISH_LONGEST: Duration = Duration::from_secs(1);
/// How often a stop looks whether all is answered: a connection does not say so by itself.
const FINISH_LOOK: Duration = Duration::from_millis(10);
/// The most dials at once: what a burst of lookups may have open.
const DIALS_MAX: usize = 256;
/// A peer's next address is tried beside the earlier ones after so long (RFC 8305, section 5): false
/// addresses that others name cost little time then.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// A connection that this node dialled and has not used for so long is closed, unless its peer is in
/// the table: longer than an application rests between two requests, and than revalidation takes to
/// come around.
const IDLE_AFTER: Duration = Duration::from_secs(120);
/// The most connections that this node keeps of those it dialled, at about 40 KiB each: a table's
/// worth, and the peers of a burst of lookups.
const DIALLED_MAX: usize = 1024;

type DialResult = Result<Arc<dyn Connection>, DialError>;

/// A dial under way, for all who wait for it. They wake in the order in which they came: tokio's
/// own `watch` wakes them in a random one, which no seed reproduces.
type SharedDial = Shared<BoxFuture<'static, DialResult>>;

/// What a dial is to reach: a node wherever it is, or whoever is at an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Goal {
    Node(NodeId),
    Place(SocketAddr),
}

/// Takes a dial off the list when it ends, in whatever way: nobody may join one that is over.
struct UnderWay {
    connections: Arc<Connections>,
    goal: Goal,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.connections.lock_dials().remove(&self.goal);
    }
}

/// Makes, takes and serves the connections of one node.
pub struct Connections {
    transport: Arc<dyn Transport>,
    registry: Arc<PeerRegistry>,
    service: Arc<dyn Service>,
    stats: Arc<Stats>,
    tasks: TaskTracker,
    finishing: TaskTracker,
    stop: CancellationToken,
    accepts: AtomicBool,
    dial_limit: Duration,
    dials: Mutex<BTreeMap<Goal, SharedDial>>,
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
            accepts: AtomicBool::new(true),
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
            connections.accepts.store(false, Ordering::Relaxed);
        });
    }

    /// Whether connections that others dial are still taken: not once the transport is closed, or a
    /// socket of it has failed.
    pub fn accepts(&self) -> bool {
        self.accepts.load(Ordering::Relaxed)
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

    /// Ends all tasks and connections, after what is to be finished and what is to be answered; what is
    /// asked later is answered until then, and not waited for: some ask without end.
    pub async fn stop(&self) {
        self.finishing.close();
        let open = self.registry.connections();
        for connection in &open {
            connection.count_no_more();
        }
        let finished = async {
            self.finishing.wait().await;
            while open.iter().any(|connection| connection.in_flight() > 0) {
                tokio::time::sleep(FINISH_LOOK).await;
            }
        };
        let _ = tokio::time::timeout(FINISH_LONGEST, finished).await;
        drop(open);
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
        let (connections, node) = (Arc::clone(self), node.clone());
        self.share(Goal::Node(node.id), async move { connections.dial_each(&node).await }).await
    }

    /// Connects to whoever answers at `addr`, or takes the connection that there is.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn to_address(
        self: &Arc<Self>,
        addr: SocketAddr,
        expected: Option<NodeId>,
    ) -> DialResult {
        if let Some(id) = expected {
            return self.to(&NodeInfo { id, addrs: vec![addr] }).await;
        }
        if let Some(connection) = self.registry.connection_at(&addr) {
            return Ok(connection);
        }
        let connections = Arc::clone(self);
        let dial = async move { Ok(connections.adopt(connections.dial(addr, None).await?)) };
        self.share(Goal::Place(addr), dial).await
    }

    /// Closes what this node dialled and does not use any more.
    pub fn close_idle(&self) {
        for connection in self.registry.take_idle(IDLE_AFTER, DIALLED_MAX) {
            connection.close(CloseReason::Idle);
        }
    }

    /// Joins the dial that is under way to this goal, or starts this one. It goes on even if who
    /// asked for it gives up: others may have joined.
    async fn share(
        self: &Arc<Self>,
        goal: Goal,
        dial: impl Future<Output = DialResult> + Send + 'static,
    ) -> DialResult {
        self.join_dial(goal, dial)?.await
    }

    fn join_dial(
        self: &Arc<Self>,
        goal: Goal,
        dial: impl Future<Output = DialResult> + Send + 'static,
    ) -> Result<SharedDial, DialError> {
        let mut dials = self.lock_dials();
        if let Some(shared) = dials.get(&goal) {
            return Ok(shared.clone());
        }
        if dials.len() >= DIALS_MAX {
            return Err(DialError::TooMany);
        }
        let (report, done) = oneshot::channel();
        let stopping = |_| Err(DialError::Stopping);
        let shared = done.map(move |done| done.unwrap_or_else(stopping)).boxed().shared();
        dials.insert(goal, shared.clone());
        drop(dials);
        let under_way = UnderWay { connections: Arc::clone(self), goal };
        self.spawn(async move {
            let result = dial.await;
            drop(under_way);
            // Who asked may have given up, and nobody else joined.
            let _ = report.send(result);
        });
        Ok(shared)
    }

    /// Tries a peer's addresses, each a moment after the one before: first those where it was reached
    /// before, so that nobody can hide it by naming false ones.
    async fn dial_each(self: &Arc<Self>, node: &NodeInfo) -> DialResult {
        let mut addrs = self.registry.info(&node.id).map(|known| known.addrs).unwrap_or_default();
        for addr in &node.addrs {
            if !addrs.contains(addr) {
                addrs.push(*addr);
            }
        }
        addrs.truncate(2 * ADDRS_MAX);
        let mut last = None;
        let mut wait = Duration::ZERO;
        let mut attempts = FuturesUnordered::new();
        for addr in addrs {
            attempts.push(async move {
                tokio::time::sleep(wait).await;
                self.dial(addr, Some(node.id)).await
            });
            wait += NEXT_ADDRESS_AFTER;
        }
        while let Some(result) = attempts.next().await {
            match result {
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
                Err(DialError::Itself(addr))
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

    fn lock_dials(&self) -> MutexGuard<'_, BTreeMap<Goal, SharedDial>> {
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
    use crate::quiet_end::QuietEnd;
    use crate::transport::{Answer, Asker};

    const DIAL_LIMIT: Duration = Duration::from_secs(1);

    /// A transport that reaches nobody, after as long as a packet to nowhere takes.
    struct Nowhere;

    impl Transport for Nowhere {
        fn local_id(&self) -> NodeId {
            NodeId::from_bytes([1; 32])
        }

        fn local_addrs(&self) -> Vec<SocketAddr> {
            Vec::new()
        }

        fn dial(&self, addr: SocketAddr, _: Option<NodeId>) -> BoxFuture<'static, DialResult> {
            Box::pin(async move {
                tokio::time::sleep(DIAL_LIMIT).await;
                Err(DialError::TimedOut(addr))
            })
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
        Connections::new(transport, registry, service, Arc::default(), DIAL_LIMIT)
    }

    fn places(count: u16) -> Vec<SocketAddr> {
        (1..=count).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn false_addresses_cost_little_more_time_than_one() {
        let connections = connections();
        let node = NodeInfo { id: NodeId::from_bytes([2; 32]), addrs: places(4) };
        let started = Instant::now();
        assert!(connections.to(&node).await.is_err());
        assert_eq!(started.elapsed(), 3 * NEXT_ADDRESS_AFTER + DIAL_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_ask_for_one_address_share_a_dial_and_none_is_left_on_the_list() {
        let connections = connections();
        let place = places(1)[0];
        let (first, second) =
            tokio::join!(connections.to_address(place, None), connections.to_address(place, None));
        assert!(first.is_err() && second.is_err());
        assert_eq!(connections.stats.dials_failed.load(Ordering::Relaxed), 1);
        assert!(connections.lock_dials().is_empty());

        let given_up = connections.to_address(place, None);
        assert!(tokio::time::timeout(DIAL_LIMIT / 2, given_up).await.is_err());
        connections.stop().await;
        assert!(connections.lock_dials().is_empty(), "not even after a stop");
        let after = connections.to_address(place, None).await;
        assert_eq!(after.err(), Some(DialError::Stopping));
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
    async fn a_stop_lets_answers_arrive() {
        let connections = connections();
        let end = Arc::new(QuietEnd::new(NodeId::from_bytes([2; 32]), false));
        end.in_flight.store(1, Ordering::Relaxed);
        connections.registry.register(end.clone());
        let started = Instant::now();
        let answer = async {
            tokio::time::sleep(FINISH_LONGEST / 4).await;
            end.in_flight.store(0, Ordering::Relaxed);
        };
        tokio::join!(connections.stop(), answer);
        let took = started.elapsed();
        assert!((FINISH_LONGEST / 4..FINISH_LONGEST / 2).contains(&took), "{took:?}");
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
