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

pub mod admission;
mod bounded;
pub mod codec;
pub mod domain;
pub mod error_number;
pub mod id;
pub mod lookup;
pub mod message;
pub mod network;
pub mod put;
pub mod record;
pub mod refusal;
pub mod routing;
pub mod time;

pub use error_number::ErrorNumber;
pub use id::{Distance, Key, NodeId};
pub use network::NetworkName;
pub use record::{ParsedRecord, Precedence, RecordDraft, RecordId, ValidRecord};
pub use refusal::Refusal;
pub use time::UnixMs;
