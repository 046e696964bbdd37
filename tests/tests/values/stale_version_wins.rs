//! Elsewhere, the first answer, the longest value or the latest timestamp won, and old signed records
//! replaced new ones. Here the higher version wins on every path: a put, a get, a restart, and for
//! whoever sends the old one again.

use dht_client::{Consistency, Put};
use dht_kad::Refusal;
use dht_tests::{Network, User, WirePeer};

#[test]
fn stale_version_wins() {
    let mut network = Network::start(3);
    let user = User::new(1, &network.peers());
    let label = user.client().label("profile");
    let slot = user.slot("profile", 0);
    let put = |text: &'static str, quorum| {
        user.put(Put { quorum: Some(quorum), ..Put::owned(label, text.into()) }).record
    };
    let old = put("a long first version, which has more to say than any that follow", 3);
    let newer = put("second", 3);

    for node in network.nodes() {
        let refusal = WirePeer::to(node).store(&old).unwrap_err();
        assert_eq!(refusal, Refusal::SeqTooLow { stored: newer.seq() });
    }

    // One node is away for the third version, and brings the second one back.
    network[2].kill();
    let newest = put("third", 2);
    let stale = network.return_alone_first(2, newest.id()).unwrap();
    assert_eq!(&stale, newer.bytes(), "it missed the third");

    for restarted in [false, true] {
        if restarted {
            network.kill_all();
            network.start_all();
        }
        for node in network.nodes() {
            let reader = User::new(9, &[node.peer()]);
            for consistency in [Consistency::Default, Consistency::Quorum] {
                let got = reader.get_by(&slot, consistency).unwrap();
                assert_eq!(got.record.bytes(), newest.bytes(), "through {}", node.addr());
            }
        }
    }
    let last = put("fourth", 3);
    for node in network.nodes() {
        let held = WirePeer::to(node).find(last.id()).unwrap();
        assert_eq!(&held, last.bytes(), "the next version reaches also who missed one");
        assert!(WirePeer::to(node).store(&newest).is_err());
    }
}
