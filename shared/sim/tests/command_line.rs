//! The simulator as people run it: one seed gives one run, in whatever process, and a broken
//! promise shows in the exit status.

#![allow(clippy::unwrap_used, reason = "a helper of tests panics as they do")]

use std::process::{Command, Output};

fn dht_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dht-sim")).args(arguments).output().unwrap()
}

fn trace_of(arguments: &[&str]) -> String {
    let output = dht_sim(arguments);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let trace = printed.lines().find_map(|line| line.strip_prefix("trace=")).unwrap();
    assert_eq!(trace.len(), 64, "{trace}");
    trace.to_owned()
}

#[test]
fn two_processes_with_one_seed_give_one_trace_and_another_seed_gives_another() {
    for story in ["restart-all", "split"] {
        let run = |seed| trace_of(&[story, "--nodes", "40", "--loss", "10", "--seed", seed]);
        let first = run("7");
        assert_eq!(first, run("7"), "{story}");
        assert_ne!(first, run("8"), "{story}");
    }
}

#[test]
fn a_broken_promise_is_the_exit_status_and_names_the_seed_and_the_rule() {
    let fault = ["--fault", "acknowledge-before-sync", "--sync-ms", "1000"];
    let output = dht_sim(&[&["restart-all", "--nodes", "20", "--seed", "3"], &fault[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let rules = ["is lost", "a stale version is served", "came back"];
    let names_one = rules.iter().any(|rule| said.contains(rule));
    assert!(said.contains("--seed 3") && names_one, "{said}");
}

#[test]
fn the_list_names_every_scenario_and_an_unknown_one_is_an_error() {
    let listed = String::from_utf8(dht_sim(&["--list"]).stdout).unwrap();
    for scenario in dht_sim::scenario::ALL {
        assert!(listed.contains(scenario.name()), "{listed}");
    }
    assert!(!dht_sim(&["no-such-story"]).status.success());
}
