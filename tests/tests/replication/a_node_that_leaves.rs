//! A node that leaves for good hands over all that it holds, and says truthfully whether it did.

use std::process::Command;

use dht_tests::programs::{self, DAEMON, Ended};
use dht_tests::records::{draft, sign, signer};
use dht_tests::{Network, NodeProcess, WirePeer};

const DATA_DIR_IN_USE: u8 = 82;
const USAGE: u8 = 2;

fn leave(node: &NodeProcess, arguments: &[&str]) -> Ended {
    let config = node.folder().join("node.toml");
    let mut command = Command::new(programs::binary(DAEMON));
    programs::run(command.arg("leave").arg("--config").arg(config).args(arguments))
}

#[test]
fn a_node_that_leaves_hands_over_what_only_it_holds() {
    let mut net = Network::start(3);
    let records: Vec<_> =
        (0..50).map(|slot| sign(&draft([1; 32], slot, "handed over"), &signer(1))).collect();
    let leaver = WirePeer::to(&net[2]);
    for record in &records {
        leaver.store(record).unwrap();
    }
    leave(&net[2], &[]).expect_failure(DATA_DIR_IN_USE, "stop the service first");
    net[2].kill();
    leave(&net[2], &["--solo"]).expect_failure(USAGE, "without solo");
    let left = leave(&net[2], &[]);
    assert_eq!(left.status, 0, "{left:?}");
    let said = String::from_utf8(left.stdout).unwrap();
    assert!(said.contains("left handed_over=50"), "{said}");
    for node in &net.nodes()[..2] {
        let peer = WirePeer::to(node);
        for record in &records {
            assert_eq!(peer.find(record.id()).as_ref(), Some(record.bytes()));
        }
    }
}
