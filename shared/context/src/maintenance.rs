//! Staying in the network: joining it, and keeping the routing table true.
//!
//! ```text
//! join:      peers of all sources (sources) ─▶ ping ─▶ look up the own id ─▶ joined ─▶ settled
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

use crate::config::BOOTSTRAP_MAX;
use crate::context::Inner;
use crate::peer_address::PeerAddress;
use crate::registry::SavedPeer;
use crate::sources::Source;
use crate::sources::txt::Told;
use crate::transport::DialError;

/// How many peers are dialled at once while joining: all of a small network, a part of a large one.
const JOIN_PARALLEL: usize = 16;
/// A node whose table holds fewer servers than this asks its bootstrap peers again every
/// [`LONELY_EVERY`], others as often as they refresh their buckets: two halves of a network that lost
/// each other do not hear of each other in any other way.
const LONELY: usize = K;
/// How often a lonely node asks its bootstrap peers again.
const LONELY_EVERY: Duration = Duration::from_secs(30);
/// Peers whose wrong pin is remembered as having been told.
const WARNED_MAX: usize = 4 * BOOTSTRAP_MAX;
/// While nobody answers, that is said so often: at once, and then no more than a log can bear.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// How often a node that is in the network asks the DNS again.
const DNS_EVERY: Duration = Duration::from_secs(15 * 60);
/// How many peers that were unheard, or buckets that are stale, are seen to in one round.
const UPKEEP_PER_ROUND: usize = 16;

