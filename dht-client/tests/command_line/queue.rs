//! The write queue through the real program: what is put while nobody answers is delivered later.

use std::net::{SocketAddr, UdpSocket};

use serde_json::Value;

use crate::program::Program;
use crate::servers::{NETWORK, servers, start_alone_at};

const QUEUED: i32 = 69;
const USAGE: i32 = 2;
const UNEXPECTED_SEQ: i32 = 19;
const NOT_FOUND: i32 = 65;

/// A program with an identity, and a place where a server may come.
fn user_without_server() -> (Program, String, UdpSocket) {
    // Bound, so that nobody else is there, and never answered.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = silent.local_addr().unwrap().to_string();
    let program = Program::new(&["--bootstrap", &peer, "--network", NETWORK, "--timeout", "1"]);
    let publisher = program.json(&["identity", "new"])["identity"].as_str().unwrap().to_owned();
    (program, publisher, silent)
}

fn server_at(silent: UdpSocket) -> SocketAddr {
    let place = silent.local_addr().unwrap();
    drop(silent);
    start_alone_at(place).addr
}

/// What was put: the client's own key bundle is in the queue, too.
fn put_writes(queue: &Value) -> Vec<&Value> {
    let writes = queue["writes"].as_array().unwrap().iter();
    writes.filter(|write| write["action"] == "put").collect()
}

fn states(queue: &Value) -> Vec<(u64, &str)> {
    let writes = put_writes(queue).into_iter();
    writes.map(|write| (write["id"].as_u64().unwrap(), write["state"].as_str().unwrap())).collect()
}

#[test]
fn a_put_that_nobody_takes_is_queued_and_delivered_when_a_server_comes() {
    let (alice, publisher, silent) = user_without_server();
    alice.run(&["put", "note", "one"]).expect_failure(QUEUED, "queued as 1");
    alice.run(&["put", "note", "two"]).expect_failure(QUEUED, "queued as 2");
    alice.run(&["put", "gone", "x"]).expect_failure(QUEUED, "queued as 3");
    assert_eq!(states(&alice.json(&["queue"])), [(1, "waiting"), (2, "waiting"), (3, "waiting")]);
    let dropped = alice.json(&["queue", "--drop", "3"]);
    assert_eq!(states(&dropped)[2], (3, "dropped"));
    alice.run(&["queue", "--drop", "3"]).expect_failure(USAGE, "no longer waiting");
    alice.run(&["queue", "--drop", "9"]).expect_failure(USAGE, "no write 9");
    let shown = String::from_utf8(alice.run(&["queue"]).expect_stdout()).unwrap();
    assert!(shown.starts_with("1: put label ") && shown.lines().count() == 3, "{shown}");
    let still = alice.run(&["--json", "queue", "--flush"]);
    assert!(still.status == QUEUED && still.stderr.contains("2 writes still wait"), "{still:?}");

    server_at(silent);
    let flushed = alice.json(&["queue", "--flush", "--timeout", "60"]);
    assert_eq!(states(&flushed), [(1, "done"), (2, "done"), (3, "dropped")]);
    let seq = |place: usize| flushed["writes"][place]["seq"].as_u64().unwrap();
    assert!(seq(0) < seq(1), "in their order");
    let got = alice.json(&["get", &publisher, "note", "--timeout", "30"]);
    assert_eq!(
        (&got["value_hex"], got["seq"].as_u64().unwrap()),
        (&hex::encode("two").into(), seq(1))
    );
    alice.run(&["get", &publisher, "gone"]).expect_failure(NOT_FOUND, "nothing");
}

#[test]
fn a_put_that_is_taken_is_printed_as_if_there_were_no_queue_and_remembered_as_done() {
    let peer = servers()[0].addr.to_string();
    let alice = Program::new(&["--bootstrap", &peer, "--network", NETWORK]);
    alice.run(&["identity", "new"]).expect_stdout();
    let queued = alice.json(&["put", "both", "one"]);
    let direct = alice.json(&["put", "both", "two", "--no-queue"]);
    let fields =
        |report: &Value| -> Vec<String> { report.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(fields(&queued), fields(&direct));
    assert!(
        queued["stored"].as_u64() >= Some(2) && direct["seq"].as_u64() > queued["seq"].as_u64()
    );
    let stale = queued["seq"].to_string();
    let stored = direct["seq"].to_string();
    let put = alice.run(&["put", "both", "three", "--expect-seq", &stale]);
    put.expect_failure(UNEXPECTED_SEQ, &stored);
    let queue = alice.json(&["queue"]);
    let ends: Vec<&str> = states(&queue).into_iter().map(|(_, state)| state).collect();
    assert_eq!(ends, ["done", "conflict"]);
    assert_eq!(put_writes(&queue)[1]["stored_seq"], direct["seq"]);
    let bundle = queue["writes"].as_array().unwrap().iter().find(|one| one["action"] == "bundle");
    assert_eq!(bundle.unwrap()["state"], "done", "the key bundle went out by the way");
}

#[test]
fn an_identity_has_a_profile_of_its_own_in_each_network() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = silent.local_addr().unwrap().to_string();
    let alice = Program::new(&["--bootstrap", &peer, "--timeout", "1"]);
    let identity = alice.json(&["identity", "new"])["identity"].clone();
    alice.run(&["--network", "one", "put", "note", "x"]).expect_failure(QUEUED, "queued as 1");
    alice.run(&["--network", "other", "put", "note", "x"]).expect_failure(QUEUED, "queued as 1");
    alice.run(&["--network", "one", "put", "note", "y"]).expect_failure(QUEUED, "queued as 2");
    for (network, waiting) in [("one", 2), ("other", 1), ("third", 0)] {
        let queue = alice.json(&["--network", network, "queue"]);
        assert_eq!(queue["writes"].as_array().unwrap().len(), waiting, "{network}");
        let profile = format!(".local/share/dht/identity.{network}.profile");
        assert!(alice.path(&profile).exists());
    }
    assert_eq!(alice.json(&["identity", "show"])["identity"], identity);
}
