//! What a profile keeps of a write: rows, and how they are written as bytes.

use bytes::Bytes;
use dht_context::operations::Attempts;
use dht_context::{Delete, Put};
use dht_kad::record::{Retention, Space};
use dht_kad::{ErrorNumber, Key, NetworkName, UnixMs, domain};
use serde::{Deserialize, Serialize};

use super::errand::Errand;
use super::{Author, Change, QueuedWrite, Write, WriteId, WriteKind, WriteState};
use crate::profile::TableFault;

/// What a damaged row is called.
pub(super) const WHAT: &str = "the write queue";

/// Bytes of what names a slot: key, publisher, slot.
pub(super) const PLACE_LEN: usize = 32 + 32 + 8;

/// A waiting write, as it was given; it never changes.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) about: About,
    space: u8,
    retention: u8,
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
    quorum: Option<u32>,
    first_version: bool,
}

/// What outlives a write in the queue's listing.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) author: Author,
    pub(super) deletes: bool,
    pub(super) label: [u8; 32],
    pub(super) slot: u64,
    pub(super) bytes: u64,
    pub(super) enqueued_at: u64,
    /// Until when its delivery is tried.
    pub(super) deadline: u64,
    /// Names the slot: key, publisher, slot.
    #[serde(with = "serde_bytes")]
    pub(super) place: Vec<u8>,
    /// What is to be brought, if it is no value that was given.
    pub(super) errand: Option<Errand>,
}

/// How far the delivery of a waiting write is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The version that it is based on.
    pub(super) based_on: Option<u64>,
    /// Whether its writer said so: then what a write before it has become is no base either.
    pub(super) is_base_given: bool,
    /// Deliveries that failed.
    pub(super) attempts: u32,
    /// When it is due; nothing while another of its slot comes first.
    pub(super) next_at: Option<u64>,
    pub(super) last_error: Option<String>,
    /// Versions that were signed for it.
    pub(super) own_seqs: Vec<u64>,
    /// The work that nodes have asked for.
    pub(super) work_bits: u32,
    /// The process that delivers it as long as it runs; 0 if any may.
    pub(super) owner: u64,
}

/// A write that is no longer waiting.
#[derive(Serialize, Deserialize)]
pub(super) struct Finished {
    pub(super) about: About,
    pub(super) end: End,
}

/// How a write ended. Kept in profiles: what is added goes to the end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum End {
    Done { seq: u64, stored: u32, targets: u32 },
    Conflict { stored: u64 },
    Refused { number: u8, reason: String },
    Expired,
    Dropped,
}

impl Row {
    /// The row of a new write by this publisher.
    pub(super) fn new(
        write: Write,
        publisher: &[u8; 32],
        network: &NetworkName,
        now: UnixMs,
    ) -> (Row, Progress) {
        let Write { author, change } = write;
        let (put, deletes) = match change {
            Change::Put(put) => (put, false),
            // A tombstone matters as long as what it ends may be kept.
            Change::Delete(delete) => (end_of(delete), true),
        };
        let content = put.space == Space::Content;
        let (label, slot) = if content { ([0; 32], 0) } else { (put.label, put.slot) };
        let (key, publisher) = match put.space {
            Space::Owned => (domain::owned_key(network, publisher, &label), *publisher),
            Space::Topic => (domain::topic_key(network, &label), *publisher),
            Space::Content => {
                (domain::content_key(network, &domain::body_hash(&put.body)), [0; 32])
            }
        };
        let Key(key) = key;
        let about = About {
            author,
            deletes,
            label,
            slot,
            bytes: put.body.len() as u64,
            enqueued_at: now.0,
            deadline: now.after(put.retention.lifetime_ms()).0,
            place: [&key[..], &publisher, &slot.to_be_bytes()].concat(),
            errand: None,
        };
        let row = Row {
            about,
            space: put.space as u8,
            retention: put.retention as u8,
            body: put.body.into(),
            quorum: put.quorum.map(|quorum| u32::try_from(quorum).unwrap_or(u32::MAX)),
            first_version: put.first_version,
        };
        let (based_on, is_base_given) = (put.expected_seq, put.expected_seq.is_some());
        (row, Progress { based_on, is_base_given, ..Progress::default() })
    }

