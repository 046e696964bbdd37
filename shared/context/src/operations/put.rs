//! Putting and deleting: read what is there, sign what supersedes it, store it on a majority.
//!
//! ```text
//! closest servers T ─▶ heads of the slot (unless it is known to be new) ─▶ sign ─▶ Store to each of T
//!        ▲                                                                            │
//!        └────────── read again and sign again ◀── SeqTooLow, GuardTooShort, … ◀──────┘
//! ```
//!
//! The put succeeds when a majority of T, or as many as were asked for, have it on stable storage.
//! What is then under way to the rest of T goes on in the background, and a stop lets it end.

use futures_util::future::BoxFuture;
use std::sync::Arc;

use bytes::Bytes;
use dht_kad::put::{PutOutcome, PutPlanError};
use dht_kad::record::{DraftError, Kind, RecordSigner, Retention, Space};
use dht_kad::{ErrorNumber, Refusal, ValidRecord};
use thiserror::Error;

use super::version::{Expected, Wanted};
use super::work::{Work, sign_in_steps};
use crate::context::{DhtContext, Inner};

/// How often a put is signed again because another writer came first. Each time costs two round
/// trips; who loses so often meets a writer that never rests.
const ATTEMPTS_MAX: u32 = 6;

/// What to put.
#[derive(Clone, Debug)]
pub struct Put {
    /// How the key follows.
    pub space: Space,
    /// The hash of the application's own name for it; ignored in the `Content` space.
    pub label: [u8; 32],
    /// Which of the publisher's records there; ignored in the `Content` space.
    pub slot: u64,
    /// The class of lifetime.
    pub retention: Retention,
    /// The value, at most 64 KiB.
    pub body: Bytes,
    /// Compare and swap: only if this version is the newest, 0 meaning none.
    pub expected_seq: Option<u64>,
    /// How many acknowledgements are needed; a majority of T if absent.
    pub quorum: Option<usize>,
    /// The slot is known never to have been used: what is there is not read first.
    pub first_version: bool,
}

impl Put {
    /// A value under the publisher's own label, in slot 0, for 7 days.
    #[must_use]
    pub fn owned(label: [u8; 32], body: Bytes) -> Self {
        Put {
            space: Space::Owned,
            label,
            slot: 0,
            retention: Retention::Days7,
            body,
            expected_seq: None,
            quorum: None,
            first_version: false,
        }
    }
}

/// What to delete.
#[derive(Clone, Copy, Debug)]
pub struct Delete {
    /// `Owned` or `Topic`; content cannot be deleted, it expires.
    pub space: Space,
    /// The hash of the application's own name for it.
    pub label: [u8; 32],
    /// Which of the publisher's records there.
    pub slot: u64,
    /// Compare and swap: only if this version is the newest.
    pub expected_seq: Option<u64>,
    /// How many acknowledgements are needed; a majority of T if absent.
    pub quorum: Option<usize>,
}

impl Delete {
    /// What [`Put::owned`] put: slot 0 under the publisher's own label, whichever version is there.
    #[must_use]
    pub fn owned(label: [u8; 32]) -> Self {
        Delete { space: Space::Owned, label, slot: 0, expected_seq: None, quorum: None }
    }
}

/// A put that succeeded.
#[derive(Clone, Debug)]
pub struct PutReport {
    /// What was signed.
    pub record: ValidRecord,
    /// Who of T did what.
    pub outcome: PutOutcome,
}

/// A put or delete that did not succeed. What a minority stored may still be found.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutError {
    /// The draft breaks a rule.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// There is no point in sending it now.
    #[error(transparent)]
    Plan(#[from] PutPlanError),
    /// No server was found.
    #[error("no node answers; check the bootstrap peers and this machine's network")]
    NoPeers,
    /// Nodes refused it, and signing anew does not help.
    #[error("{refusal} (refused by {refused} of {targets} nodes)")]
    Refused {
        /// What the writer should act on first.
        refusal: Refusal,
        /// How many refused.
        refused: usize,
        /// How many were asked.
        targets: usize,
    },
    /// The newest version is not the one that the writer expected. Nothing was sent.
    #[error("{}, not the one you expected; read it, decide and try again", version_stored(*stored))]
    UnexpectedSeq {
        /// The newest version's number; 0 if nothing is stored.
        stored: u64,
    },
    /// Too few acknowledged in time.
    #[error("{stored} of {targets} nodes acknowledged, {quorum} are needed; try again")]
    QuorumNotReached {
        /// How many have it on stable storage.
        stored: usize,
        /// How many are needed.
        quorum: usize,
        /// How many were asked.
        targets: usize,
    },
    /// There is nothing to delete.
    #[error("nothing is stored there to delete; check label and slot")]
    NothingToDelete,
    /// A batch goes to one key.
    #[error("the records of a batch lie at different keys; put those of each key together")]
    KeysDiffer,
    /// Content is immutable.
    #[error("content cannot be deleted; it ends with its retention")]
    ContentStays,
}

/// The newest version, for a sentence.
fn version_stored(seq: u64) -> String {
    match seq {
        0 => "no version is stored".to_owned(),
        _ => format!("version {seq} is stored"),
    }
}

