//! What became of values in systems like this one, and must not in this one: each file bears the
//! name of a lesson, and says in a sentence what went wrong there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in what it calls too"
)]

mod all_nodes_restart_at_once;
mod delete_does_nothing;
mod deleted_comes_back;
mod every_node_finds_every_record;
mod expired_still_served;
mod hijack_by_unrelated_identity;
mod key_stored_once_encoded;
mod put_says_ok_stores_nothing;
mod restored_with_signature;
mod seven_day_values_survive;
mod stale_version_wins;
mod store_full_of_no_expiry;
mod two_writers_one_key;
