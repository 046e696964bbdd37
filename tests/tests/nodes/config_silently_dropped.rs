//! `config_silently_dropped`: elsewhere, builder options never reached the component. Here every flag and every field of the
//! configuration has an effect that can be seen from outside. Whoever adds one and no line here fails
//! the first two tests.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use dht_kad::Refusal;
use dht_kad::refusal::FullScope;
use dht_tests::programs::{self, DAEMON};
use dht_tests::records::{draft, sign, signer};
use dht_tests::{
    CommandLine, NameServer, NetworkPlace, NodeOptions, NodeProcess, WirePeer, eventually, ports,
};

const BAD_CONFIG: u8 = 80;
const NOT_BUILT_YET: u8 = 90;

/// Every flag of `run`; each has its effect shown below, `--network-file` and `--dns-server` as fields
/// are in `bootstrap_sources`.
const FLAGS: [&str; 11] = [
    "--admin",
    "--bootstrap",
    "--config",
    "--data-dir",
    "--dns-server",
    "--listen",
    "--mode",
    "--network",
    "--network-file",
    "--repair-bytes-per-sec",
    "--solo",
];
/// Every field of the configuration; each has its effect shown below, `max_bytes` in the test of
/// `put_says_ok_stores_nothing`, `admin_public` through `admin`, and `network_file` and `dns_server` in
/// `bootstrap_sources`.
const FIELDS: [&str; 16] = [
    "admin",
    "bootstrap",
    "cache_bytes",
    "data_dir",
    "dns_server",
    "listen",
    "log",
    "max_bytes",
    "min_free_bytes",
    "mode",
    "network",
    "network_file",
    "repair_bytes_per_sec",
    "solo",
    "store",
    "verify_threads",
];

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn node(&self, name: &str, options: NodeOptions) -> NodeProcess {
        NodeProcess::place(self.folder.path().join(name), options)
    }

    fn started(&self, name: &str, options: NodeOptions) -> NodeProcess {
        let mut node = self.node(name, options);
        node.spawn();
        node.await_ready();
        node
    }
}

fn solo_with(top: &str) -> NodeOptions {
    NodeOptions { top: top.to_owned(), ..NodeOptions::solo() }
}

fn solo_by(arguments: &[&str]) -> NodeOptions {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    NodeOptions { arguments, ..NodeOptions::solo() }
}

#[test]
fn every_flag_is_shown_here_to_have_an_effect() {
    let help = programs::run(Command::new(programs::binary(DAEMON)).args(["run", "--help"]));
    let help = String::from_utf8(help.expect_stdout()).unwrap();
    let flags: BTreeSet<&str> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--") && *word != "--help")
        .map(|word| word.trim_end_matches("..."))
        .collect();
    assert_eq!(flags, FLAGS.into());
}

#[test]
fn every_field_is_shown_here_to_have_an_effect() {
    let place = Place::new();
    let file = place.folder.path().join("empty.toml");
    std::fs::write(&file, "").unwrap();
    let mut command = Command::new(programs::binary(DAEMON));
    let printed = programs::run(command.arg("check-config").arg("--config").arg(&file));
    let printed = String::from_utf8(printed.expect_stdout()).unwrap();
    let fields: BTreeSet<&str> = printed
        .lines()
        .filter(|line| line.starts_with("    "))
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(field, _)| field)
        .collect();
    assert_eq!(fields, FIELDS.into());
}

#[test]
fn what_is_unknown_is_refused_and_nothing_is_made() {
    let place = Place::new();
    for (top, store) in [("colour = \"red\"", ""), ("", "colour = 1"), ("advertise = []", "")] {
        let mut options = solo_with(top);
        options.store = store.to_owned();
        let node = place.node("unknown", options);
        node.run_to_end().expect_failure(BAD_CONFIG, "unknown field");
        assert!(!node.data_dir().exists());
    }
    let node = place.node("unknown", solo_by(&["--colour", "red"]));
    node.run_to_end().expect_failure(2, "--colour");
    assert!(!node.data_dir().exists());
}

#[test]
fn the_network_is_the_one_that_is_named() {
    let place = Place::new();
    for (name, options) in
        [("field", solo_with("network = \"other\"")), ("flag", solo_by(&["--network", "other"]))]
    {
        let node = place.started(name, options);
        assert_eq!(node.status()["network"], "other");
        let ping = CommandLine::new(&[]).run(&["ping", &node.peer()]);
        ping.expect_failure(60, "same network");
        let ping = CommandLine::new(&[]).run(&["ping", &node.peer(), "--network", "other"]);
        assert_eq!(ping.status, 0, "{ping:?}");
    }
}

