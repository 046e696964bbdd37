//! Putting and deleting: read what is there, sign what supersedes it, store it on a majority.
//!
//! ```text
//! closest servers T ─▶ heads of the slot (unless it is known to be new) ─▶ sign ─▶ Store to each of T
//!        ▲                                                                            │
//!        └────────── read again and sign again ◀── SeqTooLow, GuardTooShort, … ◀──────┘
//! ```
//!
//! The put succeeds when a majority of T, or as many as were asked for, have it on stable storage.
//! The rest of T is still waited for a moment, in the background of the caller's own await.

use std::sync::Arc;

use bytes::Bytes;
use dht_kad::admission::Path;
use dht_kad::domain;
use dht_kad::lookup::AnsweredNode;
use dht_kad::message::{
    Mode, NodeInfo, RecordBytes, Request, Response, Store, StoreItem, StoreResults, Stored,
};
use dht_kad::put::{NodeResult, PutOutcome, PutPlan, PutPlanError, PutProgress};
use dht_kad::record::{DraftError, Kind, Precedence, RecordDraft, Retention, Space};
use dht_kad::routing::K;
use dht_kad::{ErrorNumber, NodeId, RecordId, Refusal, UnixMs, ValidRecord};
use ed25519_dalek::SigningKey;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use thiserror::Error;

use super::locate::{Holding, Recognised, find_slot};
use crate::context::{DhtContext, Inner};
use crate::requests::AskError;
use crate::walk::gather;

/// How often a put is signed again because another writer came first. Each time costs two round
/// trips; who loses so often meets a writer that never rests.
const ATTEMPTS_MAX: u32 = 6;
/// Bits of a seq below its counter: the tag of the device that signed it.
const DEVICE_BITS: u32 = 24;

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
    #[error("version {stored} is stored, not the one you expected; read it, decide and try again")]
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
    /// Content is immutable.
    #[error("content cannot be deleted; it ends with its retention")]
    ContentStays,
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
            PutError::ContentStays => ErrorNumber::Usage,
        }
    }
}

/// A version to be signed: what the writer wants, whatever is there.
struct Wanted {
    space: Space,
    kind: Kind,
    label: [u8; 32],
    slot: u64,
    retention: Option<Retention>,
    body: Bytes,
    expected_seq: Option<u64>,
    quorum: Option<usize>,
    first_version: bool,
}

/// Compare and swap: which version is to be replaced.
#[derive(Clone)]
struct Expected {
    /// The one that the writer named, 0 meaning none; any if absent.
    seq: Option<u64>,
    /// Earlier attempts of the same put, at most [`ATTEMPTS_MAX`], which some nodes may have taken:
    /// to meet one of these is no conflict.
    own_attempts: Vec<u64>,
}

/// What was in the slot before.
#[derive(Clone, Copy)]
struct Predecessor {
    precedence: Precedence,
    created_at: UnixMs,
    retention: Retention,
    deleted: bool,
}

impl DhtContext {
    /// Signs a value and puts it.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn put(&self, identity: &SigningKey, put: Put) -> Result<PutReport, PutError> {
        let content = put.space == Space::Content;
        let wanted = Wanted {
            space: put.space,
            kind: Kind::Value,
            label: if content { [0; 32] } else { put.label },
            slot: if content { 0 } else { put.slot },
            retention: Some(put.retention),
            body: put.body,
            expected_seq: put.expected_seq.filter(|_| !content),
            quorum: put.quorum,
            first_version: put.first_version || content,
        };
        self.inner.write(identity, wanted).await
    }

    /// Signs a tombstone over what is in a slot, and puts it.
    ///
    /// # Errors
    /// [`PutError`]; nothing there to delete is one.
    pub async fn delete(
        &self,
        identity: &SigningKey,
        delete: Delete,
    ) -> Result<PutReport, PutError> {
        if delete.space == Space::Content {
            return Err(PutError::ContentStays);
        }
        let wanted = Wanted {
            space: delete.space,
            kind: Kind::Tombstone,
            label: delete.label,
            slot: delete.slot,
            retention: None,
            body: Bytes::new(),
            expected_seq: delete.expected_seq,
            quorum: delete.quorum,
            first_version: false,
        };
        self.inner.write(identity, wanted).await
    }

    /// Puts a record that is signed already, unchanged.
    ///
    /// # Errors
    /// [`PutError`]; a refusal is not acted on here.
    pub async fn put_record(
        &self,
        record: &ValidRecord,
        expected_seq: Option<u64>,
        quorum: Option<usize>,
    ) -> Result<PutOutcome, PutError> {
        let found = self.inner.closest_servers(&record.id().key).await;
        let expected = Expected { seq: expected_seq, own_attempts: Vec::new() };
        self.inner.store_on(&found, record, &expected, quorum).await
    }
}

