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
mod person;
mod round_trips;
mod what_nodes_see;
