//! Rounds between large holders cost in proportion to what differs. The limits are on bytes, which
//! do not depend on the machine.

use dht_tests::copies::rounds::{Figures, Sizes, measure};

#[test]
fn rounds_between_large_holders_cost_what_differs_and_not_what_they_hold() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = Sizes { records: 20_000, differing: 100, body_bytes: 1_024 };
    let Figures { equal, equal_in_parts, differing, lacking_bytes, .. } =
        measure(folder.path(), sizes);
    assert!(equal.bytes <= 2_048 && equal_in_parts.bytes <= 2_048, "{equal:?} {equal_in_parts:?}");
    assert!(differing.compare_bytes <= 200 * 1_024, "{differing:?}");
    let all = differing.compare_bytes + differing.fetch_bytes;
    assert!(all <= 2 * lacking_bytes, "{all} bytes in all for {lacking_bytes}: {differing:?}");
}
