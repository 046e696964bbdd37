//! Elsewhere, records without expiry filled the store until every put failed. Here every record ends,
//! one publisher and one key have only their share, others have room beside them, and a slot whose
//! record has ended has its room for the next one. All other room comes back when the period is over
//! that the record ended in, minutes later: see the store's own tests of its sweep.

use dht_kad::admission::{KEY_PERCENT, PUBLISHER_PERCENT};
use dht_kad::record::{RecordDraft, Space};
use dht_kad::refusal::FullScope;
use dht_kad::{Refusal, ValidRecord};
use dht_tests::records::{ending_in, sign, signer};
use dht_tests::{Network, NodeOptions, WirePeer, eventually};
use ed25519_dalek::SigningKey;

/// The smallest store that a node takes.
const STORE_BYTES: u64 = 16 << 20;
/// One of the store's largest records, so that few fill it.
const BODY_BYTES: usize = 65_536;
/// How long each record has: for the store to be filled.
const LEFT_MS: u64 = 6_000;

/// Stores a record, with the work that the node asks for.
fn store(peer: &WirePeer, draft: &RecordDraft, by: &SigningKey) -> Result<ValidRecord, Refusal> {
    let mut draft = draft.clone();
    loop {
        let record = sign(&draft, by);
        match peer.store(&record) {
            Err(Refusal::WorkTooLow { needed }) if needed > draft.work_bits => {
                draft.work_bits = needed;
            }
            Err(refusal) => return Err(refusal),
            Ok(_) => return Ok(record),
        }
    }
}

#[test]
fn store_full_of_no_expiry() {
    let options =
        NodeOptions { store: format!("max_bytes = {STORE_BYTES}"), ..NodeOptions::default() };
    let network = Network::start_with(1, &options);
    let peer = WirePeer::to(&network[0]);
    let greedy = signer(1);
    let at = |topic: u8, slot| RecordDraft {
        space: Space::Topic,
        ..ending_in(LEFT_MS, [topic; 32], slot, vec![topic; BODY_BYTES])
    };
    let fits = |percent: u64| STORE_BYTES * percent / 100 / BODY_BYTES as u64;

    let mut of_key = 0;
    let refusal = loop {
        match store(&peer, &at(1, of_key), &greedy) {
            Ok(_) => of_key += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, Refusal::Full { scope: FullScope::Key });
    assert!((fits(KEY_PERCENT) / 2..=fits(KEY_PERCENT)).contains(&of_key), "{of_key}");

    let mut of_publisher = of_key;
    let refusal = loop {
        match store(&peer, &at(2, of_publisher), &greedy) {
            Ok(_) => of_publisher += 1,
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, Refusal::Full { .. }), "{refusal}");
    assert!(of_publisher > of_key, "another key has room");
    assert!(of_publisher <= fits(PUBLISHER_PERCENT), "{of_publisher}");

    let other = signer(2);
    let modest = RecordDraft {
        retention: dht_client::Retention::Days7,
        created_at: dht_tests::records::now(),
        ..at(3, 0)
    };
    store(&peer, &modest, &other).expect("others have room beside the greedy one");

    assert!(store(&peer, &at(2, 0), &greedy).is_err(), "and there is still none for a new slot");
    eventually("a slot whose record has ended takes another first one", || {
        store(&peer, &at(1, 1), &greedy).ok()
    });
    assert!(peer.find(sign(&modest, &other).id()).is_some(), "what has not ended is there");
}
