//! Elsewhere, a shared list was read, changed and written back, and the last writer erased the others:
//! outboxes, indexes, bootstrap registries. Here each writer has slots of its own, so that concurrent
//! writers lose nothing; and where two devices of one identity write one slot, the one that did not
//! see the other's version is told, and overwrites nothing.

use std::process::Stdio;

use dht_tests::{CommandLine, Network};
use serde_json::Value;

const WRITERS: usize = 3;
const SLOTS: usize = 5;
const SEQ_CONFLICTS: [i32; 4] = [16, 17, 18, 19];

#[test]
fn two_writers_one_key() {
    let network = Network::start(3);
    let writers: Vec<_> =
        (0..WRITERS).map(|_| CommandLine::with_identity(&network.peers()).0).collect();
    let mut running = Vec::new();
    for slot in 0..SLOTS {
        for writer in &writers {
            let slot = slot.to_string();
            let arguments = ["put", "room", &slot, "--space", "topic", "--slot", &slot, "--json"];
            let mut command = writer.command(&arguments);
            running.push(command.stdout(Stdio::piped()).spawn().unwrap());
        }
    }
    let mut put: Vec<String> = Vec::new();
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let put_one: Value = serde_json::from_slice(&output.stdout).unwrap();
        put.push(put_one["record"].as_str().unwrap().to_owned());
    }
    let listed = writers[0].json(&["list", "topic", "room"]);
    let listed: Vec<&str> = listed["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["record"].as_str().unwrap())
        .collect();
    assert_eq!(listed.len(), WRITERS * SLOTS);
    assert!(put.iter().all(|record| listed.contains(&record.as_str())), "nobody lost anything");
}

#[test]
fn of_two_devices_that_write_one_slot_the_one_that_missed_the_other_is_told() {
    let network = Network::start(3);
    let (alice, publisher) = CommandLine::with_identity(&network.peers());
    let first = alice.json(&["put", "list", "milk", "--expect-seq", "0", "--quorum", "3"]);
    let seen = first["seq"].to_string();

    // One device after the other, both having seen the first version.
    let second =
        alice.json(&["put", "list", "milk, bread", "--expect-seq", &seen, "--quorum", "3"]);
    let late = alice.run(&["put", "list", "milk, salt", "--expect-seq", &seen]);
    late.expect_failure(19, "read it, decide and try again");
    let got = alice.json(&["get", &publisher, "list", "--consistency", "quorum"]);
    assert_eq!(got["record"], second["record"], "nobody is overwritten unseen");

    // Both at once: not both are told that they succeeded.
    let seen = second["seq"].to_string();
    for _ in 0..3 {
        let devices = ["bread", "salt"].map(|value| {
            let arguments = ["put", "list", value, "--expect-seq", &seen, "--json"];
            let mut command = alice.command(&arguments);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        });
        let ended = devices.map(|mut device| device.wait().unwrap().code().unwrap());
        let succeeded = ended.iter().filter(|status| **status == 0).count();
        assert!(succeeded <= 1, "{ended:?}");
        let told = ended.iter().filter(|status| SEQ_CONFLICTS.contains(status)).count();
        assert_eq!(told, 2 - succeeded, "who did not succeed is told why: {ended:?}");
    }
}
