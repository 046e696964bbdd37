//! Staying in the network: joining it, and keeping the routing table true.
//!
//! ```text
//! join:      bootstrap and saved peers ─▶ ping ─▶ look up the own id ─▶ joined ─▶ settled
//!            nobody answers ─▶ wait, longer each time, with jitter ─▶ again, for ever
//! upkeep:    peers questioned by others ─▶ ping;  unheard peers ─▶ ping;  stale buckets ─▶ look up
//!            table changed ─▶ save the peers;  connections that nobody uses ─▶ close
//!            clock ─▶ compare with long-lived peers' (clock_watch)
//! pulse:     nobody has answered for a while ─▶ ping one of the table at each tick ─▶ cut off, or not
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dht_kad::lookup::ALPHA;
use dht_kad::message::{Mode, NodeInfo};
use dht_kad::routing::K;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;

use crate::context::Inner;
use crate::peer_address::PeerAddress;
use crate::registry::SavedPeer;
use crate::transport::DialError;

/// How many peers are dialled at once while joining: all of a small network, a part of a large one.
const JOIN_PARALLEL: usize = 16;
/// A node whose table holds fewer servers than this asks its bootstrap peers again every
/// [`LONELY_EVERY`], others as often as they refresh their buckets: two halves of a network that lost
/// each other do not hear of each other in any other way.
const LONELY: usize = K;
/// How often a lonely node asks its bootstrap peers again.
const LONELY_EVERY: Duration = Duration::from_secs(30);
/// How many peers that were unheard, or buckets that are stale, are seen to in one round.
const UPKEEP_PER_ROUND: usize = 16;

/// Starts the tasks that keep this node in the network.
pub(crate) fn start(inner: &Arc<Inner>, saved: Vec<SavedPeer>) {
    if inner.bootstrap.is_empty() && saved.is_empty() {
        // Nobody to ask for neighbours: they come by themselves.
        inner.membership.note_looked_around();
    }
    let joining = Arc::clone(inner);
    inner.connections.spawn(async move { joining.stay_joined(saved).await });
    let answering = Arc::clone(inner);
    inner.connections.spawn(async move { answering.answer_questions().await });
    let watching = Arc::clone(inner);
    inner.connections.spawn(async move { watching.watch_clock().await });
    let upkeep = Arc::clone(inner);
    inner.connections.spawn(async move { upkeep.keep_up().await });
    if inner.config.mode == Mode::Server {
        let pulse = Arc::clone(inner);
        inner.connections.spawn(async move { pulse.feel_pulse().await });
        let holders = Arc::clone(inner);
        inner.connections.spawn(async move { holders.watch_holders().await });
        let repair = Arc::clone(inner);
        inner.connections.spawn(async move { repair.repair().await });
    }
}

/// What joining remembers from one attempt to the next.
struct Joining {
    saved: Vec<SavedPeer>,
    /// Bootstrap peers whose pinned id was found wrong: each is told once. At most as many as are
    /// configured.
    warned: BTreeSet<PeerAddress>,
}

/// What came of asking one peer.
enum Met {
    Node(NodeInfo),
    Nobody,
    Wrong(PeerAddress, DialError),
}

impl Joining {
    fn say_wrong(&mut self, peer: PeerAddress, error: &DialError) {
        if self.warned.contains(&peer) {
            tracing::debug!(%peer, %error, "a bootstrap peer is still another node");
        } else {
            tracing::warn!(%peer, %error, "a bootstrap peer is not the node that it is pinned to");
            self.warned.insert(peer);
        }
    }
}

