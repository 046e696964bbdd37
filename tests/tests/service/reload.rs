//! `config_silently_dropped`, for what changes while the node runs: each option that a reload changes has its effect, each other one is
//! named, and a configuration that is wrong changes nothing.

use std::time::Duration;

use dht_tests::records::{draft, sign, signer};
use dht_tests::{NodeOptions, NodeProcess, Notified, WirePeer, eventually, ports, waiting};
use rustix::process::Signal;

/// What a reload says when it changed all that differed.
const READ: &str = "the configuration was read again";
/// What it says when it changed nothing since something is wrong.
const NOT_CHANGED: &str = "the configuration is not changed";

/// How often the log has these words.
fn count(node: &NodeProcess, words: &str) -> usize {
    node.log().lines().filter(|line| line.contains(words)).count()
}

/// Reloads and returns the line that says what came of it.
fn reload(node: &NodeProcess) -> String {
    let said = || count(node, READ) + count(node, NOT_CHANGED);
    let before = said();
    node.reload();
    eventually("the reload is logged", || (said() > before).then_some(()));
    let log = node.log();
    let line = log.lines().rfind(|line| line.contains(READ) || line.contains(NOT_CHANGED));
    line.unwrap().to_owned()
}

#[test]
fn as_much_is_logged_as_is_asked_for_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let told = Notified::in_folder(folder.path());
    let options = NodeOptions { under: told.under(None), ..NodeOptions::solo() };
    let mut node = NodeProcess::start(folder.path().join("node"), options);
    let _ = WirePeer::to(&node).ping();
    assert_eq!(count(&node, "DEBUG"), 0);

    node.options().top = "log = \"debug\"".to_owned();
    assert!(reload(&node).contains("changed=\"log\""));
    eventually("more is logged", || {
        let _ = WirePeer::to(&node).ping();
        (count(&node, "DEBUG") > 0).then_some(())
    });
    told.await_line("RELOADING=1");
    told.await_line("MONOTONIC_USEC=");
    eventually("the reload has ended", || (told.count("READY=1") == 2).then_some(()));

    // A level that leaves out the line about the reload itself.
    node.options().top = "log = \"error\"".to_owned();
    node.reload();
    eventually("less is logged", || {
        let before = node.log().len();
        let _ = WirePeer::to(&node).ping();
        (node.log().len() == before).then_some(())
    });
    node.stop();
    assert!(!node.log().contains("stopped; everything"), "that is said less severely");
}

#[test]
fn repair_moves_as_many_bytes_a_second_as_it_may_from_then_on() {
    const SLOW: u64 = 64 << 10;
    const BODY: usize = 60_000;
    let folder = tempfile::tempdir().unwrap();
    let full = NodeProcess::start(folder.path().join("full"), NodeOptions::solo());
    let peer = WirePeer::to(&full);
    // At the slow rate they take longer than anything here waits.
    let records = 3 * waiting::LIMIT.as_secs() * SLOW / BODY as u64;
    for slot in 0..records {
        peer.store(&sign(&draft([1; 32], slot, vec![7; BODY]), &signer(1))).unwrap();
    }
    let top = format!("repair_bytes_per_sec = {SLOW}");
    let joining = NodeOptions { top, ..NodeOptions::joining(vec![full.peer()]) };
    let mut node = NodeProcess::place(folder.path().join("slow"), joining);
    node.spawn();
    let held = |node: &NodeProcess| node.try_status()?["records"].as_u64();
    eventually("it fetches something", || held(&node).filter(|held| *held > 0));
    assert!(held(&node) < Some(records / 2), "it is slow");
    node.options().top = format!("repair_bytes_per_sec = {}", 64 << 20);
    assert!(reload(&node).contains("changed=\"repair_bytes_per_sec\""));
    eventually("it has all", || held(&node).filter(|held| *held == records));
}

#[test]
fn the_peers_that_are_named_are_asked_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let other = NodeProcess::start(folder.path().join("other"), NodeOptions::solo());
    let mut node = NodeProcess::place(folder.path().join("node"), NodeOptions::default());
    node.spawn();
    let status = eventually("it says how it is", || node.try_status());
    assert_eq!(status["stage"], "joining");
    node.options().bootstrap = vec![other.peer()];
    assert!(reload(&node).contains("changed=\"bootstrap\""));
    node.await_ready();
    assert_eq!(node.status()["table"], 1);
}

#[test]
fn what_cannot_change_is_named_in_one_line_and_what_is_wrong_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = NodeProcess::start(folder.path().join("node"), NodeOptions::solo());
    let same = reload(&node);
    assert!(same.contains(" INFO ") && same.contains("changed=\"\""), "{same}");

    let (listen, admin) = (ports::free_address(), ports::free_address());
    let moved = folder.path().join("moved");
    let fixed = format!(
        "network = \"other\"\ndata_dir = {moved:?}\nlisten = [\"{listen}\"]\nadmin = \"{admin}\"\n\
         mode = \"client\"\nsolo = false\nverify_threads = 2\nlog = \"debug\""
    );
    let store = "max_bytes = 99999999\ncache_bytes = 99999999\nmin_free_bytes = 9";
    (node.options().top, node.options().store) = (fixed, store.to_owned());
    let named = reload(&node);
    assert!(named.contains(" WARN ") && named.contains("changed=\"log\""), "{named}");
    let restart = named.split("restart=").nth(1).unwrap();
    for field in [
        "network",
        "data_dir",
        "listen",
        "mode",
        "admin",
        "solo",
        "verify_threads",
        "store.max_bytes",
        "store.cache_bytes",
        "store.min_free_bytes",
    ] {
        assert!(restart.contains(field), "{field} is dropped silently: {named}");
    }
    assert!(!moved.exists() && node.status()["network"] == "test", "nothing of it is done");

    for wrong in ["log = \"loud\"", "repair_bytes_per_sec = 1", "colour = \"red\"", "log = "] {
        let top = format!("{wrong}\nbootstrap = [\"127.0.0.1:1\"]");
        (node.options().top, node.options().store) = (top, String::new());
        let refused = reload(&node);
        assert!(refused.contains(" WARN ") && refused.contains(NOT_CHANGED), "{refused}");
    }
    std::fs::remove_file(node.config_path()).unwrap();
    let before = count(&node, NOT_CHANGED);
    node.signal(Signal::HUP);
    eventually("that is logged", || (count(&node, NOT_CHANGED) > before).then_some(()));
    assert_eq!(node.status()["ready"], true);
    assert_eq!(count(&node, "no bootstrap peer"), 0, "nobody was asked to join");
    let _ = WirePeer::to(&node).ping();
    eventually("it still logs as much as before", || {
        node.log().lines().last()?.contains("DEBUG").then_some(())
    });
}

#[test]
fn a_node_that_is_not_ready_does_not_say_so_by_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let told = Notified::in_folder(folder.path());
    let under = told.under(Some(Duration::from_secs(3)));
    let options = NodeOptions { under, ..NodeOptions::default() };
    let mut node = NodeProcess::place(folder.path().join("node"), options);
    node.spawn();
    eventually("it says how it is", || node.try_status());
    let _ = reload(&node);
    node.options().solo = true;
    assert!(reload(&node).contains("solo"), "only a restart makes it so");
    for never in ["READY=1", "RELOADING=1", "WATCHDOG=1"] {
        assert_eq!(told.count(never), 0, "{never}");
    }
}
