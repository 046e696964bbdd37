//! [`World`]: the hosts, the network between them, the time, and what is done to them.
//!
//! ```text
//! World ─┬─ View ─┬─ Hosts: addresses, disks, clocks, and the nodes that run
//!        │        ├─ Network: links, letters, trace
//!        │        └─ WorldClock, Checker
//!        └─ Timing of the nodes that are started next, WorldVerifier, Seed
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dht_context::clock::Clock;
use dht_context::node_key::NodeKey;
use dht_context::resolver::{Resolver, TextError};
use dht_context::verify::InlineSigner;
use dht_context::{ContextConfig, DhtContext, Foundations, PeerAddress, Timing};
use dht_kad::admission::Limits;
use dht_kad::message::Mode;
use dht_kad::{NetworkName, ValidRecord};
use futures_util::future::{BoxFuture, join_all};
use thiserror::Error;
use tokio::task::{AbortHandle, JoinHandle};

use crate::checker::{BrokenRule, Checker};
use crate::clock::{HostClock, WorldClock};
use crate::dice::{Dice, Seed};
use crate::disk::SimDisk;
use crate::fault::Fault;
pub use crate::host::HostId;
use crate::host::{Host, Hosts, Life};
use crate::settings::Settings;
use crate::transport::{Links, Network, SimTransport};
use crate::user::User;
use crate::verify::WorldVerifier;
use crate::view::View;

/// The port of every simulated node.
pub(crate) const PORT: u16 = 4222;
/// The room on each simulated disk.
pub const DISK_BYTES: u64 = 1 << 30;
/// The most hosts: each has a /24 of its own within 20.0.0.0/8.
pub const HOSTS_MAX: usize = 65_536;

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

/// Everything in a run.
pub struct World {
    settings: Settings,
    network_name: NetworkName,
    timing: Timing,
    verifier: WorldVerifier,
    view: View,
    strangers: AtomicU64,
    notes: Vec<String>,
    carrier: AbortHandle,
}

/// There are no names in the simulator, only addresses.
struct NoNames;

