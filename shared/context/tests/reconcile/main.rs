//! Two holders compare what they keep, and one fetches what it lacks; whatever the other answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that finds nothing there has failed"
)]

mod answers;
mod crowd;
mod damaged;
mod holders;
mod hostile;
mod leaving;
mod offers;
mod rounds;
mod salted;
mod strangers;
mod tampered;
mod wire;
