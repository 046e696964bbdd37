//! A loss of power may take every byte that was not synced. So a node is killed under load, its log is
//! cut where the last completed sync had come to, and a node that starts on what is left has every
//! record that was acknowledged, bit for bit.
//!
//! To see it fail, put the fault back: in `bootstrap/src/store/database.rs` let `Database::write`
//! forget `synced` (`options.set_sync(false)`). Nothing of the log is then left to start on.

use std::thread;

use dht_tests::node_process::copy_folder;
use dht_tests::strace::{Trace, logs_of, synced_length};
use dht_tests::{Network, User, WirePeer, eventually};

use crate::load::{Acknowledged, database, put_until_refused};

const WRITERS: u8 = 4;
/// Each sync takes so long that the kill most likely meets one under way.
const DELAY_US: u64 = 5_000;
/// Puts under way until the kill; more than are acknowledged until then.
const PUTS: u64 = 100_000;
/// Commits before the kill.
const COMMITS: u64 = 60;

#[test]
fn a_log_cut_at_the_last_synced_byte_keeps_every_acknowledged_record() {
    let mut network = Network::start(1);
    network[0].stop();
    let trace = Trace::into_folder(network.folder().join("trace"));
    network[0].options().under = trace.under(&format!("delay_enter={DELAY_US}"));
    network.start_all();
    let before = network[0].status()["commit_no"].as_u64().unwrap();
    let users: Vec<User> =
        (1..=WRITERS).map(|number| User::new(number, &network.peers())).collect();
    let mut acknowledged = Vec::new();
    thread::scope(|scope| {
        let writers: Vec<_> = users
            .iter()
            .map(|user| scope.spawn(|| put_until_refused(user, "load", PUTS)))
            .collect();
        eventually("some commits are done", || {
            let commit_no = network[0].status()["commit_no"].as_u64()?;
            (commit_no >= before + COMMITS).then_some(())
        });
        network.kill_all();
        acknowledged.extend(writers.into_iter().flat_map(|writer| writer.join().unwrap()));
    });
    assert!(acknowledged.len() as u64 >= COMMITS, "{}", acknowledged.len());

    let data = network[0].data_dir();
    let calls = trace.log_calls(&database(&data));
    let whole = network.folder().join("whole");
    copy_folder(&data, &whole);
    let mut cut = 0;
    for log in logs_of(&database(&data)) {
        let length = log.metadata().unwrap().len();
        let synced = synced_length(&calls, &log);
        assert!(synced <= length, "{synced} bytes of {length} were synced");
        cut += length - synced;
        std::fs::File::options().write(true).open(&log).unwrap().set_len(synced).unwrap();
    }
    eprintln!("{} records acknowledged, {cut} bytes cut off", acknowledged.len());
    network[0].options().under.clear();
    network.start_all();
    let peer = WirePeer::to(&network[0]);
    for Acknowledged { record, .. } in &acknowledged {
        assert_eq!(peer.find(record.id()).as_ref(), Some(record.bytes()), "it was acknowledged");
    }
}
