//! Elsewhere, shared-prefix length was sorted as if it were distance: the farthest peers came first.
//! Here a lookup names the nodes in the order that a sort by distance gives.

use dht_kad::{Key, NodeId};
use dht_tests::{CommandLine, Network, eventually};

const NODES: usize = 10;

#[test]
fn distance_sorted_backwards() {
    let network = Network::start(NODES);
    for node in network.nodes() {
        let rest = NODES - 1;
        eventually("it knows all others", || (node.status()["table"] == rest).then_some(()));
    }
    let ids: Vec<NodeId> = network.nodes().iter().map(|node| node.id()).collect();
    let targets = (0..8_u8).map(|number| Key([number.wrapping_mul(37); 32]));
    for (number, target) in targets.chain(ids.iter().map(|id| *id.key())).enumerate() {
        let asked = CommandLine::new(&[network[number % NODES].peer()]);
        let found = asked.json(&["lookup", &target.to_string()]);
        let found: Vec<String> = found["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["id"].as_str().unwrap().to_owned())
            .collect();
        let mut expected = ids.clone();
        expected.sort_by_key(|id| id.key().distance(&target));
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "closest to {target} first");
    }
}