impl Inner {
    /// Joins, and joins again whenever the table has run empty; asks the bootstrap peers again now
    /// and then even if it has not.
    async fn stay_joined(self: Arc<Self>, saved: Vec<SavedPeer>) {
        let timing = self.config.timing;
        let mut joining = Joining { saved, warned: BTreeSet::new() };
        let mut attempt = 0;
        let mut asked_bootstrap = Instant::now();
        let mut lonely_before = true;
        loop {
            let lonely = self.registry.table_len() < LONELY;
            let every = if lonely { LONELY_EVERY } else { timing.refresh };
            let due = lonely && lonely_before || asked_bootstrap.elapsed() >= every;
            let is_new = self.bootstrap.take_new();
            if is_new {
                joining.warned.clear();
            }
            if self.registry.table_len() == 0 || due || is_new {
                asked_bootstrap = Instant::now();
                self.join_once(&mut joining).await;
            }
            self.observe();
            let joined = self.registry.table_len() > 0;
            lonely_before = !joined;
            if joined {
                attempt = 0;
                let _ = tokio::time::timeout(timing.tick, self.bootstrap.changed()).await;
                continue;
            }
            let wait = self.chance.backoff(attempt, timing.join_first, timing.join_longest);
            if !self.bootstrap.is_empty() || !joining.saved.is_empty() {
                self.say_unjoined(attempt, wait);
            }
            attempt = attempt.saturating_add(1);
            // Somebody may join through this node meanwhile.
            let somebody = async {
                tokio::select! {
                    biased;
                    () = self.registry.peer_entered() => {}
                    () = self.bootstrap.changed() => {}
                }
            };
            let _ = tokio::time::timeout(wait, somebody).await;
        }
    }

    fn say_unjoined(&self, attempt: u32, wait: Duration) {
        let wait_ms = wait.as_millis();
        if attempt < 3 {
            tracing::info!(attempt, wait_ms, "no bootstrap peer answers yet; trying again");
        } else {
            tracing::warn!(
                attempt,
                wait_ms,
                "no bootstrap peer answers; trying again; check the addresses and that UDP is let through"
            );
        }
    }

    /// Asks every bootstrap and saved peer, and then, through all who answered, for this node's
    /// neighbours: so two halves of a network that lost each other grow together again, although
    /// each has full tables.
    async fn join_once(self: &Arc<Self>, joining: &mut Joining) {
        let mut tasks: Vec<BoxFuture<'static, Met>> = Vec::new();
        for peer in self.bootstrap.peers() {
            tasks.push(Box::pin(Arc::clone(self).meet_address(peer)));
        }
        for peer in joining.saved.iter().cloned() {
            let node = NodeInfo { id: peer.id, addrs: peer.addrs };
            tasks.push(Box::pin(Arc::clone(self).meet(node)));
        }
        let mut meetings = stream::iter(tasks).buffer_unordered(JOIN_PARALLEL);
        let mut met = Vec::new();
        let mut looked_around = false;
        while let Some(meeting) = meetings.next().await {
            match meeting {
                Met::Node(node) => met.push(node),
                Met::Wrong(peer, error) => joining.say_wrong(peer, &error),
                Met::Nobody => {}
            }
            // The first to answer already knows the way to the others: do not wait for the dead.
            if !met.is_empty() && !looked_around {
                looked_around = true;
                self.look_around(&met).await;
                self.observe();
            }
        }
        drop(meetings);
        if met.len() > 1 {
            self.look_around(&met).await;
        }
        if !met.is_empty() {
            self.membership.note_looked_around();
        }
    }

    /// Looks up the node's own place, which fills the table with its neighbours. The lookup itself
    /// asks only those closest to it, so others who were met say first whom they know there.
    async fn look_around(self: &Arc<Self>, met: &[NodeInfo]) {
        if self.config.mode == Mode::Client {
            return;
        }
        let own = *self.registry.own().key();
        let answers = met.iter().take(K).cloned().map(|node| {
            let requests = Arc::clone(&self.requests);
            async move { requests.find_node(&node, &own).await }
        });
        let answers: Vec<_> = stream::iter(answers).buffered(ALPHA).collect().await;
        let named = answers.into_iter().flatten().flat_map(|answer| answer.nodes).collect();
        self.closest_servers(&own, named).await;
    }

