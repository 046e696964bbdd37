//! What the one who runs a network does with `dht-bootstrap network`, and what is refused of it.

use std::os::unix::fs::PermissionsExt;

use dht_tests::{NetworkPlace, NodeOptions, NodeProcess, ports};

const USAGE: u8 = 2;
const BAD_SIGNATURE: u8 = 13;
const BAD_CONFIG: u8 = 80;
const FILE_ACCESS: u8 = 86;
const IDENTITY_FILE: u8 = 87;

fn node_at(number: u8) -> String {
    format!("{}@node{number}.example.org:4400", format!("{number:02x}").repeat(32))
}

fn shown(place: &NetworkPlace, file: &str) -> String {
    String::from_utf8(place.run(&["show", file]).expect_stdout()).unwrap()
}

#[test]
fn a_network_is_made_signed_and_shown() {
    let seed = node_at(1);
    let place = NetworkPlace::new(&["--seed", &seed, "--dns", "_dht.example.org", "--registry"]);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place.path("test.key")), mode(&place.file())), (0o600, 0o644));
    let text = shown(&place, "test.toml");
    for part in ["name = \"test\"", &seed, "_dht.example.org", "registry = ", "no signed list"] {
        assert!(text.contains(part), "{text}");
    }
    let key = std::fs::read_to_string(place.path("test.key")).unwrap();
    assert!(!text.contains(key.trim()), "the secret stays in its file");

    let second_address = node_at(2).replace("node2", "again");
    place.sign(&[format!("{} Vienna, IPv6", node_at(2)), second_address.clone()], &place.list());
    for file in ["test.toml", "test.registry"] {
        let text = shown(&place, file);
        for part in [&node_at(2), &second_address, "Vienna, IPv6", "signature is the registry's"] {
            assert!(text.contains(part), "{text}");
        }
    }
    // Signing again supersedes.
    let number = |text: &str| {
        let list = text.lines().find_map(|line| line.strip_prefix("list ")).unwrap();
        list.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let first = number(&shown(&place, "test.registry"));
    place.sign(&[node_at(3)], &place.list());
    assert!(number(&shown(&place, "test.registry")) > first);
}

#[test]
fn nothing_is_written_over_and_nothing_strange_is_signed_or_shown() {
    let place = NetworkPlace::new(&["--registry"]);
    let again = place.run(&["new", "test"]);
    again.expect_failure(FILE_ACCESS, "there already");
    let key = place.run(&["new", "test", "--registry", "--out", "test.other"]);
    key.expect_failure(IDENTITY_FILE, "never written over");
    let sign = |arguments: &[&str]| {
        place.run(&[&["sign", "--network-file", "test.toml"], arguments].concat())
    };
    let stranger = NetworkPlace::new(&["--registry"]);
    let strange = stranger.path("test.key");
    let node = node_at(1);
    sign(&["--key", strange.to_str().unwrap(), "--node", &node])
        .expect_failure(IDENTITY_FILE, "not the key");
    sign(&["--key", "test.key"]).expect_failure(USAGE, "--node");
    sign(&["--key", "test.key", "--node", "node.example.org:1"])
        .expect_failure(USAGE, "needs its id");
    sign(&["--key", "test.key", "--node", &node, "--node", &node])
        .expect_failure(USAGE, "different addresses");
    let long = format!("{node} {}", "x".repeat(65));
    sign(&["--key", "test.key", "--node", &long]).expect_failure(USAGE, "64 bytes");
    assert!(!place.list().exists());

    place.sign(std::slice::from_ref(&node), &place.list());
    stranger.sign(&[node], &stranger.list());
    std::fs::copy(stranger.list(), place.list()).unwrap();
    assert_eq!(place.run(&["show", "test.toml"]).status, i32::from(BAD_SIGNATURE));
    let forged = place.run(&["show", "test.registry"]);
    forged.expect_failure(BAD_SIGNATURE, "registry key");
    let publish = place.run(&["publish", "--network-file", "test.toml"]);
    publish.expect_failure(BAD_SIGNATURE, "registry key");
    let plain = NetworkPlace::new(&[]);
    let publish = plain.run(&["publish", "--network-file", "test.toml"]);
    publish.expect_failure(BAD_CONFIG, "no registry key");
}

#[test]
fn config_silently_dropped_holds_for_network_files_too() {
    let place = NetworkPlace::new(&["--seed", &ports::free_address().to_string()]);
    let file = place.file();
    let good = std::fs::read_to_string(&file).unwrap();
    let node = |top: String, arguments: &[&str]| {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let options = NodeOptions { top, arguments, ..NodeOptions::solo() };
        NodeProcess::place(place.path("node"), options)
    };
    let line = NetworkPlace::line(&file);
    for (text, says) in [
        (format!("{good}seed = []\n"), "unknown field"),
        (format!("{good}registry = \"ab\"\n"), "64 hex digits"),
        (good.replace("seeds = [\"", "seeds = [\"x y"), "seeds in"),
        (String::new(), "name"),
    ] {
        std::fs::write(&file, &text).unwrap();
        let node = node(line.clone(), &[]);
        node.run_to_end().expect_failure(BAD_CONFIG, says);
        assert!(!node.data_dir().exists());
    }
    std::fs::write(&file, &good).unwrap();
    let disagreeing = node(format!("{line}\nnetwork = \"other\""), &[]);
    disagreeing.run_to_end().expect_failure(BAD_CONFIG, "not «test»");
    let by_flag = node(line.clone(), &["--network", "other"]);
    by_flag.run_to_end().expect_failure(BAD_CONFIG, "not «test»");
    let missing = node(NetworkPlace::line(&place.path("missing.toml")), &[]);
    missing.run_to_end().expect_failure(BAD_CONFIG, "missing.toml");
    let server = node("dns_server = \"example.org\"".to_owned(), &[]);
    server.run_to_end().expect_failure(BAD_CONFIG, "name server");
}
