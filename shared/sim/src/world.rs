//! [`World`]: the hosts, the network between them, the time, and who checks the promise.
//!
//! ```text
//! World ─┬─ Network (links, letters, trace)      ─ one for all
//!        ├─ WorldClock, Checker, Seed            ─ one for all
//!        └─ Host ─┬─ address, node key, disk, clock     outlive its node
//!                 └─ Life: DhtContext, errands          one start of the node until its crash
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dht_context::clock::Clock;
use dht_context::node_key::NodeKey;
use dht_context::resolver::Resolver;
use dht_context::verify::{InlineSigner, InlineVerifier};
use dht_context::{ContextConfig, DhtContext, Foundations, PeerAddress};
use dht_kad::NetworkName;
use dht_kad::admission::Limits;
use dht_kad::lookup::Consistency;
use dht_kad::message::Mode;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{self, StreamExt};
use thiserror::Error;
use tokio::task::{AbortHandle, JoinHandle};

use crate::checker::{BrokenRule, Checker};
use crate::clock::{HostClock, WorldClock};
use crate::dice::{Dice, Seed};
use crate::disk::{DiskModel, SimDisk};
use crate::transport::{LinkModel, Links, Network, SimTransport};
use crate::user::User;

/// The port of every simulated node.
const PORT: u16 = 4222;
/// The room on each simulated disk.
const DISK_BYTES: u64 = 1 << 30;
/// The most hosts: each has a /24 of its own within 20.0.0.0/8.
pub const HOSTS_MAX: usize = 65_536;

/// What a run starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The number that everything left to chance follows from.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// What the network is like.
    pub links: LinkModel,
    /// What the disks are like.
    pub disks: DiskModel,
}

impl Settings {
    /// A run of so many nodes in a good network.
    #[must_use]
    pub fn new(seed: u64, nodes: usize) -> Self {
        let (links, disks) = (LinkModel::default(), DiskModel::default());
        Settings { seed, nodes, links, disks }
    }
}

/// A run did not come to a good end.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The promise is broken.
    #[error("{0}")]
    Broken(#[from] BrokenRule),
    /// Something else did not happen that should have.
    #[error("{0}")]
    Expected(String),
}

/// A host's place in the world's list.
pub type HostId = usize;

/// Everything in a run.
pub struct World {
    settings: Settings,
    network_name: NetworkName,
    network: Arc<Network>,
    clock: Arc<WorldClock>,
    checker: Checker,
    hosts: Vec<Host>,
    carrier: AbortHandle,
}

/// A machine, and what of it outlives its node.
struct Host {
    addr: SocketAddr,
    key: NodeKey,
    disk: Arc<SimDisk>,
    clock: Arc<HostClock>,
    lives: u64,
    life: Option<Life>,
}

/// A node from its start to its end.
struct Life {
    context: DhtContext,
    /// What was asked of it from outside; ends with it.
    errands: Vec<AbortHandle>,
}

/// There are no names in the simulator, only addresses.
struct NoNames;

impl Resolver for NoNames {
    fn resolve(&self, peer: &PeerAddress) -> BoxFuture<'static, Vec<SocketAddr>> {
        Box::pin(std::future::ready(peer.socket_addr().into_iter().collect()))
    }
}

