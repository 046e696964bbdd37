//! The QUIC transport over real sockets on the loopback address.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in what it calls too"
)]

mod answers_mixed_up;
mod identity;
mod lock_across_io;
mod node;
mod requests;
mod restart;
