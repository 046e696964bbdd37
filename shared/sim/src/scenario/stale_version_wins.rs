//! [`StaleVersionWins`]: holders that were away for a second version do not bring the first one back.
//!
//! Elsewhere the first answer won, or whatever came last. Here two of five nodes are down while pages
//! are overwritten; they return with the first versions on their disks, and after a while all who
//! were there for the second are gone. From the return on, every read shows the second.

use dht_kad::record::Retention;
use futures_util::future::BoxFuture;

use super::{Scenario, missed};
use crate::world::{Failure, World};

/// The lesson of this name.
pub struct StaleVersionWins;

impl Scenario for StaleVersionWins {
    fn name(&self) -> &'static str {
        "stale-version-wins"
    }

    fn about(&self) -> &'static str {
        "two of five nodes are down while pages are overwritten, return, and are then the only ones \
         left: the second version is read"
    }

    fn nodes(&self) -> usize {
        missed::NODES
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(missed::play(world, |notebook, page| notebook.write(page, 2, Retention::Days7)))
    }
}