    /// The row of an errand. It is tried for as long as what it brings would be kept.
    pub(super) fn of_errand(errand: Errand, now: UnixMs) -> Row {
        let retention = Retention::Days365;
        let about = About {
            author: Author::Identity,
            deletes: false,
            label: [0; 32],
            slot: 0,
            bytes: 0,
            enqueued_at: now.0,
            deadline: now.after(retention.lifetime_ms()).0,
            place: errand.place(),
            errand: Some(errand),
        };
        Row {
            about,
            space: Space::Owned as u8,
            retention: retention as u8,
            body: Vec::new(),
            quorum: None,
            first_version: false,
        }
    }

    /// What is to be done, based on what it is based on by now.
    pub(super) fn change(&self, progress: &Progress) -> Result<Change, TableFault> {
        let spaces = [Space::Owned, Space::Topic, Space::Content];
        let space = spaces.into_iter().find(|space| *space as u8 == self.space);
        let retention = Retention::ALL.into_iter().find(|class| *class as u8 == self.retention);
        let (Some(space), Some(retention)) = (space, retention) else {
            return Err(TableFault::Damaged(WHAT));
        };
        let (label, slot, expected_seq) = (self.about.label, self.about.slot, progress.based_on);
        let quorum = self.quorum.and_then(|quorum| usize::try_from(quorum).ok());
        if self.about.deletes {
            return Ok(Change::Delete(Delete { space, label, slot, expected_seq, quorum }));
        }
        Ok(Change::Put(Put {
            space,
            label,
            slot,
            retention,
            body: Bytes::from(self.body.clone()),
            expected_seq,
            quorum,
            first_version: self.first_version && progress.based_on.is_none(),
        }))
    }

    pub(super) fn quorum(&self) -> Option<usize> {
        self.quorum.and_then(|quorum| usize::try_from(quorum).ok())
    }
}

/// A delete, as far as it looks like a put.
fn end_of(delete: Delete) -> Put {
    Put {
        space: delete.space,
        slot: delete.slot,
        retention: Retention::Days365,
        expected_seq: delete.expected_seq,
        quorum: delete.quorum,
        ..Put::owned(delete.label, Bytes::new())
    }
}

impl Progress {
    pub(super) fn earlier(&self) -> Attempts {
        Attempts { seqs: self.own_seqs.clone(), work_bits: self.work_bits }
    }

    pub(super) fn state(self) -> WriteState {
        WriteState::Waiting {
            attempts: self.attempts,
            next_at: self.next_at.map(UnixMs),
            last_error: self.last_error,
        }
    }
}

impl From<End> for WriteState {
    fn from(end: End) -> Self {
        match end {
            End::Done { seq, stored, targets } => WriteState::Done { seq, stored, targets },
            End::Conflict { stored } => WriteState::Conflict { stored },
            End::Refused { number, reason } => WriteState::Refused {
                number: ErrorNumber::from_u8(number).unwrap_or(ErrorNumber::Internal),
                reason,
            },
            End::Expired => WriteState::Expired,
            End::Dropped => WriteState::Dropped,
        }
    }
}

impl About {
    pub(super) fn listed(self, id: u64, state: WriteState) -> QueuedWrite {
        let kind = match &self.errand {
            Some(errand) => errand.kind(),
            None if self.deletes => WriteKind::Delete,
            None => WriteKind::Put,
        };
        QueuedWrite {
            id: WriteId(id),
            kind,
            label: self.label,
            slot: self.slot,
            bytes: self.bytes,
            enqueued_at: UnixMs(self.enqueued_at),
            state,
        }
    }
}
