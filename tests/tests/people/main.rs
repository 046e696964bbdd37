//! Two people who are never there at the same time, through the real binaries.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in what it calls too"
)]

mod a_lost_laptop;
mod a_thousand_letters;
mod in_the_simulator;
mod killed_between_any_two_steps;
mod person;
mod round_trips;
mod two_windows;
mod what_nodes_see;
