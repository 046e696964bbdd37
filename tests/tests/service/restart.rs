//! Restarts in order, one node of three after the other, as an upgrade does it: nothing that was acknowledged is lost, and no put and no
//! get fails.

use std::path::Path;
use std::time::Duration;

use dht_tests::restart::{Noticed, Plan, run};

#[test]
fn a_restart_of_every_node_in_turn_fails_nobody() {
    let report = run(&Plan { nodes: 3, restarts: 3, records: 2_000, writers: 1 });
    assert_eq!(report.lost, 0, "{report:?}");
    for Noticed { failed, .. } in [report.puts, report.gets] {
        assert_eq!(failed, 0, "{report:?}");
    }
}

/// As many put at the same time as keep the store's writer busy all the time.
#[test]
fn a_stop_under_full_load_loses_nothing_and_ends_within_its_time_out() {
    let report = run(&Plan { nodes: 1, restarts: 1, records: 500, writers: 32 });
    assert_eq!(report.lost, 0, "{report:?}");
    let limit = stop_limit();
    for restart in &report.restarts {
        assert!(restart.stop < limit, "{limit:?}: {report:?}");
    }
}

/// What the service manager gives the node.
fn stop_limit() -> Duration {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/dht-bootstrap.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    let secs = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec="));
    Duration::from_secs(secs.and_then(|secs| secs.parse().ok()).expect("seconds"))
}
