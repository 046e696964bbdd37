//! Restarts in order, one node of three after the other, as an upgrade does it: nothing that was acknowledged is lost, and no put and no
//! get fails.

use dht_tests::restart::{Noticed, Plan, run};

#[test]
fn a_restart_of_every_node_in_turn_fails_nobody() {
    let report = run(&Plan { nodes: 3, restarts: 3, records: 2_000 });
    assert_eq!(report.lost, 0, "{report:?}");
    for Noticed { failed, .. } in [report.puts, report.gets] {
        assert_eq!(failed, 0, "{report:?}");
    }
}

#[test]
fn the_restart_of_the_only_node_loses_nothing_and_its_clients_go_on() {
    let report = run(&Plan { nodes: 1, restarts: 1, records: 500 });
    assert_eq!(report.lost, 0, "{report:?}");
}
