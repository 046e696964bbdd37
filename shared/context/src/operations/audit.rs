//! Challenging a node to show that it holds what it gave receipts for.
//!
//! What it shows is judged by [`dht_kad::audit::judge`], by whoever has the receipts.

use dht_kad::message::audit::{Challenge, Evidence};
use dht_kad::message::{Audit, AuditResults, NodeInfo, Request, Response};
use futures_util::future::BoxFuture;

use crate::context::DhtContext;
use crate::requests::AskError;

impl DhtContext {
    /// Asks one node to prove that it holds what is challenged: one answer a challenge, in their
    /// order. Every challenge needs a nonce of its own that nobody could know before.
    ///
    /// # Errors
    /// [`AskError`]; more than [`CHALLENGES_MAX`](dht_kad::message::audit::CHALLENGES_MAX) challenges
    /// at once do not fit.
    pub fn audit<'a>(
        &'a self,
        node: &'a NodeInfo,
        challenges: Vec<Challenge>,
    ) -> BoxFuture<'a, Result<Vec<Evidence>, AskError>> {
        Box::pin(async move {
            let asked = challenges.len();
            let audit = Audit { challenges };
            if node.id == self.node_id() {
                return Ok(self.inner.server.show(audit).await.evidence);
            }
            match self.inner.requests.ask(node, &Request::Audit(audit)).await? {
                Response::AuditResults(AuditResults { evidence }) if evidence.len() == asked => {
                    Ok(evidence)
                }
                _ => Err(AskError::WrongAnswer(node.id)),
            }
        })
    }
}
