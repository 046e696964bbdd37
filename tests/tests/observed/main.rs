//! What a node shows of itself, to scripts, to Prometheus and to people: that it is there, that it is
//! true, and that what is built upon it (alerts, dashboard) names nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in what it calls too"
)]

mod alerts;
mod exposition;
mod health_script_asks_nothing;
mod history;
mod metrics;
mod page;
mod readiness;
mod terminal;
