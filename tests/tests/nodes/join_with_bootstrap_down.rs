//! Elsewhere, failing to reach every bootstrap peer was logged once, and that was all. Here a node
//! keeps trying, says so, and joins when one comes back.

use dht_tests::{NodeOptions, NodeProcess, User, eventually};

#[test]
fn join_with_bootstrap_down() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = NodeProcess::place(folder.path().join("first"), NodeOptions::solo());
    let joining = NodeOptions::joining(vec![first.peer()]);
    let mut second = NodeProcess::place(folder.path().join("second"), joining);

    second.spawn();
    // A dial that failed is counted a moment before it is told of which source.
    let alone = eventually("several dials have failed, and why is told", || {
        second.try_status().filter(|status| {
            let told = status["sources"][0]["problem"].is_string();
            told && status["dials_failed"].as_u64() >= Some(2)
        })
    });
    assert_eq!((&alone["ready"], &alone["stage"]), (&false.into(), &"joining".into()));
    assert!(!second.is_ready(), "it does not say that it is ready");
    assert_eq!(second.log().matches("no bootstrap peer answers").count(), 1, "once a minute");
    let source = &alone["sources"][0];
    assert_eq!((&source["source"], &source["answered"]), (&"configured".into(), &0.into()));
    let problem = source["problem"].as_str().unwrap();
    assert!(problem.contains(&first.peer()) && second.log().contains(problem), "{problem}");

    first.spawn();
    first.await_ready();
    second.await_ready();
    let user = User::new(1, &[second.peer()]);
    assert_eq!(user.put(user.first("joined", 0, "at last")).outcome.targets, 2);
}