#[test]
fn the_network_file_and_the_name_server_are_those_of_the_flags() {
    let place = NetworkPlace::new(&["--dns", "_dht.dht.test"]);
    let target = NodeProcess::start(place.path("target"), NodeOptions::solo());
    let names = NameServer::start();
    names.add_texts("_dht.dht.test", &[&format!("dht-peer={}", target.pinned())]);
    let file = place.file().display().to_string();
    let server = names.addr().to_string();
    let arguments = ["--network-file", &file, "--dns-server", &server].map(str::to_owned).to_vec();
    let options = NodeOptions { arguments, ..NodeOptions::default() };
    let node = NodeProcess::start(place.path("node"), options);
    assert!(node.status()["table"].as_u64() >= Some(1));
}

#[test]
fn the_data_lies_where_it_is_told_to() {
    let place = Place::new();
    let (by_field, by_flag) = (place.folder.path().join("a"), place.folder.path().join("b"));
    let node = place.started("field", solo_with(&format!("data_dir = {by_field:?}")));
    assert!(by_field.join("db").is_dir() && !node.data_dir().exists());
    let node = place.started("flag", solo_by(&["--data-dir", by_flag.to_str().unwrap()]));
    assert!(by_flag.join("node.key").is_file() && !node.data_dir().exists());
}

#[test]
fn it_listens_on_every_address_and_is_administered_at_its_own() {
    let place = Place::new();
    let (first, second) = (ports::free_address(), ports::free_address());
    let mut by_field = place.node("field", NodeOptions::solo());
    by_field.options().top = format!("listen = [\"{}\", \"{first}\"]", by_field.addr());
    let mut by_flag = place.node("flag", NodeOptions::solo());
    let listen = |addr: String| ["--listen".to_owned(), addr];
    by_flag.options().arguments = [listen(by_flag.peer()), listen(second.to_string())].concat();
    for (node, other) in [(&mut by_field, first), (&mut by_flag, second)] {
        node.spawn();
        node.await_ready();
        for addr in [node.peer(), other.to_string()] {
            let pong = CommandLine::new(&[]).json(&["ping", &addr]);
            assert_eq!(pong["node"], node.id().to_string());
        }
    }

    let admin = ports::free_address();
    for (name, options) in [
        ("field-admin", solo_with(&format!("admin = \"{admin}\""))),
        ("flag-admin", solo_by(&["--admin", &admin.to_string()])),
    ] {
        let node = place.started(name, options);
        assert!(node.try_status().is_none(), "not where it would be else");
        let mut status = Command::new(programs::binary(DAEMON));
        let status =
            programs::run(status.args(["status", "--json", "--admin", &admin.to_string()]));
        assert_eq!(status.expect_json()["node"], node.id().to_string());
    }
    let everywhere = format!("admin = \"0.0.0.0:{}\"", admin.port());
    let refused = place.node("public", solo_with(&everywhere)).run_to_end();
    refused.expect_failure(BAD_CONFIG, "admin_public");
    let allowed = place.started("public", solo_with(&format!("{everywhere}\nadmin_public = true")));
    let mut status = Command::new(programs::binary(DAEMON));
    let status = programs::run(status.args(["status", "--json", "--admin", &admin.to_string()]));
    assert_eq!(status.expect_json()["node"], allowed.id().to_string());
}

#[test]
fn peers_are_joined_and_alone_it_is_ready_only_if_told() {
    let place = Place::new();
    let mut alone = place.node("alone", NodeOptions::default());
    alone.spawn();
    let status = eventually("it says how it is", || alone.try_status());
    assert_eq!((&status["ready"], &status["stage"]), (&false.into(), &"joining".into()));
    alone.kill();
    alone.options().arguments = vec!["--solo".to_owned()];
    alone.spawn();
    alone.await_ready();
    let field = place.started("field", NodeOptions::joining(vec![alone.peer()]));
    assert!(field.status()["table"].as_u64() >= Some(1));
    let arguments = vec!["--bootstrap".to_owned(), field.pinned()];
    let flag = place.started("flag", NodeOptions { arguments, ..NodeOptions::default() });
    assert!(flag.status()["table"].as_u64() >= Some(1));
}

#[test]
fn it_is_what_the_mode_says() {
    let place = Place::new();
    let server = place.started("server", solo_with("mode = \"server\""));
    assert_eq!(server.status()["mode"], "server");
    let joining = |top: &str, arguments: &[&str]| NodeOptions {
        top: top.to_owned(),
        bootstrap: vec![server.peer()],
        arguments: arguments.iter().map(ToString::to_string).collect(),
        ..NodeOptions::default()
    };
    let field = place.started("field", joining("mode = \"client\"", &[]));
    let flag = place.started("flag", joining("", &["--mode", "client"]));
    for client in [&field, &flag] {
        assert_eq!(client.status()["mode"], "client");
        let pong = CommandLine::new(&[]).json(&["ping", &client.peer()]);
        assert_eq!(pong["mode"], "client");
    }
    let auto = place.node("auto", solo_with("mode = \"auto\"")).run_to_end();
    auto.expect_failure(NOT_BUILT_YET, "not built yet");
}

