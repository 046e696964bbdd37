//! [`RecordDraft`]: what a publisher decides, before it is signed.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::layout::{
    EXT_MAX, HASH_LEN, HEAD_MIN, Kind, LAYOUT_VERSION, Retention, SIGNATURE_LEN, Space,
};
use super::parsed::{MalformedRecord, ParsedRecord};
use super::signer::RecordSigner;
use super::valid::{ValidRecord, signed_message, work_bits};
use crate::network::NetworkName;
use crate::time::UnixMs;

/// Where the work nonce lies in the head.
const WORK_AT: std::ops::Range<usize> = 100..108;

/// The most leading zero bits of work that [`RecordDraft::sign`] tries for: about 16 million
/// hashes, some seconds on one core.
pub const WORK_BITS_MAX: u32 = 24;

/// A record before its publisher signs it. See [`layout`](super::layout) for the fields.
#[derive(Clone, Debug)]
pub struct RecordDraft {
    /// How the key follows.
    pub space: Space,
    /// Value or tombstone.
    pub kind: Kind,
    /// The class of lifetime.
    pub retention: Retention,
    /// The hash of the application's own name for it; zero in the `Content` space.
    pub label: [u8; 32],
    /// Which of the publisher's records at this key; zero in the `Content` space.
    pub slot: u64,
    /// Which version of the slot; zero in the `Content` space.
    pub seq: u64,
    /// The present time; later than the predecessor's.
    pub created_at: UnixMs,
    /// The latest `keep_until` of any earlier version of the slot; zero if there is none.
    pub guard_until: UnixMs,
    /// The leading zero bits of work to show; 0 while there is room.
    pub work_bits: u32,
    /// Kept unread by the network, at most 1 KiB.
    pub ext: Bytes,
    /// The value, at most 64 KiB; empty for a tombstone.
    pub body: Bytes,
}

/// A draft cannot become a record.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DraftError {
    /// A field breaks a rule of the layout.
    #[error(transparent)]
    Malformed(#[from] MalformedRecord),
    /// More work is asked for than this program does for one record.
    #[error(
        "the network asks for {0} bits of work, this program does at most 24; try again when there is more room"
    )]
    TooMuchWork(u32),
}

/// A draft on its way to a record: the work asked for is done step by step, then it is signed.
///
/// Work takes up to seconds, and whoever does it on a thread that also answers others steps aside
/// between the steps.
#[derive(Clone, Debug)]
pub struct DraftWork {
    network: NetworkName,
    signed_bytes: BytesMut,
    body: Bytes,
    needed: u32,
    tried: u64,
    done: bool,
}

impl RecordDraft {
    /// Does the work asked for, and signs.
    ///
    /// # Errors
    /// [`DraftError`] if a field breaks a rule of the layout, or too much work is asked for.
    pub fn sign(
        &self,
        signer: &dyn RecordSigner,
        network: &NetworkName,
    ) -> Result<ValidRecord, DraftError> {
        self.begin(&signer.publisher(), network)?.sign(signer)
    }

    /// Begins to do the work asked for, for a record of this publisher.
    ///
    /// # Errors
    /// [`DraftError`] if a field breaks a rule of the layout, or too much work is asked for.
    pub fn begin(
        &self,
        publisher: &[u8; 32],
        network: &NetworkName,
    ) -> Result<DraftWork, DraftError> {
        if self.work_bits > WORK_BITS_MAX {
            return Err(DraftError::TooMuchWork(self.work_bits));
        }
        let ext_len = u16::try_from(self.ext.len())
            .ok()
            .filter(|len| usize::from(*len) <= EXT_MAX)
            .ok_or(MalformedRecord::ExtTooLarge(self.ext.len()))?;
        let mut bytes = BytesMut::with_capacity(HEAD_MIN + self.ext.len() + self.body.len());
        bytes.put_slice(&[LAYOUT_VERSION, self.space as u8, self.kind as u8, self.retention as u8]);
        bytes.put_slice(&self.label);
        bytes.put_slice(publisher);
        for number in [self.slot, self.seq, self.created_at.0, self.guard_until.0, 0] {
            bytes.put_u64(number);
        }
        bytes.put_u16(ext_len);
        bytes.put_slice(&self.ext);
        let body_hash: [u8; HASH_LEN] = *blake3::hash(&self.body).as_bytes();
        bytes.put_slice(&body_hash);
        Ok(DraftWork {
            network: network.clone(),
            signed_bytes: bytes,
            body: self.body.clone(),
            needed: self.work_bits,
            tried: 0,
            done: self.work_bits == 0,
        })
    }
}

impl DraftWork {
    /// Tries so many more nonces, counted up from 1; whether the work is done.
    pub fn step(&mut self, nonces: u64) -> bool {
        let end = self.tried.saturating_add(nonces);
        while !self.done && self.tried < end {
            self.tried += 1;
            if let Some(field) = self.signed_bytes.get_mut(WORK_AT) {
                field.copy_from_slice(&self.tried.to_be_bytes());
            }
            self.done = work_bits(&self.network, &self.signed_bytes) >= self.needed;
        }
        self.done
    }

    /// How many nonces were tried so far. 2 to the power of [`needed`](Self::needed) have to be on
    /// average, however many were already.
    #[must_use]
    pub fn tried(&self) -> u64 {
        self.tried
    }

    /// The leading zero bits to show.
    #[must_use]
    pub fn needed(&self) -> u32 {
        self.needed
    }

    /// Does what is left of the work, and signs. The signer is to be the publisher that the work was
    /// begun for.
    ///
    /// # Errors
    /// [`DraftError`] if a field breaks a rule of the layout.
    pub fn sign(mut self, signer: &dyn RecordSigner) -> Result<ValidRecord, DraftError> {
        while !self.step(u64::MAX) {}
        let message = signed_message(&self.network, &self.signed_bytes);
        let signature: [u8; SIGNATURE_LEN] = signer.sign_message(&message);
        self.signed_bytes.put_slice(&signature);
        self.signed_bytes.put_slice(&self.body);
        let record = ParsedRecord::parse(self.signed_bytes.freeze())?;
        Ok(record.trust_own_store(&self.network))
    }
}
