//! What a storage node has of two people: neither identity, no public key of theirs, no word.
//!
//! Searched are the nodes' files, database and log alike. Something of somebody else, which lies there in the
//! clear, is searched for in the same way, and has to be found.

use std::fs;
use std::path::Path;

use dht_client::Identity;
use dht_tests::{Network, NodeOptions};

use crate::person::{Person, meet};

/// A value in the clear, by which the search shows that it can find something.
const IN_THE_CLEAR: &str = "a value that everybody may read";
const SECRET: &str = "a word between the two of them";

#[test]
fn nodes_hold_nothing_by_which_a_pair_could_be_known() {
    let mut network = Network::start_with(3, &NodeOptions::default());
    let (alice, bob) = (Person::new(&network.peers()), Person::new(&network.peers()));
    let carol = Person::new(&network.peers());
    meet(&alice, &bob);
    assert_eq!(alice.terminal.run(&["send", "bob", SECRET]).status, 0);
    assert_eq!(bob.inbox(), [SECRET]);
    assert_eq!(bob.terminal.json(&["ack", "--all"])["acknowledged"], 1);
    assert_eq!(carol.terminal.run(&["put", "label", IN_THE_CLEAR]).status, 0);
    network.kill_all();

    let mut places = Vec::new();
    for node in network.nodes() {
        gather(node.folder(), &mut places);
    }
    assert!(places.len() > 10, "databases and logs of three nodes: {} files", places.len());
    let holds = |what: &[u8]| places.iter().any(|(_, bytes)| contains(bytes, what));
    assert!(holds(IN_THE_CLEAR.as_bytes()), "the search finds what is there");
    assert!(holds(&hex::decode(&carol.identity).unwrap()), "and a publisher that is no secret");
    for person in [&alice, &bob] {
        let file = person.terminal.path(".local/share/dht/identity");
        let sealing = Identity::load(&file).unwrap().sealing_key().public().to_bytes();
        let sealing = hex::encode(sealing);
        for public in [person.identity.as_str(), &sealing] {
            let raw = hex::decode(public).unwrap();
            for form in [
                &raw[..],
                &raw[..raw.len().min(32)],
                public.as_bytes(),
                public.to_uppercase().as_bytes(),
            ] {
                let found = places.iter().find(|(_, bytes)| contains(bytes, form));
                assert!(
                    found.is_none(),
                    "{public:.16}… stands in {:?}",
                    found.map(|(path, _)| path)
                );
            }
        }
    }
    for word in [SECRET, "it is me"] {
        assert!(!holds(word.as_bytes()), "«{word}» can be read");
    }
}

/// All files below a folder.
fn gather(folder: &Path, places: &mut Vec<(std::path::PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => gather(&path, places),
            false => places.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}
