//! Every source of peers brings a node into the network when it is the only one that names somebody
//! alive; and with each of them `join_with_bootstrap_down` holds: a node that finds nobody says which
//! source failed why, keeps trying, and joins when one comes back.

use dht_tests::{
    CommandLine, NameServer, NetworkPlace, NodeOptions, NodeProcess, User, eventually, ports,
};
use serde_json::Value;

/// Where the name server has the network's peers.
const PEERS_AT: &str = "_dht.dht.test";

/// A server that may be the only one, and knows its own name by having run once.
fn known_once(place: &NetworkPlace) -> NodeProcess {
    let mut node = NodeProcess::start(place.path("known"), NodeOptions::solo());
    node.stop();
    node
}

/// A node that is told of a network file and nothing else.
fn told_of(place: &NetworkPlace, name: &str, further: &[String]) -> NodeProcess {
    let mut lines = vec![NetworkPlace::line(&place.copy(name))];
    lines.extend_from_slice(further);
    let top = lines.join("\n");
    NodeProcess::place(place.path(name), NodeOptions { top, ..NodeOptions::default() })
}

fn source(status: &Value, name: &str) -> Option<Value> {
    let sources = status["sources"].as_array()?;
    sources.iter().find(|source| source["source"] == name).cloned()
}

/// Starts `node` while nobody is there, sees it complain of this source, starts `target`, and sees it
/// join by that source.
fn joins_when_one_comes_back(node: &mut NodeProcess, target: &mut NodeProcess, by: &str) {
    node.spawn();
    let failed = eventually("nobody answers, and it says so", || {
        source(&node.try_status()?, by).filter(|source| source["problem"].is_string())
    });
    assert_eq!((&failed["peers"], &failed["answered"]), (&1.into(), &0.into()), "{failed}");
    assert!(!node.is_ready());
    eventually("the log says so, too", || {
        let log = node.log();
        let says = |line: &&str| line.contains("no bootstrap peer answers") && line.contains(by);
        log.lines().find(says).map(|_| ())
    });
    target.spawn();
    target.await_ready();
    node.await_ready();
    // Whoever came back may have been the first to find the other.
    eventually("it is met by that source", || {
        source(&node.status(), by).filter(|source| source["answered"] == 1)
    });
    let user = User::new(1, &[node.peer()]);
    assert_eq!(user.put(user.first("joined", 0, "at last")).outcome.targets, 2);
}

#[test]
fn join_with_bootstrap_down_by_the_command_line() {
    let place = NetworkPlace::new(&[]);
    let mut target = known_once(&place);
    let arguments = vec!["--bootstrap".to_owned(), target.pinned()];
    let options = NodeOptions { arguments, ..NodeOptions::default() };
    let mut node = NodeProcess::place(place.path("node"), options);
    joins_when_one_comes_back(&mut node, &mut target, "configured");
}

#[test]
fn join_with_bootstrap_down_by_the_seeds_of_the_network_file() {
    let addr = ports::free_address();
    let place = NetworkPlace::new(&["--seed", &addr.to_string()]);
    let mut target = NodeProcess::place_at(place.path("seed"), addr, NodeOptions::solo());
    let mut node = told_of(&place, "node", &[]);
    joins_when_one_comes_back(&mut node, &mut target, "network-file");
}

#[test]
fn join_with_bootstrap_down_by_the_saved_table() {
    let place = NetworkPlace::new(&[]);
    let mut target = NodeProcess::start(place.path("known"), NodeOptions::solo());
    let mut node =
        NodeProcess::start(place.path("node"), NodeOptions::joining(vec![target.peer()]));
    node.stop();
    target.stop();
    node.options().bootstrap.clear();
    joins_when_one_comes_back(&mut node, &mut target, "saved");
}

#[test]
fn join_with_bootstrap_down_by_the_dns() {
    let place = NetworkPlace::new(&["--dns", PEERS_AT]);
    let mut target = known_once(&place);
    let names = NameServer::start();
    names.add_texts(PEERS_AT, &[&format!("dht-peer={}", target.pinned())]);
    let server = format!("dns_server = \"{}\"", names.addr());
    let mut node = told_of(&place, "node", &[server]);
    joins_when_one_comes_back(&mut node, &mut target, "dns");
}

