//! Elsewhere, two ends dialled each other at once, frames were interleaved, or a live connection was
//! replaced. Here two nodes that bootstrap off each other at the same moment end with one connection,
//! and both are ready.

use dht_tests::{Network, User, eventually};

const ROUNDS: usize = 4;

#[test]
fn duplicate_connections() {
    let mut network = Network::start(2);
    for round in 0..ROUNDS {
        for node in network.nodes() {
            eventually("one connection is left", || {
                let status = node.status();
                (status["connections"] == 1 && status["peers"] == 1).then_some(())
            });
            assert_eq!(node.status()["lies"], 0);
        }
        let user = User::new(1, &[network[round % 2].peer()]);
        let report = user.put(user.first("round", round as u64, "no request is lost"));
        assert_eq!(report.outcome.targets, 2);
        drop(user);
        network.kill_all();
        network.start_all();
    }
}
