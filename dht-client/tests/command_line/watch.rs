//! `watch`: a line for each change, and nothing missed or repeated between two runs of one name.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::program::Program;
use crate::servers::{NETWORK, servers};

#[test]
fn a_watch_prints_each_change_and_goes_on_where_it_was() {
    let peer = servers()[0].addr.to_string();
    let alice = Program::new(&["--bootstrap", &peer, "--network", NETWORK]);
    let publisher = alice.json(&["identity", "new"])["identity"].as_str().unwrap().to_owned();
    let watch = ["watch", &publisher, "followed", "--state", "mine"];
    alice.json(&["put", "followed", "zero"]);

    let mut running = alice.start(&[&["--json"][..], &watch, &["--count", "3"]].concat());
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let there = next();
    assert_eq!((&there["value"], &there["deleted"]), (&"zero".into(), &false.into()));
    let put = alice.json(&["put", "followed", "one"]);
    let shown = next();
    assert_eq!((&shown["value"], &shown["digest"]), (&"one".into(), &put["digest"]));
    alice.json(&["delete", "followed"]);
    assert_eq!(next()["deleted"], true);
    assert!(running.wait().unwrap().success());

    // While nobody watches.
    alice.json(&["put", "followed", "two"]);
    alice.json(&["put", "followed", "--slot", "1", "three"]);
    let missed = alice.run(&[&watch[..], &["--count", "2"]].concat()).expect_stdout();
    let missed = String::from_utf8(missed).unwrap();
    let mut values: Vec<_> = missed.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    values.sort_unstable();
    assert_eq!(values, ["three", "two"], "{missed}");
    assert!(missed.lines().all(|line| line.starts_with(&publisher) && line.contains(" slot ")));

    alice.json(&["put", "followed", "--slot", "1", "four"]);
    let new = alice.run(&[&watch[..], &["--count", "1"]].concat()).expect_stdout();
    assert!(new.ends_with(b"value four\n"), "nothing is printed twice");
}

#[test]
fn only_a_watch_that_remembers_needs_an_identity() {
    let peer = servers()[0].addr.to_string();
    let program = Program::new(&["--bootstrap", &peer, "--network", NETWORK]);
    let named = program.run(&["watch", "topic", "label", "--state", "mine"]);
    named.expect_failure(87, "identity new");
}
