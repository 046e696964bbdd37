//! On loopback a node that starts has three peers in less than a second, its database made and opened
//! included.

use std::time::{Duration, Instant};

use dht_tests::{Network, eventually};

const WITHIN: Duration = Duration::from_secs(1);
/// The machine may be busy with something else for one of them.
const TRIES: usize = 5;

#[test]
fn a_node_has_three_peers_in_under_a_second() {
    let mut network = Network::start(3);
    let mut took = Vec::new();
    for _ in 0..TRIES {
        let started = Instant::now();
        let node = network.add();
        eventually("it has three peers", || {
            (node.status()["table"].as_u64() >= Some(3)).then_some(())
        });
        took.push(started.elapsed());
    }
    assert!(took.iter().any(|took| *took < WITHIN), "{took:?}");
}
