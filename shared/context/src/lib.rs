//! The running node that servers and clients share.

pub mod clock;
pub mod node_key;
pub mod quic;
pub mod registry;
pub mod store;
pub mod transport;
pub mod verify;
