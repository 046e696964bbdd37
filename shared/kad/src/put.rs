//! [`PutPlan`]: to whom a put goes, and whether it succeeded.
//!
//! A put goes to T, the min(k, found) servers closest to the key, and succeeds once a majority of T,
//! or as many as the writer asks for, has it on stable storage. Servers among them that are not
//! whole yet are sent it too, and do not count towards the majority; but of all that are sent it a
//! majority of min(k, all) must have it as well, so that it is not on one disk alone while most are
//! new. A majority, so that it meets every
//! quorum read (see [`lookup`](crate::lookup)).
//!
//! ```text
//! closest servers found ─▶ PutPlan::new ─▶ targets: a Store to each, all at once
//!                             │ refuses        │ on_result: stored, refused, silent
//!                             ▼                ▼
//!                      NetworkUnsettled     progress ─▶ outcome: who of T did what
//! ```
//!
//! Where few are found, a majority of them means little: a node that has just started, or is cut
//! off, would call one copy on itself a success. So a put is refused while nobody found calls its
//! own table settled, or while most servers are missing: fewer than k were found, and fewer than half of all that
//! were there lately. A few that are cut off from many are not closest to anything. And in a network
//! of n, up to k, n / 2 must have it, rounded up, however few were found: once the others are
//! back, a quorum of the n shares a server with any n / 2 of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::error_number::ErrorNumber;
use crate::id::NodeId;
use crate::lookup::AnsweredNode;
use crate::message::{NodeInfo, Receipt};
use crate::refusal::Refusal;

/// A majority of `targets`: any two such sets share a member.
#[must_use]
pub const fn quorum_of(targets: usize) -> usize {
    targets / 2 + 1
}

/// Whether most servers are missing: fewer than `k` are there, and fewer than half of those `remembered`.
/// With `k` of them a place has all the holders that it should.
#[must_use]
pub const fn too_few(there: usize, remembered: usize, k: usize) -> bool {
    there < k && there.saturating_mul(2) < remembered
}

/// Why there is no point in sending a put.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutPlanError {
    /// Too few were found, or none that knows its surroundings.
    #[error(
        "the network is still gathering ({found} servers found, {settled} of them settled, {remembered} remembered); try again in a moment"
    )]
    NetworkUnsettled {
        /// How many servers were found.
        found: usize,
        /// How many servers this node remembers.
        remembered: usize,
        /// How many of those found call their routing tables settled.
        settled: usize,
    },
    /// More acknowledgements were asked for than there are targets.
    #[error(
        "{asked} acknowledgements were asked for and the put goes to {targets} nodes; ask for at most {targets}"
    )]
    QuorumTooLarge {
        /// How many were asked for.
        asked: usize,
        /// How many nodes the put would go to.
        targets: usize,
    },
}

/// What one target did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeResult {
    /// It has the record on stable storage, and gave this receipt, which was verified.
    Stored(Receipt),
    /// It said why not.
    Refused(Refusal),
    /// It could not be reached, did not answer in time, or gave no receipt that holds.
    Silent,
}

/// How far a put is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PutProgress {
    /// Either end is possible.
    Pending,
    /// Enough have acknowledged. Others may still do.
    Reached,
    /// Too few are left that could acknowledge.
    Impossible,
}

/// One put: its targets and what they did so far.
#[derive(Clone, Debug)]
pub struct PutPlan {
    targets: Vec<NodeInfo>,
    /// Those of the targets that count; all if the writer has said how many are enough.
    counted: BTreeSet<NodeId>,
    /// Acknowledgements needed of those that count.
    quorum: usize,
    /// Acknowledgements needed in all.
    copies: usize,
    /// Of targets only.
    results: BTreeMap<NodeId, NodeResult>,
}