#[test]
fn join_with_bootstrap_down_by_the_registry() {
    let place = NetworkPlace::new(&["--registry"]);
    let mut target = known_once(&place);
    let mut node = told_of(&place, "node", &[]);
    place.sign(&[target.pinned()], &place.path("node/test.registry"));
    joins_when_one_comes_back(&mut node, &mut target, "registry");
}

#[test]
fn a_name_server_that_comes_back_is_asked_again() {
    let place = NetworkPlace::new(&["--dns", PEERS_AT]);
    let target = NodeProcess::start(place.path("target"), NodeOptions::solo());
    let addr = ports::free_address();
    let mut node = told_of(&place, "node", &[format!("dns_server = \"{addr}\"")]);
    node.spawn();
    eventually("it says that the name server is silent", || {
        let dns = source(&node.try_status()?, "dns")?;
        dns["problem"].as_str()?.contains(PEERS_AT).then_some(())
    });
    let names = NameServer::start_at(addr);
    names.add_texts(PEERS_AT, &[&format!("dht-peer={}", target.pinned())]);
    node.await_ready();
}

#[test]
fn bad_strings_in_the_dns_are_counted_and_named_and_harm_nobody() {
    let dead = ports::free_address().to_string();
    let place = NetworkPlace::new(&["--seed", &dead, "--dns", PEERS_AT]);
    let target = NodeProcess::start(place.path("target"), NodeOptions::solo());
    let names = NameServer::start();
    let host = "node.dht.test";
    names.add_address(host, "127.0.0.1".parse().unwrap());
    let good = format!("dht-peer={}@{host}:{}", target.id(), target.addr().port());
    names.add_texts(PEERS_AT, &["v=spf1 -all", "dht-peer=nobody@nowhere"]);
    names.add_texts(PEERS_AT, &["dht-peer=", &good]);
    let mut node = told_of(&place, "node", &[format!("dns_server = \"{}\"", names.addr())]);
    node.spawn();
    node.await_ready();
    let dns = source(&node.status(), "dns").unwrap();
    assert_eq!((&dns["peers"], &dns["answered"]), (&1.into(), &1.into()), "{dns}");
    assert!(dns["refused"].as_u64() >= Some(3), "{dns}");
    assert_eq!(source(&node.status(), "network-file").unwrap()["answered"], 0);
    let log = node.log();
    for bad in ["v=spf1 -all", "dht-peer=nobody@nowhere"] {
        assert!(log.contains(bad), "«{bad}» is named");
    }
}

#[test]
fn a_list_names_a_live_node_where_all_seeds_are_dead_and_spreads_by_itself() {
    let dead = ports::free_address().to_string();
    let place = NetworkPlace::new(&["--seed", &dead, "--registry"]);
    let target = NodeProcess::start(place.path("target"), NodeOptions::solo());
    let mut with_list = told_of(&place, "with-list", &[]);
    place.sign(&[target.pinned()], &place.path("with-list/test.registry"));
    with_list.spawn();
    with_list.await_ready();
    let registry = source(&with_list.status(), "registry").unwrap();
    assert_eq!((&registry["answered"], &registry["list"]["nodes"]), (&1.into(), &1.into()));

    // Another node has no list: it is in the DHT by now, since the first one has put it there.
    let mut without = told_of(&place, "without-list", &[]);
    without.options().bootstrap = vec![with_list.peer()];
    without.spawn();
    without.await_ready();
    let kept = without.data_dir().join("registry.list");
    let signed = std::fs::read(place.path("with-list/test.registry")).unwrap();
    eventually("the list comes by the DHT and is kept", || {
        (std::fs::read(&kept).ok()? == signed).then_some(())
    });
    without.restart();
    let registry = source(&without.status(), "registry").unwrap();
    assert_eq!(registry["list"]["nodes"], 1, "it is known from the start: {registry}");
}