    async fn meet_address(self: Arc<Self>, peer: PeerAddress) -> Met {
        // All nodes of a network may share one list of bootstrap peers.
        if peer.id == Some(self.registry.own()) {
            return Met::Nobody;
        }
        let mut wrong = None;
        for addr in self.resolver.resolve(&peer).await.into_iter().take(ALPHA) {
            match self.connections.to_address(addr, peer.id).await {
                Ok(connection) => {
                    let node = NodeInfo { id: connection.peer(), addrs: vec![addr] };
                    return self.meet(node).await;
                }
                Err(error @ DialError::WrongNode { .. }) => wrong = Some(error),
                Err(error) => tracing::debug!(%peer, %error, "a bootstrap peer did not answer"),
            }
        }
        wrong.map_or(Met::Nobody, |error| Met::Wrong(peer, error))
    }

    async fn meet(self: Arc<Self>, node: NodeInfo) -> Met {
        if node.id == self.registry.own() {
            return Met::Nobody;
        }
        if !self.registry.in_table(&node.id)
            && let Err(error) = self.requests.ping(&node).await
        {
            tracing::debug!(peer = %node.id, %error, "a peer did not answer");
            return Met::Nobody;
        }
        Met::Node(node)
    }

    /// Tells the membership what the table holds, and how long ago somebody answered. A client asks
    /// only when it wants something, so its silence says nothing.
    pub(crate) fn observe(&self) {
        let is_server = self.config.mode == Mode::Server;
        let silent_for = if is_server { self.registry.silent_for() } else { Duration::ZERO };
        self.membership.observe(self.registry.table_len(), silent_for);
    }

    /// Asks one of the table at each tick, drawn by lot, while nobody has answered for a while: so a
    /// node that is cut off knows it long before its table has emptied, and finds it full when somebody
    /// can be reached again. Each asks for as long as a dial and a request may take, so few do at once.
    async fn feel_pulse(self: Arc<Self>) {
        let timing = self.config.timing;
        loop {
            tokio::time::sleep(self.chance.jittered(timing.tick)).await;
            if self.registry.silent_for() >= timing.pulse {
                let servers = self.registry.servers();
                let place = self.chance.below(servers.len() as u64);
                let drawn = usize::try_from(place).ok().and_then(|place| servers.get(place));
                if let Some(node) = drawn.and_then(|id| self.registry.info(id)) {
                    let requests = Arc::clone(&self.requests);
                    self.connections.spawn(async move { requests.feel_pulse(&node).await });
                }
            }
            self.observe();
        }
    }

    /// Pings the peers that somebody questions.
    async fn answer_questions(self: Arc<Self>) {
        loop {
            let questioned = self.registry.questions().await;
            let pings = questioned.into_iter().map(|node| {
                let inner = Arc::clone(&self);
                async move {
                    let _ = inner.requests.ping(&node).await;
                }
            });
            stream::iter(pings).buffer_unordered(JOIN_PARALLEL).collect::<()>().await;
        }
    }

    /// Looks after unheard peers, stale buckets, idle connections and the saved peers, a little at
    /// each tick.
    async fn keep_up(self: Arc<Self>) {
        let timing = self.config.timing;
        loop {
            tokio::time::sleep(self.chance.jittered(timing.tick)).await;
            self.save_peers().await;
            self.server.allowances.prune();
            self.connections.close_idle();
            let unheard = self.registry.unheard_for(timing.revalidate);
            for node in unheard.into_iter().take(UPKEEP_PER_ROUND) {
                self.registry.question(node.id);
            }
            if self.config.mode == Mode::Server {
                let keys = self.registry.keys_to_refresh(timing.refresh, &self.chance);
                for key in keys.into_iter().take(UPKEEP_PER_ROUND) {
                    self.closest_servers(&key, Vec::new()).await;
                }
            }
        }
    }

    /// Saves the table's peers if they have changed, for the next start.
    pub(crate) async fn save_peers(&self) {
        let Some(peers) = self.registry.take_unsaved() else { return };
        // An empty table says that the network is away, not that its peers are not worth knowing.
        if peers.is_empty() {
            return;
        }
        if let Err(error) = self.store.save_peers(peers).await {
            tracing::warn!(%error, "the known peers could not be saved; trying again");
            self.registry.note_unsaved();
        }
    }
}