/// What became of a put, target by target, each list closest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PutOutcome {
    /// Who has it on stable storage, and the receipt of each, verified.
    pub stored: Vec<(NodeInfo, Receipt)>,
    /// Who refused, and why.
    pub refused: Vec<(NodeId, Refusal)>,
    /// Who did not answer, not yet, or without a receipt that holds.
    pub silent: Vec<NodeId>,
    /// Whether enough of those that count have acknowledged.
    pub reached: bool,
    /// How many acknowledgements were needed.
    pub quorum: usize,
    /// How many targets there were.
    pub targets: usize,
}

impl PutPlan {
    /// Plans a put to the `k` closest of `found` that are whole, and to those before the last of them
    /// that are not. `found` lists servers that answered, closest first; a server counts itself.
    /// `remembered_servers` is how many were lately in this node's table, itself included if it is a server. The quorum is a majority unless given; 0 counts as 1.
    ///
    /// # Errors
    /// [`PutPlanError`].
    pub fn new(
        found: &[AnsweredNode],
        k: usize,
        remembered_servers: usize,
        quorum: Option<usize>,
    ) -> Result<Self, PutPlanError> {
        let settled = found.iter().filter(|node| node.settled).count();
        if settled == 0 || too_few(found.len(), remembered_servers, k) {
            return Err(PutPlanError::NetworkUnsettled {
                found: found.len(),
                remembered: remembered_servers,
                settled,
            });
        }
        let mut whole = 0;
        let within = found.iter().take_while(|node| {
            whole += usize::from(node.whole);
            whole <= k
        });
        let within: Vec<_> = within.collect();
        let counts = |node: &&&AnsweredNode| node.whole || quorum.is_some();
        let counted: BTreeSet<_> = within.iter().filter(counts).map(|node| node.info.id).collect();
        if counted.is_empty() {
            return Err(PutPlanError::NetworkUnsettled {
                found: found.len(),
                remembered: remembered_servers,
                settled,
            });
        }
        let majority = quorum_of(within.len().min(k));
        let half_of_all = remembered_servers.min(k).div_ceil(2);
        let copies = quorum.map_or(majority.max(half_of_all), |asked| asked.max(1));
        let quorum = quorum.map_or(quorum_of(counted.len()), |asked| asked.max(1));
        if quorum > counted.len() {
            return Err(PutPlanError::QuorumTooLarge { asked: quorum, targets: counted.len() });
        }
        let targets = within.into_iter().map(|node| node.info.clone()).collect();
        Ok(PutPlan { targets, counted, quorum, copies, results: BTreeMap::new() })
    }

    /// Whom to send the record to, closest first.
    #[must_use]
    pub fn targets(&self) -> &[NodeInfo] {
        &self.targets
    }

    /// Takes note of what a target did; who is none is ignored. Acknowledged stays acknowledged,
    /// and who refused and then fell silent has refused; a late answer corrects a silence.
    pub fn on_result(&mut self, node: &NodeId, result: NodeResult) {
        if !self.targets.iter().any(|target| target.id == *node) {
            return;
        }
        match (self.results.get(node), &result) {
            (Some(NodeResult::Stored(_)), _)
            | (Some(NodeResult::Refused(_)), NodeResult::Silent) => {}
            _ => {
                self.results.insert(*node, result);
            }
        }
    }

    /// How far the put is.
    #[must_use]
    pub fn progress(&self) -> PutProgress {
        let (mut stored, mut possible) = ((0, 0), (0, 0));
        for NodeInfo { id, .. } in &self.targets {
            let counts = usize::from(self.counted.contains(id));
            let result = self.results.get(id);
            if matches!(result, Some(NodeResult::Stored(_))) {
                stored = (stored.0 + counts, stored.1 + 1);
            }
            if matches!(result, Some(NodeResult::Stored(_)) | None) {
                possible = (possible.0 + counts, possible.1 + 1);
            }
        }
        let enough = |(counted, all)| counted >= self.quorum && all >= self.copies;
        if enough(stored) {
            PutProgress::Reached
        } else if !enough(possible) {
            PutProgress::Impossible
        } else {
            PutProgress::Pending
        }
    }

