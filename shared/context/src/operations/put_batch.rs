//! Putting many signed records that lie at one key: one lookup, and few requests to each server.
//!
//! ```text
//! records ─▶ pages (PAGE_RECORDS, PAGE_BYTES) ─▶ to each of T, several in flight ─▶ results, page by page
//!                                                                                     │
//!            for each record a PutPlan of its own: majority, receipts verified ◀──────┘
//! ```
//!
//! Each record is counted as if it had been put alone: it is acknowledged once a majority of T has
//! given a receipt for it. The holders may be remembered ones ([`holders`](super::holders)); whether
//! they still are T is asked beside the put, and if not, it is repeated where the records belong.

use futures_util::future::BoxFuture;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dht_kad::admission::Path;
use dht_kad::lookup::AnsweredNode;
use dht_kad::message::{
    NodeInfo, PAGE_BYTES, PAGE_RECORDS, RecordBytes, Request, Response, Store, StoreItem,
};
use dht_kad::put::{NodeResult, PutOutcome, PutPlan, PutProgress};
use dht_kad::signature::SignatureCheck;
use dht_kad::{Key, NodeId, ValidRecord};
use futures_util::future::{join, join_all};
use futures_util::stream::{BoxStream, SelectAll, StreamExt, iter, select_all};

use super::put::PutError;
use super::store_on::conclude;
use crate::context::{DhtContext, Inner};
use crate::requests::AskError;

/// Pages that are under way to one server at once: enough to keep its disk busy while the next one
/// travels, and few of the 16 streams that a connection has at first.
const PAGES_AT_ONCE: usize = 4;

/// What came of each record of a batch.
type Results = Vec<Result<PutOutcome, PutError>>;

/// What one server said to one page.
struct PageAnswer {
    node: NodeId,
    page: Range<usize>,
    results: Vec<NodeResult>,
}

impl DhtContext {
    /// Puts records that are signed already, unchanged, all at one key; one result each, in their
    /// order. Fewer requests than as many puts, and the same promise.
    ///
    /// # Errors
    /// [`PutError`] if nothing could be sent, or the records lie at different keys. A refusal is the
    /// record's own result, and not acted on here.
    pub fn put_batch<'a>(
        &'a self,
        records: Vec<ValidRecord>,
    ) -> BoxFuture<'a, Result<Results, PutError>> {
        Box::pin(async move {
            let Some(key) = records.first().map(|record| record.id().key) else {
                return Ok(Vec::new());
            };
            if records.iter().any(|record| record.id().key != key) {
                return Err(PutError::KeysDiffer);
            }
            self.inner.put_batch(key, records.into()).await
        })
    }
}

impl Inner {
    async fn put_batch(
        self: &Arc<Self>,
        key: Key,
        records: Arc<[ValidRecord]>,
    ) -> Result<Results, PutError> {
        let holders = self.holders_of(&key).await;
        let put = self.store_batch(key, &holders.found, &records);
        let (results, still) = join(put, self.still_hold(&key, &holders)).await;
        let named = match (&results, still) {
            (Ok(results), Ok(())) if results.iter().all(Result::is_ok) => {
                return Ok(results.clone());
            }
            _ if !holders.remembered => return results,
            (_, still) => still.err().unwrap_or_default(),
        };
        // To put again what some have is no harm: the same content is a success.
        let holders = self.look_up_holders(&key, named).await;
        self.store_batch(key, &holders.found, &records).await
    }

    /// Stores records on T, and waits until it is known of each whether enough have it.
    async fn store_batch(
        self: &Arc<Self>,
        key: Key,
        found: &[AnsweredNode],
        records: &Arc<[ValidRecord]>,
    ) -> Result<Results, PutError> {
        if found.is_empty() {
            return Err(PutError::NoPeers);
        }
        let plan = self.plan(found, None)?;
        let pages = pages(records);
        let to_each = plan.targets().iter().map(|node| self.pages_to(node, records, &pages));
        let mut answers: SelectAll<_> = select_all(to_each);
        let mut plans = vec![plan; records.len()];
        let mut pending = records.len();
        while pending > 0 {
            let Some(answer) = answers.next().await else { break };
            pending -= self.note_page(&key, records, &mut plans, answer);
        }
        if plans.iter().any(|plan| plan.progress() == PutProgress::Impossible) {
            // The answers that are already here say better why.
            let rest = async {
                while let Some(answer) = answers.next().await {
                    self.note_page(&key, records, &mut plans, answer);
                }
            };
            let _ = tokio::time::timeout(self.config.timing.slow, rest).await;
        } else {
            let inner = Arc::clone(self);
            self.connections.spawn_to_finish(async move {
                while let Some(answer) = answers.next().await {
                    inner.note_silence(&key, &answer);
                }
            });
        }
        Ok(plans.iter().map(|plan| conclude(plan.outcome())).collect())
    }

