//! Bad input on the command lines and in configuration files: one sentence, the right number, and no
//! file or folder is made.

use std::process::Command;

use dht_tests::programs::{self, DAEMON};
use dht_tests::{CommandLine, Network, NodeOptions, NodeProcess, ports};

const USAGE: u8 = 2;
const TOO_LARGE: u8 = 12;
const NOT_FOUND: u8 = 65;
const BAD_CONFIG: u8 = 80;
const ADDRESS_IN_USE: u8 = 81;
const FILE_ACCESS: u8 = 86;
const IDENTITY_FILE: u8 = 87;
const ADMIN_UNREACHABLE: u8 = 88;

fn daemon(arguments: &[&str]) -> programs::Ended {
    programs::run(Command::new(programs::binary(DAEMON)).args(arguments))
}

#[test]
fn a_command_line_of_the_daemon_that_is_not_understood_is_refused() {
    daemon(&[]).expect_failure(USAGE, "a command is missing");
    daemon(&["fly"]).expect_failure(USAGE, "'fly'");
    daemon(&["run", "--colour"]).expect_failure(USAGE, "--colour");
    daemon(&["run", "--solo", "--listen"]).expect_failure(USAGE, "--listen");
    daemon(&["check-config"]).expect_failure(USAGE, "--config");
    daemon(&["identity", "--data-dir", "/proc/nowhere"]).expect_failure(IDENTITY_FILE, "node key");
    daemon(&["status", "--admin", "nobody"]).expect_failure(USAGE, "--admin");
    let nobody = ports::free_address().to_string();
    daemon(&["status", "--admin", &nobody]).expect_failure(ADMIN_UNREACHABLE, &nobody);
}

#[test]
fn a_value_or_field_of_the_configuration_that_cannot_be_used_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (top, store, says) in [
        ("colour = 1", "", "colour"),
        ("", "max_records = 1", "max_records"),
        ("network = \"Not A Name\"", "", "network"),
        ("listen = [\"here\"]", "", "listen"),
        ("listen = []", "", "listen"),
        ("bootstrap = [\"nobody\"]", "", "bootstrap"),
        ("mode = \"both\"", "", "mode"),
        ("admin = \"0.0.0.0:1\"", "", "admin_public"),
        ("solo = \"yes\"", "", "line"),
        ("log = \"loud\"", "", "log"),
        ("verify_threads = 0", "", "verify_threads"),
        ("", "max_bytes = 1", "max_bytes"),
        ("", "cache_bytes = -1", "line"),
        ("this is not TOML", "", "line"),
    ] {
        let options =
            NodeOptions { top: top.to_owned(), store: store.to_owned(), ..NodeOptions::solo() };
        let node = NodeProcess::place(folder.path().join("node"), options);
        node.run_to_end().expect_failure(BAD_CONFIG, says);
        assert!(!node.data_dir().exists(), "{top}{store}: nothing was made");
        let config = node.folder().join("node.toml");
        let checked = daemon(&["check-config", "--config", config.to_str().unwrap()]);
        checked.expect_failure(BAD_CONFIG, says);
    }
    let missing = folder.path().join("missing.toml");
    let missing = daemon(&["run", "--config", missing.to_str().unwrap()]);
    missing.expect_failure(BAD_CONFIG, "missing.toml");
}

#[test]
fn a_port_in_use_is_told_and_the_other_node_is_left_alone() {
    let net = Network::start(1);
    let folder = tempfile::tempdir().unwrap();
    let other = ports::free_address();
    for (listen, admin, says) in
        [(net[0].addr(), other, "--listen"), (other, net[0].addr(), "--admin")]
    {
        let top = format!("listen = [\"{listen}\"]\nadmin = \"{admin}\"");
        let options = NodeOptions { top, ..NodeOptions::solo() };
        let node = NodeProcess::place(folder.path().join(says), options);
        let ended = node.run_to_end();
        ended.expect_failure(ADDRESS_IN_USE, &net[0].addr().to_string());
    }
    assert_eq!(net[0].status()["ready"], true);
}

#[test]
fn a_command_of_the_client_that_cannot_be_done_is_refused() {
    let net = Network::start(1);
    let (alice, publisher) = CommandLine::with_identity(&net.peers());
    let kept = alice.json(&["put", "label", "value", "--no-queue"]);
    alice.run(&["put", "label", "value", "--colour"]).expect_failure(USAGE, "--colour");
    alice.run(&["get", "zz", "label"]).expect_failure(USAGE, "64 hex digits");
    alice.run(&["get-content", &"0".repeat(63)]).expect_failure(USAGE, "64 hex digits");
    alice.run(&["get-content", &"0".repeat(64)]).expect_failure(NOT_FOUND, "nothing is stored");
    alice.run(&["get", &"0".repeat(64), "label"]).expect_failure(NOT_FOUND, "nothing is stored");
    alice.run(&["get", &publisher, "other"]).expect_failure(NOT_FOUND, "nothing is stored");
    alice
        .run(&["put", "l", "--file", "missing", "--no-queue"])
        .expect_failure(FILE_ACCESS, "missing");
    std::fs::write(alice.path("large"), vec![0; 65_537]).unwrap();
    alice
        .run(&["put", "label", "--file", "large", "--no-queue"])
        .expect_failure(TOO_LARGE, "65536");
    let got = alice.json(&["get", &publisher, "label"]);
    assert_eq!(got["record"], kept["record"], "nothing is lost by any of it");
    assert_eq!(net[0].status()["records"], 1);
}