    /// Whether every target has a result.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.results.len() == self.targets.len()
    }

    /// What became of it so far; who has no result yet counts as silent.
    #[must_use]
    pub fn outcome(&self) -> PutOutcome {
        let mut outcome = PutOutcome {
            reached: self.progress() == PutProgress::Reached,
            stored: Vec::new(),
            refused: Vec::new(),
            silent: Vec::new(),
            quorum: self.quorum.max(self.copies),
            targets: self.targets.len(),
        };
        for node in &self.targets {
            match self.results.get(&node.id) {
                Some(NodeResult::Stored(receipt)) => outcome.stored.push((node.clone(), *receipt)),
                Some(NodeResult::Refused(why)) => outcome.refused.push((node.id, why.clone())),
                Some(NodeResult::Silent) | None => outcome.silent.push(node.id),
            }
        }
        outcome
    }
}

impl PutOutcome {
    /// Of the refusals the one that the writer should act on first: a later version elsewhere comes
    /// before what is wrong with this one, and that before what is wrong with a node. Of several of
    /// one sort, the one that asks for most, so that one new version satisfies all of them.
    ///
    /// What is wrong with a node is told only if it made the difference: where the put would have
    /// failed without these refusals as well, silence is to blame, and there is `None`.
    #[must_use]
    pub fn telling_refusal(&self) -> Option<&Refusal> {
        // min_by_key returns the first of equals, so that of equals the closest node's is told.
        let told = self.refused.iter().map(|(_, why)| why).min_by_key(|why| {
            let (rank, demand) = urgency(why);
            (rank, Reverse(demand))
        });
        let decisive = self.stored.len() + self.refused.len() >= self.quorum;
        told.filter(|why| decisive || urgency(why).0 < A_NODES_OWN)
    }
}

impl PutPlanError {
    /// The error's number.
    #[must_use]
    pub const fn number(&self) -> ErrorNumber {
        match self {
            PutPlanError::NetworkUnsettled { .. } => ErrorNumber::NetworkUnsettled,
            PutPlanError::QuorumTooLarge { .. } => ErrorNumber::QuorumNotReached,
        }
    }
}

/// The urgency from which on a refusal is about the node alone.
const A_NODES_OWN: u8 = 7;

