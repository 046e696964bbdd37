//! The next version of a slot: what is there, and what to sign so that it supersedes that.

use std::sync::Arc;

use bytes::Bytes;
use dht_kad::domain;
use dht_kad::lookup::AnsweredNode;
use dht_kad::put::quorum_of;
use dht_kad::record::{Kind, Precedence, RecordDraft, Retention, Space};
use dht_kad::routing::K;
use dht_kad::{RecordId, UnixMs, ValidRecord};
use futures_util::future::BoxFuture;

use super::locate::{Holding, Recognised, find_slot};
use super::put::PutError;
use crate::context::Inner;
use crate::requests::AskError;
use crate::walk::gather;

/// Bits of a seq below its counter: the tag of the device that signed it.
const DEVICE_BITS: u32 = 24;

/// A version to be signed: what the writer wants, whatever is there.
pub(super) struct Wanted {
    pub(super) space: Space,
    pub(super) kind: Kind,
    pub(super) label: [u8; 32],
    pub(super) slot: u64,
    pub(super) retention: Option<Retention>,
    pub(super) body: Bytes,
    pub(super) expected_seq: Option<u64>,
    pub(super) quorum: Option<usize>,
    pub(super) first_version: bool,
}

/// Compare and swap: which version is to be replaced.
#[derive(Clone)]
pub(super) struct Expected {
    /// The one that the writer named, 0 meaning none; any if absent.
    pub(super) seq: Option<u64>,
    /// Earlier attempts of the same put, at most [`ATTEMPTS_MAX`], which some nodes may have taken:
    /// to meet one of these is no conflict.
    pub(super) own_attempts: Vec<u64>,
}

/// What was in the slot before.
#[derive(Clone, Copy)]
pub(super) struct Predecessor {
    pub(super) precedence: Precedence,
    pub(super) created_at: UnixMs,
    pub(super) retention: Retention,
    pub(super) deleted: bool,
}

impl Inner {
    /// The newest version in a slot, by the word of a majority of T; or, after a refusal, of all of T
    /// that answer, since whoever knows of a later version may not be in that majority. A refusal's
    /// own numbers are not taken for it: they are not signed.
    pub(super) async fn predecessor(
        self: &Arc<Self>,
        found: &[AnsweredNode],
        id: &RecordId,
        of_all: bool,
    ) -> Result<Option<Predecessor>, PutError> {
        let held = self.heads(found, id, of_all).await?;
        let newest = held.iter().max_by_key(|record| record.precedence());
        Ok(newest.map(|record| {
            let holders = held.iter().filter(|other| other.digest() == record.digest()).count();
            Predecessor {
                precedence: record.precedence(),
                created_at: record.created_at(),
                retention: record.retention(),
                // A tombstone that a minority has is a delete that did not succeed yet.
                deleted: record.kind() == Kind::Tombstone
                    && holders >= quorum_of(found.len().min(K)),
            }
        }))
    }

    /// The heads of a slot that a majority of T, or all of T that answer, hold: one a holder.
    pub(super) async fn heads(
        self: &Arc<Self>,
        found: &[AnsweredNode],
        id: &RecordId,
        of_all: bool,
    ) -> Result<Vec<ValidRecord>, PutError> {
        let needed = quorum_of(found.iter().filter(|node| node.whole).count());
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
                // Empty hands say something only of who is whole.
                answered += usize::from(holding.whole || !holding.records.is_empty());
                held.extend(holding.records.into_iter().next());
            }
            answered >= needed && !of_all
        })
        .await;
        match (answered >= needed, found.len()) {
            (true, _) => Ok(held),
            (false, 0) => Err(PutError::NoPeers),
            (false, targets) => {
                Err(PutError::QuorumNotReached { stored: 0, quorum: needed, targets })
            }
        }
    }

    /// What to sign so that it supersedes the predecessor.
    pub(super) fn draft(
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
}

impl Wanted {
    pub(super) fn id(&self, network: &dht_kad::NetworkName, publisher: [u8; 32]) -> RecordId {
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