#[test]
fn as_much_is_logged_as_is_asked_for() {
    let place = Place::new();
    for (level, says, is_silent_about) in
        [("debug", "DEBUG", "TRACE"), ("info", "INFO", "DEBUG"), ("error", "", "INFO")]
    {
        let mut node = place.started(level, solo_with(&format!("log = \"{level}\"")));
        let _ = WirePeer::to(&node).ping();
        node.stop();
        let log = node.log();
        assert!(log.contains(says) && !log.contains(is_silent_about), "{level}: {log}");
    }
}

#[test]
fn signatures_are_checked_by_as_many_threads_as_are_asked_for() {
    let place = Place::new();
    for threads in [1, 3] {
        let name = format!("{threads}-threads");
        let node = place.started(&name, solo_with(&format!("verify_threads = {threads}")));
        let tasks = format!("/proc/{}/task", node.pid().as_raw_nonzero());
        eventually("each thread has its name", || {
            let names = std::fs::read_dir(&tasks).unwrap().map(|task| {
                std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
            });
            let count = names.filter(|name| name.starts_with("verify-")).count();
            (count == threads).then_some(())
        });
    }
}

#[test]
fn repair_moves_no_more_bytes_a_second_than_it_may() {
    const RATE: u64 = 64 << 10;
    const RECORDS: u64 = 12;
    let place = Place::new();
    let full = place.started("full", NodeOptions::solo());
    let peer = WirePeer::to(&full);
    for slot in 0..RECORDS {
        peer.store(&sign(&draft([1; 32], slot, vec![7; 48 << 10]), &signer(1))).unwrap();
    }
    let joining = |top: String, arguments: Vec<String>| NodeOptions {
        top,
        arguments,
        ..NodeOptions::joining(vec![full.peer()])
    };
    let flag = vec!["--repair-bytes-per-sec".to_owned(), RATE.to_string()];
    let mut slow = [
        place.node("field", joining(format!("repair_bytes_per_sec = {RATE}"), Vec::new())),
        place.node("flag", joining(String::new(), flag)),
    ];
    let fetched = |node: &NodeProcess| {
        let status = node.try_status()?;
        let bytes = status["replication"]["fetched_bytes"].as_u64()?;
        (bytes > 0).then(|| (bytes, status["records"].as_u64() == Some(RECORDS)))
    };
    for node in &mut slow {
        node.spawn();
        let (at_first, _) = eventually("it fetches something", || fetched(node));
        let began = Instant::now();
        let at_last = eventually("it has all", || {
            fetched(node).and_then(|(bytes, all)| all.then_some(bytes))
        });
        // The last answer's share of the time comes after it.
        let paced = (at_last - at_first).saturating_sub(128 << 10);
        assert!(began.elapsed() >= Duration::from_secs(paced / RATE / 2), "{at_first} {at_last}");
    }
}

#[test]
fn the_stores_cache_and_floor_are_those_of_the_section() {
    let place = Place::new();
    let with = |store: String| NodeOptions { store, ..NodeOptions::solo() };
    let mut memtables = Vec::new();
    for cache_bytes in [32 << 20, 64 << 20] {
        let name = format!("cache-{cache_bytes}");
        let node = place.started(&name, with(format!("cache_bytes = {cache_bytes}")));
        // RocksDB writes down what it was opened with.
        let files = std::fs::read_dir(node.data_dir().join("db")).unwrap();
        let mut options: Vec<_> = files
            .map(|file| file.unwrap().path())
            .filter(|path| path.to_string_lossy().contains("OPTIONS-"))
            .collect();
        options.sort();
        let text = std::fs::read_to_string(options.last().unwrap()).unwrap();
        let lines = text.lines().map(str::trim);
        let sizes = lines.filter(|line| line.starts_with("write_buffer_size="));
        memtables.push(sizes.map(str::to_owned).collect::<Vec<_>>());
    }
    assert_ne!(memtables[0], memtables[1]);

    let node = place.started("floor", with(format!("min_free_bytes = {}", 1_u64 << 62)));
    let refusal = WirePeer::to(&node).store(&sign(&draft([1; 32], 0, "x"), &signer(1)));
    assert_eq!(refusal, Err(Refusal::Full { scope: FullScope::Total }));
}
