//! [`DhtContext`]: the node as both binaries hold it.
//!
//! ```text
//!                       ┌───────────────────────── DhtContext ─────────────────────────┐
//! put, get, list, ... ─▶│ operations ─▶ walk (lookup machines) ─▶ requests ─▶ connections │─▶ transport
//!                       │                     maintenance ─────────▶    │          │      │
//!                       │ server ◀──────────────────────────────────────┼──────────┘      │◀─ transport
//!                       │   └─▶ verifier ─▶ store      registry ◀───────┘                 │
//!                       └─────────────────────────────────────────────────────────────────┘
//! ```

use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dht_kad::lookup::ClosestResult;
use dht_kad::message::{Mode, NodeInfo, Pong};
use dht_kad::{Key, NetworkName, NodeId, Refusal, UnixMs};
use tokio::time::Instant;

use crate::allowance::Allowances;
use crate::bootstrap_peers::BootstrapPeers;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{ConfigError, ContextConfig};
use crate::connections::Connections;
use crate::latest::Latest;
use crate::maintenance;
use crate::membership::{Membership, NotReady, Stage};
use crate::operations::holders::HolderMemory;
use crate::peer_address::PeerAddress;
use crate::registry::{PeerRegistry, PeerSummary};
use crate::replication::answers::Answers;
use crate::replication::{LeaveReport, Replication};
use crate::requests::{AskError, Requests};
use crate::resolver::Resolver;
use crate::server::Server;
use crate::sources::{SourceBook, SourceStatus};
use crate::stats::{Stats, StatsSnapshot};
use crate::store::{RecordStore, StoreUsage};
use crate::transport::{DialError, Transport};
use crate::verify::{Signer, Verifier};
use crate::vitals::Machine;
use crate::watch::Hub;

/// What a context stands on: everything that differs between the world and a simulation.
pub struct Foundations {
    /// Carries frames.
    pub transport: Arc<dyn Transport>,
    /// Keeps records.
    pub store: Arc<dyn RecordStore>,
    /// Checks signatures.
    pub verifier: Arc<dyn Verifier>,
    /// Signs receipts.
    pub signer: Arc<dyn Signer>,
    /// Tells the time of day.
    pub clock: Arc<dyn Clock>,
    /// Finds hosts.
    pub resolver: Arc<dyn Resolver>,
    /// Where chance comes from: the same seed, the same run. Not for secrets.
    pub seed: [u8; 32],
}

/// The first wait until it is looked again whether a node that is in the network is ready; it
/// doubles up to the tick.
const READY_FIRST: Duration = Duration::from_millis(2);

/// A running node, or a client: cheap to clone, all clones are the same one.
///
/// What it does for applications returns boxed futures: lookups and puts are large state machines, which
/// are then compiled here once, and not again in every program that awaits them.
#[derive(Clone)]
pub struct DhtContext {
    pub(crate) inner: Arc<Inner>,
}

/// What the parts of a context share.
pub(crate) struct Inner {
    /// What does not change while it runs; the bootstrap peers and the pace of repair do.
    pub(crate) config: ContextConfig,
    pub(crate) bootstrap: BootstrapPeers,
    pub(crate) registry: Arc<PeerRegistry>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) server: Arc<Server>,
    pub(crate) membership: Arc<Membership>,
    pub(crate) replication: Arc<Replication>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) chance: Chance,
    pub(crate) holders: HolderMemory,
    pub(crate) store: Arc<dyn RecordStore>,
    pub(crate) verifier: Arc<dyn Verifier>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What the last comparison with others' clocks came to.
    pub(crate) clock_ahead_ms: Latest<Option<i64>>,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) sources: SourceBook,
    /// Tells this process's versions from those of the same identity elsewhere: 24 bits.
    pub(crate) device_tag: u32,
    local_addrs: Vec<SocketAddr>,
}

