//! Every command against servers that run in this process.

use serde_json::Value;

use crate::program::Program;
use crate::servers::{NETWORK, Server, servers};

const TIMED_OUT: i32 = 61;
const UNREACHABLE: i32 = 60;
const WRONG_NODE: i32 = 44;
const UNEXPECTED_SEQ: i32 = 19;
const QUORUM_NOT_REACHED: i32 = 64;
const NOT_FOUND: i32 = 65;
const USAGE: i32 = 2;

/// A program with an identity, which asks this server first.
fn user(server: &Server) -> (Program, String) {
    let peer = server.addr.to_string();
    let program = Program::new(&["--bootstrap", &peer, "--network", NETWORK]);
    let publisher = program.json(&["identity", "new"])["identity"].as_str().unwrap().to_owned();
    (program, publisher)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn a_value_put_through_one_server_is_got_bit_for_bit_through_another() {
    let [first, second, third] = servers();
    let (alice, publisher) = user(first);
    let value: Vec<u8> = (0..=255).cycle().take(65_536).collect();
    std::fs::write(alice.path("value"), &value).unwrap();
    let put = alice.json(&["put", "label", "--file", "value", "--retention", "365d"]);
    assert_eq!(put["publisher"], publisher);
    assert_eq!((&put["targets"], &put["quorum"]), (&3.into(), &2.into()));
    assert!(put["stored"].as_u64() >= Some(2), "{put}");
    let lived = put["expires_at_ms"].as_u64().unwrap() - put["created_at_ms"].as_u64().unwrap();
    assert_eq!(lived, 365 * 24 * 3_600_000);

    let (bob, _) = user(second);
    assert_eq!(bob.run(&["get", &publisher, "label"]).expect_stdout(), value);
    let (carol, _) = user(third);
    let got = carol.json(&["get", &publisher, "label", "--consistency", "quorum"]);
    for same in ["key", "publisher", "label", "slot", "seq", "digest", "record"] {
        assert_eq!(got[same], put[same], "{same}");
    }
    assert_eq!(text(&got["value_hex"]), hex::encode(&value));
    assert!(got["answered"].as_u64() >= Some(2), "{got}");
}

#[test]
fn a_later_value_wins_and_a_delete_ends_it() {
    let (alice, publisher) = user(&servers()[0]);
    let get = || alice.run(&["get", &publisher, "note"]);
    get().expect_failure(NOT_FOUND, "nothing is stored");
    let first = alice.json(&["put", "note", "one"]);
    assert_eq!(get().expect_stdout(), b"one");
    let seq = first["seq"].to_string();
    alice.run(&["put", "note", "x", "--expect-seq", "0"]).expect_failure(UNEXPECTED_SEQ, &seq);
    let second = alice.json(&["put", "note", "two", "--expect-seq", &seq, "--retention", "8h"]);
    assert!(second["seq"].as_u64() > first["seq"].as_u64());
    assert_eq!(get().expect_stdout(), b"two");
    alice.run(&["delete", "note"]).expect_stdout();
    get().expect_failure(NOT_FOUND, "deleted");
    alice.run(&["delete", "note"]).expect_failure(NOT_FOUND, "nothing is stored there to delete");
    alice.json(&["put", "note", "three"]);
    assert_eq!(get().expect_stdout(), b"three");
}

#[test]
fn slots_are_listed_in_order_and_without_what_was_deleted() {
    let (alice, publisher) = user(&servers()[1]);
    for (slot, value) in [("0", "a"), ("7", "\u{1b}[2J"), ("3", "c")] {
        alice.json(&["put", "shelf", value, "--slot", slot]);
    }
    alice.json(&["delete", "shelf", "--slot", "3"]);
    let list = alice.json(&["list", &publisher, "shelf"]);
    let records = list["records"].as_array().unwrap();
    let slots: Vec<_> = records.iter().map(|record| record["slot"].as_u64().unwrap()).collect();
    assert_eq!(slots, [0, 7]);
    assert_eq!((&records[0]["value"], &list["truncated"]), (&"a".into(), &false.into()));
    let plain = alice.run(&["list", &publisher, "shelf"]).expect_stdout();
    let plain = String::from_utf8(plain).unwrap();
    assert!(plain.lines().count() == 2 && !plain.contains('\u{1b}'), "{plain}");
    assert_eq!(alice.run(&["list", &publisher, "nothing"]).expect_stdout(), b"");
}

#[test]
fn everyone_writes_to_a_topic_in_slots_of_their_own() {
    let [first, second, _] = servers();
    let ((alice, alices), (bob, bobs)) = (user(first), user(second));
    alice.json(&["put", "square", "from alice", "--space", "topic"]);
    bob.json(&["put", "square", "from bob", "--space", "topic", "--retention", "8h"]);
    let list = alice.json(&["list", "topic", "square"]);
    let mut writers: Vec<_> = list["records"].as_array().unwrap().iter().collect();
    writers.sort_by_key(|record| text(&record["value"]).to_owned());
    assert_eq!(writers.len(), 2);
    assert_eq!(
        (text(&writers[0]["publisher"]), text(&writers[0]["value"])),
        (&*alices, "from alice")
    );
    assert_eq!((text(&writers[1]["publisher"]), text(&writers[1]["value"])), (&*bobs, "from bob"));
    let got = alice.run(&["get", &bobs, "square", "--space", "topic"]).expect_stdout();
    assert_eq!(got, b"from bob");
    bob.json(&["delete", "square", "--space", "topic"]);
    let left = alice.json(&["list", "topic", "square"]);
    assert_eq!(left["records"].as_array().unwrap().len(), 1);
}

#[test]
fn content_is_found_by_its_key_alone() {
    let (alice, _) = user(&servers()[2]);
    let put = alice
        .run_with_stdin(&["--json", "put", "whatever", "-", "--space", "content"], b"immutable");
    let put = put.expect_json();
    let key = text(&put["key"]);
    assert_eq!(alice.run(&["get-content", key]).expect_stdout(), b"immutable");
    let again = alice.json(&["put", "other", "immutable", "--space", "content"]);
    assert_eq!(again["key"], put["key"]);
    let missing = "00".repeat(32);
    alice.run(&["get-content", &missing]).expect_failure(NOT_FOUND, "nothing is stored");
}

#[test]
fn more_acknowledgements_than_there_are_servers_are_refused() {
    let (alice, _) = user(&servers()[0]);
    let put = alice.run(&["put", "label", "value", "--quorum", "4"]);
    put.expect_failure(QUORUM_NOT_REACHED, "at most 3");
    let put = alice.json(&["put", "label", "value", "--quorum", "3"]);
    assert_eq!((&put["stored"], &put["silent"]), (&3.into(), &Value::Array(Vec::new())));
}

#[test]
fn a_ping_says_who_and_how_the_peer_is() {
    let server = servers()[0];
    let program = Program::new(&["--network", NETWORK]);
    let pong = program.json(&["ping", &server.addr.to_string()]);
    assert_eq!(text(&pong["node"]), server.id.to_string());
    assert_eq!((text(&pong["mode"]), &pong["settled"]), ("server", &true.into()));
    assert!(pong["clock_difference_ms"].as_i64().unwrap().abs() < 5_000, "{pong}");
    assert!(text(&pong["observed"]).starts_with("127.0.0.1:"), "{pong}");
    let pinned = format!("{}@{}", server.id, server.addr);
    program.run(&["ping", &pinned]).expect_stdout();
}

#[test]
fn somebody_else_behind_a_pinned_node_id_is_named_at_once() {
    let [first, second, _] = servers();
    let pinned = format!("{}@{}", second.id, first.addr);
    let program = Program::new(&["--network", NETWORK, "--bootstrap", &pinned]);
    program.run(&["ping", &pinned]).expect_failure(WRONG_NODE, &first.id.to_string());
    program.run(&["peers"]).expect_failure(WRONG_NODE, &first.id.to_string());
    let good = format!("{}@{}", first.id, first.addr);
    program.run(&["peers", "--bootstrap", &good]).expect_stdout();
}

#[test]
fn a_node_of_another_network_is_not_joined() {
    let peer = servers()[0].addr.to_string();
    let program = Program::new(&["--network", "elsewhere", "--bootstrap", &peer]);
    program.run(&["peers"]).expect_failure(UNREACHABLE, "same network");
}

#[test]
fn a_lookup_names_the_servers_closest_first() {
    let (alice, _) = user(&servers()[0]);
    for server in servers() {
        let found = alice.json(&["lookup", &server.id.to_string()]);
        let nodes = found["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 3, "{found}");
        assert_eq!(text(&nodes[0]["id"]), server.id.to_string());
        assert_eq!(text(&nodes[0]["addresses"][0]), server.addr.to_string());
    }
    let plain = alice.run(&["lookup", &servers()[1].id.to_string()]).expect_stdout();
    assert!(plain.starts_with(servers()[1].id.to_string().as_bytes()));
}

#[test]
fn peers_and_stats_show_the_network() {
    let (alice, _) = user(&servers()[0]);
    let peers = alice.json(&["peers"]);
    let mut ids: Vec<_> =
        peers["peers"].as_array().unwrap().iter().map(|peer| text(&peer["id"])).collect();
    ids.sort_unstable();
    let mut expected = servers().map(|server| server.id.to_string());
    expected.sort_unstable();
    assert_eq!(ids, expected);
    let stats = alice.json(&["stats"]);
    assert!(stats["asked"]["find_node"]["ok"].as_u64() >= Some(1), "{stats}");
    assert_eq!(stats["lies"], 0);
    alice.run(&["peers"]).expect_stdout();
    alice.run(&["stats"]).expect_stdout();
}

/// Runs a benchmark that has to have these phases, in which nothing was wrong.
fn phases_of(who: &Program, bench: &[&str], ops: &[&str]) -> Vec<Value> {
    let printed = String::from_utf8(who.run(bench).expect_stdout()).unwrap();
    let phases: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(phases.iter().map(|phase| text(&phase["op"])).collect::<Vec<_>>(), ops);
    for phase in &phases {
        assert_eq!((&phase["errors"], &phase["wrong"]), (&0.into(), &0.into()), "{phase}");
    }
    phases
}

#[test]
fn bench_prints_one_object_a_phase_and_nothing_is_wrong() {
    let (alice, _) = user(&servers()[0]);
    let ops = ["put", "get", "fetch", "miss", "lookup"];
    let small = ["bench", "--count", "40", "--size", "100", "--concurrency", "4", "--json"];
    for phase in &phases_of(&alice, &small, &ops) {
        for measured in ["ops_per_sec", "p50_us", "p99_us", "cpu_us_per_op_client"] {
            assert!(phase[measured].as_f64() > Some(0.0), "{measured}: {phase}");
        }
        assert_eq!((&phase["count"], &phase["size"]), (&40.into(), &100.into()));
    }
    let alone = alice.run(&["bench", "--ops", "get", "--count", "5"]).expect_stdout();
    assert_eq!(String::from_utf8(alone).unwrap().lines().count(), 1, "what it puts is not counted");
}

#[test]
fn bench_measures_letters_that_all_come_as_they_were_sent() {
    let (alice, _) = user(&servers()[0]);
    let ops = ["meet", "send", "receive", "ack", "follow"];
    let small = ["bench", "--ops", &ops.join(","), "--count", "20", "--size", "1024", "--json"];
    for phase in &phases_of(&alice, &small, &ops) {
        let one_by_one = ["meet", "follow"].contains(&text(&phase["op"]));
        assert_eq!(phase["p99_us"].is_u64(), one_by_one, "a batch has no latencies: {phase}");
        assert_eq!(phase["count"], if phase["op"] == "meet" { 1 } else { 20 }, "{phase}");
        assert!(phase["ops_per_sec"].as_f64() > Some(0.0), "{phase}");
    }
    let alone = alice.run(&["bench", "--ops", "ack", "--count", "5"]).expect_stdout();
    assert_eq!(
        String::from_utf8(alone).unwrap().lines().count(),
        1,
        "what it sends is not counted"
    );
    let many = ["bench", "--ops", "send", "--count", "10001"];
    alice.run(&many).expect_failure(USAGE, "smaller --count");
}

#[test]
fn a_command_that_does_not_fit_its_time_limit_says_so() {
    let peer = servers()[0].addr.to_string();
    let program = Program::new(&["--network", NETWORK, "--timeout", "0.000001"]);
    program.run(&["ping", &peer]).expect_failure(TIMED_OUT, "allow more time");
}
