//! `/history`: what a plot is drawn from.

use dht_tests::{Network, User, admin, eventually};
use serde_json::Value;

/// Samples are this far apart, and the machine may be busy.
const EVERY_MS: u64 = 10_000;
const LATE_MS: u64 = 5_000;

#[test]
fn the_history_tells_what_was_done_between_samples() {
    let net = Network::start(1);
    let addr = net[0].addr();
    assert_eq!(admin::get(addr, "/history").json()["samples"], Value::Array(Vec::new()));
    let user = User::new(1, &net.peers());
    for slot in 0..30 {
        let _ = user.put(user.first("sampled", slot, "thirty"));
    }
    let samples = eventually("two samples", || {
        let samples = admin::get(addr, "/history").json()["samples"].as_array().unwrap().clone();
        (samples.len() >= 2).then_some(samples)
    });
    let at = |sample: &Value| sample["at_ms"].as_u64().unwrap();
    let apart = at(&samples[1]) - at(&samples[0]);
    assert!((EVERY_MS - LATE_MS..EVERY_MS + LATE_MS).contains(&apart), "{apart} ms apart");
    let puts: f64 = samples.iter().map(|sample| sample["puts_per_sec"].as_f64().unwrap()).sum();
    let seconds = EVERY_MS as f64 / 1e3;
    assert!((25.0..=35.0).contains(&(puts * seconds)), "{puts} puts a second for {seconds} s");
    assert!(samples.iter().any(|sample| sample["puts"]["p99_us"].as_u64() > Some(0)));
    let last = samples.last().unwrap();
    assert_eq!(last["records_by_retention"], net[0].status()["records_by_retention"]);
    assert_eq!(last["ready"], true);

    let later = admin::get(addr, &format!("/history?after={}", at(&samples[0]))).json();
    assert_eq!(at(&later["samples"][0]), at(&samples[1]));
    assert_eq!(admin::get(addr, "/history?after=yesterday").status, 400);
}
