//! What became of nodes in systems like this one, and must not in this one: each file bears the name
//! of a lesson, and says in a sentence what went wrong there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in what it calls too"
)]

mod answers_mixed_up;
mod bootstrap_sources;
mod config_silently_dropped;
mod distance_sorted_backwards;
mod duplicate_connections;
mod forgets_peers_at_restart;
mod join_with_bootstrap_down;
mod lock_across_io;
mod network_files;
mod ready_before_usable;
mod sigterm_loses_data;
mod three_peers_in_a_second;
