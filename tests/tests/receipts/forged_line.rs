//! A line that no node signed is no promise: it is named and skipped, and nobody is blamed for it.

use std::collections::BTreeMap;

use dht_tests::{CommandLine, Network};

use super::{AUDIT_INCOMPLETE, FILE, audit, put, results};

#[test]
fn a_forged_receipt_is_refused_and_blames_nobody() {
    let network = Network::start(3);
    let (alice, _) = CommandLine::with_identity(&network.peers());
    put(&alice, "motto", "keep what you promise");
    let book = std::fs::read_to_string(alice.path(FILE)).unwrap();
    let lines: Vec<&str> = book.lines().collect();
    let field = |line: &str, name: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line[name].to_string()
    };
    // Another node's name, another end, another record, and no receipt at all.
    let other_node = lines[0].replace(&field(lines[0], "node"), &field(lines[1], "node"));
    let end = field(lines[0], "expires_at_ms");
    let other_end = lines[0].replace(&end, &end.replacen('1', "2", 1));
    let other = put(&alice, "other", "value");
    assert_ne!(
        other["record"], "",
        "another record of the same writer, promised by the same nodes"
    );
    let both = std::fs::read_to_string(alice.path(FILE)).unwrap();
    let other_line = both.lines().last().unwrap();
    let never_promised = lines[2].replace(&field(lines[2], "record"), &field(other_line, "record"));
    let forged = [&*other_node, &other_end, &never_promised, "{\"receipt\":1}"].join("\n");
    std::fs::write(alice.path(FILE), format!("{book}{forged}\n")).unwrap();

    let told = audit(&alice, AUDIT_INCOMPLETE, &["--prune"]);
    assert_eq!(results(&told), BTreeMap::from([("kept", 3)]));
    let skipped: Vec<_> =
        told["skipped"].as_array().unwrap().iter().map(|skipped| &skipped["line"]).collect();
    assert_eq!(skipped, [4, 5, 6, 7]);
    let after = std::fs::read_to_string(alice.path(FILE)).unwrap();
    assert_eq!(after, format!("{book}{forged}\n"), "no line is lost that has not expired");
}
