//! A thousand letters in the simulator, through loss, cuts, a crash of all nodes and deaths of the devices.
//! `scripts/sim.sh` plays the story with many seeds.

use std::process::Command;

use dht_tests::programs::{self, Ended};

const STORY: &str = "dht-correspondence";

/// What is said of one run.
fn played() -> String {
    let Ended { status, stdout, stderr } =
        programs::run(&mut Command::new(programs::binary(STORY)));
    let said = String::from_utf8(stdout).unwrap();
    assert_eq!(status, 0, "{said}{stderr}");
    said
}

#[test]
fn letters_come_once_in_order_whatever_befalls_nodes_and_devices() {
    let said = played();
    let kept = "kept; 1000 letters read once on each of two devices";
    assert!(said.contains(kept), "{said}");
    assert!(said.contains("trace="), "{said}");
    assert_eq!(said, played(), "one seed always gives one run");
}
