//! Getting a record: five holders by default, drawn by lot; the greatest version wins.

use std::sync::Arc;

use dht_kad::lookup::{Condition, Consistency, LookupConfig, ValueLookup, Want};
use dht_kad::message::{Mode, NodeInfo};
use dht_kad::record::Kind;
use dht_kad::{ErrorNumber, NodeId, RecordId, ValidRecord};
use futures_util::future::BoxFuture;
use thiserror::Error;

use super::locate::{Holding, Recognised, Slot, find_slot};
use crate::context::{DhtContext, Inner};
use crate::requests::AskError;
use crate::walk::{gather, walk};

/// How to get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GetOptions {
    /// How many holders have to agree.
    pub consistency: Consistency,
    /// Whether signatures are checked. Leave it on, unless you measure what it costs.
    pub verify: bool,
}

impl Default for GetOptions {
    fn default() -> Self {
        GetOptions { consistency: Consistency::Default, verify: true }
    }
}

/// A record, and who had it.
#[derive(Clone, Debug)]
pub struct GetReport {
    /// The greatest version that was found, with its body.
    pub record: ValidRecord,
    /// How many of those asked hold the slot, in whatever version.
    pub holders: usize,
    /// How many answered.
    pub answered: usize,
}

/// There is nothing to get, or nobody to get it from.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetError {
    /// Nothing is stored there.
    #[error("nothing is stored there; check publisher, label and slot")]
    NotFound,
    /// Its publisher has deleted it.
    #[error("its publisher has deleted it; there is nothing to get any more")]
    Deleted,
    /// Nobody answered.
    #[error("no node answers; check the bootstrap peers and this machine's network")]
    NoPeers,
    /// Too few answered to tell.
    #[error("only {answered} nodes answered, too few to tell; try again")]
    Inconclusive {
        /// How many answered.
        answered: usize,
    },
    /// Only nodes that are still gathering answered, and none has it.
    #[error("the network is still gathering and nothing was found yet; try again in a moment")]
    NetworkUnsettled,
    /// Those who should have the body do not give it.
    #[error("the newest version's body could not be fetched ({0}); try again")]
    BodyUnavailable(AskError),
}

impl GetError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            GetError::NotFound | GetError::Deleted => ErrorNumber::NotFound,
            GetError::NoPeers => ErrorNumber::NoPeers,
            GetError::Inconclusive { .. } => ErrorNumber::QuorumNotReached,
            GetError::NetworkUnsettled => ErrorNumber::NetworkUnsettled,
            GetError::BodyUnavailable(error) => error.number(),
        }
    }
}

impl DhtContext {
    /// Gets the newest version of a slot.
    ///
    /// # Errors
    /// [`GetError`]; a deleted or expired value is an error, too.
    pub fn get<'a>(
        &'a self,
        slot: &'a Slot,
        options: GetOptions,
    ) -> BoxFuture<'a, Result<GetReport, GetError>> {
        Box::pin(async move {
            let id = slot.id(self.network());
            let head = self.inner.newest(&id, options).await?;
            let Some(newest) = head.newest else { return Err(GetError::NotFound) };
            let record = match self.inner.with_body(newest, &head.holders, options).await {
                Err(withheld @ GetError::BodyUnavailable(_)) => {
                    self.inner.newest_whole(&id, options).await.unwrap_or(Err(withheld))?
                }
                other => other?,
            };
            Ok(GetReport { record, holders: head.holders.len(), answered: head.answered })
        })
    }
}

/// What a value lookup came to.
pub(crate) struct Newest {
    /// The greatest version, perhaps only its head.
    pub(crate) newest: Option<ValidRecord>,
    /// Who holds which version of the slot.
    pub(crate) holders: Vec<(NodeInfo, ValidRecord)>,
    /// How many answered.
    pub(crate) answered: usize,
}

