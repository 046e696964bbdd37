//! Elsewhere, a put was acknowledged, then dropped as "too far" or evicted when the store was full:
//! of 10,000 puts that said ok, 8,189 could be read. Here what is acknowledged is stored, and what
//! does not fit is refused as full.

use std::collections::BTreeMap;

use dht_client::ErrorNumber;
use dht_tests::{CommandLine, Network, NodeOptions, User};

/// The smallest store that a node takes; a publisher may fill a tenth of it.
const STORE: &str = "max_bytes = 16777216";
/// Twice what fits.
const PUTS: u64 = 50;

#[test]
fn put_says_ok_stores_nothing() {
    let options = NodeOptions { store: STORE.to_owned(), ..NodeOptions::default() };
    let mut network = Network::start_with(3, &options);
    let user = User::new(1, &network.peers());
    let mut acknowledged = BTreeMap::new();
    let mut refused = 0;
    for number in 0..PUTS {
        let label = format!("value {number}");
        match user.try_put(user.first(&label, number, vec![9; 65_536])) {
            Ok(report) => {
                acknowledged.insert(number, report.record);
            }
            Err(error) => {
                assert_eq!(error.number(), ErrorNumber::Full, "{error}");
                refused += 1;
            }
        }
    }
    assert!(acknowledged.len() > 10 && refused > 10, "{} and {refused}", acknowledged.len());

    // The same through the command line: its own identity has room, until it has none.
    let (bob, _) = CommandLine::with_identity(&network.peers());
    std::fs::write(bob.path("value"), vec![b'b'; 65_536]).unwrap();
    let full = (0..PUTS).find_map(|number| {
        let label = format!("value {number}");
        let ended = bob.run(&["put", &label, "--file", "value", "--no-queue"]);
        (ended.status != 0).then_some(ended)
    });
    full.expect("a tenth of the store is not endless").expect_failure(20, "is full");

    for kill in [false, true] {
        if kill {
            network.kill_all();
            network.start_all();
        }
        for (number, record) in &acknowledged {
            let got = user.get(&user.slot(&format!("value {number}"), *number));
            assert_eq!(got.unwrap().record.bytes(), record.bytes(), "acknowledged is stored");
        }
    }
}