impl World {
    /// A world of hosts that are all down. Needs a runtime whose time is paused.
    ///
    /// # Errors
    /// [`Failure::Expected`] if the settings cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        if settings.nodes == 0 || settings.nodes > HOSTS_MAX {
            let nodes = settings.nodes;
            return Err(expected(format!("give 1 to {HOSTS_MAX} nodes instead of {nodes}")));
        }
        let seed = Seed(settings.seed);
        let links = Links::new(settings.links, seed.dice("links", 0));
        let network = Network::new(links, seed.dice("network", 0));
        let carrier = tokio::spawn(Arc::clone(&network).carry()).abort_handle();
        let network_name: NetworkName =
            "simulated".parse().map_err(|error| expected(format!("network name: {error}")))?;
        let checker = Checker::new(network_name.clone());
        let mut world = World {
            settings,
            network_name,
            network,
            clock: Arc::new(WorldClock::new()),
            checker,
            hosts: Vec::new(),
            carrier,
        };
        for _ in 0..settings.nodes {
            world.add_host();
        }
        Ok(world)
    }

    /// Adds a host; it is down.
    pub fn add_host(&mut self) -> HostId {
        let id = self.hosts.len();
        let number = id as u64;
        let [.., high, low] = number.to_be_bytes();
        let addr = SocketAddr::from(([20, high, low, 1], PORT));
        let limits = Limits::default_for(DISK_BYTES);
        let model = self.settings.disks;
        let dice = self.seed().dice("disk", number);
        self.network.place(addr);
        self.hosts.push(Host {
            addr,
            key: NodeKey::from_seed(self.seed().derive("node key", number)),
            disk: SimDisk::new(self.network_name.clone(), limits, dice, model),
            clock: Arc::new(HostClock::new(Arc::clone(&self.clock))),
            lives: 0,
            life: None,
        });
        id
    }

    /// Starts a host's node. With nobody to ask it may be the only one.
    ///
    /// # Errors
    /// [`Failure::Expected`] if it runs already, or refuses its configuration.
    pub fn start(&mut self, id: HostId, ask: &[HostId]) -> Result<(), Failure> {
        let ask: Vec<_> = ask.iter().filter(|other| **other != id).collect();
        let bootstrap = ask.iter().filter_map(|other| self.hosts.get(**other));
        let bootstrap = bootstrap.map(|host| PeerAddress::from(host.addr)).collect();
        let mut config = ContextConfig::new(self.network_name.clone(), Mode::Server, bootstrap);
        config.solo = ask.is_empty();
        let seed = self.seed();
        let (network, verifier) = (&self.network, InlineVerifier::new(self.network_name.clone()));
        let Some(host) = self.hosts.get_mut(id) else {
            return Err(expected(format!("there is no host {id}")));
        };
        if host.life.is_some() {
            return Err(expected(format!("host {id} runs already")));
        }
        host.lives += 1;
        let clock: Arc<dyn Clock> = host.clock.clone();
        let foundations = Foundations {
            transport: SimTransport::bind(network, host.addr, host.key.id()),
            store: Arc::new(host.disk.open(clock.clone())),
            verifier: Arc::new(verifier),
            signer: Arc::new(InlineSigner::new(host.key.clone())),
            clock,
            resolver: Arc::new(NoNames),
            seed: seed.derive("node", (id as u64) << 32 | host.lives),
        };
        let context = DhtContext::start(config, foundations)
            .map_err(|error| expected(format!("host {id} refuses to start: {error}")))?;
        host.life = Some(Life { context, errands: Vec::new() });
        Ok(())
    }

    /// Kills nodes, all at the same moment: their connections fall silent, and what was not synced
    /// is lost.
    pub async fn crash(&mut self, ids: &[HostId]) {
        let mut dead = Vec::new();
        for id in ids {
            let Some(host) = self.hosts.get_mut(*id) else { continue };
            let Some(life) = host.life.take() else { continue };
            host.disk.crash();
            self.network.crash(host.addr);
            life.errands.iter().for_each(AbortHandle::abort);
            dead.push(life.context);
        }
        // Its tasks are still there; cut off from disk and network, all they can do is end.
        join_all(dead.iter().map(DhtContext::stop)).await;
    }

    /// Waits until every node that runs is ready.
    ///
    /// # Errors
    /// [`Failure::Expected`] if that takes longer than `limit`.
    pub async fn all_ready(&self, limit: Duration) -> Result<(), Failure> {
        let contexts: Vec<_> = self.hosts.iter().filter_map(|host| host.life.as_ref()).collect();
        let all = async {
            for life in &contexts {
                life.context.ready().await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_ok() {
            return Ok(());
        }
        let late = contexts.iter().filter(|life| !life.context.is_ready()).count();
        let (nodes, secs) = (contexts.len(), limit.as_secs());
        Err(expected(format!("{late} of {nodes} nodes are not ready after {secs} s")))
    }

    /// What is needed to use a node.
    ///
    /// # Errors
    /// [`Failure::Expected`] if it is down.
    pub fn user(&self, id: HostId) -> Result<User, Failure> {
        let life = self.hosts.get(id).and_then(|host| host.life.as_ref());
        let life = life.ok_or_else(|| expected(format!("host {id} is down")))?;
        let (checker, clock) = (self.checker.clone(), Arc::clone(&self.clock));
        Ok(User::new(life.context.clone(), checker, clock))
    }

    /// Asks something of a node, in a task that ends with the node: what has not come back by then
    /// never will.
    ///
    /// # Errors
    /// [`Failure::Expected`] if it is down.
    pub fn errand<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &mut self,
        id: HostId,
        errand: impl FnOnce(User) -> F,
    ) -> Result<JoinHandle<T>, Failure> {
        let task = tokio::spawn(errand(self.user(id)?));
        if let Some(life) = self.hosts.get_mut(id).and_then(|host| host.life.as_mut()) {
            life.errands.retain(|errand| !errand.is_finished());
            life.errands.push(task.abort_handle());
        }
        Ok(task)
    }

    /// Lets the world live on for a while.
    pub async fn live(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// Gets every slot in which something was acknowledged, each through a random node, and checks
    /// the answers.
    ///
    /// # Errors
    /// The first [`BrokenRule`], in the order of the slots' names.
    pub async fn check_all(&self, consistency: Consistency) -> Result<(), Failure> {
        let mut dice = self.seed().dice("readers", self.checker.answers() as u64);
        let running = self.running();
        let mut gets = Vec::new();
        for place in self.checker.places() {
            let Some(reader) = running.get(dice.place(running.len())) else {
                return Err(expected("no node runs".to_owned()));
            };
            let (question, user) = (self.checker.asks(&place), self.user(*reader)?);
            gets.push(async move { user.get_checked(question, consistency).await });
        }
        let mut answers = stream::iter(gets).buffered(READERS);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        Ok(())
    }

    /// The hosts whose nodes run.
    #[must_use]
    pub fn running(&self) -> Vec<HostId> {
        let hosts = self.hosts.iter().enumerate();
        hosts.filter(|(_, host)| host.life.is_some()).map(|(id, _)| id).collect()
    }

    /// Cuts two groups of hosts off from each other.
    pub fn split(&self, one: &[HostId], other: &[HostId]) {
        let addrs = |ids: &[HostId]| -> Vec<SocketAddr> {
            ids.iter().filter_map(|id| Some(self.hosts.get(*id)?.addr)).collect()
        };
        self.network.split(&addrs(one), &addrs(other));
    }

    /// Sets how far a host's clock is ahead of the truth.
    pub fn set_clock_error_ms(&self, id: HostId, error_ms: i64) {
        if let Some(host) = self.hosts.get(id) {
            host.clock.set_error_ms(error_ms);
        }
    }

    /// How many writes crashes have undone.
    #[must_use]
    pub fn lost_writes(&self) -> u64 {
        self.hosts.iter().map(|host| host.disk.lost()).sum()
    }

    /// The number that everything follows from.
    #[must_use]
    pub fn seed(&self) -> Seed {
        Seed(self.settings.seed)
    }

    /// Dice for a scenario's own decisions.
    #[must_use]
    pub fn dice(&self, purpose: &str) -> Dice {
        self.seed().dice(purpose, 0)
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// The true time.
    #[must_use]
    pub fn clock(&self) -> &Arc<WorldClock> {
        &self.clock
    }

    /// Who knows what was promised.
    #[must_use]
    pub fn checker(&self) -> &Checker {
        &self.checker
    }

    /// How many hosts there are, up or down.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.hosts.len()
    }
}

/// Gets that are under way at once while everything is checked.
const READERS: usize = 16;

impl Drop for World {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

fn expected(what: String) -> Failure {
    Failure::Expected(what)
}
