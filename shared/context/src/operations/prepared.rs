//! A write in two steps: sign, and send. For a writer that has to outlast its process: it notes what
//! it is about to send before anything of it can have arrived, and sends the same again later.
//!
//! ```text
//! prepare_put, prepare_delete ─▶ Prepared (noted by the writer) ─▶ send_prepared ─▶ as put_record
//!          ▲                                                            │
//!          └── Attempts: what was signed before, the work asked for ◀───┘ refused
//! ```

use futures_util::future::BoxFuture;
use std::sync::Arc;

use dht_kad::ValidRecord;
use dht_kad::lookup::AnsweredNode;
use dht_kad::put::PutOutcome;
use dht_kad::record::RecordSigner;

use super::put::{Delete, Put, PutError};
use super::version::{Expected, Wanted};
use super::work::{Work, sign_in_steps};
use crate::context::{DhtContext, Inner};

/// What earlier attempts of the same write have come to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attempts {
    /// The versions that were signed, and may be on some nodes: to meet one of these is no conflict.
    pub seqs: Vec<u64>,
    /// The work that nodes have asked for.
    pub work_bits: u32,
}

/// A signed version that is yet to be sent.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What was signed.
    pub record: ValidRecord,
    /// Where it belongs, as it was when it was signed.
    found: Option<Vec<AnsweredNode>>,
}

impl Prepared {
    /// One that was signed some time ago; where it belongs now is looked up.
    #[must_use]
    pub const fn resumed(record: ValidRecord) -> Self {
        Prepared { record, found: None }
    }
}

impl DhtContext {
    /// Reads what is in the slot, and signs what supersedes it. Nothing is sent.
    ///
    /// # Errors
    /// [`PutError`].
    pub fn prepare_put<'a>(
        &'a self,
        signer: &'a dyn RecordSigner,
        put: Put,
        earlier: &'a Attempts,
    ) -> BoxFuture<'a, Result<Prepared, PutError>> {
        Box::pin(async move { self.inner.prepare(signer, put.into(), earlier).await })
    }

    /// Reads what is in the slot, and signs its tombstone. Nothing is sent.
    ///
    /// # Errors
    /// [`PutError`]; nothing there to delete is one.
    pub fn prepare_delete<'a>(
        &'a self,
        signer: &'a dyn RecordSigner,
        delete: Delete,
        earlier: &'a Attempts,
    ) -> BoxFuture<'a, Result<Prepared, PutError>> {
        Box::pin(async move { self.inner.prepare(signer, delete.try_into()?, earlier).await })
    }

    /// Stores a prepared version: once more if need be, since the same content again is a success.
    ///
    /// # Errors
    /// [`PutError`]; a refusal is not acted on here.
    pub fn send_prepared<'a>(
        &'a self,
        prepared: Prepared,
        expected_seq: Option<u64>,
        quorum: Option<usize>,
        earlier: &'a Attempts,
    ) -> BoxFuture<'a, Result<PutOutcome, PutError>> {
        Box::pin(async move {
            let Prepared { record, found } = prepared;
            let found = match found {
                Some(found) => found,
                None => self.inner.responsible_servers(&record.id().key).await,
            };
            let expected = Expected { seq: expected_seq, own_attempts: earlier.seqs.clone() };
            self.inner.store_on(&found, &record, &expected, quorum).await
        })
    }
}

impl Inner {
    async fn prepare(
        self: &Arc<Self>,
        signer: &dyn RecordSigner,
        wanted: Wanted,
        earlier: &Attempts,
    ) -> Result<Prepared, PutError> {
        let network = &self.config.network;
        let id = wanted.id(network, signer.publisher());
        let again = !earlier.seqs.is_empty();
        let found = self.responsible_servers(&id.key).await;
        let predecessor = match again || !wanted.first_version {
            true => self.predecessor(&found, &id, again).await?,
            false => None,
        };
        let expected = Expected { seq: wanted.expected_seq, own_attempts: earlier.seqs.clone() };
        let draft = self.draft(&wanted, predecessor, &expected, earlier.work_bits)?;
        let record = sign_in_steps(&draft, signer, network, Work::default()).await?;
        Ok(Prepared { record, found: Some(found) })
    }
}
