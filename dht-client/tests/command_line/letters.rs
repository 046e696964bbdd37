//! `send`, `inbox`, `ack` and `outbox`, between two people who are never there at one time.

use serde_json::Value;

use crate::program::Program;
use crate::servers::{NETWORK, servers};

const USAGE: i32 = 2;
const NOT_FOUND: i32 = 65;

/// Alice and Bob, who have accepted each other.
fn friends() -> (Program, Program) {
    let person = || {
        let peer = servers()[0].addr.to_string();
        let program =
            Program::new(&["--bootstrap", &peer, "--network", NETWORK, "--timeout", "60"]);
        let made = program.json(&["identity", "new"]);
        program.json(&["requests"]);
        (program, made["identity"].as_str().unwrap().to_owned())
    };
    let ((alice, of_alice), (bob, of_bob)) = (person(), person());
    alice.json(&["contacts", "request", &of_bob, "--name", "bob"]);
    bob.json(&["requests"]);
    bob.json(&["accept", &of_alice, "--name", "alice"]);
    alice.json(&["requests"]);
    (alice, bob)
}

fn states(outbox: &Value) -> Vec<&str> {
    let letters = outbox["letters"].as_array().unwrap();
    letters.iter().map(|letter| letter["state"].as_str().unwrap()).collect()
}

#[test]
fn letters_are_sent_read_and_acknowledged_by_people_who_never_meet() {
    let (alice, bob) = friends();
    let sent = alice.json(&["send", "bob", "hello"]);
    assert_eq!((&sent["name"], &sent["state"]), (&"bob".into(), &"stored".into()));
    assert!(sent["stored"].as_u64() >= Some(2), "{sent}");
    let long: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    std::fs::write(alice.path("long"), &long).unwrap();
    alice.json(&["send", "bob", "--file", "long"]);
    alice.run_with_stdin(&["send", "bob", "-"], b"\x1b[2Jthird").expect_stdout();

    let inbox = bob.json(&["inbox"]);
    let letters = inbox["letters"].as_array().unwrap();
    assert_eq!((letters.len(), &inbox["missed"]), (3, &0.into()));
    assert_eq!((&letters[0]["name"], &letters[0]["message"]), (&"alice".into(), &"hello".into()));
    assert_eq!(letters[1]["message_hex"], hex::encode(&long));
    let shown = String::from_utf8(bob.run(&["inbox"]).expect_stdout()).unwrap();
    assert!(shown.contains("third") && !shown.contains('\u{1b}'));
    assert_eq!(states(&alice.json(&["outbox"])), ["stored"; 3]);

    let by_identity = letters[0]["id"].as_str().unwrap();
    let by_name = shown.lines().nth(1).unwrap().split(' ').next().unwrap();
    assert!(by_name.starts_with("alice:"), "{by_name}");
    let done = bob.json(&["ack", by_identity, by_name]);
    assert_eq!((&done["acknowledged"], &done["pruned"]), (&2.into(), &2.into()));
    assert_eq!(states(&alice.json(&["outbox"])), ["fetched", "fetched", "stored"]);
    assert_eq!(bob.json(&["ack", "--all"])["acknowledged"], 1);
    assert_eq!(bob.json(&["inbox"])["letters"], Value::Array(Vec::new()));
    let lines = String::from_utf8(alice.run(&["outbox"]).expect_stdout()).unwrap();
    assert_eq!(lines.lines().filter(|line| line.ends_with(" fetched")).count(), 3, "{lines}");
}

#[test]
fn all_that_is_here_is_acknowledged_and_counted_however_many_pages_it_takes() {
    let (alice, bob) = friends();
    // One more than a page of the inbox has.
    let lines: String = (0..1_001).map(|line| format!("line {line}\n")).collect();
    alice.run_with_stdin(&["send", "bob", "-", "--lines"], lines.as_bytes()).expect_stdout();
    assert_eq!(bob.json(&["inbox"])["letters"].as_array().unwrap().len(), 1_001);
    let done = bob.json(&["ack", "--all"]);
    assert_eq!((&done["acknowledged"], &done["pruned"]), (&1_001.into(), &1_001.into()));
    assert_eq!(done["untold"], Value::Null);
}

#[test]
fn what_cannot_be_done_with_letters_is_said() {
    let (alice, _) = friends();
    alice.run(&["send", "eve", "x"]).expect_failure(NOT_FOUND, "eve");
    alice.run(&["ack", "nothing"]).expect_failure(USAGE, "names no letter");
    let id = format!("{}:0a1b2c:7", "ab".repeat(32));
    alice.run(&["ack", &id]).expect_failure(NOT_FOUND, "");
}
