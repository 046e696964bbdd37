//! Tests through the real binaries: the harness that they share, and the benchmark ([`mod@bench`]).
//!
//! Everything here works with processes, sockets and files as an operator's machine has them: the
//! daemon is started, killed and started again, the command line is run, and what needs thousands
//! of operations goes through the client library in this process.
//!
//! ```text
//! Network ─▶ NodeProcess (dht-bootstrap run, its data directory, its log)
//! CommandLine ─▶ dht-client … --json          User ─▶ the client library, an identity
//! WirePeer ─▶ one node, frame by frame        Trace ─▶ what strace saw a node do
//! Notified ─▶ what a node told systemd        Meddling ─▶ system calls that strace makes fail
//! Correspondence ─▶ a simulated world         Step ─▶ where a program is killed
//! ```
//!
//! Nothing sleeps to wait for something: what has to come is read from a pipe, or looked for again
//! and again until a limit that only a fault exceeds ([`waiting`]). Every process that is started is
//! killed when its handle is dropped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking, in what it calls too"
)]

pub mod admin;
pub mod away;
pub mod bench;
pub mod command_line;
pub mod copies;
pub mod correspondence;
pub mod crash;
pub mod forgetful;
pub mod name_server;
pub mod network;
pub mod network_place;
pub mod node_process;
pub mod notified;
pub mod ports;
pub mod programs;
pub mod records;
pub mod restart;
pub mod sets;
pub mod steps;
pub mod strace;
pub mod user;
pub mod waiting;
pub mod wire;

pub use command_line::CommandLine;
pub use name_server::NameServer;
pub use network::Network;
pub use network_place::NetworkPlace;
pub use node_process::{NodeOptions, NodeProcess};
pub use notified::Notified;
pub use user::User;
pub use waiting::eventually;
pub use wire::WirePeer;

/// The network that all tests use, unless they are about another one.
pub const NETWORK: &str = "test";