#[test]
fn forged_and_older_lists_change_nothing_and_are_counted() {
    let place = NetworkPlace::new(&["--registry"]);
    let stranger = NetworkPlace::new(&["--registry"]);
    let target = NodeProcess::start(place.path("target"), NodeOptions::solo());
    let nobody = format!("{}@{}", "ab".repeat(32), ports::free_address());
    let older = place.path("older");
    place.sign(&[nobody.clone(), format!("{}@192.0.2.1:1", "cd".repeat(32))], &older);
    let mut node = told_of(&place, "node", &[]);
    let beside = place.path("node/test.registry");
    place.sign(&[target.pinned()], &beside);
    node.spawn();
    node.await_ready();
    let seq = source(&node.status(), "registry").unwrap()["list"]["seq"].clone();
    let kept = node.data_dir().join("registry.list");
    eventually("the list is kept", || kept.is_file().then_some(()));
    let newest = std::fs::read(&kept).unwrap();

    stranger.sign(&[nobody], &stranger.list());
    let forged = std::fs::read(stranger.list()).unwrap();
    for (list, why) in [(std::fs::read(&older).unwrap(), None), (forged, Some("registry key"))] {
        node.stop();
        std::fs::write(&beside, list).unwrap();
        node.spawn();
        node.await_ready();
        let registry = source(&node.status(), "registry").unwrap();
        assert_eq!((&registry["list"]["seq"], &registry["list"]["nodes"]), (&seq, &1.into()));
        assert_eq!(registry["refused"], 1, "{registry}");
        let problem = registry["problem"].as_str();
        assert!(why.is_none_or(|why| problem.is_some_and(|said| said.contains(why))));
        assert_eq!(std::fs::read(&kept).unwrap(), newest);
    }
}

#[test]
fn the_first_node_of_a_network_may_stand_in_the_file_that_all_share() {
    let addr = ports::free_address();
    let place = NetworkPlace::new(&["--seed", &addr.to_string(), "--registry"]);
    let options = NodeOptions { top: NetworkPlace::line(&place.file()), ..NodeOptions::solo() };
    let mut first = NodeProcess::place_at(place.path("first"), addr, options);
    first.spawn();
    first.await_ready();
    let mut second = told_of(&place, "second", &[]);
    second.spawn();
    second.await_ready();
    assert!(!first.log().contains("no bootstrap peer answers"));
}

#[test]
fn a_client_needs_nothing_but_the_network_file() {
    let place = NetworkPlace::new(&["--dns", PEERS_AT, "--registry"]);
    let node = NodeProcess::start(place.path("node"), NodeOptions::solo());
    let names = NameServer::start();
    let (by_dns, by_list) = (place.copy("dns"), place.copy("list"));
    let user = CommandLine::new(&[]);
    let server = names.addr().to_string();
    let ask = |file: &std::path::Path| {
        let file = file.to_str().unwrap();
        user.run(&["--network-file", file, "--dns-server", &server, "lookup", &"ab".repeat(32)])
    };
    place.sign(&[node.pinned()], &place.path("list/test.registry"));
    assert_eq!(ask(&by_list).status, 0, "by the signed list");
    names.add_texts(PEERS_AT, &[&format!("dht-peer={}", node.pinned())]);
    assert_eq!(ask(&by_dns).status, 0, "by the DNS");

    let elsewhere = user.path("other.toml");
    std::fs::write(&elsewhere, "name = \"other\"").unwrap();
    let disagreeing = user.run(&["--network-file", elsewhere.to_str().unwrap(), "peers"]);
    disagreeing.expect_failure(2, "«test» is not «other»");
    std::fs::write(&elsewhere, "name = \"test\"\nseed = []").unwrap();
    let misspelt = user.run(&["--network-file", elsewhere.to_str().unwrap(), "peers"]);
    misspelt.expect_failure(80, "unknown field");
}

#[test]
fn a_list_that_was_published_judges_names() {
    let place = NetworkPlace::new(&["--registry"]);
    let node = NodeProcess::start(place.path("node"), NodeOptions::solo());
    let (user, _) = CommandLine::with_identity(&[node.peer()]);
    let file = place.file();
    let with_file = |arguments: &[&str]| {
        user.run(&[&["--network-file", file.to_str().unwrap()], arguments].concat())
    };
    let unknown = with_file(&["name", "claim", "abcdefghijklm"]);
    unknown.expect_failure(80, "registry judges names");

    place.sign(&[node.pinned()], &place.path("elsewhere"));
    let published = place.run(&[
        "publish",
        "--network-file",
        file.to_str().unwrap(),
        "--list",
        place.path("elsewhere").to_str().unwrap(),
        "--bootstrap",
        &node.peer(),
    ]);
    assert_eq!(published.status, 0, "{published:?}");
    let claimed = with_file(&["name", "claim", "abcdefghijklm", "--json"]);
    assert_eq!(claimed.status, 0, "{claimed:?}");
    let found = with_file(&["name", "lookup", "abcdefghijklm", "--json"]).expect_json();
    assert_eq!((&found["vouched"], &found["judges"]), (&1.into(), &1.into()), "{found}");
}
