//! What needs no network: help, identities, and everything that is refused before one is asked.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Instant;

use crate::program::Program;

const USAGE: i32 = 2;
const TOO_LARGE: i32 = 12;
const NO_PEERS: i32 = 66;
const QUEUED: i32 = 69;
const FILE_ACCESS: i32 = 86;
const IDENTITY_FILE: i32 = 87;

fn id() -> String {
    "ab".repeat(32)
}

#[test]
fn help_and_version_are_printed_to_stdout() {
    let program = Program::new(&[]);
    let help = String::from_utf8(program.run(&["--help"]).expect_stdout()).unwrap();
    for command in ["identity", "put", "get-content", "watch", "bench", "--bootstrap"] {
        assert!(help.contains(command), "{command}");
    }
    let version = program.run(&["--version"]).expect_stdout();
    assert_eq!(version, format!("dht-client {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
    let put = String::from_utf8(program.run(&["put", "--help"]).expect_stdout()).unwrap();
    assert!(put.contains("--expect-seq <N>"), "{put}");
}

#[test]
fn a_command_line_that_is_not_understood_is_one_sentence_and_status_2() {
    let program = Program::new(&[]);
    program.run(&[]).expect_failure(USAGE, "a command is missing");
    program.run(&["identity"]).expect_failure(USAGE, "a command is missing");
    program.run(&["fly"]).expect_failure(USAGE, "'fly'");
    program.run(&["put", "l", "v", "--colour", "red"]).expect_failure(USAGE, "--colour");
    program.run(&["--colour", "peers"]).expect_failure(USAGE, "--colour");
    program.run(&["put", "label"]).expect_failure(USAGE, "VALUE");
    program.run(&["put", "l", "v", "--file", "f"]).expect_failure(USAGE, "--file");
    program.run(&["put", "l", "v", "--retention", "9d"]).expect_failure(USAGE, "365d");
    program.run(&["get", "zz", "label"]).expect_failure(USAGE, "64 hex digits");
    program.run(&["get-content", &id()[1..]]).expect_failure(USAGE, "64 hex digits");
    program.run(&["lookup", "xyz"]).expect_failure(USAGE, "64 hex digits");
    program.run(&["ping", "nowhere"]).expect_failure(USAGE, "host:port");
    program.run(&["--network", "BIG", "peers"]).expect_failure(USAGE, "a network name");
    program.run(&["--timeout", "soon", "peers"]).expect_failure(USAGE, "time limit");
    program.run(&["bench", "--ops", "fly"]).expect_failure(USAGE, "fly");
}

#[test]
fn a_log_that_cannot_be_written_as_asked_is_said() {
    let shown = |filter: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_dht-client"));
        let home = tempfile::tempdir().unwrap();
        program.env("HOME", home.path()).env("RUST_LOG", filter).args(["identity", "new"]);
        program.output().unwrap()
    };
    let refused = shown("dht_context=loud");
    assert_eq!(refused.status.code(), Some(USAGE));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("RUST_LOG=dht_context=loud"));
    assert!(shown("dht_context=debug,warn").status.success());
}

#[test]
fn without_a_bootstrap_peer_nobody_is_asked() {
    let program = Program::new(&[]);
    program.run(&["peers"]).expect_failure(USAGE, "--bootstrap");
    program.run(&["get", &id(), "label"]).expect_failure(USAGE, "--bootstrap");
}

#[test]
fn an_identity_is_made_once_and_shown() {
    let program = Program::new(&[]);
    let made = program.run(&["identity", "new"]).expect_stdout();
    let public = String::from_utf8(made).unwrap();
    assert_eq!(public.trim_end().len(), 64);
    let shown = program.json(&["identity", "show"]);
    assert_eq!(shown["identity"], public.trim_end());
    let path = program.path(".local/share/dht/identity");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    program.run(&["identity", "new"]).expect_failure(IDENTITY_FILE, "exists already");
    assert_eq!(program.json(&["identity", "show"])["identity"], shown["identity"]);

    let other = program.json(&["--identity", "other", "identity", "new"]);
    assert_ne!(other["identity"], shown["identity"]);
    let other_shown = program.json(&["identity", "show", "--identity", "other"]);
    assert_eq!(other_shown["identity"], other["identity"]);
}

#[test]
fn an_identity_that_cannot_be_used_says_why() {
    let program = Program::new(&["--identity", "me", "--bootstrap", "127.0.0.1:1"]);
    let show = || program.run(&["identity", "show"]);
    let path = program.path("me");
    show().expect_failure(IDENTITY_FILE, "identity new");
    program.run(&["put", "label", "value"]).expect_failure(IDENTITY_FILE, "identity new");
    program.run(&["delete", "label"]).expect_failure(IDENTITY_FILE, "identity new");
    program.run(&["bench"]).expect_failure(IDENTITY_FILE, "identity new");

    program.run(&["identity", "new"]).expect_stdout();
    let good = std::fs::read(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    show().expect_failure(IDENTITY_FILE, "chmod 600");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    show().expect_stdout();
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    show().expect_failure(IDENTITY_FILE, "damaged");
    std::fs::write(&path, b"dht-identity 9\n").unwrap();
    show().expect_failure(IDENTITY_FILE, "upgrade");

    let nowhere = program.run(&["identity", "new", "--identity", "/proc/nowhere/identity"]);
    nowhere.expect_failure(IDENTITY_FILE, "cannot be created");
}

#[test]
fn a_value_that_cannot_be_put_is_refused_before_the_network_is_asked() {
    let program = Program::new(&["--bootstrap", "127.0.0.1:1"]);
    program.run(&["identity", "new"]).expect_stdout();
    let large = vec![b'x'; 65_537];
    std::fs::write(program.path("large"), &large).unwrap();
    let started = Instant::now();
    program.run(&["put", "l", "--file", "large"]).expect_failure(TOO_LARGE, "65536");
    program.run_with_stdin(&["put", "l", "-"], &large).expect_failure(TOO_LARGE, "65536");
    program.run(&["put", "l", "--file", "none"]).expect_failure(FILE_ACCESS, "none cannot be read");
    program.run(&["put", "l", "--file", "."]).expect_failure(FILE_ACCESS, "cannot be read");
    assert!(started.elapsed().as_secs() < 3, "no network was waited for");
}

#[test]
fn with_nobody_there_every_command_ends_within_its_time_limit() {
    // Bound, so that nobody else is there, and never answered.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = silent.local_addr().unwrap().to_string();
    let program = Program::new(&["--bootstrap", &peer, "--timeout", "1"]);
    program.run(&["identity", "new"]).expect_stdout();
    let started = Instant::now();
    for arguments in [
        &["put", "label", "value", "--no-queue"][..],
        &["get", &id(), "label"],
        &["list", "topic", "label"],
        &["delete", "label", "--no-queue"],
        &["watch", "topic", "label"],
        &["lookup", &id()],
        &["peers"],
        &["bench", "--count", "1"],
    ] {
        program.run(arguments).expect_failure(NO_PEERS, "no node answers");
    }
    for arguments in [&["put", "label", "value"][..], &["delete", "label"]] {
        program.run(arguments).expect_failure(QUEUED, "no node answers");
    }
    program.run(&["ping", &peer]).expect_failure(61, "1s");
    assert!(started.elapsed().as_secs() < 30);
    let patient = Program::new(&["--bootstrap", &peer, "--timeout", "6"]);
    patient.run(&["peers"]).expect_failure(NO_PEERS, &peer);
}