impl Inner {
    async fn write(
        self: &Arc<Self>,
        identity: &SigningKey,
        wanted: Wanted,
    ) -> Result<PutReport, PutError> {
        let publisher = *identity.verifying_key().as_bytes();
        let network = self.config.network.clone();
        let id = wanted.id(&network, publisher);
        let mut reread = !wanted.first_version;
        let mut work_bits = 0;
        let mut attempt = 0;
        let mut expected = Expected { seq: wanted.expected_seq, own_attempts: Vec::new() };
        loop {
            attempt += 1;
            let found = self.closest_servers(&id.key).await;
            let predecessor = match reread {
                true => self.predecessor(&found, &id, attempt > 1).await?,
                false => None,
            };
            let draft = self.draft(&wanted, predecessor, &expected, work_bits)?;
            let record = draft.sign(identity, &network)?;
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

    /// The newest version in a slot, by the word of a majority of T; or, after a refusal, of all of T
    /// that answer, since whoever knows of a later version may not be in that majority. A refusal's
    /// own numbers are not taken for it: they are not signed.
    async fn predecessor(
        self: &Arc<Self>,
        found: &[AnsweredNode],
        id: &RecordId,
        of_all: bool,
    ) -> Result<Option<Predecessor>, PutError> {
        let needed = dht_kad::put::quorum_of(found.len());
        let recognised = Arc::new(Recognised::default());
        let asked = found.iter().map(|node| -> BoxFuture<'static, Result<Holding, AskError>> {
            let find = find_slot(id, true, false);
            let holding =
                Arc::clone(self).holding(node.info.clone(), find, recognised.clone(), true);
            Box::pin(holding)
        });
        let mut answered = 0;
        let mut held: Vec<ValidRecord> = Vec::with_capacity(found.len());
        gather(asked, |answer| {
            if let Ok(holding) = answer {
                answered += 1;
                held.extend(holding.records.into_iter().next());
            }
            answered >= needed && !of_all
        })
        .await;
        if answered < needed {
            return match found.len() {
                0 => Err(PutError::NoPeers),
                targets => Err(PutError::QuorumNotReached { stored: 0, quorum: needed, targets }),
            };
        }
        let newest = held.iter().max_by_key(|record| record.precedence());
        Ok(newest.map(|record| {
            let holders = held.iter().filter(|other| other.digest() == record.digest()).count();
            Predecessor {
                precedence: record.precedence(),
                created_at: record.created_at(),
                retention: record.retention(),
                // A tombstone that a minority has is a delete that did not succeed yet.
                deleted: record.kind() == Kind::Tombstone && holders >= needed,
            }
        }))
    }

    /// What to sign so that it supersedes the predecessor.
    fn draft(
        &self,
        wanted: &Wanted,
        predecessor: Option<Predecessor>,
        expected: &Expected,
        work_bits: u32,
    ) -> Result<RecordDraft, PutError> {
        let stored = predecessor.map_or(0, |before| before.precedence.seq);
        let own_attempt = expected.own_attempts.contains(&stored);
        if expected.seq.is_some_and(|seq| seq != stored) && !own_attempt && !wanted.first_version {
            return Err(PutError::UnexpectedSeq { stored });
        }
        let nothing_there = predecessor.is_none_or(|before| before.deleted && !own_attempt);
        if wanted.kind == Kind::Tombstone && nothing_there {
            return Err(PutError::NothingToDelete);
        }
        let now = self.clock.now();
        let content = wanted.space == Space::Content;
        let created_at = predecessor.map_or(now, |before| now.max(before.created_at.after(1)));
        let retention = wanted
            .retention
            .or(predecessor.map(|before| before.retention))
            .unwrap_or(Retention::Days7);
        Ok(RecordDraft {
            space: wanted.space,
            kind: wanted.kind,
            retention,
            label: wanted.label,
            slot: wanted.slot,
            seq: if content { 0 } else { self.next_seq(stored) },
            created_at,
            guard_until: predecessor.map_or(UnixMs(0), |before| before.precedence.keep_until),
            work_bits,
            ext: Bytes::new(),
            body: wanted.body.clone(),
        })
    }

    /// A counter, then the device's tag: two devices that write the same next version differ.
    fn next_seq(&self, stored: u64) -> u64 {
        let counter = (stored >> DEVICE_BITS).saturating_add(1);
        (counter << DEVICE_BITS) | u64::from(self.device_tag)
    }

    /// Stores a record on T, and waits until it is known whether enough have it.
    async fn store_on(
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
        if outcome.reached() {
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
                    match <[Result<Stored, Refusal>; 1]>::try_from(results) {
                        Ok([result]) => result,
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

impl Wanted {
    fn id(&self, network: &dht_kad::NetworkName, publisher: [u8; 32]) -> RecordId {
        let (slot, label) = (self.slot, &self.label);
        match self.space {
            Space::Owned => {
                RecordId { key: domain::owned_key(network, &publisher, label), publisher, slot }
            }
            Space::Topic => RecordId { key: domain::topic_key(network, label), publisher, slot },
            Space::Content => {
                let body_hash = domain::body_hash(&self.body);
                let key = domain::content_key(network, &body_hash);
                RecordId { key, publisher: [0; 32], slot: 0 }
            }
        }
    }
}