impl DhtContext {
    /// Starts a node: it answers at once, and joins the network in the background.
    ///
    /// Needs a tokio runtime with time, on whose threads all of its tasks run.
    ///
    /// # Errors
    /// [`ConfigError`] if the configuration cannot be used.
    pub fn start(config: ContextConfig, on: Foundations) -> Result<Self, ConfigError> {
        config.check()?;
        let local_addrs = on.transport.local_addrs();
        let saved = on.store.saved_peers();
        let registry =
            Arc::new(PeerRegistry::new(on.transport.local_id(), &local_addrs, &on.clock));
        let membership = Arc::new(Membership::new(saved.len(), config.solo, &config.timing));
        let stats = Arc::new(Stats::default());
        let replication = Arc::new(Replication::new(registry.own(), &config));
        let chance = Chance::from_seed(on.seed);
        let device_tag = u32::try_from(chance.below(1 << 24)).unwrap_or(0);
        let watches = Hub::start(&*on.store, config.watch, || chance.below(u64::MAX));
        let server = Arc::new(Server {
            mode: config.mode,
            version: config.version.clone(),
            network: config.network.clone(),
            signer: on.signer,
            registry: Arc::clone(&registry),
            membership: Arc::clone(&membership),
            store: Arc::clone(&on.store),
            verifier: Arc::clone(&on.verifier),
            clock: Arc::clone(&on.clock),
            replication: Arc::clone(&replication),
            stats: Arc::clone(&stats),
            allowances: Allowances::new(),
            answers: Answers::default(),
            watches,
            machine: OnceLock::new(),
            started: Instant::now(),
        });
        let connections = Connections::new(
            on.transport,
            Arc::clone(&registry),
            Arc::new(Arc::clone(&server)),
            Arc::clone(&stats),
            config.timing.dial,
        );
        let requests = Requests::new(
            Arc::clone(&connections),
            Arc::clone(&registry),
            Arc::clone(&stats),
            config.mode,
            config.timing.request,
        );
        let sources = SourceBook::new(&config.sources, &config.network, on.clock.now());
        let inner = Arc::new(Inner {
            bootstrap: BootstrapPeers::new(config.bootstrap.clone()),
            config,
            registry,
            connections,
            requests,
            server,
            membership,
            replication,
            stats,
            chance,
            holders: HolderMemory::default(),
            store: on.store,
            verifier: on.verifier,
            clock: on.clock,
            clock_ahead_ms: Latest::default(),
            resolver: on.resolver,
            sources,
            device_tag,
            local_addrs,
        });
        inner.observe();
        inner.connections.start();
        maintenance::start(&inner, saved);
        Ok(DhtContext { inner })
    }

    /// Stops: refuses further puts, finishes those under way, hands over what others may lack of
    /// what was put here last ([`Timing::handover`](crate::Timing::handover) limits how long that may
    /// take), tells those who watch, saves the peers, flushes the store and closes all connections.
    pub async fn stop(&self) {
        self.inner.hand_over().await;
        self.inner.server.watches.end().await;
        self.inner.save_peers().await;
        self.inner.save_progress().await;
        self.inner.store.close().await;
        self.inner.connections.stop().await;
    }

    /// Refuses puts from now on, as a node does that stops, and repairs nothing any more.
    pub fn refuse_puts(&self) {
        self.inner.replication.begin_end();
    }

    /// Asks these peers first from now on, and at once. At most
    /// [`BOOTSTRAP_MAX`](crate::config::BOOTSTRAP_MAX).
    ///
    /// # Errors
    /// [`ConfigError::TooManyBootstrapPeers`]; the list stays as it was.
    pub fn set_bootstrap(&self, peers: Vec<PeerAddress>) -> Result<(), ConfigError> {
        self.inner.bootstrap.replace(peers)
    }

    /// Tells others of this machine, too, when they ask how the node is. Once; later calls change nothing.
    pub fn tell_of(&self, machine: Arc<dyn Machine>) {
        // Whoever runs the node has one machine to tell of.
        let _ = self.inner.server.machine.set(machine);
    }

    /// Lets repair move at most so many bytes a second from now on, both ways together.
    pub fn set_repair_bytes_per_sec(&self, bytes_per_sec: u64) {
        self.inner.replication.pace.set_bytes_per_sec(bytes_per_sec);
    }

    /// Leaves the network for good: refuses puts from now on, hands over all that it holds to those
    /// that it belongs to without this node and, if all of it was confirmed, tells its neighbours so.
    /// If not, or if this is dropped before its end, the node takes puts again and goes on as before.
    /// It still answers until it is [stopped](Self::stop). `progress` is told after each pass
    /// over all records how far that has come.
    pub async fn leave(&self, progress: impl FnMut(&LeaveReport)) -> LeaveReport {
        self.inner.leave(progress).await
    }

