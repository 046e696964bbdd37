//! A person at a terminal, and how two of them meet.

use dht_tests::CommandLine;
use serde_json::Value;

/// Somebody with an identity on one machine.
pub(crate) struct Person {
    pub(crate) terminal: CommandLine,
    /// The public key in hex.
    pub(crate) identity: String,
}

impl Person {
    pub(crate) fn new(peers: &[String]) -> Self {
        let (terminal, identity) = CommandLine::with_identity(peers);
        Person { terminal, identity }
    }

    /// Reads what waits: the texts, in the order in which they are shown.
    pub(crate) fn inbox(&self) -> Vec<String> {
        let shown = self.terminal.json(&["inbox"]);
        texts(&shown)
    }
}

/// Alice asks Bob, who accepts; each has run nothing but these commands, one after the other.
pub(crate) fn meet(alice: &Person, bob: &Person) {
    // Whoever looks for requests publishes his key bundle.
    let none = bob.terminal.json(&["requests"]);
    assert_eq!(none["requests"].as_array().unwrap().len(), 0, "{none}");
    let asked = ["contacts", "request", &bob.identity, "it is me", "--name", "bob"];
    assert_eq!(alice.terminal.json(&asked)["state"], "requested");
    let waiting = bob.terminal.json(&["requests"]);
    let request = &waiting["requests"][0];
    assert_eq!(
        (&request["identity"], &request["text"]),
        (&alice.identity.as_str().into(), &"it is me".into())
    );
    let id = request["id"].as_str().unwrap();
    assert_eq!(bob.terminal.json(&["accept", id, "--name", "alice"])["state"], "accepted");
    // The answer is taken by this command, or by the client's own look on its way.
    let none = alice.terminal.json(&["requests"]);
    assert_eq!(none["requests"].as_array().unwrap().len(), 0, "{none}");
    let contacts = alice.terminal.json(&["contacts"]);
    assert_eq!(contacts["contacts"][0]["state"], "accepted", "{contacts}");
}

pub(crate) fn texts(shown: &Value) -> Vec<String> {
    let letters = shown["letters"].as_array().unwrap();
    letters.iter().map(|letter| letter["message"].as_str().unwrap().to_owned()).collect()
}
