//! The daemon: a DHT server that keeps what it acknowledges.

pub mod config;
pub mod store;
pub mod verify_threads;
mod work_queue;
