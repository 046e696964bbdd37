//! Alert rules and dashboard against a real node and against the documentation.

use std::collections::BTreeSet;
use std::path::PathBuf;

use dht_tests::Network;

use crate::exposition::Exposition;

/// A file of this checkout.
fn file(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The metrics that a text names, in expressions or in words.
fn named(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("dht_") || word.starts_with("process_"))
        .map(ToOwned::to_owned)
        .collect()
}

/// Those of them that the node does not have.
fn unknown(text: &str, node: &Exposition) -> Vec<String> {
    named(text).into_iter().filter(|name| !node.knows(name)).collect()
}

fn alerts(rules: &str) -> Vec<&str> {
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

#[test]
fn alerts_and_dashboard_name_only_what_a_node_exposes() {
    let net = Network::start(1);
    let node = Exposition::of(net[0].addr());
    let wrong = "rate(dht_gone_total[1m]) + dht_commits + dht_ready_total + dht_ready";
    assert_eq!(unknown(wrong, &node), ["dht_commits", "dht_gone_total", "dht_ready_total"]);
    for path in [
        "deployment/prometheus/alerts.yml",
        "deployment/prometheus/alerts.test.yml",
        "deployment/grafana/dashboard.json",
    ] {
        let text = file(path);
        assert!(named(&text).len() > 10, "{path} names metrics");
        assert_eq!(unknown(&text, &node), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn every_alert_is_tried_and_has_its_section_in_the_documentation() {
    let (rules, tests) =
        (file("deployment/prometheus/alerts.yml"), file("deployment/prometheus/alerts.test.yml"));
    let operations = file("docs/OPERATIONS.md");
    let alerts = alerts(&rules);
    assert!(alerts.len() >= 11, "{alerts:?}");
    for alert in &alerts {
        let section = format!("\n### {alert}\n");
        let text = operations.split_once(&section).map(|(_, rest)| rest);
        let text = text.unwrap_or_else(|| panic!("docs/OPERATIONS.md has no section {alert}"));
        let text = text.split("\n#").next().unwrap();
        for part in ["**Means:**", "**Look at:**", "**Do:**"] {
            assert!(text.contains(part), "the section {alert} lacks {part}");
        }
        let runbook = format!("runbook: docs/OPERATIONS.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&runbook), "{alert} leads to its section");
        let cases = tests.matches(&format!("alertname: {alert}\n")).count();
        let quiet = tests.matches(&format!("alertname: {alert}\n        exp_alerts: []")).count();
        assert!(cases > quiet && quiet > 0, "{alert}: {cases} cases, {quiet} of them quiet");
    }
    let sections = operations.lines().filter_map(|line| line.strip_prefix("### Dht"));
    assert_eq!(sections.count(), alerts.len(), "each section belongs to an alert");
}
