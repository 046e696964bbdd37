//! `/metrics` against what the node did and says elsewhere.

use std::collections::BTreeSet;

use dht_tests::{Network, User};

use crate::exposition::Exposition;

#[test]
fn metrics_count_what_was_done_and_agree_with_the_status() {
    let net = Network::start(1);
    let addr = net[0].addr();
    let before = Exposition::of(addr);
    assert_eq!(before.value("dht_ready"), 1.0);
    assert_eq!(before.value(r#"dht_stage{stage="settled"}"#), 1.0);
    assert_eq!(before.value(r#"dht_requests_answered_total{kind="store",outcome="ok"}"#), 0.0);

    let user = User::new(1, &net.peers());
    for slot in 0..5 {
        let _ = user.put(user.first("counted", slot, "five"));
    }
    let _ = user.get(&user.slot("counted", 0)).unwrap();

    let after = Exposition::of(addr);
    let status = net[0].status();
    assert_eq!(after.value(r#"dht_requests_answered_total{kind="store",outcome="ok"}"#), 5.0);
    assert!(after.value(r#"dht_requests_answered_total{kind="find",outcome="ok"}"#) >= 1.0);
    let records: f64 = ["8h", "7d", "365d"]
        .map(|class| after.value(&format!(r#"dht_records{{retention="{class}"}}"#)))
        .iter()
        .sum();
    assert_eq!(records, status["records"].as_f64().unwrap());
    assert_eq!(records, 5.0);
    let memory = after.value("process_resident_memory_bytes");
    assert!((1e6..1e11).contains(&memory), "{memory}");
    assert!(after.value("dht_disk_free_bytes") > after.value("dht_disk_floor_bytes"));
    assert!(after.value("process_cpu_seconds_total") > 0.0);
    assert!(after.value("process_start_time_seconds") > 1.7e9);
    let node = format!(r#"dht_node_info{{node="{}",network="test",mode="server"}}"#, net[0].id());
    assert_eq!(after.value(&node), 1.0);
}

#[test]
fn histograms_are_cumulative_and_hold_every_request() {
    let net = Network::start(1);
    let user = User::new(1, &net.peers());
    let _ = user.put(user.first("timed", 0, "one"));
    let exposition = Exposition::of(net[0].addr());
    let name = "dht_requests_answered_duration_seconds";
    for kind in ["ping", "find_node", "find", "store", "watch", "reconcile", "audit", "vitals"] {
        let prefix = format!(r#"{name}_bucket{{le=""#);
        let of_kind = format!(r#"",kind="{kind}"}}"#);
        let mut buckets: Vec<(f64, f64)> = exposition
            .series
            .iter()
            .filter_map(|(series, count)| {
                let bound = series.strip_prefix(&prefix)?.strip_suffix(&of_kind)?;
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
                Some((bound, *count))
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert_eq!(buckets.len(), dht_context::stats::LATENCY_BUCKETS, "{kind}");
        assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{kind}: {buckets:?}");
        let count = exposition.value(&format!(r#"{name}_count{{kind="{kind}"}}"#));
        assert_eq!(buckets.last().unwrap(), &(f64::INFINITY, count), "{kind}");
        let outcomes: f64 = ["ok", "refused", "failed"]
            .map(|outcome| {
                let counter = "dht_requests_answered_total";
                exposition.value(&format!(r#"{counter}{{kind="{kind}",outcome="{outcome}"}}"#))
            })
            .iter()
            .sum();
        assert_eq!(count, outcomes, "{kind}");
        let sum = exposition.value(&format!(r#"{name}_sum{{kind="{kind}"}}"#));
        assert_eq!(sum > 0.0, count > 0.0, "{kind}");
    }
    assert_eq!(exposition.value(&format!(r#"{name}_count{{kind="store"}}"#)), 1.0);
}

#[test]
fn no_peer_adds_a_series() {
    let net = Network::start(1);
    let series =
        || -> BTreeSet<String> { Exposition::of(net[0].addr()).series.into_keys().collect() };
    let before = series();
    for number in 1..4 {
        let user = User::new(number, &net.peers());
        let _ = user.put(user.first("anything", 0, "at all"));
        let _ = user.get(&user.slot("nothing", 0));
    }
    assert_eq!(series(), before);
}