    /// Takes note of a server's answer to one page; says of how many records it is now known how
    /// their put ends.
    fn note_page(
        &self,
        key: &Key,
        records: &[ValidRecord],
        plans: &mut [PutPlan],
        answer: PageAnswer,
    ) -> usize {
        self.note_silence(key, &answer);
        let PageAnswer { node, page, results } = answer;
        let (mut decided, mut check) = (0, SignatureCheck::default());
        let of_page = records.get(page.clone()).into_iter().flatten();
        let plans = plans.get_mut(page).into_iter().flatten();
        for ((record, plan), result) in of_page.zip(plans).zip(results) {
            let progress = plan.progress();
            // More receipts than are needed are not worth their verification.
            if progress == PutProgress::Reached {
                continue;
            }
            plan.on_result(&node, self.credit_next(record, &node, result, &mut check));
            let is_decided = plan.progress() != PutProgress::Pending;
            decided += usize::from(progress == PutProgress::Pending && is_decided);
        }
        decided
    }

    /// A holder that fails is no longer counted on.
    fn note_silence(&self, key: &Key, answer: &PageAnswer) {
        if answer.results.iter().any(|result| matches!(result, NodeResult::Silent)) {
            self.holders.forget(key);
        }
    }

    /// Sends all pages to one server, some at a time. One that has failed once is sent no more.
    fn pages_to(
        self: &Arc<Self>,
        node: &NodeInfo,
        records: &Arc<[ValidRecord]>,
        pages: &[Range<usize>],
    ) -> BoxStream<'static, PageAnswer> {
        let failed = Arc::new(AtomicBool::new(false));
        let (inner, node, records) = (Arc::clone(self), node.clone(), Arc::clone(records));
        let answers = iter(pages.to_vec()).map(move |page| {
            let (inner, node) = (Arc::clone(&inner), node.clone());
            let (records, failed) = (Arc::clone(&records), Arc::clone(&failed));
            async move {
                let of_page = records.get(page.clone()).unwrap_or_default();
                let results = match failed.load(Ordering::Relaxed) {
                    true => None,
                    false => inner.store_page(&node, of_page).await,
                };
                failed.fetch_or(results.is_none(), Ordering::Relaxed);
                let silent = || vec![NodeResult::Silent; of_page.len()];
                PageAnswer { node: node.id, results: results.unwrap_or_else(silent), page }
            }
        });
        Box::pin(answers.buffer_unordered(PAGES_AT_ONCE))
    }

    /// Stores one page at one server, which may be this one; `None` if it gives no usable answer. Its
    /// receipts are not verified yet.
    async fn store_page(
        &self,
        node: &NodeInfo,
        records: &[ValidRecord],
    ) -> Option<Vec<NodeResult>> {
        let results = if node.id == self.registry.own() {
            let path = Path::Store { expected_seq: None };
            let stored = records.iter().map(|record| self.server.store_own(record.clone(), path));
            join_all(stored).await
        } else {
            let item = |record: &ValidRecord| StoreItem {
                record: RecordBytes(record.bytes().clone()),
                expected_seq: None,
            };
            let request = Request::Store(Store { items: records.iter().map(item).collect() });
            match self.requests.ask(node, &request).await {
                Ok(Response::StoreResults(answer)) if answer.results.len() == records.len() => {
                    answer.results
                }
                Err(AskError::Refused(refusal)) => vec![Err(refusal); records.len()],
                Ok(_) | Err(_) => return None,
            }
        };
        let result = |result| match result {
            Ok(receipt) => NodeResult::Stored(receipt),
            Err(refusal) => NodeResult::Refused(refusal),
        };
        Some(results.into_iter().map(result).collect())
    }
}

/// Cuts a batch into what one request carries.
fn pages(records: &[ValidRecord]) -> Vec<Range<usize>> {
    let mut pages = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (place, record) in records.iter().enumerate() {
        let size = record.bytes().len();
        if place > start && (place - start >= PAGE_RECORDS || bytes + size > PAGE_BYTES) {
            pages.push(start..place);
            (start, bytes) = (place, 0);
        }
        bytes += size;
    }
    if start < records.len() {
        pages.push(start..records.len());
    }
    pages
}
