//! `/livez` and `/readyz`: an answer is not enough to be ready, and who is not ready says why.

use dht_client::ErrorNumber;
use dht_tests::{Network, NodeOptions, NodeProcess, User, admin, eventually, ports};

use crate::exposition::Exposition;

#[test]
fn who_has_found_nobody_is_alive_but_not_ready_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = ports::free_address().to_string();
    let mut node =
        NodeProcess::place(folder.path().join("node"), NodeOptions::joining(vec![nobody]));
    node.spawn();
    let alive = eventually("it answers", || admin::try_get(node.addr(), "/livez"));
    assert_eq!((alive.status, alive.body.as_str()), (200, "alive\n"));
    let answer = admin::get(node.addr(), "/readyz");
    assert_eq!(answer.status, 503);
    assert!(answer.body.starts_with("not ready: no other server has answered"), "{answer:?}");
    let status = node.status();
    assert_eq!(status["ready"], false);
    let reason = status["not_ready_because"].as_str().unwrap();
    assert!(answer.body.contains(reason), "{answer:?}");
    let exposition = Exposition::of(node.addr());
    assert_eq!(exposition.value("dht_ready"), 0.0);
    assert_eq!(exposition.value(r#"dht_stage{stage="joining"}"#), 1.0);
}

#[test]
fn a_node_whose_disk_is_short_is_not_ready_names_the_disk_and_counts_what_it_refuses() {
    let options =
        NodeOptions { store: format!("min_free_bytes = {}", 1_u64 << 62), ..NodeOptions::solo() };
    let net = Network::start_with(1, &options);
    let answer = admin::get(net[0].addr(), "/readyz");
    assert_eq!(answer.status, 503);
    assert!(answer.body.starts_with("not ready: the disk has "), "{answer:?}");
    let before = Exposition::of(net[0].addr());
    assert_eq!(before.value("dht_refusing_writes"), 1.0);
    let full = r#"dht_refusals_total{reason="Full"}"#;
    assert_eq!(before.value(full), 0.0);

    let user = User::new(1, &net.peers());
    let error = user.try_put(user.first("refused", 0, "no room")).unwrap_err();
    assert_eq!(error.number(), ErrorNumber::Full, "{error}");
    let refused = Exposition::of(net[0].addr()).value(full);
    assert!(refused >= 1.0);
    let listed = net[0].status()["refusals"].as_array().unwrap().clone();
    let listed = listed.iter().find(|pair| pair[0] == "Full").unwrap();
    assert_eq!(listed[1].as_f64().unwrap(), refused);
}

#[test]
fn who_is_ready_says_so() {
    let net = Network::start(2);
    for node in net.nodes() {
        let answer = admin::get(node.addr(), "/readyz");
        assert_eq!((answer.status, answer.body.as_str()), (200, "ready\n"));
        assert!(node.status()["not_ready_because"].is_null());
    }
}
