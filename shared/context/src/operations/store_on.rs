//! Storing one signed record on the servers responsible for it, and waiting for enough of them.
//!
//! An acknowledgement is a [`Receipt`], and counts once that is verified: who says `Stored` without a
//! promise that can be held against it has not acknowledged. What comes after enough have is not
//! counted, and not verified either: that is most of what a check would cost in a large network.

use std::sync::Arc;

use dht_kad::admission::Path;
use dht_kad::lookup::AnsweredNode;
use dht_kad::message::{
    Mode, NodeInfo, Receipt, RecordBytes, Request, Response, Store, StoreItem, StoreResults,
};
use dht_kad::put::{NodeResult, PutOutcome, PutPlan, PutPlanError, PutProgress};
use dht_kad::routing::K;
use dht_kad::signature::SignatureCheck;
use dht_kad::{NodeId, Refusal, ValidRecord};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::put::PutError;
use super::version::Expected;
use crate::context::Inner;
use crate::requests::AskError;

impl Inner {
    /// Stores a record on T, and waits until it is known whether enough have it.
    pub(super) async fn store_on(
        self: &Arc<Self>,
        found: &[AnsweredNode],
        record: &ValidRecord,
        expected: &Expected,
        quorum: Option<usize>,
    ) -> Result<PutOutcome, PutError> {
        if found.is_empty() {
            return Err(PutError::NoPeers);
        }
        let mut plan = self.plan(found, quorum)?;
        let mut under_way: FuturesUnordered<_> = plan
            .targets()
            .iter()
            .map(|node| Arc::clone(self).store_at(node.clone(), record.clone(), expected.clone()))
            .collect();
        while plan.progress() == PutProgress::Pending {
            let Some((node, result)) = under_way.next().await else { break };
            plan.on_result(&node, self.credit(record, &node, result));
        }
        if plan.progress() == PutProgress::Impossible {
            // The answers that are already here say better why.
            self.collect(record, &mut plan, &mut under_way).await;
        } else if !under_way.is_empty() {
            self.connections
                .spawn_to_finish(async move { while under_way.next().await.is_some() {} });
        }
        conclude(plan.outcome())
    }

    /// To whom a put goes of those that were found, and how many of them have to acknowledge.
    pub(super) fn plan(
        &self,
        found: &[AnsweredNode],
        quorum: Option<usize>,
    ) -> Result<PutPlan, PutPlanError> {
        let itself = usize::from(self.config.mode == Mode::Server);
        PutPlan::new(found, K, self.membership.remembered() + itself, quorum)
    }

    /// Waits a moment more for those that have not answered.
    async fn collect(
        &self,
        record: &ValidRecord,
        plan: &mut PutPlan,
        under_way: &mut FuturesUnordered<impl Future<Output = (NodeId, NodeResult)>>,
    ) {
        let rest = async {
            while let Some((node, result)) = under_way.next().await {
                plan.on_result(&node, self.credit(record, &node, result));
            }
        };
        let _ = tokio::time::timeout(self.config.timing.slow, rest).await;
    }

    /// What a server's answer is worth: nothing, if the receipt is none.
    pub(super) fn credit(
        &self,
        record: &ValidRecord,
        node: &NodeId,
        result: NodeResult,
    ) -> NodeResult {
        self.credit_next(record, node, result, &mut SignatureCheck::default())
    }

    /// As [`credit`](Self::credit), one answer of many.
    pub(super) fn credit_next(
        &self,
        record: &ValidRecord,
        node: &NodeId,
        result: NodeResult,
        check: &mut SignatureCheck,
    ) -> NodeResult {
        match &result {
            // What this very process signed, or did not.
            NodeResult::Stored(_) if *node == self.registry.own() => result,
            NodeResult::Stored(receipt) => {
                match receipt.verify_next(&self.config.network, record, node, check) {
                    Ok(()) => result,
                    Err(fault) => {
                        tracing::warn!(%node, %fault, "a node acknowledged with a false receipt");
                        self.stats.note_lie();
                        NodeResult::Silent
                    }
                }
            }
            NodeResult::Refused(_) | NodeResult::Silent => result,
        }
    }

    /// Stores a record at one server, which may be this one; its receipt is not verified yet. Where an
    /// earlier attempt of the same put has got to, that is the version to replace.
    pub(super) async fn store_at(
        self: Arc<Self>,
        node: NodeInfo,
        record: ValidRecord,
        expected: Expected,
    ) -> (NodeId, NodeResult) {
        let mut result = self.store_once(&node, &record, expected.seq).await;
        if let NodeResult::Refused(Refusal::UnexpectedSeq { stored }) = result
            && expected.own_attempts.contains(&stored)
        {
            result = self.store_once(&node, &record, Some(stored)).await;
        }
        (node.id, result)
    }

    async fn store_once(
        &self,
        node: &NodeInfo,
        record: &ValidRecord,
        expected_seq: Option<u64>,
    ) -> NodeResult {
        let result = if node.id == self.registry.own() {
            self.server.store_own(record.clone(), Path::Store { expected_seq }).await
        } else {
            let record = RecordBytes(record.bytes().clone());
            let request = Request::Store(Store { items: vec![StoreItem { record, expected_seq }] });
            match self.requests.ask(node, &request).await {
                Ok(Response::StoreResults(StoreResults { results })) => {
                    match <[Result<Receipt, Refusal>; 1]>::try_from(results) {
                        Ok([result]) => result,
                        Err(_) => return NodeResult::Silent,
                    }
                }
                Err(AskError::Refused(refusal)) => Err(refusal),
                Ok(_) | Err(_) => return NodeResult::Silent,
            }
        };
        match result {
            Ok(receipt) => NodeResult::Stored(receipt),
            Err(refusal) => NodeResult::Refused(refusal),
        }
    }
}

/// What the writer is told of a put that went to all it could.
pub(super) fn conclude(outcome: PutOutcome) -> Result<PutOutcome, PutError> {
    if outcome.reached {
        return Ok(outcome);
    }
    let (stored, targets) = (outcome.stored.len(), outcome.targets);
    match outcome.telling_refusal() {
        Some(refusal) => Err(PutError::Refused {
            refusal: refusal.clone(),
            refused: outcome.refused.len(),
            targets,
        }),
        None => Err(PutError::QuorumNotReached { stored, quorum: outcome.quorum, targets }),
    }
}
