//! `contacts`, `requests`, `accept` and `block`, between two people who are never there at one time.

use serde_json::Value;

use crate::program::Program;
use crate::servers::{NETWORK, servers};

const USAGE: i32 = 2;
const NOT_FOUND: i32 = 65;

/// A program with an identity that can be asked: to read one's requests publishes the key bundle.
fn person() -> (Program, String) {
    let peer = servers()[0].addr.to_string();
    // Work may take long on a machine that does much else.
    let program = Program::new(&["--bootstrap", &peer, "--network", NETWORK, "--timeout", "60"]);
    let identity = program.json(&["identity", "new"])["identity"].as_str().unwrap().to_owned();
    let none = program.json(&["requests"]);
    assert_eq!(none["requests"], Value::Array(Vec::new()));
    (program, identity)
}

#[test]
fn two_people_become_contacts_and_one_blocks_the_other() {
    let ((alice, of_alice), (bob, of_bob)) = (person(), person());
    let asked =
        alice.json(&["contacts", "request", &of_bob, "hi\u{1b}[2J", "--name", "bob", "--as", "Al"]);
    assert_eq!((&asked["name"], &asked["state"]), (&"bob".into(), &"requested".into()));
    assert_eq!(asked["pair_code"], Value::Null);

    let requests = bob.json(&["requests"]);
    let request = &requests["requests"][0];
    assert_eq!((&request["identity"], &request["name"]), (&of_alice.clone().into(), &"Al".into()));
    assert!(request["work"].as_u64() >= Some(20), "{request}");
    let shown = String::from_utf8(bob.run(&["requests"]).expect_stdout()).unwrap();
    assert!(shown.contains(&of_alice) && !shown.contains('\u{1b}'), "{shown}");
    let accepted = bob.json(&["accept", request["id"].as_str().unwrap(), "--name", "alice"]);
    assert_eq!((&accepted["name"], &accepted["state"]), (&"alice".into(), &"accepted".into()));

    assert_eq!(alice.json(&["requests"])["accepted"][0]["identity"], of_bob);
    let (hers, his) = (alice.json(&["contacts"]), bob.json(&["contacts"]));
    assert_eq!(hers["contacts"][0]["state"], "accepted");
    let code = hers["contacts"][0]["pair_code"].as_str().unwrap();
    assert_eq!(his["contacts"][0]["pair_code"], code);
    let listed = String::from_utf8(alice.run(&["contacts"]).expect_stdout()).unwrap();
    assert_eq!(listed, format!("bob accepted {of_bob} pair code {code}\n"));

    // The profile is lost: the identity brings the contact back.
    let profile = format!(".local/share/dht/identity.{NETWORK}.profile");
    std::fs::remove_file(alice.path(&profile)).unwrap();
    assert_eq!(alice.json(&["contacts"])["contacts"], Value::Array(Vec::new()));
    assert_eq!(alice.json(&["contacts", "recover"])["found"], 1);
    assert_eq!(alice.json(&["contacts"]), hers);

    assert_eq!(alice.json(&["contacts", "rename", "bob", "robert"])["name"], "robert");
    assert_eq!(alice.json(&["block", "robert"])["state"], "blocked");
    assert_eq!(alice.json(&["contacts", "unblock", "robert"])["state"], "accepted");
}

#[test]
fn what_cannot_be_done_with_a_contact_is_said() {
    let (alice, of_alice) = person();
    let nobody = "ab".repeat(32);
    alice.run(&["accept", "0011223344556677"]).expect_failure(NOT_FOUND, "dht-client requests");
    alice.run(&["block", "bob"]).expect_failure(NOT_FOUND, "dht-client contacts");
    alice.run(&["contacts", "rename", "bob", "x"]).expect_failure(NOT_FOUND, "no contact");
    alice.run(&["contacts", "request", &of_alice]).expect_failure(USAGE, "your own identity");
    alice.json(&["block", &nobody]);
    alice.run(&["contacts", "request", &nobody]).expect_failure(USAGE, "unblock it first");
}
