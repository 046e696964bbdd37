//! [`ClosestLookup`]: who are the k servers closest to a place?

use super::LookupConfig;
use super::walk::{Move, Order, Walk};
use crate::id::{Key, NodeId};
use crate::message::NodeInfo;

/// What the caller of a [`ClosestLookup`] does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Ask this server for those closest to the target, and tell what came of it.
    Ask(NodeInfo),
    /// Nothing before one of those asked answers, fails or is slow.
    Wait,
    /// The lookup is over.
    Done,
}

/// What a server says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Condition {
    /// Its routing table can be relied on.
    pub settled: bool,
    /// It holds what it should, as far as it knows.
    pub whole: bool,
}

/// A server that answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnsweredNode {
    /// Which, and where.
    pub info: NodeInfo,
    /// Whether it says that its routing table can be relied on.
    pub settled: bool,
    /// Whether it says that it holds what it should.
    pub whole: bool,
}

/// What a [`ClosestLookup`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClosestResult {
    /// Servers that answered, closest first: up to k that count, and those before the last of them
    /// that do not.
    pub closest: Vec<AnsweredNode>,
    /// How many were asked.
    pub asked: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How many answers it took, one after the other, to hear of the last of the closest; 0 if the
    /// own table had them all.
    pub hops: usize,
}

/// A lookup of the k servers closest to a place.
#[derive(Debug)]
pub struct ClosestLookup {
    walk: Walk,
    all_count: bool,
}

impl ClosestLookup {
    /// Starts from `seeds`: the closest servers that the own table knows. `own` is never asked.
    /// Servers that are not whole yet count if `all_count`: to learn who is there, and not where
    /// records lie.
    #[must_use]
    pub fn new(
        target: Key,
        own: NodeId,
        seeds: Vec<NodeInfo>,
        config: LookupConfig,
        all_count: bool,
    ) -> Self {
        ClosestLookup {
            walk: Walk::new(target, own, seeds, config, Order::ClosestFirst),
            all_count,
        }
    }

    /// What to do next; to be called until it says [`Step::Wait`] or [`Step::Done`]. Nobody is
    /// named twice.
    #[expect(clippy::should_implement_trait, reason = "a step is no item: waiting is not the end")]
    pub fn next(&mut self) -> Step {
        match self.walk.peek(usize::MAX) {
            Move::Ask { distance, by_lot } => {
                self.walk.ask(&distance, by_lot).map_or(Step::Done, Step::Ask)
            }
            Move::Wait => Step::Wait,
            Move::Done { .. } => Step::Done,
        }
    }

    /// Takes the servers that `from` named, and what it says of itself. Ignored if no answer is
    /// awaited from there.
    pub fn on_answer(&mut self, from: &NodeId, nodes: Vec<NodeInfo>, says: Condition) {
        self.walk.answer(from, nodes, says, self.all_count || says.whole);
    }

    /// `from` could not be reached, or gave no valid answer in time.
    pub fn on_failure(&mut self, from: &NodeId) {
        self.walk.fail(from);
    }

    /// `from` takes long: its answer is still awaited, and another may be asked meanwhile.
    pub fn on_slow(&mut self, from: &NodeId) {
        self.walk.slow(from);
    }

    /// What was found so far.
    #[must_use]
    pub fn result(&self) -> ClosestResult {
        ClosestResult {
            closest: self.walk.answered_up_to_last_that_counts(),
            asked: self.walk.asked(),
            failed: self.walk.failed(),
            hops: self.walk.hops(),
        }
    }
}