impl Resolver for NoNames {
    fn resolve(&self, peer: &PeerAddress) -> BoxFuture<'static, Vec<SocketAddr>> {
        Box::pin(std::future::ready(peer.socket_addr().into_iter().collect()))
    }

    fn texts(&self, name: &str) -> BoxFuture<'static, Result<Vec<String>, TextError>> {
        let reason = "there are no names in the simulator".to_owned();
        Box::pin(std::future::ready(Err(TextError { name: name.to_owned(), reason })))
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
        let view = View {
            hosts: Arc::new(Hosts::default()),
            network,
            clock: Arc::new(WorldClock::new()),
            checker: Checker::new(network_name.clone()),
            fault: settings.fault,
        };
        let verifier = WorldVerifier::new(network_name.clone());
        let timing = Timing::default();
        let mut world = World {
            settings,
            network_name,
            timing,
            verifier,
            view,
            strangers: AtomicU64::new(0),
            notes: Vec::new(),
            carrier,
        };
        for _ in 0..settings.nodes {
            world.add_host();
        }
        Ok(world)
    }

    /// Gives all nodes that are started from now on these time limits and intervals: whoever lets a
    /// year pass does not want every peer asked every minute whether it lives.
    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// Adds a host; it is down.
    pub fn add_host(&mut self) -> HostId {
        let mut hosts = self.view.hosts.lock();
        let id = hosts.len();
        let number = id as u64;
        let [.., high, low] = number.to_be_bytes();
        let addr = SocketAddr::from(([20, high, low, 1], PORT));
        let (seed, Settings { disks, fault, .. }) = (self.seed(), self.settings);
        let (limits, dice) = (Limits::default_for(DISK_BYTES), seed.dice("disk", number));
        self.view.network.place(addr);
        hosts.push(Host {
            addr,
            key: NodeKey::from_seed(seed.derive("node key", number)),
            disk: SimDisk::new(self.network_name.clone(), limits, dice, disks, fault),
            clock: Arc::new(HostClock::new(Arc::clone(&self.view.clock))),
            lives: 0,
            names: 0,
            life: None,
        });
        id
    }

    /// Starts a host's node. With nobody to ask it may be the only one.
    ///
    /// # Errors
    /// [`Failure::Expected`] if it runs already, or refuses its configuration.
    pub fn start(&mut self, id: HostId, ask: &[HostId]) -> Result<(), Failure> {
        self.start_as(Mode::Server, id, ask)
    }

    /// Starts a host's node as one that only asks, as an application's client is.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_client(&mut self, id: HostId, ask: &[HostId]) -> Result<(), Failure> {
        self.start_as(Mode::Client, id, ask)
    }

    fn start_as(&mut self, mode: Mode, id: HostId, ask: &[HostId]) -> Result<(), Failure> {
        let bootstrap: Vec<_> = self.addrs(ask.iter().filter(|other| **other != id));
        let bootstrap: Vec<_> = bootstrap.into_iter().map(PeerAddress::from).collect();
        let solo = bootstrap.is_empty() && mode == Mode::Server;
        let config = ContextConfig::new(self.network_name.clone(), mode, bootstrap);
        let mut config = ContextConfig { solo, timing: self.timing, ..config };
        if let Some(fault) = self.settings.fault {
            fault.distort(&mut config);
        }
        let mut hosts = self.view.hosts.lock();
        let Some(host) = hosts.get_mut(id) else {
            return Err(expected(format!("there is no host {id}")));
        };
        if host.life.is_some() {
            return Err(expected(format!("host {id} runs already")));
        }
        host.lives += 1;
        let clock: Arc<dyn Clock> = host.clock.clone();
        let foundations = Foundations {
            transport: SimTransport::bind(&self.view.network, host.addr, host.key.id()),
            store: Arc::new(host.disk.open(clock.clone(), self.view.clock.clone())),
            verifier: Arc::new(self.verifier.clone()),
            signer: Arc::new(InlineSigner::new(host.key.clone())),
            clock,
            resolver: Arc::new(NoNames),
            seed: self.seed().derive("node", (id as u64) << 32 | host.lives),
        };
        let context = DhtContext::start(config, foundations)
            .map_err(|error| expected(format!("host {id} refuses to start: {error}")))?;
        let mut errands = Vec::new();
        if self.settings.fault == Some(Fault::StormAtStart) {
            let storm = put_all_again(context.clone(), host.disk.records());
            errands.push(tokio::spawn(storm).abort_handle());
        }
        host.life = Some(Life { context, errands });
        Ok(())
    }

    /// Kills nodes, all at the same moment: their connections fall silent, and what was not synced
    /// is lost.
    pub async fn crash(&mut self, ids: &[HostId]) {
        let mut dead = Vec::new();
        for id in ids {
            let Some((life, disk, addr)) = self.take_life(*id) else { continue };
            disk.crash();
            self.view.network.crash(addr);
            life.errands.iter().for_each(AbortHandle::abort);
            dead.push(life.context);
        }
        // Its tasks are still there; cut off from disk and network, all they can do is end.
        join_all(dead.iter().map(DhtContext::stop)).await;
    }

    /// Stops nodes in good order, all at the same moment, as SIGTERM does, and waits until they have
    /// ended.
    pub async fn stop(&mut self, ids: &[HostId]) {
        let ending: Vec<_> = ids.iter().filter_map(|id| self.take_life(*id)).collect();
        join_all(ending.iter().map(|(life, ..)| life.context.stop())).await;
        for (life, ..) in &ending {
            life.errands.iter().for_each(AbortHandle::abort);
        }
    }

    /// Lets nodes leave the network for good, all at the same moment: they hand over what they hold,
    /// and stop.
    pub async fn leave(&mut self, ids: &[HostId]) {
        let contexts: Vec<_> = ids.iter().filter_map(|id| self.user(*id).ok()).collect();
        join_all(contexts.iter().map(|user| user.context().leave(|_| {}))).await;
        self.stop(ids).await;
    }

    /// Gives a host that is down an empty disk: only its node key is left.
    pub fn wipe(&mut self, id: HostId) {
        self.view.hosts.at(id, |host| {
            if host.life.is_none() {
                host.disk.wipe();
            }
        });
    }

    /// Installs a host that is down anew: its disk is empty, and its node is another one.
    pub fn replace(&mut self, id: HostId) {
        self.wipe(id);
        let seed = self.seed();
        self.view.hosts.at(id, |host| {
            if host.life.is_none() {
                host.names += 1;
                let number = (id as u64) << 32 | host.names;
                host.key = NodeKey::from_seed(seed.derive("another node key", number));
            }
        });
    }

    /// From now on all writes to a host's disk fail, or none does any more.
    pub fn set_disk_failing(&self, id: HostId, failing: bool) {
        self.view.hosts.at(id, |host| host.disk.set_failing(failing));
    }

    /// Leaves so many bytes for records on a host's disk.
    pub fn set_disk_room(&self, id: HostId, bytes: u64) {
        self.view.hosts.at(id, |host| host.disk.set_room(bytes));
    }

    /// Sets how far a host's clock is ahead of the truth, or behind it if negative.
    pub fn set_clock_error_ms(&self, id: HostId, error_ms: i64) {
        self.view.hosts.at(id, |host| host.clock.set_error_ms(error_ms));
    }

    /// Lets a host's clock run too fast from now on by so many millionths, or too slow.
    pub fn set_clock_drift_ppm(&self, id: HostId, drift_ppm: i64) {
        self.view.hosts.at(id, |host| host.clock.set_drift_ppm(drift_ppm));
    }

    /// Cuts two groups of hosts off from each other.
    pub fn split(&self, one: &[HostId], other: &[HostId]) {
        self.view.network.split(&self.addrs(one), &self.addrs(other));
    }

    /// Lets nothing pass from some hosts to others; the way back stays open.
    pub fn block(&self, from: &[HostId], to: &[HostId]) {
        let to = self.addrs(to);
        for from in self.addrs(from) {
            to.iter().for_each(|to| self.view.network.block(from, *to));
        }
    }

    /// Opens all ways.
    pub fn heal(&self) {
        self.view.network.heal();
    }

    /// What is needed to use a node.
    ///
    /// # Errors
    /// [`Failure::Expected`] if it is down.
    pub fn user(&self, id: HostId) -> Result<User, Failure> {
        self.view.user(id)
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
        self.view.hosts.at(id, |host| {
            if let Some(life) = &mut host.life {
                life.errands.retain(|errand| !errand.is_finished());
                life.errands.push(task.abort_handle());
            }
        });
        Ok(task)
    }

    /// Notes something that the scenario measured, for whoever reads about the run.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// What the scenario measured.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Lets the world live on for a while.
    pub async fn live(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// The hosts whose nodes run.
    #[must_use]
    pub fn running(&self) -> Vec<HostId> {
        self.view.running()
    }

    /// How many writes crashes and failing disks have undone.
    #[must_use]
    pub fn lost_writes(&self) -> u64 {
        self.view.hosts.lock().iter().map(|host| host.disk.lost()).sum()
    }

    /// What can be seen of it from outside.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What the run started from.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
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

    /// The name of the simulated network.
    #[must_use]
    pub fn network_name(&self) -> &NetworkName {
        &self.network_name
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Arc<Network> {
        &self.view.network
    }

    /// The true time.
    #[must_use]
    pub fn clock(&self) -> &Arc<WorldClock> {
        &self.view.clock
    }

    /// Who knows what was promised.
    #[must_use]
    pub fn checker(&self) -> &Checker {
        &self.view.checker
    }

    /// How many hosts there are, up or down.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.view.hosts.lock().len()
    }

    /// The number of the next node that comes from outside.
    pub(crate) fn next_stranger(&self) -> u64 {
        self.strangers.fetch_add(1, Ordering::Relaxed)
    }

    fn take_life(&self, id: HostId) -> Option<(Life, Arc<SimDisk>, SocketAddr)> {
        let taken = self.view.hosts.at(id, |host| {
            let life = host.life.take()?;
            Some((life, Arc::clone(&host.disk), host.addr))
        });
        taken.flatten()
    }

    fn addrs<'a>(&self, ids: impl IntoIterator<Item = &'a HostId>) -> Vec<SocketAddr> {
        let hosts = self.view.hosts.lock();
        ids.into_iter().filter_map(|id| Some(hosts.get(*id)?.addr)).collect()
    }
}

/// The fault of this name: every value that a node holds is put again, all of them at once.
async fn put_all_again(context: DhtContext, records: Vec<ValidRecord>) {
    context.ready().await;
    join_all(records.iter().map(|record| context.put_record(record, None, None))).await;
}

impl Drop for World {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

fn expected(what: String) -> Failure {
    Failure::Expected(what)
}
