//! A node that lost its data has broken its promises, whatever it says now: it cannot prove what it does
//! not hold.

use std::collections::BTreeMap;

use dht_tests::{CommandLine, Network};

use super::{PROMISE_BROKEN, audit, put, results};

#[test]
fn a_node_whose_store_was_emptied_is_shown_as_broken() {
    let mut network = Network::start(3);
    let (mut alice, _) = CommandLine::with_identity(&network.peers());
    put(&alice, "one", "value");
    put(&alice, "two", "another value");
    let emptied = network[0].id();
    for node in network.nodes_mut() {
        node.stop();
    }
    std::fs::remove_dir_all(network[0].data_dir().join("db")).unwrap();
    // Alone, so that nobody gives it back what it lost before it is asked.
    let options = network[0].options();
    options.bootstrap.clear();
    options.solo = true;
    network[0].spawn();
    network[0].await_ready();
    assert_eq!(network[0].id(), emptied, "the same node, by its key");

    let peer = network[0].peer();
    alice.ask(&[peer]);
    let told = audit(&alice, PROMISE_BROKEN, &[]);
    assert_eq!(results(&told), BTreeMap::from([("broken", 2), ("unanswered", 4)]));
    for receipt in told["receipts"].as_array().unwrap() {
        let broken = receipt["node"] == emptied.to_string();
        assert_eq!(receipt["result"] == "broken", broken, "{receipt}");
        let why = receipt["why"].as_str().unwrap();
        assert_eq!(why.contains("holds nothing"), broken, "{receipt}");
    }
}
