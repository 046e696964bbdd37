//! A laptop is lost: 24 words bring back the identity, the contacts and every letter that waits.

use dht_tests::{CommandLine, Network};

use crate::person::{Person, meet};

#[test]
fn twenty_four_words_bring_back_identity_contacts_and_letters() {
    let network = Network::start(3);
    let (alice, bob) = (Person::new(&network.peers()), Person::new(&network.peers()));
    meet(&alice, &bob);
    for text in ["one", "two", "three"] {
        assert_eq!(bob.terminal.run(&["send", "alice", text]).status, 0);
    }
    let exported = alice.terminal.run(&["identity", "export", "--words"]);
    assert_eq!(exported.status, 0, "{}", exported.stderr);
    let words = String::from_utf8(exported.stdout).unwrap();
    assert_eq!(words.split_whitespace().count(), 24);
    let identity = alice.identity.clone();
    drop(alice);

    let laptop = CommandLine::new(&network.peers());
    let imported = laptop.run_with_stdin(&["identity", "import", "--json"], words.as_bytes());
    assert_eq!(imported.expect_json()["identity"], identity.as_str());
    assert_eq!(laptop.json(&["contacts", "recover"])["found"], 1);
    let contacts = laptop.json(&["contacts"]);
    assert_eq!(contacts["contacts"][0]["name"], "bob", "{contacts}");
    let alice = Person { terminal: laptop, identity };
    assert_eq!(alice.inbox(), ["one", "two", "three"]);
    assert_eq!(alice.terminal.run(&["send", "bob", "I am back"]).status, 0);
    assert_eq!(bob.inbox(), ["I am back"]);
}
