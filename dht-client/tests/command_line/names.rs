//! `name` against servers that run in this process, by the standard rules.

use serde_json::Value;

use crate::program::Program;
use crate::servers::{NETWORK, Server, servers};

const BAD_NAME: i32 = 75;
const NAME_TAKEN: i32 = 76;
const NAME_CONFUSABLE: i32 = 77;
const NAME_CHANGED: i32 = 79;
const NOT_FOUND: i32 = 65;
const IDENTITY_FILE: i32 = 87;

/// A program with an identity, which asks this server first.
fn user(server: &Server) -> (Program, String) {
    let peer = server.addr.to_string();
    let program = Program::new(&["--bootstrap", &peer, "--network", NETWORK, "--timeout", "30"]);
    let identity = program.json(&["identity", "new"])["identity"].as_str().unwrap().to_owned();
    (program, identity)
}

/// A name that the standard rules ask little work for.
const NAME: &str = "alice.of.wonderland";

#[test]
fn a_name_is_claimed_found_refused_to_others_and_changes_hands() {
    let [first, second, third] = servers();
    let ((alice, alices), (bob, bobs), (carol, _)) = (user(first), user(second), user(third));
    carol.run(&["name", "lookup", NAME]).expect_failure(NOT_FOUND, "claim it");
    let claimed = &alice.json(&["name", "claim", "Alice.of.Wonderland"])["names"][0];
    assert_eq!((&claimed["name"], &claimed["identity"]), (&NAME.into(), &alices.as_str().into()));
    assert_eq!((&claimed["signed"], &claimed["vouched"]), (&true.into(), &3.into()));
    let again = &alice.json(&["name", "claim", NAME])["names"][0];
    assert_eq!((&again["signed"], &again["since_ms"]), (&false.into(), &claimed["since_ms"]));

    bob.run(&["name", "claim", NAME]).expect_failure(NAME_TAKEN, &alices);
    bob.run(&["name", "claim", "a1ice-of-wonderiand"]).expect_failure(NAME_CONFUSABLE, NAME);
    bob.run(&["name", "renew", NAME]).expect_failure(NOT_FOUND, "claim it first");
    bob.run(&["name", "release", NAME]).expect_failure(NOT_FOUND, "claim it first");

    let found = carol.json(&["name", "lookup", NAME]);
    assert_eq!((&found["identity"], &found["trusted"]), (&alices.as_str().into(), &true.into()));
    let plain = carol.run(&["name", "lookup", NAME]).expect_stdout();
    assert!(String::from_utf8(plain).unwrap().starts_with(&alices));
    let names = carol.json(&["name", "reverse", &alices]);
    assert_eq!(names["names"], serde_json::json!([{ "name": NAME, "verified": true }]));
    let renewed = alice.json(&["name", "renew"]);
    assert_eq!(renewed["names"].as_array().map(Vec::len), Some(1), "{renewed}");
    let plain = alice.run(&["name", "renew", NAME]).expect_stdout();
    assert!(String::from_utf8(plain).unwrap().contains("3 of 3 servers vouch"));

    alice.run(&["name", "release", NAME]).expect_stdout();
    assert_eq!(carol.json(&["name", "reverse", &alices])["names"], Value::Array(Vec::new()));
    bob.json(&["name", "claim", NAME]);
    carol.run(&["name", "lookup", NAME]).expect_failure(NAME_CHANGED, "name trust");
    carol.json(&["name", "trust", NAME, &bobs]);
    assert_eq!(carol.json(&["name", "lookup", NAME])["identity"], bobs);
}

#[test]
fn what_is_no_name_or_has_nobody_to_claim_it_is_refused() {
    let [first, ..] = servers();
    let (alice, _) = user(first);
    for (name, says) in
        [("ab", "at least 3"), ("al ice", "« »"), ("alice.", "«.»"), ("adm1n", "reserved")]
    {
        alice.run(&["name", "claim", name]).expect_failure(BAD_NAME, says);
    }
    let peer = first.addr.to_string();
    let nobody = Program::new(&["--bootstrap", &peer, "--network", NETWORK]);
    nobody.run(&["name", "claim", NAME]).expect_failure(IDENTITY_FILE, "identity new");
    let id = "ab".repeat(32);
    nobody.run(&["name", "trust", NAME, &id]).expect_failure(IDENTITY_FILE, "identity new");
    nobody.run(&["name", "lookup", "nobody-at-all-has-it"]).expect_failure(NOT_FOUND, "claim it");
}
