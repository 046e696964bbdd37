//! Elsewhere, any peer could overwrite any key. Here only the publisher's own signature changes a
//! record: everything else is tried and refused.

use bytes::Bytes;
use dht_kad::record::Space;
use dht_kad::{RecordDraft, Refusal};
use dht_tests::records::{draft, sign, signer};
use dht_tests::{CommandLine, Network, WirePeer};

#[test]
fn hijack_by_unrelated_identity() {
    let net = Network::start(3);
    let (alice, publisher) = CommandLine::with_identity(&net.peers());
    let (mallory, of_mallory) = CommandLine::with_identity(&net.peers());
    let put = alice.json(&["put", "profile", "I am Alice"]);
    let room = alice.json(&["put", "room", "Alice was here", "--space", "topic"]);

    // By the command line: the same label is another key, the same topic another slot.
    let elsewhere = mallory.json(&["put", "profile", "I am Alice, too"]);
    assert_ne!(elsewhere["key"], put["key"]);
    let beside = mallory.json(&["put", "room", "Mallory was here", "--space", "topic"]);
    assert_eq!(beside["key"], room["key"]);
    mallory.run(&["delete", "profile", "--slot", "1"]).expect_failure(65, "nothing is stored");
    assert_ne!(publisher, of_mallory);

    // By the wire: a later version in Alice's name, under a key that is not hers.
    let mallory_signs = signer(66);
    for space in [Space::Owned, Space::Topic] {
        let honest =
            sign(&RecordDraft { space, ..draft([5; 32], 0, "I am Mallory") }, &mallory_signs);
        let mut forged = honest.bytes().to_vec();
        let own = mallory_signs.verifying_key().to_bytes();
        let at = forged.windows(32).position(|bytes| bytes == own).unwrap();
        forged[at..at + 32].copy_from_slice(&hex::decode(&publisher).unwrap());
        for node in net.nodes() {
            let refusal = WirePeer::to(node).store_bytes(Bytes::from(forged.clone()), None);
            assert_eq!(refusal, Err(Refusal::BadSignature));
        }
    }

    let got = alice.json(&["get", &publisher, "profile", "--consistency", "quorum"]);
    assert_eq!(got["record"], put["record"]);
    let got = alice.json(&["get", &publisher, "room", "--space", "topic"]);
    assert_eq!(got["record"], room["record"]);
}
