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
#![doc = include_str!("example.rs")]
//! ```
//!
//! # What else it does
//!
//! Each of these pages has one whole example, which the tests run against servers.
//!
//! | | |
//! |---|---|
//! | [`identity`] | keys of a user, in a file, on paper as 12 or 24 words, or raw |
//! | [`profile`] | what outlasts the process; a new machine, and the words alone |
//! | [`writes`] | a queue: what is put while nobody answers is delivered later |
//! | [`cache`] | reads from memory, and never an older version than one seen before |
//! | [`watch`] | being told of every change |
//! | [`receipts`] | what nodes promised, kept and audited |
//! | [`bundle`], [`sealing`] | what it takes to seal something to somebody who is away |
//! | [`contacts`] | asking, accepting, blocking |
//! | [`letters`] | messages to contacts who are away, in order and once |
//! | [`names`] | from a name that people can say to an identity, and back |
//! | [`health`] | whether each node of a fleet is well, for who runs them |
//!
//! What has to outlast the process needs a [`Profile`](profile::Profile), and fails without one with
//! [`ClientError::NoProfile`]. A client with an identity and a profile also does by itself, while it runs,
//! what is due: it delivers queued writes and letters, and renews its key bundle, its contacts and its names.
//!
//! # Errors
//!
//! Each operation has an error type of its own, and [`ClientError`] holds all of them. Its text is one
//! sentence that says what to do next; its [`number`](ClientError::number) is stable, and the same on
//! the wire, in exit statuses and in logs. [`ErrorNumber`] lists all of them.
//!
//! # Cancel safety
//!
//! Every `async` method may be dropped before it is done, by a time limit or a `select!`, and called again.
//! The profile changes in whole transactions, so it is as before or as after. What nodes were sent cannot
//! be called back: a put that was dropped may be found later, as may one that failed, and to put again
//! supersedes it. Where a method has more to say about it, its page does.
//!
//! Most methods give up by themselves after [`DEFAULT_TIMEOUT`], or what
//! [`ClientBuilder::timeout`] says; those that wait for something to happen, such as
//! [`Watch::next`] and [`Client::settled`], wait for as long as it takes.
//!
//! # Runtime
//!
//! Any tokio runtime with I/O and time. Best is a current-thread one: with several workers the same
//! request costs several times the processor time.

mod audit;
mod backoff;
mod builder;
pub mod bundle;
pub mod cache;
mod client;
pub mod contacts;
mod derivation;
pub mod entropy;
mod error;
mod fields;
pub mod health;
pub mod identity;
pub mod letters;
pub mod names;
pub mod profile;
pub mod receipts;
pub mod sealing;
mod secret_box;
#[cfg(test)]
#[path = "../tests/servers/mod.rs"]
#[allow(dead_code, reason = "the tests of the library and the command line use the rest")]
mod servers;
mod upkeep;
pub mod watch;
mod workers;
pub mod writes;

pub use audit::Audited;
pub use builder::{ClientBuilder, DEFAULT_TIMEOUT};
pub use bundle::{BundleError, KeyBundle};
pub use client::{Client, PingReport};
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
