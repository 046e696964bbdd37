//! The client is killed with -9 just before each of its steps, in `send`, `inbox`, `ack` and `outbox`: no
//! accepted letter is lost, and none comes twice.
//!
//! ```text
//! twice, traced: send ── inbox ── ack ── outbox              which steps each of them makes
//! a round:       send† ─ inbox† ─ inbox ─ ack† ─ outbox†     † killed just before one of them
//! in the end:    outbox ─ inbox ─ ack ─ outbox               all that is owed has come
//! ```
//!
//! And it is killed while it makes its profile: the next start makes it.
//!
//! The steps are spread evenly over each command, from its first to its last. A letter is accepted once
//! its `send` has ended, or has told of it. The letters of a `send` that was killed before may come, all of
//! them, or not. Each round writes other words, so that what is sent again is another letter.
//!
//! To see it fail, put a fault back: in `dht-client/src/profile.rs` let `Profile::open` forget `make`, so that
//! the database is made in its place. A client that was killed half-way then never starts again.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use dht_tests::Network;
use dht_tests::programs::Ended;
use dht_tests::steps::{KILLED, Step, run_until, spread, steps_of};
use serde_json::Value;

use crate::person::{Person, meet};

/// So many of each command's steps are tried.
const ROUNDS: usize = 24;
/// Letters of one `send`.
const LETTERS: usize = 3;
const QUEUED: i32 = dht_kad::ErrorNumber::Queued as i32;

#[test]
fn killed_between_any_two_steps_the_client_loses_no_letter_and_gives_none_twice() {
    let network = Network::start(3);
    let (alice, bob) = (Person::new(&network.peers()), Person::new(&network.peers()));
    meet(&alice, &bob);
    let send = alice.terminal.command(&["send", "bob", "--lines", "--file", "lines"]);
    let outbox = alice.terminal.command(&["outbox"]);
    let inbox = bob.terminal.command(&["inbox", "--json"]);
    let (mut sent, mut reader) = (Vec::new(), Reader::default());

    let mut traced = |about| {
        sent.push(Sent { lines: write_lines(&alice, about), accepted: true });
        let send = Victim::traced(&send, network.folder());
        let inbox = Victim::traced(&inbox, network.folder());
        reader.look(&inbox.ended.stdout);
        let ack = Victim::traced(&reader.ack(&bob), network.folder());
        reader.acknowledged(&ack.ended);
        [send, inbox, ack, Victim::traced(&outbox, network.folder())]
    };
    // The first time is unlike all others: tables are made.
    let _ = traced("at first");
    let [mut sending, mut showing, mut acknowledging, mut asking] = traced("then");
    for round in 0..ROUNDS {
        let lines = write_lines(&alice, &format!("round {round}"));
        let status = sending.strike(&send, round);
        let accepted = status != KILLED || sending.ended.stdout.starts_with(b"sent: ");
        sent.push(Sent { lines, accepted });
        if showing.strike(&inbox, round) != KILLED {
            reader.look(&showing.ended.stdout);
        }
        reader.look(&bob.terminal.run(&["inbox", "--json"]).expect_stdout());
        acknowledging.strike(&reader.ack(&bob), round);
        reader.acknowledged(&acknowledging.ended);
        asking.strike(&outbox, round);
    }
    let killed = [&sending, &showing, &acknowledging, &asking].map(|victim| victim.killed);
    println!("killed in {ROUNDS} rounds: {killed:?}");
    // Packets and wake-ups are not the same in each run: some end before they come so far.
    assert!(killed.iter().all(|killed| *killed >= ROUNDS / 4), "{killed:?}");

    let _ = alice.terminal.json(&["outbox"]);
    reader.look(&bob.terminal.run(&["inbox", "--json"]).expect_stdout());
    let mut ack = reader.ack(&bob);
    reader.acknowledged(&dht_tests::programs::run(&mut ack));
    assert_eq!(bob.inbox(), [""; 0]);
    let came: Vec<&str> = reader.seen.values().map(|(_, line)| line.as_str()).collect();
    assert_eq!(came, expected(&sent, &came), "each once, in the order in which they were sent");
    let outbox = alice.terminal.json(&["outbox"]);
    let outbox = outbox["letters"].as_array().unwrap();
    let states: Vec<&Value> = outbox.iter().map(|letter| &letter["state"]).collect();
    assert_eq!(states, vec!["fetched"; came.len()], "as many as Alice has on her disk");
}

