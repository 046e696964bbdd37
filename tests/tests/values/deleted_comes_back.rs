//! Elsewhere, a holder that had missed a delete brought the value back. Here the tombstone wins over
//! it for every reader that asks more than one holder, and reaches the holder that had missed it.
//!
//! Until it does, the node that was away still has the value, and who asks for the word of one single
//! holder (`--consistency one`) may be given it. The default and `quorum` meet the tombstone, and nobody
//! who holds it takes the value back.

use dht_client::{Consistency, Delete, ErrorNumber};
use dht_kad::record::Space;
use dht_tests::user::wait_for;
use dht_tests::{Network, User, WirePeer, eventually};

#[test]
fn deleted_comes_back() {
    let mut network = Network::start(3);
    let user = User::new(1, &network.peers());
    let slot = user.slot("secret", 0);
    let mut put = user.first("secret", 0, "to be gone");
    put.quorum = Some(3);
    let record = user.put(put).record;

    network[2].kill();
    let label = user.client().label("secret");
    let delete =
        Delete { space: Space::Owned, label, slot: 0, expected_seq: None, quorum: Some(2) };
    let tombstone = wait_for(user.client().delete(delete)).unwrap().record;
    let missed = network.return_alone_first(2, record.id());
    assert_eq!(missed.as_ref(), Some(record.bytes()), "it was away for the delete");

    for restarted in [false, true] {
        if restarted {
            network.kill_all();
            network.start_all();
        }
        for node in network.nodes() {
            let reader = User::new(9, &[node.peer()]);
            for consistency in [Consistency::Default, Consistency::Quorum] {
                let got = reader.get_by(&slot, consistency);
                assert_eq!(got.unwrap_err(), ErrorNumber::NotFound, "through {}", node.addr());
            }
        }
        for node in &network.nodes()[..2] {
            assert!(WirePeer::to(node).store(&record).is_err(), "the value is not taken back");
        }
    }
    eventually("the tombstone reaches who missed it", || {
        let held = WirePeer::to(&network[2]).find(record.id());
        (held.as_ref() == Some(tombstone.bytes())).then_some(())
    });
}
