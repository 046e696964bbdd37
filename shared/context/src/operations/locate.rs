//! Finding the servers responsible for a key, and asking one of them what it holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dht_kad::domain;
use dht_kad::lookup::{AnsweredNode, ClosestLookup, ClosestResult, Condition, LookupConfig};
use dht_kad::message::{
    Find, Found, Mode, NodeInfo, Nodes, Position, PublisherKey, RecordBytes, Request, Response,
};
use dht_kad::routing::K;
use dht_kad::{Key, NetworkName, ParsedRecord, RecordId, UnixMs, ValidRecord};
use futures_util::future::BoxFuture;

use crate::context::Inner;
use crate::requests::AskError;
use crate::server::page_query;
use crate::walk::walk;

/// The most verified heads that an operation on one slot remembers, to recognise the same one from others:
/// one version from each of two halves of a network, and a few lies.
const RECOGNISED_MAX: usize = 8;

/// The slot that a record lies in, by how its key follows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Slot {
    /// In the `Owned` space.
    Owned {
        /// Who may write there.
        publisher: [u8; 32],
        /// The hash of the application's own name for it.
        label: [u8; 32],
        /// Which of the publisher's records there.
        slot: u64,
    },
    /// In the `Topic` space.
    Topic {
        /// Whose slot it is.
        publisher: [u8; 32],
        /// The hash of the topic's name.
        label: [u8; 32],
        /// Which of the publisher's records there.
        slot: u64,
    },
    /// In the `Content` space.
    Content {
        /// The content's key.
        key: Key,
    },
}

impl Slot {
    /// What names the slot in this network.
    #[must_use]
    pub fn id(&self, network: &NetworkName) -> RecordId {
        match *self {
            Slot::Owned { publisher, label, slot } => {
                RecordId { key: domain::owned_key(network, &publisher, &label), publisher, slot }
            }
            Slot::Topic { publisher, label, slot } => {
                RecordId { key: domain::topic_key(network, &label), publisher, slot }
            }
            Slot::Content { key } => RecordId { key, publisher: [0; 32], slot: 0 },
        }
    }
}

/// What one server answered about a slot or key.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Who answered.
    pub node: NodeInfo,
    /// Its records, or heads, of those asked for; checked.
    pub records: Vec<ValidRecord>,
    /// Where its page ends, if there is more.
    pub next: Option<Position>,
    /// Servers that it knows closer to the key.
    pub closer: Vec<NodeInfo>,
    /// Whether its table can be relied on.
    pub settled: bool,
    /// Whether it says that it holds what it should.
    pub whole: bool,
}

/// Heads that were found valid during one operation, so that the same one from another server, be it with
/// its body or without, costs a comparison and not a second signature check.
#[derive(Debug)]
pub(crate) struct Recognised {
    heads: Mutex<BTreeMap<Bytes, ValidRecord>>,
    /// Held while an answer is checked: what is found valid in it is recognised in the next.
    turn: tokio::sync::Mutex<()>,
    max: usize,
}

impl Default for Recognised {
    fn default() -> Self {
        Recognised::up_to(RECOGNISED_MAX)
    }
}

impl Recognised {
    /// For so many heads; more are checked each time.
    pub(crate) fn up_to(max: usize) -> Self {
        Recognised { heads: Mutex::default(), turn: tokio::sync::Mutex::default(), max }
    }

    fn find(&self, head: &Bytes) -> Option<ValidRecord> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).get(head).cloned()
    }

    fn note(&self, record: &ValidRecord) {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if heads.len() < self.max {
            let head = record.head_only();
            heads.insert(head.bytes().clone(), head);
        }
    }
}

/// A request for one slot's version.
pub(crate) fn find_slot(id: &RecordId, heads_only: bool, want_closer: bool) -> Find {
    Find {
        key: id.key,
        publisher: Some(PublisherKey(id.publisher)),
        slots: Some((id.slot, id.slot)),
        after: None,
        heads_only,
        min_work: 0,
        limit: 1,
        want_closer,
    }
}

impl Inner {
    /// Looks up where records at `key` lie: the k closest servers that are whole, closest first, and
    /// before the last of them those that are not; this one among them if it is one.
    pub(crate) async fn responsible_servers(self: &Arc<Self>, key: &Key) -> Vec<AnsweredNode> {
        self.look_up(key, Vec::new(), false).await.closest
    }

    /// Looks up the k servers closest to `key`, whole or not, closest first, this one among them if
    /// it is one; beginning with `named` besides those of the table.
    pub(crate) async fn closest_servers(
        self: &Arc<Self>,
        key: &Key,
        named: Vec<NodeInfo>,
    ) -> Vec<AnsweredNode> {
        let mut closest = self.look_up(key, named, true).await.closest;
        closest.truncate(K);
        closest
    }

