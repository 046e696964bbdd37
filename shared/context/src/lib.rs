//! The running node that servers and clients share: QUIC, peers, lookups, and [`DhtContext`], the
//! handle that both binaries hold.
//!
//! A context stands on [`Foundations`], which the daemon, the client and the simulator choose
//! differently. This is a server that keeps its records in memory:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use dht_context::clock::SystemClock;
//! use dht_context::node_key::NodeKey;
//! use dht_context::quic::{QuicConfig, QuicTransport, TransportLimits};
//! use dht_context::resolver::SystemResolver;
//! use dht_context::store::MemoryStore;
//! use dht_context::verify::{InlineSigner, InlineVerifier};
//! use dht_context::{ContextConfig, DhtContext, Foundations};
//! use dht_kad::NetworkName;
//! use dht_kad::admission::Limits;
//! use dht_kad::message::Mode;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let network: NetworkName = "example".parse()?;
//! let key = NodeKey::generate()?;
//! let transport = QuicTransport::bind(QuicConfig {
//!     key: key.clone(),
//!     network: network.clone(),
//!     listen: vec!["[::]:4400".parse()?],
//!     limits: TransportLimits::default(),
//! })?;
//! let clock = Arc::new(SystemClock);
//! let limits = Limits::default_for(1 << 30);
//! let bootstrap = vec!["node.example.org:4400".parse()?];
//! let context = DhtContext::start(
//!     ContextConfig::new(network.clone(), Mode::Server, bootstrap),
//!     Foundations {
//!         transport,
//!         store: Arc::new(MemoryStore::new(network.clone(), clock.clone(), limits)),
//!         verifier: Arc::new(InlineVerifier::new(network)),
//!         signer: Arc::new(InlineSigner::new(key)),
//!         clock,
//!         resolver: Arc::new(SystemResolver),
//!         seed: *NodeKey::generate()?.to_seed_bytes(),
//!     },
//! )?;
//! context.ready().await;
//! println!("{} is in the network, with {} peers", context.node_id(), context.peers().len());
//! context.stop().await;
//! # Ok(())
//! # }
//! ```

mod allowance;
mod bootstrap_peers;
mod chance;
pub mod clock;
mod clock_watch;
pub mod config;
mod connections;
pub mod context;
mod evidence;
pub mod key_pair;
pub mod latest;
mod maintenance;
pub mod membership;
pub mod network_file;
pub mod node_key;
pub mod operations;
pub use dht_kad::peer_address;
pub mod quic;
#[cfg(test)]
mod quiet_end;
pub mod registry;
pub mod replication;
pub mod requests;
pub mod resolver;
mod server;
pub mod sources;
pub mod stats;
pub mod store;
pub mod toml_file;
pub mod transport;
pub mod verify;
pub mod vitals;
mod walk;
pub mod watch;

pub use config::{ContextConfig, Timing};
pub use context::{DhtContext, Foundations};
pub use network_file::NetworkFile;
pub use operations::{
    Delete, GetError, GetOptions, GetReport, LIST_RECORDS_MAX, ListError, ListReport, Put,
    PutError, PutReport, Slot, SlotsReport, Work,
};
pub use peer_address::PeerAddress;
pub use sources::Sources;
