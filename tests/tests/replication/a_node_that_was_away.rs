//! A node that was killed and away under load holds, soon after its return, what the others do.

use std::time::Duration;

use dht_tests::away::{self, Load};

#[test]
fn a_node_that_was_away_under_load_is_equal_again_within_a_minute() {
    let load = Load { span: Duration::from_secs(10), rate: 200 };
    let report = away::run(load, Duration::from_secs(60)).unwrap();
    assert!(report.acknowledged as u64 + report.failed == 2_000, "{report:?}");
    assert!(report.acknowledged > 1_900, "{report:?}");
}