    /// Whether a put that comes now can succeed: the table is settled
    /// ([`membership`](crate::membership)), and it, or this node itself, has a server that holds
    /// what it should, whose acknowledgement counts. A client finds such servers with its first put.
    /// A node whose socket has failed is never ready: see [`Self::has_socket`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.not_ready_because().is_none()
    }

    /// What a put that comes now would fail for; `None` if the node is [ready](Self::is_ready).
    #[must_use]
    pub fn not_ready_because(&self) -> Option<NotReady> {
        if !self.has_socket() {
            return Some(NotReady::NoSocket);
        }
        self.inner.server.not_ready_because()
    }

    /// Whether others can still reach this node through its transport, as far as that can tell: false
    /// once a socket has failed for good, which only a restart mends.
    #[must_use]
    pub fn has_socket(&self) -> bool {
        self.inner.connections.accepts()
    }

    /// Whether this node takes puts of others at all, whatever they are.
    ///
    /// # Errors
    /// The refusal that each put gets at present.
    pub fn takes_puts(&self) -> Result<(), Refusal> {
        self.inner.server.takes_puts()
    }

    /// By how many milliseconds this machine's clock is ahead of those of its long-lived peers, behind
    /// if negative; `None` while too few of them answer.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> Option<i64> {
        self.inner.clock_ahead_ms.get()
    }

    /// The same, waited for until it is known.
    pub async fn clock_compared(&self) -> i64 {
        let known = self.inner.clock_ahead_ms.wait_for(Option::is_some);
        known.await.unwrap_or_default()
    }

    /// Waits until [`is_ready`](Self::is_ready).
    pub async fn ready(&self) {
        let mut pause = READY_FIRST;
        loop {
            self.inner.membership.settled().await;
            if self.is_ready() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(self.inner.config.timing.tick);
        }
    }

    /// Whether this node holds what it should, as far as it knows: see
    /// [`replication`](crate::replication).
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.inner.replication.is_whole()
    }

    /// How far the node has come.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.inner.membership.stage()
    }

    /// The node's name.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.inner.registry.own()
    }

    /// The present moment by its clock.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        self.inner.clock.now()
    }

    /// The network that it belongs to.
    #[must_use]
    pub fn network(&self) -> &NetworkName {
        &self.inner.config.network
    }

    /// The addresses that it is bound to.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.inner.local_addrs
    }

    /// What is known of each peer.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerSummary> {
        self.inner.registry.summaries()
    }

    /// How each source of peers stands, in the order in which they are asked; those that were not asked
    /// so far are left out.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceStatus> {
        self.inner.sources.statuses(self.now())
    }

    /// What was counted, and how large things are.
    #[must_use]
    pub fn stats(&self) -> StatsSnapshot {
        let (peers, table, connections) = self.inner.registry.sizes();
        let replication = self.inner.replication.read();
        let watches = self.inner.server.watches.figures();
        StatsSnapshot { peers, table, connections, replication, watches, ..self.inner.stats.read() }
    }

    /// What the store keeps.
    #[must_use]
    pub fn store_usage(&self) -> StoreUsage {
        self.inner.store.usage()
    }

    /// Asks one peer how it is. Says who answered, and from where.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn ping<'a>(
        &'a self,
        peer: &'a PeerAddress,
    ) -> BoxFuture<'a, Result<(NodeInfo, Pong), AskError>> {
        Box::pin(async move {
            let inner = &self.inner;
            let addrs = inner.resolver.resolve(peer).await;
            let unknown = || DialError::UnknownHost(peer.host.clone());
            let mut last = None;
            for addr in addrs {
                match inner.connections.to_address(addr, peer.id).await {
                    Ok(connection) => {
                        let node = NodeInfo { id: connection.peer(), addrs: vec![addr] };
                        let pong = inner.requests.ping(&node).await?;
                        return Ok((node, pong));
                    }
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or_else(unknown).into())
        })
    }

    /// Looks up the servers closest to `key`, closest first, this one among them if it is one.
    pub fn lookup<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Vec<NodeInfo>> {
        Box::pin(async move {
            let closest = self.inner.closest_servers(key, Vec::new()).await;
            closest.into_iter().map(|node| node.info).collect()
        })
    }

    /// Looks up the other servers to which what is put at `key` goes: first those that are whole,
    /// closest first.
    pub fn holders<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Vec<NodeInfo>> {
        Box::pin(async move {
            let mut found = self.inner.responsible_servers(key).await;
            found.retain(|node| node.info.id != self.node_id());
            found.sort_by_key(|node| !node.whole);
            found.into_iter().map(|node| node.info).collect()
        })
    }

    /// As [`lookup`](Self::lookup), with what it took.
    pub fn measured_lookup<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ClosestResult> {
        Box::pin(async move { self.inner.look_up(key, Vec::new(), true).await })
    }

    /// Whether it answers requests, or only asks.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.inner.config.mode
    }
}
