//! [`ValueLookup`]: which servers hold something at a key?
//!
//! It is the walk of [`lookup`](super) with reasons to end early. The caller keeps and verifies the
//! records that come with the answers; the machine only hears whether there were any.
//!
//! | consistency | ends with holders | or, whatever they hold, with |
//! |---|---|---|
//! | one | at the first | a majority of T |
//! | default | at [`DEFAULT_HOLDERS`] among the k closest known | a majority of T |
//! | quorum | never | a majority of T |
//!
//! A majority of T is enough for each, since it sees every acknowledged put; without a holder, it
//! is the proof that nothing was acknowledged. Where it cannot be told from the answers, the walk
//! goes on to its end. Among small networks this asks no more than half of the servers and one.
//!
//! One server is asked for the records, the others for heads only, until one that was asked for the
//! records has some: a body is sent once as a rule, and the heads tell whether it is the latest.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::LookupConfig;
use super::closest::Condition;
use super::walk::{Move, Walk};
use crate::id::{Key, NodeId};
use crate::message::NodeInfo;

/// Holders that a get asks by default: with one that is stale and one that withholds what it has,
/// the third has the latest.
pub const DEFAULT_HOLDERS: usize = 3;

/// How sure a get is to see the latest version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Consistency {
    /// The first holder's word is enough.
    One,
    /// The latest of [`DEFAULT_HOLDERS`] holders.
    #[default]
    Default,
    /// The latest of a majority: sees every acknowledged put.
    Quorum,
}

/// A text names no [`Consistency`].
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("«{0}» is not a consistency; give one, default or quorum")]
pub struct ParseConsistencyError(String);

/// What a server is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// The records, bodies included.
    Record,
    /// Heads only.
    Head,
}

/// What the caller of a [`ValueLookup`] does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ValueStep {
    /// Ask this server, and tell what came of it.
    Ask {
        /// Which, and where.
        node: NodeInfo,
        /// For what.
        want: Want,
    },
    /// Nothing before one of those asked answers, fails or is slow.
    Wait,
    /// The lookup is over: see [`ValueLookup::outcome`].
    Done,
}

/// What a [`ValueLookup`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValueOutcome {
    /// Who answered, closest first.
    pub answered: Vec<NodeId>,
    /// Who of them holds something, in the order of their answers.
    pub holders: Vec<NodeId>,
    /// Whether the consistency asked for was reached; for a miss, whether there is nothing. If not,
    /// nobody could be reached, none of those found is settled, or the requests were used up. A
    /// server that knows of no other concludes from its own store, which is all there is.
    pub conclusive: bool,
    /// How many were asked.
    pub asked: usize,
    /// How many of them failed.
    pub failed: usize,
}

/// A lookup of what is stored at a key.
#[derive(Debug)]
pub struct ValueLookup {
    walk: Walk,
    consistency: Consistency,
    /// In the order of their answers; at most as many as were asked.
    holders: Vec<NodeId>,
    body: Body,
    /// Once it is over: whether it is conclusive.
    ended: Option<bool>,
}

/// How far the records themselves are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Body {
    Wanted,
    AskedOf(NodeId),
    Received,
}

impl ValueLookup {
    /// Starts from `seeds`: the closest servers that the own table knows. `own` is never asked; a
    /// server looks into its own store besides.
    #[must_use]
    pub fn new(
        key: Key,
        own: NodeId,
        seeds: Vec<NodeInfo>,
        consistency: Consistency,
        config: LookupConfig,
    ) -> Self {
        let walk = Walk::new(key, own, seeds, config);
        let mut lookup =
            ValueLookup { walk, consistency, holders: Vec::new(), body: Body::Wanted, ended: None };
        lookup.conclude();
        lookup
    }

    /// What to do next; to be called until it says [`ValueStep::Wait`] or [`ValueStep::Done`].
    /// Nobody is named twice.
    #[expect(clippy::should_implement_trait, reason = "a step is no item: waiting is not the end")]
    pub fn next(&mut self) -> ValueStep {
        if self.ended.is_some() {
            return ValueStep::Done;
        }
        let Move::Ask(distance) = self.walk.peek() else { return ValueStep::Wait };
        let Some(node) = self.walk.ask(&distance) else { return ValueStep::Wait };
        let want = match self.body {
            Body::Wanted => Want::Record,
            // The first holder ends it, so each one has to bring the records along.
            _ if self.consistency == Consistency::One => Want::Record,
            _ => Want::Head,
        };
        if want == Want::Record {
            self.body = Body::AskedOf(node.id);
        }
        ValueStep::Ask { node, want }
    }

    /// Takes the answer of `from`: whether it holds anything valid there, the servers that it named,
    /// and what it says of itself. Ignored if no answer is awaited from there, or the lookup is over.
    pub fn on_answer(&mut self, from: &NodeId, holds: bool, nodes: Vec<NodeInfo>, says: Condition) {
        // What one that is not whole holds may be an older version than a majority acknowledged.
        let counts = says.whole || holds && self.consistency == Consistency::One;
        if self.ended.is_some() || !self.walk.answer(from, nodes, says, counts) {
            return;
        }
        if holds {
            self.holders.push(*from);
        }
        if self.body == Body::AskedOf(*from) {
            self.body = if holds { Body::Received } else { Body::Wanted };
        }
        self.conclude();
    }

    /// `from` could not be reached, or gave no valid answer in time.
    pub fn on_failure(&mut self, from: &NodeId) {
        if self.ended.is_none() && self.walk.fail(from) {
            self.want_body_of_another_than(from);
            self.conclude();
        }
    }

    /// `from` takes long: its answer is still awaited, and another may be asked meanwhile.
    pub fn on_slow(&mut self, from: &NodeId) {
        self.walk.slow(from);
        self.want_body_of_another_than(from);
    }

    /// What was found, once the lookup is over.
    #[must_use]
    pub fn outcome(&self) -> Option<ValueOutcome> {
        self.ended.map(|conclusive| ValueOutcome {
            answered: self.walk.answered().map(|node| node.info.id).collect(),
            holders: self.holders.clone(),
            conclusive,
            asked: self.walk.asked(),
            failed: self.walk.failed(),
        })
    }

    fn want_body_of_another_than(&mut self, from: &NodeId) {
        if self.body == Body::AskedOf(*from) {
            self.body = Body::Wanted;
        }
    }

    fn conclude(&mut self) {
        let enough_holders = match self.consistency {
            Consistency::One => !self.holders.is_empty(),
            // Others on the way may have held it when the network was smaller, and missed since what
            // became of it.
            Consistency::Default => {
                self.walk.among_closest(|id| self.holders.contains(id)) >= DEFAULT_HOLDERS
            }
            Consistency::Quorum => false,
        };
        if enough_holders || self.walk.majority_answered() {
            self.ended = Some(true);
        } else if let Move::Done { exhausted } = self.walk.peek() {
            self.ended = Some(self.walk.any_settled() && !exhausted);
        }
    }
}

impl FromStr for Consistency {
    type Err = ParseConsistencyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "one" => Ok(Consistency::One),
            "default" => Ok(Consistency::Default),
            "quorum" => Ok(Consistency::Quorum),
            other => Err(ParseConsistencyError(other.to_owned())),
        }
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Consistency::One => "one",
            Consistency::Default => "default",
            Consistency::Quorum => "quorum",
        })
    }
}
