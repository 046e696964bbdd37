//! `green_but_dead`: elsewhere, the socket was wedged for 20 days while the health page stayed green. Here the watchdog asks the node's own
//! socket and its writer, and is fed only while both answer; a network that is away fails readiness, and
//! nothing is restarted for it.

use std::time::Duration;

use dht_kad::Refusal;
use dht_kad::refusal::FullScope;
use dht_tests::records::{draft, sign, signer};
use dht_tests::strace::Meddling;
use dht_tests::{NodeOptions, NodeProcess, Notified, WirePeer, admin, eventually};
use rustix::process::Signal;
use tempfile::TempDir;

/// The service manager's limit: a tenth of the unit's, so that the tests take seconds.
const WATCHDOG: Duration = Duration::from_secs(3);
/// What feeds it.
const FED: &str = "WATCHDOG=1";
/// What is said when it is not fed.
const STUCK: &str = "the node does not work";
/// So many questions in vain, a third of the limit apart, are more than the limit allows.
const IN_VAIN: usize = 4;
/// The network's thread has the program's name, cut to 15 bytes.
const NETWORK_THREAD: &str = "dht-bootstrap";
const WRITER_THREAD: &str = "store-write";

/// A node that somebody watches. Its data goes with it.
struct Watched {
    node: NodeProcess,
    told: Notified,
    _folder: TempDir,
}

impl Watched {
    fn start(options: NodeOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let told = Notified::in_folder(folder.path());
        let options = NodeOptions { under: told.under(Some(WATCHDOG)), ..options };
        let node = NodeProcess::start(folder.path().join("node"), options);
        let watched = Watched { node, told, _folder: folder };
        watched.is_fed();
        watched
    }

    /// Waits until it was fed three times more: longer than the service manager's limit has passed then.
    fn is_fed(&self) {
        self.told.await_more(3, FED);
    }

    /// Waits until it was not fed for longer than the service manager's limit, for this reason.
    fn is_not_fed(&self, reason: &str) {
        let in_vain = || self.node.log().lines().filter(|line| line.contains(STUCK)).count();
        let before = in_vain();
        eventually("it asks in vain", || (in_vain() > before).then_some(()));
        let fed = self.told.count(FED);
        eventually("again and again", || (in_vain() > before + IN_VAIN).then_some(()));
        assert_eq!(self.told.count(FED), fed, "a node that does not work is reported to work");
        let log = self.node.log();
        let last = log.lines().rfind(|line| line.contains(STUCK)).unwrap();
        assert!(last.contains(reason), "{last}");
        assert!(self.told.count("STATUS=stuck: ") > 0);
    }

    fn readiness(&self) -> Option<bool> {
        self.node.try_status()?["ready"].as_bool()
    }

    fn put(&self, slot: u64) -> Result<(), Refusal> {
        let record = sign(&draft([1; 32], slot, "x"), &signer(1));
        WirePeer::to(&self.node).store(&record).map(|_| ())
    }
}

#[test]
fn it_is_fed_while_there_is_nothing_to_do_and_nobody_to_do_it_with() {
    let alone = Watched::start(NodeOptions::solo());
    assert_eq!(alone.node.status()["table"], 0);
    alone.is_fed();
}

#[test]
fn it_is_fed_while_the_store_is_full_or_read_only() {
    let store = format!("min_free_bytes = {}", 1_u64 << 62);
    let full = Watched::start(NodeOptions { store, ..NodeOptions::solo() });
    assert_eq!(full.put(0), Err(Refusal::Full { scope: FullScope::Total }));
    full.is_fed();

    let read_only = Watched::start(NodeOptions::solo());
    let _no_syncs = Meddling::with(&read_only.node, WRITER_THREAD, "fdatasync,fsync", "error=EIO");
    assert_eq!(read_only.put(0), Err(Refusal::ReadOnly));
    read_only.is_fed();
    assert_eq!(read_only.readiness(), Some(false), "that is what readiness is for");
    assert_eq!(read_only.put(1), Err(Refusal::ReadOnly), "still");
}

#[test]
fn it_is_not_fed_when_the_network_thread_is_stuck_and_abort_ends_such_a_node() {
    let arguments = vec!["--debug-wedge-on-usr2".to_owned()];
    let mut wedged = Watched::start(NodeOptions { arguments, ..NodeOptions::solo() });
    wedged.node.signal(Signal::USR2);
    wedged.is_not_fed("no answer within");
    assert!(wedged.node.is_running());
    wedged.node.signal(Signal::ABORT);
    eventually("systemd's signal ends it", || (!wedged.node.is_running()).then_some(()));
}

#[test]
fn without_the_flag_for_tests_no_signal_wedges_a_node() {
    let mut node = Watched::start(NodeOptions::solo()).node;
    node.signal(Signal::USR2);
    eventually("it ends, as by default", || (!node.is_running()).then_some(()));
}

#[test]
fn it_is_not_fed_while_the_writer_hangs_and_is_again_when_it_goes_on() {
    let slow = Watched::start(NodeOptions::solo());
    let hanging = Meddling::with(&slow.node, WRITER_THREAD, "fdatasync", "delay_enter=600000000");
    let put = sign(&draft([1; 32], 0, "x"), &signer(1));
    let peer = WirePeer::to(&slow.node);
    peer.begin_store(&put);
    slow.is_not_fed("the thread that writes records does not answer");
    assert_eq!(peer.find(put.id()), None, "what is not synced is not shown");
    drop(hanging);
    slow.is_fed();
    eventually("the put is taken after all", || peer.find(put.id()));
}

#[test]
fn it_is_not_fed_when_the_socket_gives_nothing_any_more() {
    let deaf = Watched::start(NodeOptions::solo());
    let _no_datagrams = Meddling::with(&deaf.node, NETWORK_THREAD, "recvmmsg", "error=EBADF");
    deaf.is_not_fed("the socket at");
}

#[test]
fn a_network_that_is_away_fails_readiness_and_nothing_else_and_its_return_mends_it() {
    let others = dht_tests::Network::start(2);
    let cut = Watched::start(NodeOptions::joining(others.peers()));
    // From then on it compares itself with the others seldom, and has nothing to ask.
    eventually("it is whole", || (cut.node.status()["whole"] == true).then_some(()));
    for node in others.nodes() {
        node.signal(Signal::STOP);
    }
    let fed = cut.told.count(FED);
    let table = eventually("readiness falls", || {
        let status = cut.node.try_status()?;
        (status["ready"] == false).then(|| (status["stage"].clone(), status["table"].clone()))
    });
    assert_eq!(table, ("cutoff".into(), 2.into()), "long before its table has emptied");
    let metrics = admin::get(cut.node.addr(), "/metrics").body;
    assert!(metrics.contains("dht_stage{stage=\"cutoff\"} 1\n"), "{metrics}");
    assert!(cut.told.count(FED) > fed + 3, "it was fed meanwhile");
    cut.told.await_line("STATUS=not ready: none of the servers that it knows answers");
    for node in others.nodes() {
        node.signal(Signal::CONT);
    }
    eventually("it is ready again", || cut.readiness()?.then_some(()));
    assert_eq!(cut.told.count("STATUS=stuck"), 0);
    assert_eq!(cut.told.count("READY=1"), 1, "the service manager was told once");
}
