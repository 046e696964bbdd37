//! The library against servers that run in this process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in what it calls too"
)]

mod bundles;
mod cache;
mod contacts;
mod errands;
mod examples;
mod health;
mod letters;
mod names;
mod people;
mod protocol_doc;
#[path = "../servers/mod.rs"]
mod servers;
mod spawned;
mod traffic;
mod values;
mod watch;
mod writes;