    /// Looks up the servers closest to `key`, closest first, this one besides if it is one, and says
    /// what that took.
    pub(crate) async fn look_up(
        self: &Arc<Self>,
        key: &Key,
        named: Vec<NodeInfo>,
        all_count: bool,
    ) -> ClosestResult {
        let key = *key;
        let own = self.registry.own();
        let mut seeds = self.registry.to_name(&key, None);
        seeds.extend(named);
        let config = LookupConfig::default();
        let mut machine = ClosestLookup::new(key, own, seeds, config, all_count);
        let ask = |node: NodeInfo| -> BoxFuture<'static, Result<Nodes, AskError>> {
            let requests = Arc::clone(&self.requests);
            Box::pin(async move { requests.find_node(&node, &key).await })
        };
        walk(&mut machine, self.config.timing.slow, ask, |machine, from, answer| {
            let says = Condition { settled: answer.settled, whole: answer.whole };
            machine.on_answer(&from, answer.nodes, says);
        })
        .await;
        let mut result = machine.result();
        let closest = &mut result.closest;
        // A lookup that nobody answered has refreshed nothing.
        if !closest.is_empty() {
            self.registry.note_lookup(&key);
        }
        self.observe();
        if self.config.mode == Mode::Server {
            let info = NodeInfo { id: own, addrs: Vec::new() };
            let settled = self.membership.is_settled();
            closest.push(AnsweredNode { info, settled, whole: self.replication.is_whole() });
            closest.sort_by_key(|node| node.info.id.key().distance(&key));
        }
        result
    }

    /// Asks one server what it holds, and checks what it answers. What does not belong into the
    /// answer is left out and counted as a lie.
    pub(crate) async fn holding(
        self: Arc<Self>,
        node: NodeInfo,
        find: Find,
        recognised: Arc<Recognised>,
        verify: bool,
    ) -> Result<Holding, AskError> {
        let found = self.found_at(&node, &find).await?;
        Ok(self.held(node, found, &find, &recognised, verify).await)
    }

    /// What one server answers, unchecked.
    pub(super) async fn found_at(&self, node: &NodeInfo, find: &Find) -> Result<Found, AskError> {
        if node.id == self.registry.own() {
            return self.own_found(find).await;
        }
        match self.requests.ask(node, &Request::Find(find.clone())).await? {
            Response::Found(found) => Ok(found),
            _ => Err(AskError::WrongAnswer(node.id)),
        }
    }

    /// What an answer is worth. What does not belong into it is left out and counted as a lie.
    pub(super) async fn held(
        &self,
        node: NodeInfo,
        found: Found,
        find: &Find,
        recognised: &Recognised,
        verify: bool,
    ) -> Holding {
        let verify = verify && node.id != self.registry.own();
        let given = found.records.len();
        let records = self.checked(found.records, find, recognised, verify).await;
        for _ in records.len()..given {
            self.stats.note_lie();
        }
        let closer = self.registry.admit(found.closer);
        let Found { next, settled, whole, .. } = found;
        Holding { node, records, next, closer, settled, whole }
    }

    async fn own_found(&self, find: &Find) -> Result<Found, AskError> {
        let page = self.store.find(page_query(find)).wait().await.map_err(AskError::Refused)?;
        Ok(Found {
            records: page.records.into_iter().map(RecordBytes).collect(),
            next: page.next,
            closer: self.registry.to_name(&find.key, None),
            settled: self.membership.is_settled(),
            whole: self.replication.is_whole(),
        })
    }

    /// Those records of an answer that are what was asked for, signed, and alive, in their order.
    async fn checked(
        &self,
        records: Vec<RecordBytes>,
        find: &Find,
        recognised: &Recognised,
        verify: bool,
    ) -> Vec<ValidRecord> {
        let now = self.clock.now();
        let parsed = records.into_iter().filter_map(|RecordBytes(bytes)| {
            ParsedRecord::parse(bytes).ok().filter(|record| alive(record, now))
        });
        // A record's own name is a hash, made once. One that was not asked for costs a signature
        // check before it is seen to be such, as a forged one does in any case.
        let asked_for = |record: &ValidRecord| {
            let id = record.id();
            id.key == find.key
                && find.publisher.is_none_or(|publisher| publisher.0 == id.publisher)
                && find.slots.is_none_or(|(first, last)| (first..=last).contains(&id.slot))
        };
        if !verify {
            let trusted = parsed.map(|record| record.trust_own_store(&self.config.network));
            return trusted.filter(asked_for).collect();
        }
        let _turn = recognised.turn.lock().await;
        let (mut unknown, mut known) = (Vec::new(), Vec::new());
        for record in parsed {
            let found = recognised.find(&record.head_bytes());
            if found.is_none() {
                unknown.push(record.clone());
            }
            known.push((record, found));
        }
        let mut verified = self.verifier.verify(unknown).await.into_iter();
        let mut valid = Vec::with_capacity(known.len());
        for (record, known) in known {
            let anew = known.is_none();
            let record = match known {
                Some(known) => known.with_body_of(record).ok(),
                None => verified.next().and_then(Result::ok),
            };
            let Some(record) = record.filter(&asked_for) else { continue };
            if anew {
                recognised.note(&record);
            }
            valid.push(record);
        }
        valid
    }
}

/// Whether a version still counts: its body, or else its head, has not expired.
pub(crate) fn alive(record: &ParsedRecord, now: UnixMs) -> bool {
    let body_alive = record.expires_at() > now;
    record.keep_until() > now && (body_alive || !has_live_body(record))
}

/// Whether the answer carries a value's body, which ends before the head does.
fn has_live_body(record: &ParsedRecord) -> bool {
    record.kind() == dht_kad::record::Kind::Value && record.has_body()
}
