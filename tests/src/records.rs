//! Records that a test signs itself, where the client would not: short-lived, stale, forged.

use bytes::Bytes;
use dht_context::clock::{Clock, SystemClock};
use dht_kad::record::{Kind, RecordDraft, Retention, Space};
use dht_kad::{NetworkName, UnixMs, ValidRecord};
use ed25519_dalek::SigningKey;

use crate::NETWORK;

/// The network of the tests.
#[must_use]
pub fn network() -> NetworkName {
    NETWORK.parse().expect("a network's name")
}

/// This machine's clock, which the nodes share.
#[must_use]
pub fn now() -> UnixMs {
    SystemClock.now()
}

/// An identity of a test's own.
#[must_use]
pub fn signer(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// A first version of a value in a publisher's own space, for 7 days from now.
#[must_use]
pub fn draft(label: [u8; 32], slot: u64, body: impl Into<Bytes>) -> RecordDraft {
    RecordDraft {
        space: Space::Owned,
        kind: Kind::Value,
        retention: Retention::Days7,
        label,
        slot,
        seq: 1,
        created_at: now(),
        guard_until: UnixMs(0),
        work_bits: 0,
        ext: Bytes::new(),
        body: body.into(),
    }
}

/// A value of the shortest class that ends `left_ms` from now, since it was signed long ago.
#[must_use]
pub fn ending_in(left_ms: u64, label: [u8; 32], slot: u64, body: impl Into<Bytes>) -> RecordDraft {
    let created_at = UnixMs(now().after(left_ms).since(UnixMs(Retention::Hours8.lifetime_ms())));
    RecordDraft { retention: Retention::Hours8, created_at, ..draft(label, slot, body) }
}

/// Signs a draft in the network of the tests.
#[must_use]
pub fn sign(draft: &RecordDraft, by: &SigningKey) -> ValidRecord {
    draft.sign(by, &network()).expect("a draft that keeps the rules")
}
