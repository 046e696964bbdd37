//! What is put through one node is found through every other, in networks of three and of ten.

use dht_client::{Consistency, GetOptions};
use dht_tests::user::wait_for;
use dht_tests::{CommandLine, Network, User, eventually};

fn every_node_finds_every_record(count: usize) {
    let network = Network::start(count);
    for node in network.nodes() {
        let all = eventually("the node knows all others", || {
            let status = node.status();
            (status["table"] == count - 1).then_some(status)
        });
        assert_eq!(all["ready"], true);
    }
    let users: Vec<User> = (0..count)
        .map(|node| User::new(u8::try_from(node).unwrap(), &[network[node].peer()]))
        .collect();
    let put: Vec<_> = users
        .iter()
        .flat_map(|user| (0..3).map(move |slot| (user, slot)))
        .map(|(user, slot)| {
            let label = format!("record {slot}");
            (user.slot(&label, slot), user.put(user.first(&label, slot, vec![1; 500])).record)
        })
        .collect();
    for (reader, user) in users.iter().enumerate() {
        for (slot, record) in &put {
            for consistency in [Consistency::Default, Consistency::Quorum] {
                let options = GetOptions { consistency, verify: true };
                let got = wait_for(user.client().get(slot, options));
                let got = got.unwrap_or_else(|error| panic!("through node {reader}: {error}"));
                assert_eq!(got.record.bytes(), record.bytes());
            }
        }
    }
    // And through each node's own address, by the command line.
    let (alice, publisher) = CommandLine::with_identity(&[network[0].peer()]);
    let put = alice.json(&["put", "greeting", "hello"]);
    for node in network.nodes() {
        let got = CommandLine::new(&[node.peer()]).json(&["get", &publisher, "greeting"]);
        assert_eq!(got["record"], put["record"]);
    }
}

#[test]
fn in_a_network_of_three_every_node_finds_every_record() {
    every_node_finds_every_record(3);
}

#[test]
fn in_a_network_of_ten_every_node_finds_every_record() {
    every_node_finds_every_record(10);
}
