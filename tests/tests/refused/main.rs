//! What is tried and has to be refused: bad input through both binaries, and what no honest client
//! would send, each with one sentence and its number, and with nothing lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in what it calls too"
)]

mod command_lines;
mod data_directories;
mod disk_without_room;
mod frames;
mod records;
