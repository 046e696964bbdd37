//! [`DeletedComesBack`]: holders that were away for a delete do not bring the value back.
//!
//! Elsewhere a holder that had missed a delete republished the value. Here two of five nodes are down
//! while pages are deleted; they return with the values on their disks, and after a while all who
//! were there for the delete are gone. What those who missed it say now is what counts.

use futures_util::future::BoxFuture;

use super::notebook::Notebook;
use super::{Scenario, missed};
use crate::world::{Failure, World};

/// The lesson of this name.
pub struct DeletedComesBack;

impl Scenario for DeletedComesBack {
    fn name(&self) -> &'static str {
        "deleted-comes-back"
    }

    fn about(&self) -> &'static str {
        "two of five nodes are down while pages are deleted, return, and are then the only ones \
         left: what was deleted stays so"
    }

    fn nodes(&self) -> usize {
        missed::NODES
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(missed::play(world, Notebook::delete))
    }
}
