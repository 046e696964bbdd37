//! What keeping copies costs: rounds between two large holders, and a fill beside the foreground.
//!
//! ```text
//! corpus ─▶ a store of many records ─▶ copied ─▶ two holders in this process ─▶ rounds
//!                                   └─▶ copied ─▶ three nodes, steady load ─▶ a fourth ─▶ filling
//! ```
//!
//! The stores are the daemon's own, on a real disk, and the holders speak QUIC over loopback. In
//! [`rounds`] both holders live in this process, so that its processor time is that of both sides;
//! in [`filling`] every node is a process.

pub mod corpus;
pub mod filling;
mod holder;
mod load;
pub mod report;
pub mod rounds;
