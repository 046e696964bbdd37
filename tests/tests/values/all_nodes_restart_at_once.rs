//! Elsewhere, every node restarted together and republished into an empty routing table; profiles
//! were lost. Here a whole network is killed and started again, with nothing but what it was started
//! with before, and every acknowledged record is found again, bit for bit.

use dht_tests::{Network, User};

const NODES: usize = 10;
const RECORDS: u64 = 200;

#[test]
fn all_nodes_restart_at_once() {
    let mut network = Network::start(NODES);
    let user = User::new(1, &network.peers());
    let mut put = Vec::new();
    for slot in 0..RECORDS {
        let label = format!("profile {}", slot % 20);
        let body = vec![7; usize::try_from(slot * 60).unwrap()];
        put.push((label.clone(), user.put(user.first(&label, slot, body)).record));
    }
    network.kill_all();
    network.start_all();
    let readers: Vec<User> = (0..3).map(|node| User::new(9, &[network[node].peer()])).collect();
    for (number, (label, record)) in put.iter().enumerate() {
        let slot = user.slot(label, record.slot());
        let got = readers[number % readers.len()].get(&slot);
        assert_eq!(got.unwrap().record.bytes(), record.bytes(), "{label} is what was put");
    }
    let again = user.put(user.first("after the restart", 0, "the network still works"));
    assert!(again.outcome.reached);
}
