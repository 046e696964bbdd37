//! The running node that servers and clients share: QUIC, peers, lookups, and [`DhtContext`], the
//! handle that both binaries hold.

mod allowance;
mod chance;
pub mod clock;
mod clock_watch;
pub mod config;
mod connections;
pub mod context;
mod maintenance;
pub mod membership;
pub mod node_key;
pub mod operations;
pub mod peer_address;
pub mod quic;
#[cfg(test)]
mod quiet_end;
pub mod registry;
pub mod requests;
pub mod resolver;
mod server;
pub mod stats;
pub mod store;
pub mod transport;
pub mod verify;
mod walk;

pub use config::{ContextConfig, Timing};
pub use context::{DhtContext, Foundations};
pub use operations::{
    Delete, GetError, GetOptions, GetReport, ListError, ListReport, Put, PutError, PutReport, Slot,
};
pub use peer_address::PeerAddress;
