//! Elsewhere, contacts were lost at a restart. Here a node that is started without any bootstrap peer
//! rejoins by those on its disk, after an orderly stop and after kill -9.

use dht_tests::{Network, NodeProcess, User, eventually};

#[test]
fn forgets_peers_at_restart() {
    let mut network = Network::start(4);
    let user = User::new(1, &network.peers());
    let record = user.put(user.first("before", 0, "x")).record;
    for (node, killed) in [(3, false), (2, true)] {
        eventually("it knows all others", || (network[node].status()["table"] == 3).then_some(()));
        if killed {
            // Nothing announces a kill, so what it would lose must be on disk by itself.
            let others: Vec<String> =
                network.peers().into_iter().filter(|peer| *peer != network[node].peer()).collect();
            eventually("its peers are on disk", || on_disk(&network[node], &others).then_some(()));
            network[node].kill();
        } else {
            network[node].stop();
        }
        network[node].options().bootstrap.clear();
        network[node].options().solo = false;
        network[node].spawn();
        network[node].await_ready();
        let status = eventually("it found all others again", || {
            let status = network[node].status();
            (status["table"] == 3).then_some(status)
        });
        assert_eq!(status["ready"], true);
        let reader = User::new(2, &[network[node].peer()]);
        let got = reader.get(&user.slot("before", 0)).unwrap();
        assert_eq!(got.record.bytes(), record.bytes());
    }
}

/// Whether the database's log, where every write goes first, names all of these addresses.
fn on_disk(node: &NodeProcess, addrs: &[String]) -> bool {
    let files = std::fs::read_dir(node.data_dir().join("db")).unwrap();
    let logs = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"));
    let written: Vec<u8> = logs.flat_map(|path| std::fs::read(path).unwrap()).collect();
    let written = String::from_utf8_lossy(&written);
    addrs.iter().all(|addr| written.contains(&format!("\"{addr}\"")))
}
