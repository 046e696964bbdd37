//! The command line, through the real binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in what it calls too"
)]

mod identities;
mod live;
mod offline;
mod program;
mod receipts;
#[path = "../servers/mod.rs"]
mod servers;
mod terminal;
mod watch;
