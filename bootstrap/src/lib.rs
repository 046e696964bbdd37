//! The daemon: a DHT server that keeps what it acknowledges.

pub mod admin;
pub mod config;
pub mod logging;
pub mod node;
pub mod node_identity;
pub mod status;
pub mod store;
pub mod verify_threads;
mod work_queue;
