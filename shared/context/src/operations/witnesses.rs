//! For writers that sign their records themselves and need more of a put than that it succeeded: the
//! version that theirs has to supersede, and the receipts of all who have it.
//!
//! ```text
//! newest: what is there ─▶ the writer signs ─▶ put_record: a majority has it ─▶ witness: all receipts
//! ```

use futures_util::future::BoxFuture;
use std::sync::Arc;

use dht_kad::message::{NodeInfo, Receipt};
use dht_kad::put::NodeResult;
use dht_kad::{NodeId, ValidRecord};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::locate::Slot;
use super::put::PutError;
use super::version::Expected;
use crate::context::DhtContext;

/// The most servers that are asked for a receipt at once: three times those responsible for a key.
pub const WITNESSES_MAX: usize = 64;

/// How many times as long as a slow answer takes is waited for all: who is later still may be asked
/// again another day.
const PATIENCE: u32 = 5;

impl DhtContext {
    /// The newest version in a slot, tombstones and expired values as heads, by the word of all of T
    /// that answer, a majority at least.
    ///
    /// # Errors
    /// [`PutError::NoPeers`] or [`PutError::QuorumNotReached`] if too few answer.
    pub fn newest<'a>(
        &'a self,
        slot: &'a Slot,
    ) -> BoxFuture<'a, Result<Option<ValidRecord>, PutError>> {
        Box::pin(async move {
            let id = slot.id(self.network());
            let found = self.inner.responsible_servers(&id.key).await;
            let held = self.inner.heads(&found, &id, true).await?;
            Ok(held.into_iter().max_by_key(|record| record.precedence()))
        })
    }

    /// Sends a record that is signed already to all servers responsible for its key and to those
    /// `besides`, together at most [`WITNESSES_MAX`], and returns the receipts, verified, of all that
    /// have it: who holds it already gives a receipt, too. Who is silent is not waited for long.
    pub fn witness<'a>(
        &'a self,
        record: &'a ValidRecord,
        besides: &'a [NodeInfo],
    ) -> BoxFuture<'a, Vec<(NodeId, Receipt)>> {
        Box::pin(async move {
            let inner = &self.inner;
            let mut nodes: Vec<NodeInfo> = inner
                .responsible_servers(&record.id().key)
                .await
                .into_iter()
                .map(|node| node.info)
                .collect();
            for node in besides {
                if nodes.iter().all(|known| known.id != node.id) {
                    nodes.push(node.clone());
                }
            }
            nodes.truncate(WITNESSES_MAX);
            let any = Expected { seq: None, own_attempts: Vec::new() };
            let mut under_way: FuturesUnordered<_> = nodes
                .into_iter()
                .map(|node| Arc::clone(inner).store_at(node, record.clone(), any.clone()))
                .collect();
            let mut receipts = Vec::new();
            let collected = async {
                while let Some((node, result)) = under_way.next().await {
                    if let NodeResult::Stored(receipt) = inner.credit(record, &node, result) {
                        receipts.push((node, receipt));
                    }
                }
            };
            let _ = tokio::time::timeout(inner.config.timing.slow * PATIENCE, collected).await;
            receipts
        })
    }
}
