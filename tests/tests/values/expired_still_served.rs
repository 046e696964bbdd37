//! Elsewhere, the time to live was left to compaction, so that reads returned expired values, and
//! clean-up code existed and was never called. Here nothing is served from the very millisecond on,
//! not after a restart either. That the disk's room comes back needs a clock that can be moved: see
//! the store's own tests of its sweep.

use dht_kad::{ErrorNumber, ParsedRecord};
use dht_tests::records::{ending_in, now, sign, signer};
use dht_tests::{Network, User, WirePeer};

/// How long the record has: for it to be stored and read some times before it ends.
const LEFT_MS: u64 = 1_500;
/// How long after the end it is still asked for.
const BEYOND_MS: u64 = 500;

#[test]
fn expired_still_served() {
    let mut network = Network::start(3);
    let user = User::new(1, &network.peers());
    let label = user.client().label("short");
    let slot = user.slot("short", 0);
    let peers: Vec<WirePeer> = network.nodes().iter().map(WirePeer::to).collect();
    assert!(user.get(&slot).is_err(), "and the reader is connected");

    let record = sign(&ending_in(LEFT_MS, label, 0, "brief"), &signer(1));
    for peer in &peers {
        assert_eq!(peer.store(&record).unwrap().expires_at, record.expires_at());
    }
    let (mut before, mut after) = (0, 0);
    while now() < record.expires_at().after(BEYOND_MS) {
        for peer in &peers {
            let asked_at = now();
            let held = peer.find(record.id());
            match held.map(|held| ParsedRecord::parse(held).unwrap()) {
                Some(held) => {
                    assert!(asked_at < record.expires_at(), "served after its end");
                    assert!(held.has_body());
                    before += 1;
                }
                None => {
                    assert!(now() >= record.expires_at(), "gone before its end");
                    after += 1;
                }
            }
        }
        let asked_at = now();
        match user.get(&slot) {
            Ok(_) => assert!(asked_at < record.expires_at(), "a reader was given it after its end"),
            Err(number) => assert_eq!(number, ErrorNumber::NotFound),
        }
    }
    assert!(before > 0 && after > 0, "both sides of the end were seen: {before}, {after}");
    assert!(user.get(&slot).is_err());

    drop(peers);
    network.kill_all();
    network.start_all();
    for node in network.nodes() {
        assert_eq!(WirePeer::to(node).find(record.id()), None, "a restart brings nothing back");
    }
}
