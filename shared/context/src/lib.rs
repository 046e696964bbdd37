//! The running node that servers and clients share.

pub mod clock;
pub mod peer_address;
pub mod registry;
pub mod store;
pub mod transport;
pub mod verify;
