//! [`ValueLookup`]: which servers hold something at a key?
//!
//! It is the walk of [`lookup`](super) with reasons to end early. The caller keeps and verifies the
//! records that come with the answers; the machine only hears whether there were any.
//!
//! | consistency | asks | ends with holders | or, whatever they hold, with |
//! |---|---|---|---|
//! | one | the closest first | at the first | a majority of T |
//! | default | by lot | at [`DEFAULT_HOLDERS`] drawn from the k closest known | a majority of T |
//! | quorum | by lot | never | a majority of T |
//!
//! A majority of T is enough for each, since it meets what a majority acknowledged
//! ([`lookup`](super) says when exactly); without a holder, it
//! is the proof that nothing was acknowledged. Where it cannot be told from the answers, the walk
//! goes on to its end. Among small networks this asks no more than half of the servers and one.
//!
//! # Whom a default get believes
//! Whoever grinds names close to a key is closer to it than all honest servers. If the closest were
//! asked first, three such attackers could show the same old version to everybody. So who is asked
//! is drawn by lot from the k closest known, anew for each lookup: the holders are a random sample of T.
//! The lots are a keyed hash of the names, under a seed that only the asker knows.
//!
//! A walk by lots alone would take half again as many hops to come near the key. So one of the questions under
//! way goes to the closest server known, until the closest of all has answered: it knows all others
//! there. It may well be an attacker, and leads only: it does not count towards the holders, unless its
//! lot was the lowest, too. From then on no more than one more are asked at once than holders are lacking: so a
//! default get of a record that all have takes two requests more than it counts holders, and does not
//! wait for the slowest.
//!
//! One server is asked for the records, the others for heads only, until one that was asked for the
//! records has some: a body is sent once as a rule, and the heads tell whether it is the latest.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::LookupConfig;
use super::closest::Condition;
use super::walk::{Move, Order, Walk};
use crate::id::{Key, NodeId};
use crate::message::NodeInfo;

/// Holders that a get draws by default. With 7 of the 20 closest hostile, which is a third, those drawn
/// are all hostile in one of 738 reads: C(7,5) / C(20,5) = 0.14%. Of four drawn that would be 0.7%, of
/// three 3%.
pub const DEFAULT_HOLDERS: usize = 5;

/// Asked beyond the holders that are lacking: one straggler holds nothing up.
const SPARE: usize = 1;

/// How sure a get is to see the latest version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Consistency {
    /// The first holder's word is enough.
    One,
    /// The latest of [`DEFAULT_HOLDERS`] holders, drawn by lot.
    #[default]
    Default,
    /// The latest of a majority of T.
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
    /// server looks into its own store besides. The lots are drawn from `chance`, which is to be new for
    /// each lookup, and known to nobody else.
    #[must_use]
    pub fn new(
        key: Key,
        own: NodeId,
        seeds: Vec<NodeInfo>,
        consistency: Consistency,
        config: LookupConfig,
        chance: u64,
    ) -> Self {
        let order = match consistency {
            Consistency::One => Order::ClosestFirst,
            Consistency::Default | Consistency::Quorum => Order::ByLot(chance),
        };
        let walk = Walk::new(key, own, seeds, config, order);
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
        let at_once = match self.consistency {
            Consistency::Default => self.lacking().saturating_add(SPARE),
            Consistency::One | Consistency::Quorum => usize::MAX,
        };
        let Move::Ask { distance, by_lot } = self.walk.peek(at_once) else {
            return ValueStep::Wait;
        };
        let Some(node) = self.walk.ask(&distance, by_lot) else { return ValueStep::Wait };
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

    /// How many holders it takes yet to end.
    fn lacking(&self) -> usize {
        match self.consistency {
            Consistency::One => usize::from(self.holders.is_empty()),
            // Others on the way may have held it when the network was smaller, and missed since what
            // became of it.
            Consistency::Default => {
                let drawn = self.walk.drawn_of_closest(|id| self.holders.contains(id));
                DEFAULT_HOLDERS.saturating_sub(drawn)
            }
            Consistency::Quorum => usize::MAX,
        }
    }

    fn conclude(&mut self) {
        if self.lacking() == 0 || self.walk.majority_answered() {
            self.ended = Some(true);
        } else if let Move::Done { exhausted } = self.walk.peek(usize::MAX) {
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