impl Inner {
    /// Finds the newest version of a slot, a tombstone or an expired head included.
    pub(crate) async fn newest(
        self: &Arc<Self>,
        id: &RecordId,
        options: GetOptions,
    ) -> Result<Newest, GetError> {
        let id = *id;
        let own = self.registry.own();
        let seeds = self.registry.to_name(&id.key, None);
        let alone = seeds.is_empty() && self.config.mode == Mode::Server;
        let (config, chance) = (LookupConfig::default(), self.chance.number());
        let mut machine = ValueLookup::new(id.key, own, seeds, options.consistency, config, chance);
        let recognised = Arc::new(Recognised::default());
        let mut holders = self.own_holding(&id, &recognised).await;
        let quorum = options.consistency == Consistency::Quorum;
        if alone || (options.consistency == Consistency::One && !holders.is_empty()) {
            // Who has lost the others, and not their traces, may have missed what they acknowledged.
            let settled = self.membership.is_settled();
            return self.sum_up(holders, 1, settled, settled || !quorum);
        }
        let ask = |(node, want)| -> BoxFuture<'static, Result<Holding, AskError>> {
            let find = find_slot(&id, want == Want::Head, true);
            let holding = Arc::clone(self).holding(node, find, recognised.clone(), options.verify);
            Box::pin(holding)
        };
        let (mut answered, mut any_settled) = (0_usize, false);
        let take = |machine: &mut ValueLookup, from: NodeId, answer: Holding| {
            answered += 1;
            any_settled |= answer.settled;
            let held = answer.records.into_iter().next();
            let says = Condition { settled: answer.settled, whole: answer.whole };
            machine.on_answer(&from, held.is_some(), answer.closer, says);
            holders.extend(held.map(|record| (answer.node, record)));
        };
        walk(&mut machine, self.config.timing.slow, ask, take).await;
        let conclusive = machine.outcome().is_some_and(|outcome| outcome.conclusive);
        // A miss, and a quorum, need proof. Otherwise a signed value is better than none, where too
        // few are left to answer or all are still gathering.
        let conclusive = conclusive || (!quorum && !holders.is_empty());
        self.sum_up(holders, answered, any_settled, conclusive)
    }

    /// What this node itself holds of a slot, if it is a server.
    async fn own_holding(
        self: &Arc<Self>,
        id: &RecordId,
        recognised: &Arc<Recognised>,
    ) -> Vec<(NodeInfo, ValidRecord)> {
        if self.config.mode == Mode::Client {
            return Vec::new();
        }
        let node = NodeInfo { id: self.registry.own(), addrs: Vec::new() };
        let find = find_slot(id, false, false);
        match Arc::clone(self).holding(node, find, recognised.clone(), false).await {
            Ok(own) => own.records.into_iter().map(|record| (own.node.clone(), record)).collect(),
            Err(error) => {
                tracing::warn!(%error, "this node's own store could not be read");
                Vec::new()
            }
        }
    }

    /// Picks the newest of what was found, or says why nothing can be told.
    fn sum_up(
        &self,
        holders: Vec<(NodeInfo, ValidRecord)>,
        answered: usize,
        any_settled: bool,
        conclusive: bool,
    ) -> Result<Newest, GetError> {
        match (answered, holders.is_empty()) {
            (0, true) => return Err(GetError::NoPeers),
            (_, true) if !any_settled => return Err(GetError::NetworkUnsettled),
            (_, _) if !conclusive => return Err(GetError::Inconclusive { answered }),
            _ => {}
        }
        let by_order =
            |(_, record): &&(NodeInfo, ValidRecord)| (record.precedence(), record.has_body());
        let newest = holders.iter().max_by_key(by_order).map(|(_, record)| record.clone());
        Ok(Newest { newest, holders, answered })
    }

    /// The version with its body, fetched from whoever holds it if only the head is here.
    pub(crate) async fn with_body(
        self: &Arc<Self>,
        newest: ValidRecord,
        holders: &[(NodeInfo, ValidRecord)],
        options: GetOptions,
    ) -> Result<ValidRecord, GetError> {
        if newest.kind() == Kind::Tombstone {
            return Err(GetError::Deleted);
        }
        if newest.expires_at() <= self.clock.now() {
            return Err(GetError::NotFound);
        }
        if newest.has_body() {
            return Ok(newest);
        }
        let find = find_slot(newest.id(), false, false);
        let mut last = None;
        for (node, held) in holders {
            if held.digest() != newest.digest() {
                continue;
            }
            let recognised = Arc::new(Recognised::default());
            let holding =
                Arc::clone(self).holding(node.clone(), find.clone(), recognised, options.verify);
            match holding.await {
                // A newer version that has come meanwhile is as good.
                Ok(answer) => {
                    let as_new = |record: &ValidRecord| record.precedence() >= newest.precedence();
                    match answer.records.into_iter().find(as_new) {
                        Some(record) if record.kind() == Kind::Tombstone => {
                            return Err(GetError::Deleted);
                        }
                        Some(record) if record.has_body() => return Ok(record),
                        _ => last = Some(AskError::WrongAnswer(node.id)),
                    }
                }
                Err(error) => last = Some(error),
            }
        }
        if newest.expires_at() <= self.clock.now() {
            return Err(GetError::NotFound);
        }
        Err(last.map_or(GetError::NotFound, GetError::BodyUnavailable))
    }

    /// The newest version that anyone of T shows whole: for when those who have shown the head of a
    /// newer one do not give its body. Either its put did not succeed, or they hide it; had it been
    /// acknowledged, a majority of T would have it. A deleted or expired version is whole. `None` if
    /// nobody shows any.
    async fn newest_whole(
        self: &Arc<Self>,
        id: &RecordId,
        options: GetOptions,
    ) -> Option<Result<ValidRecord, GetError>> {
        let found = self.responsible_servers(&id.key).await;
        let asked = found.into_iter().map(|node| -> BoxFuture<'static, _> {
            let (find, recognised) = (find_slot(id, false, false), Arc::new(Recognised::default()));
            Box::pin(Arc::clone(self).holding(node.info, find, recognised, options.verify))
        });
        let now = self.clock.now();
        let ended =
            |record: &ValidRecord| record.kind() == Kind::Tombstone || record.expires_at() <= now;
        let mut newest: Option<ValidRecord> = None;
        gather(asked, |answer: Result<Holding, AskError>| {
            let shown = answer.into_iter().flat_map(|holding| holding.records.into_iter().take(1));
            let whole = shown.filter(|record| record.has_body() || ended(record));
            newest = whole.chain(newest.take()).max_by_key(ValidRecord::precedence);
            false
        })
        .await;
        newest.map(|record| match record.kind() {
            Kind::Tombstone => Err(GetError::Deleted),
            Kind::Value if record.has_body() => Ok(record),
            Kind::Value => Err(GetError::NotFound),
        })
    }
}
