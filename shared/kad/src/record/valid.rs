//! [`ValidRecord`]: a record whose body and signature are right in one network.

use std::ops::Deref;

use bytes::Bytes;
use thiserror::Error;

use super::layout::Space;
use super::parsed::{MalformedRecord, ParsedRecord};
use super::precedence::Precedence;
use crate::domain::{self, Purpose};
use crate::id::Key;
use crate::network::NetworkName;
use crate::signature::{SignatureCheck, SignatureError};

/// What names a slot in the whole network: the unit that versions replace each other in.
///
/// A content record's identity is its key alone: publisher and slot are zero here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RecordId {
    /// The place in the keyspace.
    pub key: Key,
    /// The publisher's Ed25519 public key.
    pub publisher: [u8; 32],
    /// The publisher's slot at this key.
    pub slot: u64,
}

/// A record's proof does not hold.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureFault {
    /// The publisher is not a usable Ed25519 public key.
    #[error("the publisher is not an Ed25519 public key; sign with a real identity")]
    NotAKey,
    /// The signature is not the publisher's over this content in this network.
    #[error(
        "the signature does not fit publisher, content and network; sign it anew in this network"
    )]
    WrongSignature,
    /// The body is not the one that was signed.
    #[error("the body is not the one that was signed; send the record as its publisher made it")]
    WrongBody,
}

/// A record, or a head alone, that its publisher signed in this network. Only this can be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValidRecord {
    record: ParsedRecord,
    id: RecordId,
    digest: [u8; 32],
    work_bits: u32,
}

impl ParsedRecord {
    /// Checks body and signature ([strictly](crate::signature), which also refuses keys of small order).
    ///
    /// This is the expensive check; do it last, and once.
    ///
    /// # Errors
    /// [`SignatureFault`] says which proof failed.
    pub fn verify(self, network: &NetworkName) -> Result<ValidRecord, SignatureFault> {
        self.verify_next(network, &mut SignatureCheck::default())
    }

    /// As [`verify`](Self::verify), one record of many: it takes less time where they are one publisher's.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_next(
        self,
        network: &NetworkName,
        check: &mut SignatureCheck,
    ) -> Result<ValidRecord, SignatureFault> {
        self.check_body()?;
        let message = signed_message(network, self.signed_bytes());
        match check.check(self.publisher(), &message, self.signature()) {
            Ok(()) => Ok(ValidRecord::identify(self, network)),
            Err(SignatureError::NotAKey) => Err(SignatureFault::NotAKey),
            Err(SignatureError::Wrong) => Err(SignatureFault::WrongSignature),
        }
    }

    /// That the body, if it is here, is the one whose hash the head has.
    fn check_body(&self) -> Result<(), SignatureFault> {
        match self.body() {
            Some(body) if blake3::hash(&body).as_bytes() != self.body_hash() => {
                Err(SignatureFault::WrongBody)
            }
            _ => Ok(()),
        }
    }

    /// Takes the record for valid without checking its proof.
    ///
    /// For bytes that were verified before and whose integrity something else vouches for: what
    /// this node's own store reads back from its own disk, under the store's checksums. Never for
    /// anything that came from a peer.
    #[must_use]
    pub fn trust_own_store(self, network: &NetworkName) -> ValidRecord {
        ValidRecord::identify(self, network)
    }

    /// What the record would be named if its proof holds.
    #[must_use]
    pub fn claimed_id(&self, network: &NetworkName) -> RecordId {
        let (publisher, slot) = match self.space() {
            Space::Content => ([0; 32], 0),
            Space::Owned | Space::Topic => (*self.publisher(), self.slot()),
        };
        let key = match self.space() {
            Space::Owned => domain::owned_key(network, self.publisher(), self.label()),
            Space::Topic => domain::topic_key(network, self.label()),
            Space::Content => domain::content_key(network, self.body_hash()),
        };
        RecordId { key, publisher, slot }
    }

    /// How many leading zero bits the proof of work has, 0 to 256.
    fn work_bits(&self, network: &NetworkName) -> u32 {
        work_bits(network, self.signed_bytes())
    }
}

impl ValidRecord {
    fn identify(record: ParsedRecord, network: &NetworkName) -> Self {
        let id = record.claimed_id(network);
        let digest = domain::derive(Purpose::RecordDigest, network, &[record.signed_bytes()]);
        let work_bits = match record.fields.work {
            0 => 0,
            _ => record.work_bits(network),
        };
        ValidRecord { record, id, digest, work_bits }
    }

    /// Reads a record back from this node's own store: see [`ParsedRecord::trust_own_store`].
    ///
    /// # Errors
    /// [`MalformedRecord`] if the bytes are not a record: the store is damaged.
    pub fn from_own_store(bytes: Bytes, network: &NetworkName) -> Result<Self, MalformedRecord> {
        Ok(ParsedRecord::parse(bytes)?.trust_own_store(network))
    }

    /// The slot that it is a version of.
    #[must_use]
    pub fn id(&self) -> &RecordId {
        &self.id
    }

    /// BLAKE3 of the signed content, without the signature.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The leading zero bits of work that it shows; 0 where its nonce is 0, as none was done.
    #[must_use]
    pub fn work_bits(&self) -> u32 {
        self.work_bits
    }

    /// Its place in the total order of versions.
    #[must_use]
    pub fn precedence(&self) -> Precedence {
        Precedence { keep_until: self.keep_until(), seq: self.seq(), digest: self.digest }
    }

    /// The version that `whole` carries, if that is this one: its head is the same bytes, so that its signature
    /// was checked with this one's, and only the body is left to check.
    ///
    /// # Errors
    /// [`SignatureFault`]: the body is another one, or the head is.
    pub fn with_body_of(&self, whole: ParsedRecord) -> Result<Self, SignatureFault> {
        if whole.head_bytes() != self.head_bytes() {
            return Err(SignatureFault::WrongSignature);
        }
        whole.check_body()?;
        Ok(ValidRecord { record: whole, ..self.clone() })
    }

    /// The same version without its body.
    #[must_use]
    pub fn head_only(&self) -> Self {
        ValidRecord { record: self.record.without_body(), ..self.clone() }
    }
}

impl Deref for ValidRecord {
    type Target = ParsedRecord;

    fn deref(&self) -> &ParsedRecord {
        &self.record
    }
}

/// The message that a record's signature is made over.
pub(super) fn signed_message(network: &NetworkName, signed_bytes: &[u8]) -> Vec<u8> {
    let mut message = domain::prefix(Purpose::RecordSignature, network, signed_bytes.len());
    message.extend_from_slice(signed_bytes);
    message
}

/// The proof of work of a head's signed bytes: leading zero bits of their hash.
pub(super) fn work_bits(network: &NetworkName, signed_bytes: &[u8]) -> u32 {
    let hash = domain::derive(Purpose::RecordWork, network, &[signed_bytes]);
    Key(hash).distance(&Key([0; 32])).shared_bits()
}
