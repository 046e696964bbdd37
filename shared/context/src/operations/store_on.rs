//! Storing one signed record on the servers responsible for it, and waiting for enough of them.

use std::sync::Arc;

use dht_kad::admission::Path;
use dht_kad::lookup::AnsweredNode;
use dht_kad::message::{
    Mode, NodeInfo, Receipt, RecordBytes, Request, Response, Store, StoreItem, StoreResults, Stored,
};
use dht_kad::put::{NodeResult, PutOutcome, PutPlan, PutProgress};
use dht_kad::routing::K;
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
        let itself = usize::from(self.config.mode == Mode::Server);
        let remembered = self.membership.remembered() + itself;
        let mut plan = PutPlan::new(found, K, remembered, quorum)?;
        let mut under_way: FuturesUnordered<_> = plan
            .targets()
            .iter()
            .map(|node| Arc::clone(self).store_at(node.clone(), record.clone(), expected.clone()))
            .collect();
        while plan.progress() == PutProgress::Pending {
            let Some((node, result)) = under_way.next().await else { break };
            plan.on_result(&node, result);
        }
        if plan.progress() == PutProgress::Impossible {
            // The answers that are already here say better why.
            self.collect(&mut plan, &mut under_way).await;
        } else if !under_way.is_empty() {
            self.connections
                .spawn_to_finish(async move { while under_way.next().await.is_some() {} });
        }
        let outcome = plan.outcome();
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

    /// Waits a moment more for those that have not answered.
    async fn collect(
        &self,
        plan: &mut PutPlan,
        under_way: &mut FuturesUnordered<impl Future<Output = (NodeId, NodeResult)>>,
    ) {
        let rest = async {
            while let Some((node, result)) = under_way.next().await {
                plan.on_result(&node, result);
            }
        };
        let _ = tokio::time::timeout(self.config.timing.slow, rest).await;
    }

    /// Stores a record at one server, which may be this one. Where an earlier attempt of the same put
    /// has got to, that is the version to replace.
    async fn store_at(
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
                        Ok([result]) => {
                            result.map(|Receipt { expires_at, .. }| Stored { expires_at })
                        }
                        Err(_) => return NodeResult::Silent,
                    }
                }
                Err(AskError::Refused(refusal)) => Err(refusal),
                Ok(_) | Err(_) => return NodeResult::Silent,
            }
        };
        match result {
            Ok(stored) => NodeResult::Stored(stored),
            Err(refusal) => NodeResult::Refused(refusal),
        }
    }
}
