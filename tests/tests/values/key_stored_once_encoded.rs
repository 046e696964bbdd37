//! Elsewhere, keys were hex-encoded twice, then skipped at load as "old format": nothing was ever
//! restored, and the tests, which asked the store's own functions, never noticed. So this one asks
//! over the network, for keys that it computes itself.

use dht_kad::domain;
use dht_tests::records::network;
use dht_tests::{CommandLine, Network};

#[test]
fn key_stored_once_encoded() {
    let mut net = Network::start(3);
    let (alice, publisher) = CommandLine::with_identity(&net.peers());
    // Labels that look like what an encoder makes, or trips over.
    let labels = ["plain", "6b6579", "0x00", "a/b%2Fc", "ключ", &"f".repeat(64)];
    for label in labels {
        let put = alice.json(&["put", label, label]);
        let bytes: [u8; 32] = hex::decode(&publisher).unwrap().try_into().unwrap();
        let label = domain::label(&network(), label);
        let key = domain::owned_key(&network(), &bytes, &label);
        assert_eq!(put["key"], key.to_string(), "the key follows from publisher and label");
    }
    net.kill_all();
    net.start_all();
    for node in net.nodes() {
        // Each asks one node, as somebody who was not there before the restart.
        let reader = CommandLine::new(&[node.peer()]);
        for label in labels {
            let got = reader.json(&["get", &publisher, label]);
            assert_eq!(got["value"], label);
            let listed = reader.json(&["list", &publisher, label]);
            assert_eq!(listed["records"].as_array().unwrap().len(), 1, "{label}");
            assert_eq!(listed["records"][0]["key"], got["key"]);
        }
    }
}
