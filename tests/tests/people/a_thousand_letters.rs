//! A thousand letters while the other is away and all nodes are killed: each comes once, in order.

use std::io::Write;

use dht_tests::Network;

use crate::person::{Person, meet};

const QUEUED: i32 = dht_kad::ErrorNumber::Queued as i32;

#[test]
fn a_thousand_letters_survive_the_death_of_all_nodes_and_come_once_in_order() {
    let mut network = Network::start(3);
    let (alice, bob) = (Person::new(&network.peers()), Person::new(&network.peers()));
    meet(&alice, &bob);
    let letters: Vec<String> = (0..1000).map(|number| format!("letter {number}")).collect();
    let send = |from: usize, to: usize| {
        let mut file = std::fs::File::create(alice.terminal.path("lines")).unwrap();
        file.write_all(letters[from..to].join("\n").as_bytes()).unwrap();
        alice.terminal.run(&["send", "bob", "--lines", "--file", "lines", "--timeout", "5"])
    };
    assert_eq!(send(0, 400).status, 0);
    network.kill_all();
    // They are accepted all the same: on Alice's disk.
    let offline = send(400, 700);
    assert_eq!(offline.status, QUEUED, "{}", offline.stderr);
    network.start_all();
    let sent = send(700, 1000);
    assert_eq!(sent.status, 0, "{}", sent.stderr);

    assert_eq!(bob.inbox(), letters);
    assert_eq!(bob.inbox(), letters, "they wait until they are acknowledged");
    assert_eq!(bob.terminal.json(&["ack", "--all"])["acknowledged"], 1000);
    assert!(bob.inbox().is_empty());
    let outbox = alice.terminal.json(&["outbox"]);
    let fetched = |letter: &&serde_json::Value| letter["state"] == "fetched";
    assert_eq!(outbox["letters"].as_array().unwrap().iter().filter(fetched).count(), 1000);
}