/// How early a writer should act on a refusal (lower is earlier), and how much it asks for.
fn urgency(why: &Refusal) -> (u8, u64) {
    match why {
        // Another version is in the way: read it and decide.
        Refusal::SeqTooLow { stored } => (0, *stored),
        Refusal::UnexpectedSeq { stored } => (1, *stored),
        Refusal::SeqConflict => (2, 0),
        // Signing again, with other fields, is enough.
        Refusal::GuardTooShort { needed } => (3, needed.0),
        Refusal::WorkTooLow { needed } => (4, u64::from(*needed)),
        // This record, or this machine's clock, is wrong.
        Refusal::FromTheFuture { .. } | Refusal::Expired { .. } => (5, 0),
        Refusal::MalformedRecord(_)
        | Refusal::UnknownRecordVersion(_)
        | Refusal::TooLarge
        | Refusal::BadSignature
        | Refusal::BodyMissing => (6, 0),
        // The node does not take it, and will not soon.
        Refusal::Full { .. } => (A_NODES_OWN, 0),
        Refusal::Blocked => (8, 0),
        // The node cannot, at present.
        Refusal::ReadOnly | Refusal::ClockUnsure { .. } => (9, 0),
        Refusal::Restarting | Refusal::Busy => (10, 0),
        // The two do not understand each other.
        Refusal::UnknownRequest(_)
        | Refusal::FrameTooLong(_)
        | Refusal::MalformedFrame
        | Refusal::NotAServer
        | Refusal::Internal => (11, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::FullScope;
    use crate::time::UnixMs;

    const STORED: NodeResult = NodeResult::Stored(Receipt {
        expires_at: UnixMs(9),
        accepted_at: UnixMs(1),
        node_key: [1; 32],
        signature: [2; 64],
    });

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn found(count: u8, settled: u8) -> Vec<AnsweredNode> {
        (0..count)
            .map(|number| AnsweredNode {
                info: NodeInfo { id: id(number), addrs: Vec::new() },
                settled: number < settled,
                whole: true,
            })
            .collect()
    }

    #[test]
    fn any_two_majorities_meet() {
        for targets in 1..=40 {
            assert!(2 * quorum_of(targets) > targets);
            assert!(2 * (quorum_of(targets) - 1) <= targets, "and none smaller would");
        }
    }

    #[test]
    fn a_put_goes_to_the_k_closest_and_needs_a_majority() {
        let mut plan = PutPlan::new(&found(25, 1), 20, 100, None).unwrap();
        assert_eq!(plan.targets().len(), 20);
        for number in 0..10 {
            plan.on_result(&id(number), STORED);
        }
        plan.on_result(&id(3), STORED);
        plan.on_result(&id(22), STORED);
        assert_eq!(plan.progress(), PutProgress::Pending, "ten, one twice, one no target");
        plan.on_result(&id(10), STORED);
        assert_eq!(plan.progress(), PutProgress::Reached);
        assert!(plan.outcome().reached);
    }

    #[test]
    fn servers_that_are_not_whole_are_sent_a_put_and_do_not_count() {
        let mut found = found(7, 7);
        for number in [0, 1, 2, 5] {
            found[number].whole = false;
        }
        let mut plan = PutPlan::new(&found, 3, 7, None).unwrap();
        assert_eq!((plan.targets().len(), plan.quorum, plan.copies), (7, 2, 2));
        for number in [0, 1, 2, 5, 3] {
            plan.on_result(&id(number), STORED);
        }
        assert_eq!(plan.progress(), PutProgress::Pending);
        plan.on_result(&id(6), STORED);
        assert_eq!(plan.progress(), PutProgress::Reached);
        assert_eq!(plan.outcome().stored.len(), 6);

        let mut alone = found.clone();
        (1..7).for_each(|number| alone[number].whole = number == 3);
        let mut plan = PutPlan::new(&alone, 20, 7, None).unwrap();
        plan.on_result(&id(3), STORED);
        assert_eq!(plan.progress(), PutProgress::Pending, "the only one that counts is not enough");
        (4..7).for_each(|number| plan.on_result(&id(number), STORED));
        assert_eq!(plan.progress(), PutProgress::Reached, "four of seven, the one that counts too");

        found.truncate(3);
        let unsettled = PutPlanError::NetworkUnsettled { found: 3, remembered: 3, settled: 3 };
        assert_eq!(PutPlan::new(&found, 3, 3, None).err(), Some(unsettled), "nobody counts");
        assert!(PutPlan::new(&found, 3, 3, Some(2)).is_ok(), "the writer says what is enough");
    }

    #[test]
    fn a_put_is_impossible_as_soon_as_too_few_are_left() {
        let mut plan = PutPlan::new(&found(3, 3), 20, 3, None).unwrap();
        plan.on_result(&id(0), STORED);
        plan.on_result(&id(1), NodeResult::Refused(Refusal::Busy));
        assert_eq!(plan.progress(), PutProgress::Pending);
        plan.on_result(&id(2), NodeResult::Silent);
        assert_eq!(plan.progress(), PutProgress::Impossible);
        assert!(plan.is_complete());
        plan.on_result(&id(1), NodeResult::Silent);
        plan.on_result(&id(0), NodeResult::Silent);
        let outcome = plan.outcome();
        assert_eq!(outcome.stored.len(), 1);
        assert_eq!(outcome.refused, [(id(1), Refusal::Busy)]);
        assert_eq!(outcome.silent, [id(2)]);
        assert_eq!((outcome.quorum, outcome.targets), (2, 3));

        plan.on_result(&id(2), STORED);
        assert_eq!(plan.progress(), PutProgress::Reached, "an answer that was only late counts");
    }

    #[test]
    fn an_unsettled_network_is_told_instead_of_a_small_success() {
        let refused = |found, remembered, settled| {
            Some(PutPlanError::NetworkUnsettled { found, remembered, settled })
        };
        let error =
            |found: &[AnsweredNode], remembered| PutPlan::new(found, 20, remembered, None).err();
        assert_eq!(error(&found(0, 0), 0), refused(0, 0, 0));
        assert_eq!(error(&found(5, 0), 5), refused(5, 5, 0));
        assert_eq!(error(&found(4, 4), 9), refused(4, 9, 4));
        assert_eq!(error(&found(9, 9), 18), None);
        assert_eq!(error(&found(19, 19), 39), refused(19, 39, 19));
        assert_eq!(error(&found(20, 1), 500), None);
        assert_eq!(error(&found(1, 1), 1), None, "a network of one");
    }

    #[test]
    fn what_few_acknowledge_meets_every_quorum_of_all() {
        for all in 1..=20_u8 {
            for here in 1..=all {
                let Ok(plan) = PutPlan::new(&found(here, here), 20, all.into(), None) else {
                    assert!(2 * here < all);
                    continue;
                };
                let acknowledged = plan.quorum.max(plan.copies);
                assert!(acknowledged <= here.into(), "{here} of {all} can");
                assert!(acknowledged + quorum_of(all.into()) > all.into(), "{here} of {all}");
            }
        }
    }

    #[test]
    fn a_quorum_that_was_asked_for_is_kept_or_refused() {
        let quorum = |asked| PutPlan::new(&found(3, 3), 20, 3, Some(asked)).map(|p| p.quorum);
        assert_eq!(quorum(3), Ok(3));
        assert_eq!(quorum(0), Ok(1));
        assert_eq!(quorum(4), Err(PutPlanError::QuorumTooLarge { asked: 4, targets: 3 }));
    }

    #[test]
    fn the_refusal_to_act_on_first_is_told() {
        let telling = |refusals: &[Refusal]| {
            let mut plan = PutPlan::new(&found(5, 5), 20, 5, None).unwrap();
            for (number, why) in refusals.iter().enumerate() {
                plan.on_result(&id(number as u8), NodeResult::Refused(why.clone()));
            }
            plan.outcome().telling_refusal().cloned()
        };
        let full = Refusal::Full { scope: FullScope::Total };
        let too_low = |stored| Refusal::SeqTooLow { stored };
        let short = |needed| Refusal::GuardTooShort { needed: UnixMs(needed) };
        assert_eq!(telling(&[]), None);
        assert_eq!(telling(&[Refusal::Busy, full.clone(), Refusal::Busy]), Some(full.clone()));
        assert_eq!(telling(&[full.clone(), too_low(3), too_low(7), too_low(5)]), Some(too_low(7)));
        assert_eq!(telling(&[short(4), short(9), full.clone()]), Some(short(9)));
        assert_eq!(telling(&[short(9), Refusal::SeqConflict, full]), Some(Refusal::SeqConflict));
    }

    #[test]
    fn one_node_that_cannot_is_not_blamed_for_the_silence_of_the_others() {
        let told = |stored: u8, refused: u8, why: Refusal| {
            let mut plan = PutPlan::new(&found(5, 5), 20, 5, None).unwrap();
            for number in 0..stored {
                plan.on_result(&id(number), STORED);
            }
            for number in stored..stored + refused {
                plan.on_result(&id(number), NodeResult::Refused(why.clone()));
            }
            plan.outcome().telling_refusal().cloned()
        };
        assert_eq!(told(0, 1, Refusal::Restarting), None);
        assert_eq!(told(0, 2, Refusal::Full { scope: FullScope::Total }), None);
        assert_eq!(told(0, 3, Refusal::Restarting), Some(Refusal::Restarting));
        assert_eq!(told(2, 1, Refusal::Restarting), Some(Refusal::Restarting));
        let newer = Refusal::SeqTooLow { stored: 3 };
        assert_eq!(told(0, 1, newer.clone()), Some(newer), "another version is in the way");
    }
}
