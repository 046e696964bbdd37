//! `health-script-asks-nothing`: elsewhere, the monitor looked at processes and ports, never at the DHT, and ended at
//! the first healthy node. Here `scripts/health.sh` puts a value on every node and reads it through another, tells of
//! each of them, and its exit status is right.

use std::path::Path;
use std::process::Command;

use dht_tests::forgetful::Forgetful;
use dht_tests::programs::{self, CLIENT, Ended};
use dht_tests::{NETWORK, Network, NodeOptions, NodeProcess, eventually};
use rustix::process::Signal;
use serde_json::Value;

const DEGRADED: i32 = 1;
const DOWN: i32 = 2;
/// Seconds for one node's answer, and as many for its canary: a stopped node of this machine needs no more.
const LIMIT_SECS: &str = "8";

/// Runs the script with these arguments.
fn script(arguments: &[&str]) -> Ended {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let client = programs::binary(CLIENT);
    let mut command = Command::new(root.join("scripts/health.sh"));
    command.arg("--bin-dir").arg(client.parent().unwrap()).args(arguments);
    programs::run(&mut command)
}

/// What the script says of these nodes: its exit status, and an object a node.
fn health(peers: &[String]) -> (i32, Vec<Value>) {
    let mut arguments = vec!["--network", NETWORK, "--timeout", LIMIT_SECS, "--json"];
    arguments.extend(peers.iter().map(String::as_str));
    let ended = script(&arguments);
    let lines = String::from_utf8(ended.stdout).unwrap();
    let told: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asked: Vec<&str> = told.iter().map(|node| node["peer"].as_str().unwrap()).collect();
    assert_eq!(asked, peers, "a line a node, in their order: {}", ended.stderr);
    (ended.status, told)
}

fn word<'a>(node: &'a Value, field: &str) -> &'a str {
    node[field].as_str().unwrap_or_else(|| panic!("{field} of {node}"))
}

fn faults(node: &Value) -> String {
    node["faults"].to_string()
}

/// Waits until the script says that all of these are well: repair between them may still be on its way.
fn await_well(peers: &[String]) -> Vec<Value> {
    eventually("all are well", || {
        let (status, told) = health(peers);
        (status == 0).then_some(told)
    })
}

#[test]
fn every_node_is_told_of_and_the_status_is_that_of_the_worst() {
    let net = Network::start(3);
    let peers = net.peers();
    // Who is asked for the second time holds what was put on it for the first.
    await_well(&peers);
    for (node, told) in net.nodes().iter().zip(await_well(&peers)) {
        assert_eq!(word(&told, "health"), "well", "{told}");
        assert_eq!(word(&told, "node"), node.id().to_string());
        assert_eq!(word(&told, "canary"), "read", "{told}");
        let through = word(&told, "read_through");
        assert!(net.nodes().iter().any(|other| other.id().to_string() == through), "{told}");
        assert_ne!(through, node.id().to_string(), "through another one");
        // What the node says of itself over the protocol is what its own status says.
        let status = node.status();
        assert_eq!(told["ready"], status["ready"]);
        assert_eq!(told["servers"], status["table"], "{told}");
        assert_eq!(told["neighbours"], status["replication"]["neighbours"], "{told}");
        let mib = |bytes: &Value| bytes.as_u64().unwrap() >> 20;
        let memory = told["memory_mib"].as_u64().unwrap();
        assert!(memory.abs_diff(mib(&status["memory_bytes"])) < 64, "{memory} MiB: {status}");
        for percent in ["disk_free_percent", "store_free_percent"] {
            assert!((1..=100).contains(&told[percent].as_u64().unwrap()), "{percent}: {told}");
        }
        assert!(told["records"].as_u64().unwrap() >= 1, "the canary of before: {told}");
        assert!(told["uptime_secs"].as_u64().unwrap() <= status["uptime_secs"].as_u64().unwrap());
        assert!(word(&told, "version").starts_with("dht-bootstrap "), "{told}");
    }

    // Whichever is stopped, wherever it stands, the others are asked and told of.
    for stopped in [0, 2] {
        net[stopped].signal(Signal::STOP);
        let (status, told) = health(&peers);
        net[stopped].signal(Signal::CONT);
        assert_eq!(status, DOWN, "{told:?}");
        for (place, node) in told.iter().enumerate() {
            let wanted = if place == stopped { "down" } else { "well" };
            assert_eq!(word(node, "health"), wanted, "{node}");
        }
        assert!(faults(&told[stopped]).contains("does not answer"), "{}", told[stopped]);
        await_well(&peers);
    }
    let (status, _) = health(&peers.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(status, 0, "in whatever order");
}

#[test]
fn a_node_that_answers_and_keeps_nothing_is_told_for_it() {
    let net = Network::start(3);
    let forgetful = Forgetful::start(&net.peers());
    for at in [0, 3] {
        let mut peers = net.peers();
        peers.insert(at, forgetful.peer());
        let (status, told) = health(&peers);
        assert_eq!(status, DEGRADED, "{told:?}");
        assert_eq!(word(&told[at], "canary"), "lost", "{}", told[at]);
        assert!(faults(&told[at]).contains("does not have it"), "{}", told[at]);
        for (place, node) in told.iter().enumerate().filter(|(place, _)| *place != at) {
            assert_eq!(word(node, "health"), "well", "{place}: {node}");
        }
    }
}

#[test]
fn a_node_that_refuses_writes_is_told_for_it_before_anybody_puts() {
    let net = Network::start(2);
    let options = NodeOptions {
        store: format!("min_free_bytes = {}", 1_u64 << 62),
        ..NodeOptions::joining(net.peers())
    };
    let mut full = NodeProcess::place(net.folder().join("full"), options);
    full.spawn();
    eventually("it answers", || full.try_status());
    let mut peers = net.peers();
    peers.push(full.peer());
    let (status, told) = health(&peers);
    assert_eq!(status, DEGRADED, "{told:?}");
    assert_eq!(word(&told[2], "health"), "degraded", "{}", told[2]);
    assert!(told[2]["refuses"].to_string().contains("the store is full"), "{}", told[2]);
    assert_eq!(word(&told[2], "canary"), "not_taken", "{}", told[2]);
}

#[test]
fn people_get_a_table_and_a_fleet_may_be_named_by_a_file() {
    let net = Network::start(1);
    let fleet = net.folder().join("fleet.toml");
    let text = format!("network = {NETWORK:?}\npeers = {:?}\n", [net[0].pinned()]);
    std::fs::write(&fleet, text).unwrap();
    let ended = script(&["--config", fleet.to_str().unwrap()]);
    let table = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status, 0, "{table}{}", ended.stderr);
    let lines: Vec<&str> = table.lines().collect();
    assert!(matches!(lines[..], [head, _] if head.starts_with("HEALTH  PEER ")), "{table}");
    assert!(lines[1].starts_with(&format!("well    {} ", net[0].addr())), "{table}");
    assert!(lines[1].ends_with("read_alone"), "{table}");
    assert!(ended.stderr.contains("nobody else could be asked"), "{}", ended.stderr);

    std::fs::write(&fleet, "peers = []\n").unwrap();
    let ended = script(&["--config", fleet.to_str().unwrap()]);
    assert_eq!(ended.status, DOWN, "what cannot be asked is not well");
    assert!(ended.stderr.contains("at least one node"), "{}", ended.stderr);
}