/// Starts the tasks that keep this node in the network.
pub(crate) fn start(inner: &Arc<Inner>, saved: Vec<SavedPeer>) {
    let configured = !inner.bootstrap.is_empty() || !inner.config.sources.is_empty();
    if !configured && saved.is_empty() {
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
    if inner.config.sources.registry.is_some() && inner.config.mode == Mode::Server {
        let list = Arc::clone(inner);
        inner.connections.spawn(async move { list.keep_list_fresh().await });
    }
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
    /// configured, or as the DNS or a list can name.
    warned: BTreeSet<PeerAddress>,
    /// When it was said last that nobody answers.
    said: Option<Instant>,
    /// When the DNS was asked last.
    dns_asked: Option<Instant>,
    /// What the DNS says that is of no use.
    told: Told,
}

/// What came of asking one peer.
enum Met {
    Node(NodeInfo),
    /// Why nobody answered.
    Nobody(String),
    /// It is this very node.
    Own,
    Wrong(PeerAddress, DialError),
}

/// Asking one peer of a source.
type Meeting = BoxFuture<'static, (Source, Met)>;

impl Joining {
    fn say_wrong(&mut self, peer: PeerAddress, error: &DialError) {
        if self.warned.contains(&peer) || self.warned.len() >= WARNED_MAX {
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
        let mut joining = Joining {
            saved,
            warned: BTreeSet::new(),
            said: None,
            dns_asked: None,
            told: Told::default(),
        };
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
                joining.said = None;
                let _ = tokio::time::timeout(timing.tick, self.bootstrap.changed()).await;
                continue;
            }
            let wait = self.chance.backoff(attempt, timing.join_first, timing.join_longest);
            self.say_unjoined(&mut joining, attempt, wait);
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

    /// Says that nobody answers, and why, unless that was said a moment ago or there is nobody to ask.
    fn say_unjoined(&self, joining: &mut Joining, attempt: u32, wait: Duration) {
        let sources = self.sources.complaint(self.clock.now());
        let alone = self.config.solo && self.sources.only_this_node();
        if alone || sources.is_empty() || joining.said.is_some_and(|at| at.elapsed() < SAY_EVERY) {
            return;
        }
        joining.said = Some(Instant::now());
        let wait_ms = wait.as_millis();
        if attempt < 3 {
            tracing::info!(
                attempt,
                wait_ms,
                sources,
                "no bootstrap peer answers yet; trying again"
            );
        } else {
            tracing::warn!(
                attempt,
                wait_ms,
                sources,
                "no bootstrap peer answers; trying again; check the addresses and that UDP is let through"
            );
        }
    }

    /// Asks the peers of all sources, and then, through all who answered, for this node's
    /// neighbours: so two halves of a network that lost each other grow together again, although
    /// each has full tables. A node that is not in the network asks the later sources only if nobody
    /// of the earlier ones answers.
    async fn join_once(self: &Arc<Self>, joining: &mut Joining) {
        let joined = self.registry.table_len() > 0;
        let mut met = Vec::new();
        self.meet_all(self.first_meetings(joining), joining, &mut met).await;
        if !self.config.sources.dns.is_empty() && self.asks_dns(joining, joined, &met) {
            joining.dns_asked = Some(Instant::now());
            let peers = self.dns_peers(&mut joining.told).await;
            self.meet_all(self.meetings(Source::Dns, peers), joining, &mut met).await;
        }
        if self.sources.list.is_some() && (joined || met.is_empty()) {
            let meetings = self.meetings(Source::Registry, self.registry_peers());
            self.meet_all(meetings, joining, &mut met).await;
        }
        if met.len() > 1 {
            self.look_around(&met).await;
        }
        self.sources.note_attempt();
        let sourced = !self.config.sources.is_empty();
        if !met.is_empty() || sourced && self.sources.only_this_node() {
            self.membership.note_looked_around();
        }
    }

    fn asks_dns(&self, joining: &Joining, joined: bool, met: &[NodeInfo]) -> bool {
        let due = joining.dns_asked.is_none_or(|at| at.elapsed() >= DNS_EVERY);
        if joined { due } else { met.is_empty() }
    }

    /// The peers that cost nothing to know.
    fn first_meetings(self: &Arc<Self>, joining: &Joining) -> Vec<Meeting> {
        let mut meetings = Vec::new();
        for (source, peers) in [
            (Source::Configured, self.bootstrap.peers()),
            (Source::NetworkFile, self.config.sources.seeds.clone()),
        ] {
            if !peers.is_empty() {
                self.sources.begin(source, peers.len());
                meetings.extend(self.meetings(source, peers));
            }
        }
        if !joining.saved.is_empty() {
            self.sources.begin(Source::Saved, joining.saved.len());
        }
        for peer in joining.saved.iter().cloned() {
            let node = NodeInfo { id: peer.id, addrs: peer.addrs };
            let this = Arc::clone(self);
            meetings.push(Box::pin(async move { (Source::Saved, this.meet(node).await) }));
        }
        meetings
    }

    fn meetings(self: &Arc<Self>, source: Source, peers: Vec<PeerAddress>) -> Vec<Meeting> {
        let meet = |peer| -> Meeting {
            let this = Arc::clone(self);
            Box::pin(async move { (source, this.meet_address(peer).await) })
        };
        peers.into_iter().map(meet).collect()
    }

    async fn meet_all(
        self: &Arc<Self>,
        meetings: Vec<Meeting>,
        joining: &mut Joining,
        met: &mut Vec<NodeInfo>,
    ) {
        let mut meetings = stream::iter(meetings).buffer_unordered(JOIN_PARALLEL);
        while let Some((source, meeting)) = meetings.next().await {
            match meeting {
                Met::Node(node) => {
                    self.sources.note_answer(source);
                    met.push(node);
                    // The first to answer already knows the way to the others: do not wait for the dead.
                    if met.len() == 1 {
                        self.look_around(met).await;
                        self.observe();
                    }
                }
                Met::Wrong(peer, error) => {
                    self.sources.note_problem(source, error.to_string());
                    joining.say_wrong(peer, &error);
                }
                Met::Nobody(why) => self.sources.note_problem(source, why),
                Met::Own => self.sources.note_own(source),
            }
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
            return Met::Own;
        }
        let mut last = None;
        let mut wrong = None;
        for addr in self.resolver.resolve(&peer).await.into_iter().take(ALPHA) {
            match self.connections.to_address(addr, peer.id).await {
                Ok(connection) => {
                    let node = NodeInfo { id: connection.peer(), addrs: vec![addr] };
                    return self.meet(node).await;
                }
                Err(DialError::Itself(_)) => return Met::Own,
                Err(error @ DialError::WrongNode { .. }) => wrong = Some(error),
                Err(error) => {
                    tracing::debug!(%peer, %error, "a bootstrap peer did not answer");
                    last = Some(error.to_string());
                }
            }
        }
        let unknown = || format!("the host {} is not known", peer.host);
        match wrong {
            Some(error) => Met::Wrong(peer, error),
            None => Met::Nobody(last.unwrap_or_else(unknown)),
        }
    }

    async fn meet(self: Arc<Self>, node: NodeInfo) -> Met {
        if node.id == self.registry.own() {
            return Met::Own;
        }
        if !self.registry.in_table(&node.id)
            && let Err(error) = self.requests.ping(&node).await
        {
            tracing::debug!(peer = %node.id, %error, "a peer did not answer");
            return Met::Nobody(error.to_string());
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
