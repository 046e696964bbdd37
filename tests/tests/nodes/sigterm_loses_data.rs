//! Elsewhere, only SIGINT saved; SIGTERM lost the queue, and the unit's stop time-out was shorter than
//! a flush. Here both do the same, in time and under load: what was acknowledged is there, and the
//! exit status is 0.

use std::sync::atomic::{AtomicBool, Ordering};

use dht_tests::{Network, NodeProcess, User};
use rustix::process::Signal;

const WRITERS: u8 = 4;
const BEFORE_THE_SIGNAL: usize = 50;

#[test]
fn sigterm_loses_data() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut network = Network::start(1);
        let peers = network.peers();
        let (acknowledged, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
        let users: Vec<User> = (1..=WRITERS).map(|number| User::new(number, &peers)).collect();
        let mut kept = Vec::new();
        std::thread::scope(|scope| {
            let writers: Vec<_> = users
                .iter()
                .map(|user| scope.spawn(|| write_until(user, &ended, &acknowledged)))
                .collect();
            dht_tests::eventually("puts are under way", || {
                (acknowledged.load(Ordering::Relaxed) >= BEFORE_THE_SIGNAL).then_some(())
            });
            let status = network[0].end_by(signal);
            ended.store(true, Ordering::Relaxed);
            assert_eq!(status, 0, "{signal:?}: {}", network[0].log());
            kept = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        });
        assert!(stopped_in_order(&network[0]), "{}", network[0].log());
        network.start_all();
        let peer = dht_tests::WirePeer::to(&network[0]);
        for record in &kept {
            assert_eq!(peer.find(record.id()).as_ref(), Some(record.bytes()), "{signal:?}");
        }
    }
}

use std::sync::atomic::AtomicUsize;

use dht_kad::ValidRecord;

/// Puts until the node is gone; returns what was acknowledged.
fn write_until(user: &User, ended: &AtomicBool, count: &AtomicUsize) -> Vec<ValidRecord> {
    let mut kept = Vec::new();
    for slot in 0.. {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        match user.try_put(user.first("load", slot, vec![5; 2_000])) {
            Ok(report) => {
                kept.push(report.record);
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => break,
        }
    }
    kept
}

fn stopped_in_order(node: &NodeProcess) -> bool {
    node.log().contains("stopped; everything acknowledged is on disk")
}
