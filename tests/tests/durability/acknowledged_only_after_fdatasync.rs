//! Every `fdatasync` of a node is made to take long, or to fail, and nothing is acknowledged sooner, or
//! at all.
//!
//! To see it fail, put the fault back: in `bootstrap/src/store/database.rs` let `Database::write`
//! forget `synced` (`options.set_sync(false)`). No sync then lies between a write and its answer.

use std::thread;
use std::time::{Duration, Instant};

use dht_tests::strace::{Action, Trace, logs_of, sync_of};
use dht_tests::{Network, NodeOptions, User, WirePeer};

use crate::load::{Acknowledged, database, put_until_refused};

const DELAY: Duration = Duration::from_millis(300);
const ONE_BY_ONE: u64 = 4;
const AT_ONCE: u64 = 4;
const WRITERS: u8 = 4;
/// More syncs than a thread makes while it opens the database.
const GOOD_SYNCS: u64 = 40;

/// A node that was begun before, so that what is traced is a start like every later one.
fn begun() -> Network {
    let mut network = Network::start(1);
    network[0].stop();
    network
}

#[test]
fn acknowledged_only_after_fdatasync() {
    let mut network = begun();
    let trace = Trace::into_folder(network.folder().join("trace"));
    network[0].options().under = trace.under(&format!("delay_enter={}", DELAY.as_micros()));
    network.start_all();

    let user = User::new(0, &network.peers());
    wait_until_connected(&user);
    let mut acknowledged = Vec::new();
    for slot in 0..ONE_BY_ONE {
        let started = Instant::now();
        let one = put_until_refused(&user, &format!("one {slot}"), 1);
        assert!(started.elapsed() >= DELAY, "put {slot} was acknowledged too soon");
        acknowledged.extend(one);
    }
    // Several that share their commits: each waits for the one that holds it.
    let users: Vec<User> =
        (1..=WRITERS).map(|number| User::new(number, &network.peers())).collect();
    thread::scope(|scope| {
        let writers: Vec<_> = users
            .iter()
            .map(|user| scope.spawn(|| put_until_refused(user, "at once", AT_ONCE)))
            .collect();
        acknowledged.extend(writers.into_iter().flat_map(|writer| writer.join().unwrap()));
    });
    let expected = ONE_BY_ONE + u64::from(WRITERS) * AT_ONCE;
    assert_eq!(acknowledged.len() as u64, expected, "slow is not refused");

    network.kill_all();
    let database = database(&network[0].data_dir());
    let calls = trace.log_calls(&database);
    let logs = logs_of(&database);
    for Acknowledged { record, at_us } in &acknowledged {
        let (log, offset) = crate::load::place_in_logs(&logs, record).expect("it is in the log");
        let sync = sync_of(&calls, &log, offset).expect("a sync after its write");
        assert!(sync.ended_us <= *at_us, "acknowledged {} us early", sync.ended_us - at_us);
        // The delay begins before strace notes the call, by as much as strace itself is kept waiting.
        let took = Duration::from_micros(sync.ended_us - sync.began_us);
        assert!(took >= DELAY / 2, "the sync that it waited for took {took:?}, it was not held up");
    }
}

#[test]
fn what_could_not_be_synced_is_never_acknowledged() {
    let mut network = begun();
    let trace = Trace::into_folder(network.folder().join("trace"));
    network[0].options().under = trace.under(&format!("error=EIO:when={GOOD_SYNCS}+"));
    network.start_all();
    let user = User::new(0, &network.peers());
    let acknowledged = put_until_refused(&user, "until the disk fails", 2 * GOOD_SYNCS);
    assert!((1..GOOD_SYNCS).contains(&(acknowledged.len() as u64)), "{}", acknowledged.len());
    for slot in 0..3 {
        let refused = user.try_put(user.first("on a failed disk", slot, "x"));
        let refused = refused.expect_err("nothing is acknowledged");
        assert!([22, 1].contains(&(refused.number() as u8)), "{refused}");
    }
    let peer = WirePeer::to(&network[0]);
    for Acknowledged { record, .. } in &acknowledged {
        assert_eq!(peer.find(record.id()).as_ref(), Some(record.bytes()), "it is still served");
    }
    drop(peer);

    network.kill_all();
    let database = database(&network[0].data_dir());
    let calls = trace.log_calls(&database);
    assert!(calls.iter().any(|call| call.action == Action::Failed), "the disk did fail");
    network[0].options().under = NodeOptions::default().under;
    network.start_all();
    let peer = WirePeer::to(&network[0]);
    for Acknowledged { record, .. } in &acknowledged {
        assert_eq!(peer.find(record.id()).as_ref(), Some(record.bytes()), "and after a restart");
    }
}

/// So that the time of a put is the put's own.
fn wait_until_connected(user: &User) {
    assert!(user.get(&user.slot("nothing", 0)).is_err());
}
