//! What three nodes promised is kept by all of them, after kill -9 too, until a newer version or a
//! delete takes its place.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use dht_tests::{CommandLine, Network};

use super::{FILE, audit, put, results};

#[test]
fn what_three_nodes_promised_is_kept_by_all_until_it_is_superseded() {
    let mut network = Network::start(3);
    let (alice, _) = CommandLine::with_identity(&network.peers());
    let first = put(&alice, "motto", "keep what you promise");
    let book = std::fs::read_to_string(alice.path(FILE)).unwrap();
    assert_eq!(book.lines().count(), 3, "a line a node");
    let mode = std::fs::metadata(alice.path(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let told = audit(&alice, 0, &[]);
    assert_eq!(results(&told), BTreeMap::from([("kept", 3)]));
    for receipt in told["receipts"].as_array().unwrap() {
        assert_eq!((&receipt["seq"], &receipt["digest"]), (&first["seq"], &first["digest"]));
    }
    for node in network.nodes() {
        let of_node = |told: &&serde_json::Value| told["node"] == node.id().to_string();
        let counts = told["nodes"].as_array().unwrap().iter().find(of_node).unwrap();
        assert_eq!((&counts["kept"], &counts["broken"]), (&1.into(), &0.into()));
    }

    network.kill_all();
    network.start_all();
    assert_eq!(results(&audit(&alice, 0, &[])), BTreeMap::from([("kept", 3)]));

    let second = put(&alice, "motto", "and say what you keep");
    let told = audit(&alice, 0, &[]);
    assert_eq!(results(&told), BTreeMap::from([("kept", 3), ("newer", 3)]));
    for receipt in told["receipts"].as_array().unwrap() {
        let superseded = receipt["seq"] == first["seq"];
        assert_eq!(receipt["result"], if superseded { "newer" } else { "kept" });
        assert!(superseded || receipt["digest"] == second["digest"]);
    }

    let deleted = alice.json(&["delete", "motto", "--receipts", FILE]);
    assert!(deleted["stored"].as_u64() >= Some(2), "{deleted}");
    let told = audit(&alice, 0, &["--prune"]);
    // A delete returns with a majority; the third node may not have it yet.
    let third = results(&told).get("kept").copied().unwrap_or_default();
    assert!(third >= 2, "the majority that acknowledged keeps the tombstone: {told}");
    assert_eq!(told["removed"], 0, "nothing has expired");
    let plain = String::from_utf8(alice.run(&["audit", FILE]).expect_stdout()).unwrap();
    for node in network.nodes() {
        let summary = format!("node {}: ", node.id());
        assert_eq!(plain.lines().filter(|line| line.starts_with(&summary)).count(), 1, "{plain}");
    }
}

#[test]
fn a_file_with_something_else_in_it_is_left_alone_and_nothing_is_put() {
    let network = Network::start(1);
    let (alice, publisher) = CommandLine::with_identity(&network.peers());
    std::fs::write(alice.path("diary"), "dear diary\n").unwrap();
    let refused = alice.run(&["put", "label", "value", "--receipts", "diary"]);
    refused.expect_failure(86, "is not a file of receipts");
    assert_eq!(std::fs::read_to_string(alice.path("diary")).unwrap(), "dear diary\n");
    alice.run(&["get", &publisher, "label"]).expect_failure(65, "nothing is stored");
    alice.run(&["audit", "diary"]).expect_failure(86, "is not a file of receipts");
    alice.run(&["audit", "none"]).expect_failure(86, "none cannot be read");
}
