//! Scenarios: what is done to a world, and what must hold then.
//!
//! A new one is a file of its own, and a line in [`ALL`].

mod restart_all;
mod split;
mod writers;

use futures_util::future::BoxFuture;

pub use restart_all::RestartAll;
pub use split::Split;
pub use writers::{Errand, Writers};

use crate::world::{Failure, World};

/// A story with a promise at its end.
pub trait Scenario: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What happens in it, and what must hold, in one sentence.
    fn about(&self) -> &'static str;

    /// Plays it in a world whose hosts are all down.
    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>>;
}

/// Every scenario.
pub const ALL: &[&dyn Scenario] = &[&RestartAll, &Split];

/// The scenario of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Scenario> {
    ALL.iter().copied().find(|scenario| scenario.name() == name)
}
