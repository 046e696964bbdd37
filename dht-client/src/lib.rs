//! The client of the DHT: signed values in a network of persistent nodes.
//!
//! A [`Client`] joins a network as a node that only asks. What it puts is signed by an [`Identity`]
//! and acknowledged by a majority of the servers closest to its key, each of which has it on stable
//! storage; what it gets is verified, and the newest of what several holders have.
//!
//! ```text
//! application ─▶ Client ─▶ time limit, readiness ─▶ DhtContext (lookups, QUIC) ─▶ servers
//!                  │
//!               Identity (signs; kept in a file that only its owner can read)
//! ```
//!
//! Whoever wants to keep something needs a label, which is the application's own name for it, hashed
//! by [`Client::label`], and a slot, which numbers what is kept under one label.
//!
//! ```no_run
//! use dht_client::{Client, GetOptions, Identity, Put, Slot};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let identity = Identity::load("alice.identity".as_ref())?;
//!     let publisher = identity.public_key();
//!     let client = Client::builder("main".parse()?)
//!         .bootstrap("node.example.org:4400".parse()?)
//!         .identity(identity)
//!         .start()?;
//!
//!     let label = client.label("greeting");
//!     let report = client.put(Put::owned(label, "hello".into())).await?;
//!     println!("kept by {} nodes", report.outcome.stored.len());
//!
//!     let slot = Slot::Owned { publisher, label, slot: 0 };
//!     let found = client.get(&slot, GetOptions::default()).await?;
//!     assert_eq!(found.record.body().as_deref(), Some(b"hello".as_slice()));
//!
//!     client.stop().await;
//!     Ok(())
//! }
//! ```
//!
//! Best on a current-thread runtime: with several workers the same request costs several times the
//! processor time.

mod audit;
pub mod bundle;
pub mod cache;
mod client;
pub mod contacts;
mod derivation;
pub mod entropy;
mod error;
mod fields;
pub mod identity;
pub mod letters;
pub mod names;
pub mod profile;
pub mod receipts;
pub mod sealing;
mod secret_box;
pub mod watch;
pub mod writes;

pub use audit::Audited;
pub use bundle::{BundleError, KeyBundle};
pub use client::{Client, ClientBuilder, DEFAULT_TIMEOUT, PingReport};
pub use contacts::{Contact, ContactRequest, ContactState, Contacts, ContactsError, Introduction};
pub use error::ClientError;
pub use identity::{Identity, IdentityError};
pub use names::{NameError, NameRules};
pub use watch::{Change, Watch, WatchError};

pub use dht_context::{
    Delete, GetError, GetOptions, GetReport, ListError, ListReport, NetworkFile, PeerAddress, Put,
    PutError, PutReport, Slot, Sources,
};
pub use dht_kad::audit::{Breach, Verdict};
pub use dht_kad::lookup::Consistency;
pub use dht_kad::record::{Retention, Space};
pub use dht_kad::{ErrorNumber, Key, NetworkName, NodeId};
