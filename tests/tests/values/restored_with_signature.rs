//! Elsewhere, only a value's bytes were saved; owner, signature and id were lost, and the node
//! republished unsigned copies.

use bytes::Bytes;
use dht_kad::ParsedRecord;
use dht_tests::records::network;
use dht_tests::{CommandLine, Network, WirePeer};

#[test]
fn restored_with_signature() {
    let mut net = Network::start(3);
    let (alice, publisher) = CommandLine::with_identity(&net.peers());
    let large = "x".repeat(20_000);
    let all = ["--quorum", "3"];
    let owned = alice.json(&[&["put", "own", "hello", "--slot", "7"], &all[..]].concat());
    let topic = alice.json(&[&["put", "room", &large, "--space", "topic"], &all[..]].concat());
    let content = alice.json(&[&["put", "any", "free", "--space", "content"], &all[..]].concat());
    net.kill_all();
    net.start_all();

    let key = content["key"].as_str().unwrap();
    let got_owned = alice.json(&["get", &publisher, "own", "--slot", "7"]);
    let got_topic = alice.json(&["get", &publisher, "room", "--space", "topic"]);
    let got_content = alice.json(&["get-content", key]);
    for (put, got) in [(owned, got_owned), (topic, got_topic), (content, got_content)] {
        for field in ["record", "key", "publisher", "label", "slot", "seq", "digest"] {
            assert_eq!(got[field], put[field], "{field}");
        }
        let put = Bytes::from(hex::decode(put["record"].as_str().unwrap()).unwrap());
        let record = ParsedRecord::parse(put.clone()).unwrap().verify(&network()).unwrap();
        for node in net.nodes() {
            let held = WirePeer::to(node).find(record.id());
            assert_eq!(held.as_ref(), Some(&put), "each node serves every signed byte");
        }
    }
}
