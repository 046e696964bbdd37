//! A node as a service: what the service manager is told, the watchdog, and what changes while it runs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in what it calls too"
)]

mod green_but_dead;
mod reload;
mod restart;
mod under_systemd;