impl PutError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            PutError::Draft(DraftError::TooMuchWork(_)) => ErrorNumber::WorkTooLow,
            PutError::Draft(DraftError::Malformed(fault)) => Refusal::from(*fault).number(),
            PutError::Draft(_) => ErrorNumber::MalformedRecord,
            PutError::Plan(error) => error.number(),
            PutError::NoPeers => ErrorNumber::NoPeers,
            PutError::Refused { refusal, .. } => refusal.number(),
            PutError::UnexpectedSeq { .. } => ErrorNumber::UnexpectedSeq,
            PutError::QuorumNotReached { .. } => ErrorNumber::QuorumNotReached,
            PutError::NothingToDelete => ErrorNumber::NotFound,
            PutError::ContentStays | PutError::KeysDiffer => ErrorNumber::Usage,
        }
    }
}

impl DhtContext {
    /// Signs a value and puts it.
    ///
    /// # Errors
    /// [`PutError`].
    pub fn put<'a>(
        &'a self,
        signer: &'a dyn RecordSigner,
        put: Put,
    ) -> BoxFuture<'a, Result<PutReport, PutError>> {
        Box::pin(async move { self.inner.put(signer, put, Work::default()).await })
    }

    /// Signs a tombstone over what is in a slot, and puts it.
    ///
    /// # Errors
    /// [`PutError`]; nothing there to delete is one.
    pub fn delete<'a>(
        &'a self,
        signer: &'a dyn RecordSigner,
        delete: Delete,
    ) -> BoxFuture<'a, Result<PutReport, PutError>> {
        Box::pin(async move { self.inner.write(signer, delete.try_into()?, Work::default()).await })
    }

    /// Puts a record that is signed already, unchanged.
    ///
    /// # Errors
    /// [`PutError`]; a refusal is not acted on here.
    pub fn put_record<'a>(
        &'a self,
        record: &'a ValidRecord,
        expected_seq: Option<u64>,
        quorum: Option<usize>,
    ) -> BoxFuture<'a, Result<PutOutcome, PutError>> {
        Box::pin(async move {
            let found = self.inner.responsible_servers(&record.id().key).await;
            let expected = Expected { seq: expected_seq, own_attempts: Vec::new() };
            self.inner.store_on(&found, record, &expected, quorum).await
        })
    }
}

impl Inner {
    pub(super) async fn put(
        self: &Arc<Self>,
        signer: &dyn RecordSigner,
        put: Put,
        work: Work<'_>,
    ) -> Result<PutReport, PutError> {
        self.write(signer, put.into(), work).await
    }

    async fn write(
        self: &Arc<Self>,
        signer: &dyn RecordSigner,
        wanted: Wanted,
        work: Work<'_>,
    ) -> Result<PutReport, PutError> {
        let publisher = signer.publisher();
        let network = self.config.network.clone();
        let id = wanted.id(&network, publisher);
        let mut reread = !wanted.first_version;
        let mut work_bits = work.bits;
        let mut attempt = 0;
        let mut expected = Expected { seq: wanted.expected_seq, own_attempts: Vec::new() };
        loop {
            attempt += 1;
            let found = self.responsible_servers(&id.key).await;
            let predecessor = match reread {
                true => self.predecessor(&found, &id, attempt > 1).await?,
                false => None,
            };
            let draft = self.draft(&wanted, predecessor, &expected, work_bits)?;
            let record = sign_in_steps(&draft, signer, &network, work).await?;
            let error = match self.store_on(&found, &record, &expected, wanted.quorum).await {
                Ok(outcome) => return Ok(PutReport { record, outcome }),
                Err(error) => error,
            };
            expected.own_attempts.push(record.seq());
            let PutError::Refused { refusal, .. } = &error else { return Err(error) };
            match refusal {
                _ if attempt >= ATTEMPTS_MAX => return Err(error),
                Refusal::SeqTooLow { .. } | Refusal::SeqConflict
                    if wanted.expected_seq.is_none() =>
                {
                    reread = true;
                }
                Refusal::GuardTooShort { .. } => reread = true,
                Refusal::WorkTooLow { needed } if *needed > work_bits => {
                    work_bits = *needed;
                    // Some may have taken this attempt: the next has to supersede it there.
                    reread = wanted.space != Space::Content;
                }
                _ => return Err(error),
            }
            // Two writers of one slot that act in step would meet again and again.
            let timing = &self.config.timing;
            let wait = self.chance.backoff(attempt, timing.slow / 32, timing.slow);
            tokio::time::sleep(wait).await;
        }
    }
}

impl From<Put> for Wanted {
    fn from(put: Put) -> Self {
        let content = put.space == Space::Content;
        Wanted {
            space: put.space,
            kind: Kind::Value,
            label: if content { [0; 32] } else { put.label },
            slot: if content { 0 } else { put.slot },
            retention: Some(put.retention),
            body: put.body,
            expected_seq: put.expected_seq.filter(|_| !content),
            quorum: put.quorum,
            first_version: put.first_version || content,
        }
    }
}

impl TryFrom<Delete> for Wanted {
    type Error = PutError;

    fn try_from(delete: Delete) -> Result<Self, PutError> {
        if delete.space == Space::Content {
            return Err(PutError::ContentStays);
        }
        Ok(Wanted {
            space: delete.space,
            kind: Kind::Tombstone,
            label: delete.label,
            slot: delete.slot,
            retention: None,
            body: Bytes::new(),
            expected_seq: delete.expected_seq,
            quorum: delete.quorum,
            first_version: false,
        })
    }
}
