//! Elsewhere, a node's persistence filter let 365-day values through and dropped the 7-day ones, so
//! that every queued message died with a restart.

use dht_tests::{CommandLine, Network};

#[test]
fn seven_day_values_survive() {
    let mut network = Network::start(3);
    let (alice, publisher) = CommandLine::with_identity(&network.peers());
    let mut put = Vec::new();
    for class in ["8h", "7d", "365d"] {
        // Small ones, and some that the store keeps apart from their heads.
        for size in [0, 100, 65_536] {
            let label = format!("{class}-{size}");
            std::fs::write(alice.path("value"), vec![b'v'; size]).unwrap();
            let options = ["--retention", class, "--quorum", "3"];
            let arguments =
                [&["put", &label, "--file", "value", "--no-queue"], &options[..]].concat();
            put.push((label.clone(), alice.json(&arguments)));
        }
    }
    network.kill_all();
    for node in network.nodes_mut() {
        node.options().solo = true;
    }
    network.start_all();
    for (label, put) in &put {
        let got = alice.json(&["get", &publisher, label, "--consistency", "quorum"]);
        assert_eq!(got["record"], put["record"], "{label} is served as it was put");
    }
    let kept: Vec<_> = network.nodes().iter().map(|node| node.status()).collect();
    for status in kept {
        let classes = &status["records_by_retention"];
        assert_eq!(classes, &serde_json::json!([["8h", 3], ["7d", 3], ["365d", 3]]), "on each");
    }
}
