//! A few rounds of what `scripts/crash.sh ROUNDS` does as often as is wished: kill -9 under load loses
//! no acknowledged record.

use dht_tests::crash;

const ROUNDS: u64 = 4;

#[test]
fn kill_9_under_load_loses_no_acknowledged_record() {
    let report = crash::run(ROUNDS, 1, |_| {});
    assert_eq!((report.rounds, &report.lost), (ROUNDS, &Vec::new()));
    assert!(report.acknowledged > 0 && report.copies > report.acknowledged, "{report:?}");
}
