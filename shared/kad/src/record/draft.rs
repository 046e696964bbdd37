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
        bytes.put_slice(&signer.publisher());
        for number in [self.slot, self.seq, self.created_at.0, self.guard_until.0, 0] {
            bytes.put_u64(number);
        }
        bytes.put_u16(ext_len);
        bytes.put_slice(&self.ext);
        let body_hash: [u8; HASH_LEN] = *blake3::hash(&self.body).as_bytes();
        bytes.put_slice(&body_hash);
        self.work(&mut bytes, network);
        let signature: [u8; SIGNATURE_LEN] = signer.sign_message(&signed_message(network, &bytes));
        bytes.put_slice(&signature);
        bytes.put_slice(&self.body);
        let record = ParsedRecord::parse(bytes.freeze())?;
        Ok(record.trust_own_store(network))
    }

    /// Counts the nonce up, from 1, until the hash shows the work asked for.
    fn work(&self, signed_bytes: &mut BytesMut, network: &NetworkName) {
        if self.work_bits == 0 {
            return;
        }
        for nonce in 1..u64::MAX {
            if let Some(field) = signed_bytes.get_mut(WORK_AT) {
                field.copy_from_slice(&nonce.to_be_bytes());
            }
            if work_bits(network, signed_bytes) >= self.work_bits {
                return;
            }
        }
    }
}
