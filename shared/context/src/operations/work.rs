//! Proof of work, done in steps between which others are served.
//!
//! Who writes to a topic that is open to everyone shows work, so that a flood has a price. A second of
//! it in one go would hold up all connections of a node that has one thread.

use dht_kad::record::{DraftError, DraftWork, RecordDraft, RecordSigner};
use dht_kad::{NetworkName, ValidRecord};
use futures_util::future::BoxFuture;

use super::put::{Put, PutError, PutReport};
use crate::context::DhtContext;

/// Nonces that are tried before others get their turn: about half a millisecond.
const STEP_NONCES: u64 = 1_024;

/// How much work a record shows, whatever the network asks for.
#[derive(Clone, Copy, Default)]
pub struct Work<'a> {
    /// Leading zero bits; more if nodes ask for more.
    pub bits: u32,
    /// Is told after every step how many nonces were tried so far; on average 2 to the power of `bits`
    /// have to be.
    pub progress: Option<&'a (dyn Fn(u64) + Send + Sync)>,
}

impl DhtContext {
    /// Signs a value that shows work, and puts it. It may be dropped at any moment; the work is lost
    /// then, and nothing else.
    ///
    /// # Errors
    /// [`PutError`].
    pub fn put_working<'a>(
        &'a self,
        signer: &'a dyn RecordSigner,
        put: Put,
        work: Work<'a>,
    ) -> BoxFuture<'a, Result<PutReport, PutError>> {
        Box::pin(async move { self.inner.put(signer, put, work).await })
    }
}

/// Does the work that a draft asks for, step by step, and signs it.
pub(super) async fn sign_in_steps(
    draft: &RecordDraft,
    signer: &dyn RecordSigner,
    network: &NetworkName,
    work: Work<'_>,
) -> Result<ValidRecord, DraftError> {
    let mut begun: DraftWork = draft.begin(&signer.publisher(), network)?;
    while !begun.step(STEP_NONCES) {
        if let Some(progress) = work.progress {
            progress(begun.tried());
        }
        tokio::task::yield_now().await;
    }
    begun.sign(signer)
}
