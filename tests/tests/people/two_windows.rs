//! Two processes use one profile at the same time: each letter is sent once, is shown alike in both, and
//! is done with once.

use std::collections::BTreeSet;
use std::thread;

use dht_tests::Network;
use dht_tests::programs::Ended;
use serde_json::Value;

use crate::person::{Person, meet, texts};

/// How often two windows are opened.
const TIMES: usize = 4;
/// Letters that are sent in each window.
const LETTERS: usize = 20;

#[test]
fn two_processes_on_one_profile_send_show_and_acknowledge_each_letter_once() {
    let network = Network::start(3);
    let (alice, bob) = (Person::new(&network.peers()), Person::new(&network.peers()));
    meet(&alice, &bob);
    for time in 0..TIMES {
        let lines = |window: usize| {
            let line = move |number| format!("time {time}, window {window}, letter {number}");
            (0..LETTERS).map(line).collect::<Vec<String>>()
        };
        for window in 0..2 {
            let file = alice.terminal.path(&format!("lines {window}"));
            std::fs::write(file, lines(window).join("\n")).unwrap();
        }
        let send = |file| ["send", "bob", "--lines", "--file", file];
        for ended in at_once(&alice, &send("lines 0"), &send("lines 1")) {
            assert_eq!(ended.status, 0, "{ended:?}");
        }
        let shown = at_once(&bob, &["inbox", "--json"], &["inbox", "--json"]);
        let [one, other] = shown.map(|ended| ended.expect_json()["letters"].clone());
        let both = one.as_array().unwrap().iter().filter(|letter| has(&other, letter));
        let (one_len, other_len) = (one.as_array().unwrap().len(), other.as_array().unwrap().len());
        assert_eq!(both.count(), one_len.min(other_len), "shown alike: {one} {other}");

        let all = bob.terminal.json(&["inbox"]);
        let all = texts(&all);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 2 * LETTERS, "{all:?}");
        assert_eq!(all.len(), 2 * LETTERS, "each once");
        for window in 0..2 {
            let of_this = format!("window {window},");
            let of_this: Vec<_> = all.iter().filter(|line| line.contains(&of_this)).collect();
            assert_eq!(of_this, lines(window).iter().collect::<Vec<_>>(), "in its order");
        }
        for ended in at_once(&bob, &["ack", "--all", "--json"], &["ack", "--all", "--json"]) {
            let acknowledged = ended.expect_json()["acknowledged"].as_u64().unwrap();
            assert!([0, 2 * LETTERS as u64].contains(&acknowledged), "{acknowledged}");
        }
        assert_eq!(bob.inbox(), [""; 0]);
    }
}

/// Whether these letters have exactly this one among them.
fn has(letters: &Value, letter: &Value) -> bool {
    letters.as_array().unwrap().contains(letter)
}

/// Runs two commands of one person at the same time.
fn at_once(who: &Person, one: &[&str], other: &[&str]) -> [Ended; 2] {
    thread::scope(|scope| {
        let other = scope.spawn(|| who.terminal.run(other));
        [who.terminal.run(one), other.join().unwrap()]
    })
}
