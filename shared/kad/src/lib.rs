//! The pure rules of the DHT: everything that must be *right*, and nothing that must *run*.
//!
//! This crate has no runtime, socket, disk, clock or source of entropy. Every function takes `now`
//! and, where it needs chance, a seeded generator. Data goes one way:
//!
//! ```text
//! bytes ─▶ codec ─▶ message ─▶ record (parse, verify) ─▶ admission (plan_put) ─▶ a store applies
//!                      │
//!                      └─▶ routing, lookup, put: who is asked next, and what the answers add up to
//! ```
//!
//! A publisher signs a record, a node reads it from bytes, verifies it and decides what to do:
//!
//! ```
//! use dht_kad::admission::{Limits, Path, Plan, Usage, plan_put};
//! use dht_kad::record::{Kind, Retention, Space};
//! use dht_kad::{NetworkName, ParsedRecord, RecordDraft, UnixMs, domain};
//! use ed25519_dalek::SigningKey;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let network: NetworkName = "example".parse()?;
//! let now = UnixMs(1_800_000_000_000);
//! let draft = RecordDraft {
//!     space: Space::Owned,
//!     kind: Kind::Value,
//!     retention: Retention::Days7,
//!     label: domain::label(&network, "greeting"),
//!     slot: 0,
//!     seq: 1,
//!     created_at: now,
//!     guard_until: UnixMs(0),
//!     work_bits: 0,
//!     ext: Default::default(),
//!     body: "hello".into(),
//! };
//! let bytes = draft.sign(&SigningKey::from_bytes(&[7; 32]), &network)?.bytes().clone();
//!
//! let record = ParsedRecord::parse(bytes)?.verify(&network)?;
//! let limits = Limits::default_for(1 << 30);
//! let path = Path::Store { expected_seq: None };
//! match plan_put(None, &record, path, &Usage::default(), &limits, now)? {
//!     Plan::Write(changes) => assert_eq!(changes.stored.expires_at, record.expires_at()),
//!     Plan::Unchanged(_) => unreachable!("nothing was stored before"),
//! }
//! # Ok(())
//! # }
//! ```

pub mod admission;
pub mod audit;
pub mod bootstrap_list;
mod bounded;
pub mod codec;
pub mod domain;
pub mod error_number;
pub mod id;
pub mod lookup;
pub mod message;
pub mod network;
pub mod peer_address;
pub mod put;
pub mod reconcile;
pub mod record;
pub mod refusal;
pub mod routing;
pub mod signature;
pub mod time;

pub use error_number::ErrorNumber;
pub use id::{Distance, Key, NodeId};
pub use network::NetworkName;
pub use peer_address::PeerAddress;
pub use record::{ParsedRecord, Precedence, RecordDraft, RecordId, ValidRecord};
pub use refusal::Refusal;
pub use time::UnixMs;
