//! Remembering where a key's records lie, so that a repeated operation on the key needs no lookup.
//!
//! ```text
//! holders_of(key) ─▶ remembered, young, nobody new nearby in the own table ─▶ T as it was
//!        │                                                                     │ a holder fails, or is
//!        └──────────── else: lookup ─▶ T, remembered ◀── look_up_holders ◀─────┘ not whole any more
//! ```
//!
//! T changes as servers come and go, and an acknowledgement promises that a majority of T has the
//! record. So whoever needs a majority asks the farthest of the remembered ones, beside the operation
//! itself and not before it, whom *they* know closest ([`Inner::still_hold`]): who is the last of T,
//! and settled, names everyone that is nearer than itself ([`dht_kad::lookup`], on answers that
//! vouch). If one of them names somebody whom the lookup had not found, is not whole any more, or
//! does not answer, what was remembered is forgotten and the operation is repeated on the T of a new
//! lookup. An operation for which fewer answer than it needs is repeated in the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dht_kad::lookup::{ALPHA, AnsweredNode};
use dht_kad::message::NodeInfo;
use dht_kad::routing::K;
use dht_kad::{Key, NodeId};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::context::Inner;

/// The most keys whose holders are remembered: about 3 KiB each, and more than a program with some
/// hundred contacts reads again and again.
const KEYS_MAX: usize = 2048;

/// How long holders are remembered: a few rounds of polling, and shorter than a node is given to
/// come back from a restart.
const REMEMBER_FOR: Duration = Duration::from_secs(3 * 60);

/// The most servers remembered beside a T as being nearby and of no use: dead ones that others still
/// name.
const PASSED_OVER_MAX: usize = 2 * K;

/// Where records at some keys lie, as lookups found it.
#[derive(Debug, Default)]
pub(crate) struct HolderMemory {
    keys: Mutex<BTreeMap<Key, Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    found: Arc<[AnsweredNode]>,
    /// Servers as near that the lookup did not find alive: to hear of them again is no news.
    passed_over: BTreeSet<NodeId>,
    at: Instant,
}

/// The servers responsible for a key.
#[derive(Clone, Debug)]
pub(super) struct Holders {
    /// As [`Inner::responsible_servers`] gives them.
    pub(super) found: Arc<[AnsweredNode]>,
    /// Whether that is what an earlier lookup found.
    pub(super) remembered: bool,
}

impl HolderMemory {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Remembered>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks the key up anew the next time.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// What is remembered of a key, unless it is too old, or `nearby` has somebody new.
    fn recall(&self, key: &Key, nearby: &[NodeInfo]) -> Option<Arc<[AnsweredNode]>> {
        let mut keys = self.lock();
        let known = keys.get(key)?;
        let news = nearby.iter().any(|node| known.is_news(key, &node.id));
        if news || known.at.elapsed() >= REMEMBER_FOR {
            keys.remove(key);
            return None;
        }
        Some(Arc::clone(&known.found))
    }

    /// Remembers what a lookup found; `nearby` are those whom others name, alive or not.
    fn remember(&self, key: &Key, found: Arc<[AnsweredNode]>, nearby: &[NodeInfo]) {
        let is_found = |id: &NodeId| found.iter().any(|node| node.info.id == *id);
        let passed_over = nearby.iter().map(|node| node.id).filter(|id| !is_found(id));
        let passed_over = passed_over.take(PASSED_OVER_MAX).collect();
        let mut keys = self.lock();
        if keys.len() >= KEYS_MAX && !keys.contains_key(key) {
            let oldest = keys.iter().min_by_key(|(_, known)| known.at).map(|(key, _)| *key);
            oldest.map(|oldest| keys.remove(&oldest));
        }
        keys.insert(*key, Remembered { found, passed_over, at: Instant::now() });
    }

    /// Whether one of `named` belongs to T, as far as is remembered, and is not in it.
    fn is_news(&self, key: &Key, named: &[NodeInfo]) -> bool {
        let keys = self.lock();
        // Forgotten meanwhile: somebody else saw that it is out of date.
        keys.get(key).is_none_or(|known| named.iter().any(|node| known.is_news(key, &node.id)))
    }
}

impl Remembered {
    fn is_news(&self, key: &Key, id: &NodeId) -> bool {
        if self.passed_over.contains(id) || self.found.iter().any(|node| node.info.id == *id) {
            return false;
        }
        let whole = self.found.iter().filter(|node| node.whole);
        let (mut count, mut farthest) = (0, None);
        for node in whole {
            count += 1;
            farthest = farthest.max(Some(node.info.id.key().distance(key)));
        }
        count < K || Some(id.key().distance(key)) < farthest
    }
}

impl Inner {
    /// The servers responsible for a key, from memory if they were looked up a short time ago.
    pub(super) async fn holders_of(self: &Arc<Self>, key: &Key) -> Holders {
        let nearby = self.registry.to_name(key, None);
        match self.holders.recall(key, &nearby) {
            Some(found) => Holders { found, remembered: true },
            None => self.look_up_holders(key, Vec::new()).await,
        }
    }

    /// Looks the servers up that are responsible for a key, whatever is remembered, beginning with
    /// `named` besides those of the table.
    pub(super) async fn look_up_holders(
        self: &Arc<Self>,
        key: &Key,
        mut named: Vec<NodeInfo>,
    ) -> Holders {
        self.holders.forget(key);
        let found: Arc<[_]> = self.look_up(key, named.clone(), false).await.closest.into();
        // What few or unsettled nodes say is not worth remembering.
        if self.plan(&found, None).is_ok() {
            named.extend(self.registry.to_name(key, None));
            named.retain(|node| node.id != self.registry.own());
            self.holders.remember(key, Arc::clone(&found), &named);
        }
        Holders { found, remembered: false }
    }

    /// Whether remembered holders are still T, by the word of some of them.
    ///
    /// # Errors
    /// The servers that they named, if not.
    pub(super) async fn still_hold(
        self: &Arc<Self>,
        key: &Key,
        holders: &Holders,
    ) -> Result<(), Vec<NodeInfo>> {
        if !holders.remembered {
            return Ok(());
        }
        let own = self.registry.own();
        // The farthest first: it is they who vouch for all of T. More than one, lest one lies.
        let others = holders.found.iter().rev();
        let others = others.filter(|node| node.whole && node.info.id != own);
        let questions = others.take(ALPHA).map(|node| {
            let (requests, node) = (Arc::clone(&self.requests), node.info.clone());
            async move { requests.find_node(&node, key).await }
        });
        let answers = tokio::time::timeout(self.config.timing.slow, join_all(questions)).await;
        let mut named = Vec::new();
        let mut vouched = true;
        for answer in answers.unwrap_or_default() {
            match answer {
                Ok(answer) => {
                    vouched &= answer.whole && answer.settled;
                    named.extend(answer.nodes);
                }
                Err(_) => vouched = false,
            }
        }
        named.retain(|node| node.id != own);
        // Those who did not answer in time leave nothing to go by.
        let alone = holders.found.iter().all(|node| node.info.id == own);
        let heard = alone || !named.is_empty() || holders.found.len() <= 1;
        match vouched && heard && !self.holders.is_news(key, &named) {
            true => Ok(()),
            false => Err(named),
        }
    }
}
