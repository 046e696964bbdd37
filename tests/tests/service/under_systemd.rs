//! What a service manager sees of a node: readiness and stopping through the notification socket
//! (sd_notify(3)), and log entries with fields through the journal's socket (systemd.journal-fields(7)).

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use dht_tests::{NodeOptions, NodeProcess, Notified, eventually};

/// A socket that reads what a node sends, without waiting for it.
fn listen(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).expect("a socket in a folder of the test's own");
    socket.set_nonblocking(true).unwrap();
    socket
}

/// The next datagram.
fn receive(socket: &UnixDatagram) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 64 * 1024];
    let length = socket.recv(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

/// The fields of a journal entry in the native protocol: `NAME=value` in a line, or `NAME`, then the
/// length of the value as a little-endian u64, then the value.
fn fields(mut entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while let Some(end) = entry.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = (&entry[..end], &entry[end + 1..]);
        let (name, value, after) = match line.iter().position(|byte| *byte == b'=') {
            Some(equals) => (&line[..equals], &line[equals + 1..], rest),
            None => {
                let (length, rest) = rest.split_first_chunk().unwrap();
                let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
                (line, &rest[..length], &rest[length + 1..])
            }
        };
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        fields.insert(text(name), text(value));
        entry = after;
    }
    fields
}

#[test]
fn the_service_manager_is_told_when_the_node_is_ready_how_it_is_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let told = Notified::in_folder(folder.path());
    let options = NodeOptions { under: told.under(None), ..NodeOptions::default() };
    let mut node = NodeProcess::place(folder.path().join("node"), options);
    node.spawn();
    told.await_line("STATUS=starting");
    told.await_line("STATUS=not ready: no other server has answered");
    assert_eq!(told.count("READY=1"), 0, "it has nobody, and is not told to do without");
    node.kill();
    node.options().solo = true;
    node.spawn();
    node.await_ready();
    told.await_line("READY=1");
    told.await_line("STATUS=ready: 0 servers in the table, 0 records, whole");
    node.stop();
    told.await_line("EXTEND_TIMEOUT_USEC=");
    let lines = told.lines();
    let place = |line: &str| lines.iter().position(|told| told == line);
    let stopping = place("STOPPING=1").expect("it says that it stops");
    assert!(place("READY=1") < Some(stopping), "{lines:?}");
    let more_time = lines.iter().position(|told| told.starts_with("EXTEND_TIMEOUT_USEC="));
    assert!(more_time > Some(stopping), "a stop that takes long asks for more time: {lines:?}");
    assert_eq!(told.count("WATCHDOG=1"), 0, "nobody asked for it");
}

/// What gives a process a mount namespace of its own, without being root outside of it.
const OWN_MOUNTS: [&str; 3] = ["unshare", "--map-root-user", "--mount"];

/// Whether this system lets a process have its own mounts: some containers and chroots do not.
fn own_mounts_are_allowed() -> bool {
    let [program, arguments @ ..] = OWN_MOUNTS;
    let tried = Command::new(program).args(arguments).arg("true").output();
    tried.is_ok_and(|tried| tried.status.success())
}

/// The node runs in a mount namespace of its own, in which the journal's socket is the test's.
#[test]
fn under_systemd_logs_are_journal_entries_with_fields() {
    if !own_mounts_are_allowed() {
        eprintln!("NOT CHECKED: journal entries, since this system allows no mount namespace");
        return;
    }
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
    let shell = ["sh", "-c", &script, "sh"];
    let under = OWN_MOUNTS.iter().chain(&shell).map(|word| (*word).to_owned()).collect();
    let mut node = NodeProcess::start(
        folder.path().join("node"),
        NodeOptions { under, ..NodeOptions::solo() },
    );
    let entry = eventually("an entry that says ready", || {
        let entry = fields(&receive(&socket)?);
        entry.get("MESSAGE").is_some_and(|message| message == "ready").then_some(entry)
    });
    assert_eq!(entry["F_NODE"], node.id().to_string());
    assert_eq!(entry["SYSLOG_IDENTIFIER"], "dht-bootstrap");
    assert!(entry["TARGET"].starts_with("dht_bootstrap"), "{entry:?}");
    assert_eq!(node.log(), "", "nothing is written twice");
    node.kill();
}
