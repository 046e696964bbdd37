//! What a service manager sees of a node: readiness and stopping through the notification socket
//! (sd_notify(3)), and log entries with fields through the journal's socket (systemd.journal-fields(7)).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use dht_tests::{NodeOptions, NodeProcess, eventually};

/// A socket that reads what a node sends, without waiting for it.
fn listen(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).expect("a socket in a folder of the test's own");
    socket.set_nonblocking(true).unwrap();
    socket
}

/// The next datagram, as text.
fn receive(socket: &UnixDatagram) -> Option<String> {
    let mut buffer = vec![0; 64 * 1024];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(buffer.get(..length)?).into_owned())
}

/// Waits for a datagram that has this in it.
fn await_datagram(socket: &UnixDatagram, part: &str) -> String {
    eventually(part, || receive(socket).filter(|text| text.contains(part)))
}

#[test]
fn the_service_manager_is_told_when_the_node_is_ready_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = listen(&path);
    let under = vec!["env".to_owned(), format!("NOTIFY_SOCKET={}", path.display())];
    let options = NodeOptions { under, ..NodeOptions::solo() };
    let mut node = NodeProcess::place(folder.path().join("node"), options);
    node.spawn();
    await_datagram(&socket, "READY=1");
    node.await_ready();
    node.stop();
    await_datagram(&socket, "STOPPING=1");
}

/// The node runs in a mount namespace of its own, in which the journal's socket is the test's.
#[test]
fn under_systemd_logs_are_journal_entries_with_fields() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    std::fs::create_dir(&journal).unwrap();
    let socket = listen(&journal.join("socket"));
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal \
         && mount --bind {} /run/systemd/journal \
         && JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$@\"",
        journal.display()
    );
    let under = ["unshare", "--map-root-user", "--mount", "sh", "-c", &script, "sh"];
    let under = under.map(str::to_owned).to_vec();
    let mut node = NodeProcess::start(
        folder.path().join("node"),
        NodeOptions { under, ..NodeOptions::solo() },
    );
    let entry = await_datagram(&socket, "MESSAGE=ready");
    assert!(entry.contains(&format!("F_NODE={}", node.id())), "{entry}");
    assert!(entry.contains("PRIORITY=") && entry.contains("TARGET=dht_bootstrap"), "{entry}");
    assert_eq!(node.log(), "", "nothing is written twice");
    node.kill();
}
