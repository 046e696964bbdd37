//! Receipts and audits through the real programs: what nodes promised is kept, and where it is not,
//! the audit says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in what it calls too"
)]

mod emptied_node;
mod forged_line;
mod kept_by_all;

use std::collections::BTreeMap;

use dht_tests::CommandLine;
use dht_tests::programs::Ended;
use serde_json::Value;

/// The file of receipts in a user's folder.
const FILE: &str = "receipts";
/// Exit status: a node does not hold what it promised.
const PROMISE_BROKEN: i32 = 67;
/// Exit status: some receipts could not be checked.
const AUDIT_INCOMPLETE: i32 = 68;

/// Puts a value on three nodes and keeps their receipts.
fn put(user: &CommandLine, label: &str, value: &str) -> Value {
    user.json(&["put", label, value, "--quorum", "3", "--receipts", FILE])
}

/// Runs an audit that ends with this status, and returns what it printed.
fn audit(user: &CommandLine, status: i32, arguments: &[&str]) -> Value {
    let ended: Ended = user.run(&[&["audit", FILE, "--json"], arguments].concat());
    assert_eq!(ended.status, status, "{ended:?}");
    assert_eq!(status == 0, ended.stderr.is_empty(), "one sentence if it failed: {ended:?}");
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// How many receipts have each result.
fn results(audit: &Value) -> BTreeMap<&str, usize> {
    let mut results = BTreeMap::new();
    for receipt in audit["receipts"].as_array().unwrap() {
        *results.entry(receipt["result"].as_str().unwrap()).or_default() += 1;
    }
    results
}
