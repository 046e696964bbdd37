//! Receipts, and the questions by which their promises are checked later.

use serde::{Deserialize, Serialize};

use super::RecordBytes;
use crate::bounded;
use crate::domain::{self, Purpose};
use crate::id::Key;
use crate::network::NetworkName;
use crate::record::{RecordId, ValidRecord};
use crate::time::UnixMs;

/// The most challenges in one request.
pub const CHALLENGES_MAX: usize = 256;
/// The most bytes of records that are read and hashed for one request: some milliseconds of work.
/// What is challenged beyond is answered [`Evidence::Later`].
pub const AUDIT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a receipt's signature.
const SIGNATURE_LEN: usize = 64;

/// A node's promise: the record is on its stable storage and will be served until it expires.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// Until when the body is served; of a tombstone, until when it is kept.
    pub expires_at: UnixMs,
    /// When the node had it on stable storage, by its clock.
    pub accepted_at: UnixMs,
    /// The node's Ed25519 public key, whose hash is its name, so that the receipt can be checked by
    /// whoever is shown it.
    #[serde(with = "serde_bytes")]
    pub node_key: [u8; 32],
    /// The node's Ed25519 signature over [`Receipt::message`].
    #[serde(with = "serde_bytes")]
    pub signature: [u8; SIGNATURE_LEN],
}

impl Receipt {
    /// What a node signs: network, record id, seq, digest, `expires_at`, `accepted_at`.
    #[must_use]
    pub fn message(
        network: &NetworkName,
        record: &ValidRecord,
        expires_at: UnixMs,
        accepted_at: UnixMs,
    ) -> Vec<u8> {
        let mut message = domain::prefix(Purpose::Receipt, network, 128);
        message.extend_from_slice(&crate::admission::row_key(record.id()));
        message.extend_from_slice(&record.seq().to_be_bytes());
        message.extend_from_slice(record.digest());
        message.extend_from_slice(&expires_at.0.to_be_bytes());
        message.extend_from_slice(&accepted_at.0.to_be_bytes());
        message
    }
}

/// One record that a node has given a receipt for, and a number that it could not know before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Challenge {
    /// The slot's key.
    pub key: Key,
    /// The slot's publisher; zeros in the `Content` space.
    #[serde(with = "serde_bytes")]
    pub publisher: [u8; 32],
    /// The slot's number.
    pub slot: u64,
    /// Made anew for each challenge.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 32],
}

/// Prove that you hold these.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Audit {
    /// At most [`CHALLENGES_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, CHALLENGES_MAX>")]
    pub challenges: Vec<Challenge>,
}

/// What a node shows of one record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Evidence {
    /// It holds a record there: its head, and [`proof`] of the whole record under the nonce.
    Holds {
        /// The head, which verifies alone, so that a newer version is told from the one asked about.
        head: RecordBytes,
        /// See [`proof`]; of the head alone where the body has expired or there is none.
        #[serde(with = "serde_bytes")]
        proof: [u8; 32],
    },
    /// It holds nothing there, or what it held has ended.
    Nothing,
    /// It cannot say at present, or not in this answer; ask again.
    Later,
}

/// The answer to [`Audit`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditResults {
    /// One a challenge, in their order; with at most [`PAGE_BYTES`](super::PAGE_BYTES) of heads.
    #[serde(deserialize_with = "bounded::list::<_, _, CHALLENGES_MAX>")]
    pub evidence: Vec<Evidence>,
}

impl Challenge {
    /// Asks for what is in a slot, under this nonce.
    #[must_use]
    pub fn new(id: &RecordId, nonce: [u8; 32]) -> Self {
        Challenge { key: id.key, publisher: id.publisher, slot: id.slot, nonce }
    }

    /// The slot.
    #[must_use]
    pub fn id(&self) -> RecordId {
        RecordId { key: self.key, publisher: self.publisher, slot: self.slot }
    }
}

/// BLAKE3 of the nonce followed by the record's canonical bytes: only who holds all of them can
/// tell it.
#[must_use]
pub fn proof(nonce: &[u8; 32], record: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(nonce).update(record);
    *hasher.finalize().as_bytes()
}
