//! That an acknowledgement waits for the disk, which kill -9 alone cannot show, since the system keeps
//! what a killed process wrote; and that kill -9 under load loses nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in what it calls too"
)]

mod a_log_cut_at_the_last_synced_byte;
mod acknowledged_only_after_fdatasync;
mod kill_under_load;
mod load;
