//! Elsewhere, "ready" was reported before a put worked. Here the first put after the ready line
//! succeeds: of a lone node, of each that joins, and of a network that was killed as a whole.

use dht_tests::{Network, User};

const ROUNDS: u64 = 8;

#[test]
fn ready_before_usable() {
    let mut network = Network::start(1);
    for number in 0..3 {
        let addr = network.nodes()[number].peer();
        let user = User::new(1, &[addr]);
        let report = user.put(user.first("first", number as u64, "right after ready"));
        assert!(report.outcome.reached, "the first put through node {number}");
        network.add();
    }
    for node in network.nodes_mut() {
        node.options().solo = false;
    }
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            network.kill_all();
            network.start_all();
        } else {
            let one = usize::try_from(round).unwrap() % network.nodes().len();
            network[one].kill();
            network[one].spawn();
            network[one].await_ready();
        }
        for node in network.nodes() {
            let user = User::new(2, &[node.peer()]);
            let slot = round * 10;
            let report = user.try_put(user.first("again", slot, vec![0; 100]));
            let _ =
                report.unwrap_or_else(|error| panic!("round {round}, {}: {error}", node.addr()));
        }
    }
}
