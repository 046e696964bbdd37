//! [`Driver`]: the one task that watches for all watches of a client.
//!
//! ```text
//! key added ─▶ locate its holders ─▶ three of them, best those that are watched already
//! node's keys changed, or it is due again ─▶ subscribe, with its cursor ─▶ news ─▶ watches
//! key new, or news of it may have been missed ─▶ its subscriptions stand ─▶ list ─▶ watches
//! ```
//!
//! A node that fails is tried again, ever less often, and its keys go to other holders if there are
//! any. Now and then each key is located and listed anew: holders change, and one may hide something.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dht_context::requests::AskError;
use dht_context::watch::{News, Subscription};
use dht_context::{DhtContext, ListError};
use dht_kad::message::NodeInfo;
use dht_kad::message::watch::{WATCH_KEYS_MAX, WatchKey};
use dht_kad::{NodeId, ValidRecord};
use futures_util::future::{BoxFuture, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::known::{Link, Node, RENEW_SOON, RETRY_FIRST, Target, Task, backoff};
use super::shown::is_watched;
use crate::cache::Keeper;

/// Holders that are watched for each key: as many as a usual get asks.
const HOLDERS: usize = 3;
/// Holders of a key that are remembered, to take the place of one that fails.
const CANDIDATES_MAX: usize = 8;
/// Keys that are located at once.
const LOCATES_AT_ONCE: usize = 16;
/// Keys that are listed at once: a listing may hold 64 MiB.
const LISTS_AT_ONCE: usize = 4;
/// Where the sender to the running driver is kept.
pub(super) type Running = Arc<Mutex<Option<mpsc::UnboundedSender<Command>>>>;

/// What a watch asks of the driver.
pub(super) enum Command {
    /// A watch begins.
    Begin {
        id: u64,
        keys: BTreeSet<WatchKey>,
        out: mpsc::Sender<Vec<ValidRecord>>,
        behind: Arc<AtomicBool>,
    },
    /// It watches other keys.
    SetKeys { id: u64, keys: BTreeSet<WatchKey> },
    /// It was not told something, and has room again.
    Catch { id: u64 },
    /// Tell it when all of its keys have been listed.
    Complete { id: u64, answer: oneshot::Sender<()> },
    /// It is over.
    End { id: u64 },
}

/// See the module.
pub(super) struct Driver {
    context: DhtContext,
    cache: Keeper,
    commands: mpsc::UnboundedReceiver<Command>,
    running: Running,
    watches: BTreeMap<u64, Taker>,
    targets: BTreeMap<WatchKey, Target>,
    nodes: BTreeMap<NodeId, Node>,
    work: FuturesUnordered<BoxFuture<'static, Event>>,
    locating: usize,
    listing: usize,
    generations: u64,
}

/// A watch.
struct Taker {
    keys: BTreeSet<WatchKey>,
    out: mpsc::Sender<Vec<ValidRecord>>,
    behind: Arc<AtomicBool>,
    waits_for_all: Vec<oneshot::Sender<()>>,
}

/// What was waited for.
enum Event {
    Located(WatchKey, Vec<NodeInfo>),
    Listed(WatchKey, Result<Vec<ValidRecord>, ListError>),
    Subscribed(NodeId, u64, Result<Subscription, AskError>),
    News(NodeId, u64, Box<Subscription>, Result<News, AskError>),
    Aborted,
}

impl Driver {
    pub(super) fn new(
        context: DhtContext,
        cache: Keeper,
        commands: mpsc::UnboundedReceiver<Command>,
        running: Running,
    ) -> Self {
        Driver {
            context,
            cache,
            commands,
            running,
            watches: BTreeMap::new(),
            targets: BTreeMap::new(),
            nodes: BTreeMap::new(),
            work: FuturesUnordered::new(),
            locating: 0,
            listing: 0,
            generations: 0,
        }
    }

    /// Works until the last watch has ended.
    pub(super) async fn run(mut self) {
        loop {
            let next = self.begin_what_is_due();
            tokio::select! {
                biased;
                command = self.commands.recv() => {
                    let Some(command) = command else { return };
                    if !self.obey(command) {
                        return;
                    }
                }
                Some(event) = self.work.next() => self.take(event),
                () = sleep_until(next) => {}
            }
        }
    }

    /// False if there is nothing left to do.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Begin { id, keys, out, behind } => {
                let taker = Taker { keys, out, behind, waits_for_all: Vec::new() };
                self.watches.insert(id, taker);
                let keys = self.watches.get(&id).map(|taker| taker.keys.clone());
                self.list_for(keys.unwrap_or_default());
            }
            Command::SetKeys { id, keys } => {
                let Some(taker) = self.watches.get_mut(&id) else { return true };
                let new = keys.difference(&taker.keys).copied().collect();
                taker.keys = keys;
                self.list_for(new);
                self.forget_unwatched();
            }
            Command::Catch { id } => {
                let keys = self.watches.get(&id).map(|taker| taker.keys.clone());
                self.list_for(keys.unwrap_or_default());
            }
            Command::Complete { id, answer } => {
                if let Some(taker) = self.watches.get_mut(&id) {
                    taker.waits_for_all.push(answer);
                }
                self.tell_complete();
            }
            Command::End { id } => {
                self.watches.remove(&id);
                self.forget_unwatched();
                // A watch begins under this lock: none can have begun unseen.
                let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
                if self.watches.is_empty() && self.commands.is_empty() {
                    *running = None;
                    return false;
                }
            }
        }
        true
    }

    /// Sees that each of the keys is watched, and listed again.
    fn list_for(&mut self, keys: BTreeSet<WatchKey>) {
        let now = Instant::now();
        for key in keys {
            let target = self.targets.entry(key).or_insert_with(|| Target {
                candidates: Vec::new(),
                holders: BTreeSet::new(),
                locate: Task::Due(now),
                list: Task::Due(now),
                listed: false,
            });
            target.list.want(now);
        }
    }

    fn forget_unwatched(&mut self) {
        let Driver { watches, targets, nodes, .. } = self;
        targets.retain(|key, _| watches.values().any(|taker| taker.keys.contains(key)));
        for node in nodes.values_mut() {
            node.wanted.retain(|key| targets.contains_key(key));
        }
        nodes.retain(|_, node| {
            if node.wanted.is_empty() {
                node.abort();
            }
            !node.wanted.is_empty()
        });
    }

    /// Begins all that is due and has room; says when something will be due next.
    fn begin_what_is_due(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let mut later = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        let mut to_locate = false;
        for (key, target) in &mut self.targets {
            let Task::Due(at) = target.locate else { continue };
            if at > now {
                later(at);
            } else if self.locating >= LOCATES_AT_ONCE {
                to_locate = true;
            } else {
                target.locate = Task::Running { again: false };
                self.locating += 1;
                let (context, key) = (self.context.clone(), *key);
                self.work.push(Box::pin(async move {
                    Event::Located(key, context.holders(&key.key).await)
                }));
            }
        }
        // One subscription for all keys that come together.
        if !to_locate && self.locating == 0 {
            self.subscribe_where_due(now, &mut later);
        }
        let standing = |target: &Target, nodes: &BTreeMap<NodeId, Node>, key: &WatchKey| {
            !target.holders.is_empty()
                && target.holders.iter().filter_map(|id| nodes.get(id)).all(|node| {
                    let stands = node.state == Link::Up && node.asked.contains(key);
                    stands || (node.failures > 0 && node.state != Link::Up)
                })
        };
        for (key, target) in &mut self.targets {
            let Task::Due(at) = target.list else { continue };
            if at > now {
                later(at);
            } else if self.listing < LISTS_AT_ONCE && standing(target, &self.nodes, key) {
                target.list = Task::Running { again: false };
                self.listing += 1;
                let (context, key) = (self.context.clone(), *key);
                self.work.push(Box::pin(async move {
                    let publisher = key.publisher.map(|publisher| publisher.0);
                    Event::Listed(key, context.newest_at(key.key, publisher).await)
                }));
            }
        }
        next
    }

    fn subscribe_where_due(&mut self, now: Instant, later: &mut impl FnMut(Instant)) {
        for (id, node) in &mut self.nodes {
            match node.state {
                Link::Connecting => continue,
                Link::Down(at) if at > now => {
                    later(at);
                    continue;
                }
                Link::Up if node.asked == node.wanted => continue,
                Link::Up | Link::Down(_) => {}
            }
            node.abort();
            self.generations += 1;
            node.generation = self.generations;
            node.state = Link::Connecting;
            // A cursor says nothing of keys that it was not asked for before: they are listed.
            for key in node.wanted.difference(&node.asked) {
                if let Some(target) = self.targets.get_mut(key) {
                    target.list.want(now);
                }
            }
            let cursor = node.cursor;
            node.asked = node.wanted.clone();
            let (context, id, generation) = (self.context.clone(), *id, node.generation);
            let (info, keys) = (node.info.clone(), node.wanted.iter().copied().collect());
            self.work.push(Box::pin(async move {
                Event::Subscribed(id, generation, context.subscribe(&info, keys, cursor).await)
            }));
        }
    }

    fn take(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Located(key, found) => {
                self.locating -= 1;
                self.located(key, found, now);
            }
            Event::Listed(key, result) => {
                self.listing -= 1;
                if let Ok(records) = &result {
                    self.pass_on(records);
                }
                if let Some(target) = self.targets.get_mut(&key) {
                    target.listed |= result.is_ok();
                    target.list.done(result.is_ok(), now);
                }
                self.tell_complete();
            }
            Event::Subscribed(id, generation, result) => {
                if self.nodes.get(&id).is_some_and(|node| node.generation == generation) {
                    self.subscribed(id, generation, result, now);
                }
            }
            Event::News(id, generation, subscription, result) => {
                if self.nodes.get(&id).is_some_and(|node| node.generation == generation) {
                    self.news(id, generation, *subscription, result, now);
                }
            }
            Event::Aborted => {}
        }
    }

    /// Chooses the holders that are watched for a key.
    fn located(&mut self, key: WatchKey, found: Vec<NodeInfo>, now: Instant) {
        let Some(target) = self.targets.get_mut(&key) else { return };
        target.locate.done(!found.is_empty(), now);
        if found.is_empty() {
            return;
        }
        if found.len() < HOLDERS {
            target.locate = Task::Due(now + RENEW_SOON);
        }
        target.candidates = found;
        target.candidates.truncate(CANDIDATES_MAX);
        let still = |id: &NodeId| target.candidates.iter().any(|node| node.id == *id);
        let gone: Vec<_> = target.holders.iter().copied().filter(|id| !still(id)).collect();
        for id in gone {
            self.release(&key, &id);
        }
        self.fill(&key, None);
    }

    /// Takes a key away from a node.
    fn release(&mut self, key: &WatchKey, id: &NodeId) {
        if let Some(target) = self.targets.get_mut(key) {
            target.holders.remove(id);
        }
        if let Some(node) = self.nodes.get_mut(id) {
            node.wanted.remove(key);
            if node.wanted.is_empty() {
                node.abort();
                self.nodes.remove(id);
            }
        }
    }

    /// Gives a key as many holders as it should have, if there are as many: those first that are
    /// watched already, and last those that fail; `except` one that has just failed.
    fn fill(&mut self, key: &WatchKey, except: Option<NodeId>) {
        let Some(target) = self.targets.get_mut(key) else { return };
        let nodes = &mut self.nodes;
        let rank = |info: &NodeInfo| match nodes.get(&info.id) {
            Some(node) if node.failures > 0 => 2,
            Some(_) => 0,
            None => 1,
        };
        let mut free: Vec<_> = target
            .candidates
            .iter()
            .filter(|info| {
                let room =
                    nodes.get(&info.id).is_none_or(|node| node.wanted.len() < WATCH_KEYS_MAX);
                room && Some(info.id) != except && !target.holders.contains(&info.id)
            })
            .cloned()
            .collect();
        free.sort_by_key(rank);
        for info in free {
            if target.holders.len() >= HOLDERS {
                return;
            }
            target.holders.insert(info.id);
            let node = nodes.entry(info.id).or_insert_with(|| Node::new(info));
            node.wanted.insert(*key);
        }
    }

    fn subscribed(
        &mut self,
        id: NodeId,
        generation: u64,
        result: Result<Subscription, AskError>,
        now: Instant,
    ) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        match result {
            Ok(subscription) => {
                node.failures = 0;
                node.state = Link::Up;
                if !subscription.resumed() {
                    self.list_all_of(id, now);
                }
                self.await_news(id, generation, subscription);
            }
            Err(error) => {
                tracing::debug!(peer = %id, %error, "a holder cannot be watched");
                node.failures += 1;
                node.state = Link::Down(now + backoff(node.failures));
                self.replace(id);
            }
        }
    }

    fn news(
        &mut self,
        id: NodeId,
        generation: u64,
        subscription: Subscription,
        result: Result<News, AskError>,
        now: Instant,
    ) {
        match result {
            Ok(news) => {
                match &news {
                    News::Changed(records) => self.pass_on(records),
                    News::Missed => self.list_all_of(id, now),
                }
                self.await_news(id, generation, subscription);
            }
            Err(error) => {
                tracing::debug!(peer = %id, %error, "a holder's news have ended");
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.cursor = Some(subscription.cursor());
                    node.state = Link::Down(now + RETRY_FIRST);
                }
            }
        }
    }

    fn await_news(&mut self, id: NodeId, generation: u64, mut subscription: Subscription) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.cursor = Some(subscription.cursor());
        let (waiting, abort) = abortable(async move {
            let news = subscription.next().await;
            Event::News(id, generation, Box::new(subscription), news)
        });
        node.news = Some(abort);
        self.work.push(Box::pin(async move { waiting.await.unwrap_or(Event::Aborted) }));
    }

    fn list_all_of(&mut self, id: NodeId, now: Instant) {
        let Some(node) = self.nodes.get(&id) else { return };
        for key in &node.asked {
            if let Some(target) = self.targets.get_mut(key) {
                target.list.want(now);
            }
        }
    }

    /// Gives the keys of a node that fails to others, where there are others.
    fn replace(&mut self, id: NodeId) {
        let keys = self.nodes.get(&id).map(|node| node.wanted.clone()).unwrap_or_default();
        for key in keys {
            let Some(target) = self.targets.get(&key) else { continue };
            let spare = target.candidates.iter().any(|info| {
                let failing = self.nodes.get(&info.id).is_some_and(|node| node.failures > 0);
                !failing && !target.holders.contains(&info.id)
            });
            if spare {
                self.release(&key, &id);
                self.fill(&key, Some(id));
            }
        }
    }

    /// Tells every watch what it watches of this; and before that the cache, so that nobody is shown
    /// something newer than he gets.
    fn pass_on(&mut self, records: &[ValidRecord]) {
        self.cache.take(records, self.context.now());
        for taker in self.watches.values() {
            let watched = |record: &&ValidRecord| is_watched(&taker.keys, record.id());
            let own: Vec<_> = records.iter().filter(watched).cloned().collect();
            if !own.is_empty() && taker.out.try_send(own).is_err() {
                taker.behind.store(true, Ordering::Relaxed);
            }
        }
    }

    fn tell_complete(&mut self) {
        let Driver { watches, targets, .. } = self;
        for taker in watches.values_mut().filter(|taker| !taker.waits_for_all.is_empty()) {
            let listed = |key: &WatchKey| targets.get(key).is_some_and(|target| target.listed);
            if taker.keys.iter().all(listed) {
                for answer in taker.waits_for_all.drain(..) {
                    // Who asked may wait no more.
                    let _ = answer.send(());
                }
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