#[test]
fn killed_while_it_makes_its_profile_the_client_makes_it_the_next_time() {
    // Contacts are listed without asking anybody.
    let nobody = ["127.0.0.1:9".to_owned()];
    let folder = tempfile::tempdir().unwrap();
    let first = Person::new(&nobody);
    let (_, steps) = steps_of(&first.terminal.command(&["contacts", "--json"]), folder.path());
    for step in spread(&steps, 2 * ROUNDS) {
        let person = Person::new(&nobody);
        let command = person.terminal.command(&["contacts", "--json"]);
        assert_eq!(run_until(&command, &step).status, KILLED, "{step:?}");
        let listed = person.terminal.json(&["contacts"]);
        assert_eq!(listed["contacts"].as_array().map(Vec::len), Some(0), "{step:?}: {listed}");
    }
}

/// A command, which is struck at one of its steps after the other.
struct Victim {
    steps: Vec<Step>,
    /// What its last run came to.
    ended: Ended,
    killed: usize,
}

impl Victim {
    /// Runs it once, and sees which steps it makes.
    fn traced(command: &Command, folder: &std::path::Path) -> Self {
        let (ended, steps) = steps_of(command, folder);
        let steps = spread(&steps, ROUNDS);
        Victim { steps, ended, killed: 0 }
    }

    /// Kills it at this round's step; its status.
    fn strike(&mut self, command: &Command, round: usize) -> i32 {
        let step = &self.steps[round % self.steps.len()];
        self.ended = run_until(command, step);
        let status = self.ended.status;
        assert!([0, QUEUED, KILLED].contains(&status), "{step:?}: {:?}", self.ended);
        self.killed += usize::from(status == KILLED);
        status
    }
}

/// What one `send` was given.
struct Sent {
    lines: Vec<String>,
    accepted: bool,
}

/// Writes what the next `send` sends.
fn write_lines(who: &Person, about: &str) -> Vec<String> {
    let lines: Vec<String> =
        (0..LETTERS).map(|number| format!("{about}, letter {number}")).collect();
    std::fs::write(who.terminal.path("lines"), lines.join("\n")).unwrap();
    lines
}

/// What should have come, if of each `send` that was killed all came or nothing.
fn expected<'a>(sent: &'a [Sent], came: &[&str]) -> Vec<&'a str> {
    let arrived = |sent: &&Sent| sent.accepted || came.contains(&sent.lines[0].as_str());
    sent.iter().filter(arrived).flat_map(|sent| &sent.lines).map(String::as_str).collect()
}

/// The application on Bob's machine: what it was shown, and what it has done with.
#[derive(Default)]
struct Reader {
    /// By arrival: the letter's id, and its words.
    seen: BTreeMap<u64, (String, String)>,
    /// Ids that were given to an `ack`, whatever became of that.
    given: BTreeSet<String>,
    /// Ids whose `ack` said that they are done with.
    done: BTreeSet<String>,
}

impl Reader {
    /// Takes note of what `inbox` showed.
    fn look(&mut self, shown: &[u8]) {
        let shown: Value = serde_json::from_slice(shown).unwrap();
        let mut waiting: BTreeSet<String> = self
            .seen
            .values()
            .map(|(id, _)| id.clone())
            .filter(|id| !self.given.contains(id))
            .collect();
        for letter in shown["letters"].as_array().unwrap() {
            let word = |field: &str| letter[field].as_str().unwrap().to_owned();
            let (id, arrival) = (word("id"), letter["arrival"].as_u64().unwrap());
            assert!(!self.done.contains(&id), "it was acknowledged, and comes again: {letter}");
            waiting.remove(&id);
            let before = self.seen.insert(arrival, (id.clone(), word("message")));
            assert!(before.is_none_or(|before| before == self.seen[&arrival]), "{letter}");
            let of_this = self.seen.values().filter(|(known, _)| *known == id).count();
            assert_eq!(of_this, 1, "it arrived before: {letter}");
        }
        assert!(waiting.is_empty(), "shown once, and then no more: {waiting:?}");
    }

    /// The command that is done with all that was shown.
    fn ack(&mut self, bob: &Person) -> Command {
        let shown = self.seen.values().map(|(id, _)| id);
        let ids: Vec<String> = shown.filter(|id| !self.done.contains(*id)).cloned().collect();
        let mut words = vec!["ack"];
        match ids.is_empty() {
            true => words.push("--all"),
            false => words.extend(ids.iter().map(String::as_str)),
        }
        let command = bob.terminal.command(&words);
        self.given.extend(ids);
        command
    }

    fn acknowledged(&mut self, ended: &Ended) {
        if ended.status == 0 {
            self.done.extend(self.given.iter().cloned());
        }
    }
}
