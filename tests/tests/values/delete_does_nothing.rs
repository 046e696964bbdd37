//! Elsewhere, a delete returned success and did nothing. Here no node serves the value after it.

use bytes::Bytes;
use dht_kad::ParsedRecord;
use dht_kad::record::Kind;
use dht_tests::records::network;
use dht_tests::{CommandLine, Network, WirePeer};

const NOT_FOUND: u8 = 65;

#[test]
fn delete_does_nothing() {
    let mut net = Network::start(3);
    let (alice, publisher) = CommandLine::with_identity(&net.peers());
    let put = alice.json(&["put", "secret", "to be gone", "--quorum", "3"]);
    let kept = alice.json(&["put", "other", "to be kept", "--quorum", "3"]);
    let bytes = Bytes::from(hex::decode(put["record"].as_str().unwrap()).unwrap());
    let record = ParsedRecord::parse(bytes).unwrap().verify(&network()).unwrap();

    let deleted = alice.json(&["delete", "secret"]);
    assert_eq!(deleted["key"], put["key"]);
    let acknowledged: Vec<&str> =
        deleted["stored_on"].as_array().unwrap().iter().filter_map(|node| node.as_str()).collect();
    assert!(acknowledged.len() >= 2);

    for restarted in [false, true] {
        if restarted {
            net.kill_all();
            net.start_all();
        }
        for node in net.nodes() {
            let reader = CommandLine::new(&[node.peer()]);
            for consistency in ["default", "quorum"] {
                let get = reader.run(&["get", &publisher, "secret", "--consistency", consistency]);
                get.expect_failure(NOT_FOUND, "deleted");
            }
            let list = reader.json(&["list", &publisher, "secret"]);
            assert_eq!(list["records"], serde_json::json!([]));
            if acknowledged.contains(&node.id().to_string().as_str()) {
                let held = WirePeer::to(node).find(record.id()).unwrap();
                let held = ParsedRecord::parse(held).unwrap();
                assert_eq!(held.kind(), Kind::Tombstone);
                assert!(held.body().is_none_or(|body| body.is_empty()));
                assert!(WirePeer::to(node).store(&record).is_err(), "the old one is refused");
            }
        }
        let other = alice.json(&["get", &publisher, "other"]);
        assert_eq!(other["record"], kept["record"], "what was not deleted is there");
    }
    alice.run(&["delete", "secret"]).expect_failure(NOT_FOUND, "to delete");
}
