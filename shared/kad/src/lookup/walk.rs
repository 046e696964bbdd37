//! The walk that all lookups share: who is known, who is asked next, when it is over.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::LookupConfig;
use super::closest::{AnsweredNode, Condition};
use crate::id::{Distance, Key, NodeId};
use crate::message::{ADDRS_MAX, NodeInfo};
use crate::put::quorum_of;

/// What a walk can do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Move {
    /// Ask the candidate at this distance.
    Ask(Distance),
    /// An answer has to come first.
    Wait,
    /// It is over: because the k closest have answered, or because the requests are used up.
    Done { exhausted: bool },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Known,
    Asked {
        slow: bool,
    },
    /// One that does not `count` is passed over like one that failed, but for the servers that it
    /// named: what it does not hold says nothing.
    Answered {
        says: Condition,
        vouches: bool,
        counts: bool,
    },
    Failed,
}

impl Phase {
    /// Whether whoever is in this phase may belong to T.
    fn may_count(self) -> bool {
        !matches!(self, Phase::Failed | Phase::Answered { counts: false, .. })
    }
}

#[derive(Debug)]
struct Candidate {
    id: NodeId,
    /// Each with its place in the answer that named it, in the order of those places.
    addrs: Vec<(usize, SocketAddr)>,
    /// How many answers it took, one after the other, to hear of it.
    hops: usize,
    phase: Phase,
}

/// The state of a walk towards one key.
#[derive(Debug)]
pub(super) struct Walk {
    target: Key,
    own: NodeId,
    config: LookupConfig,
    /// By distance, which names a candidate as well as its id does.
    candidates: BTreeMap<Distance, Candidate>,
    asked: usize,
    failed: usize,
    in_flight: usize,
    in_flight_slow: usize,
}

impl Walk {
    pub(super) fn new(
        target: Key,
        own: NodeId,
        seeds: Vec<NodeInfo>,
        config: LookupConfig,
    ) -> Self {
        let config = LookupConfig { k: config.k.max(1), alpha: config.alpha.max(1), ..config };
        let mut walk = Walk {
            target,
            own,
            config,
            candidates: BTreeMap::new(),
            asked: 0,
            failed: 0,
            in_flight: 0,
            in_flight_slow: 0,
        };
        for seed in seeds {
            walk.learn(seed, 0);
        }
        walk
    }

    pub(super) fn asked(&self) -> usize {
        self.asked
    }

    pub(super) fn failed(&self) -> usize {
        self.failed
    }

    /// What comes next. Among the k closest that have not failed, whoever is unasked is asked. A
    /// slow one keeps its place, since the walk is not over before it answers or fails, but lends
    /// it to the next candidate meanwhile, so that its failure costs no second wait.
    pub(super) fn peek(&self) -> Move {
        let mut places = self.config.k;
        let mut waiting = false;
        for (distance, candidate) in &self.candidates {
            if places == 0 {
                break;
            }
            match candidate.phase {
                Phase::Failed | Phase::Answered { counts: false, .. } => continue,
                Phase::Asked { slow: true } => {
                    waiting = true;
                    continue;
                }
                Phase::Asked { slow: false } => waiting = true,
                Phase::Answered { .. } => {}
                Phase::Known if self.asked >= self.config.max_requests => {
                    let answers_may_come = self.in_flight > 0;
                    return if answers_may_come {
                        Move::Wait
                    } else {
                        Move::Done { exhausted: true }
                    };
                }
                Phase::Known => {
                    let brisk = self.in_flight.saturating_sub(self.in_flight_slow);
                    return if brisk < self.config.alpha {
                        Move::Ask(*distance)
                    } else {
                        Move::Wait
                    };
                }
            }
            places -= 1;
        }
        if waiting { Move::Wait } else { Move::Done { exhausted: false } }
    }

    /// Marks the candidate at this distance as asked and says where it is.
    pub(super) fn ask(&mut self, distance: &Distance) -> Option<NodeInfo> {
        let candidate = self
            .candidates
            .get_mut(distance)
            .filter(|candidate| candidate.phase == Phase::Known)?;
        candidate.phase = Phase::Asked { slow: false };
        self.asked += 1;
        self.in_flight += 1;
        Some(candidate.info())
    }

    /// Takes an answer, which may not count. False, and nothing changes, if none was awaited from
    /// there.
    pub(super) fn answer(
        &mut self,
        from: &NodeId,
        nodes: Vec<NodeInfo>,
        says: Condition,
        counts: bool,
    ) -> bool {
        let distance = self.target.distance(from.key());
        let own_closer = self.target.distance(self.own.key()) < distance;
        let named_closer =
            nodes.iter().filter(|node| self.target.distance(node.id.key()) < distance).count();
        let vouches = says.settled && named_closer + usize::from(own_closer) < self.config.k;
        if !self.land(&distance, Phase::Answered { says, vouches, counts }) {
            return false;
        }
        let hops = self.candidates.get(&distance).map_or(0, |answerer| answerer.hops) + 1;
        for node in nodes.into_iter().take(self.config.new_per_answer) {
            self.learn(node, hops);
        }
        true
    }

    /// Takes a failure. False, and nothing changes, if no answer was awaited from there.
    pub(super) fn fail(&mut self, from: &NodeId) -> bool {
        let failed = self.land(&self.target.distance(from.key()), Phase::Failed);
        self.failed += usize::from(failed);
        failed
    }

    /// Lets another be asked in the place of one that takes long.
    pub(super) fn slow(&mut self, from: &NodeId) {
        let distance = self.target.distance(from.key());
        if let Some(candidate) = self.candidates.get_mut(&distance)
            && candidate.phase == (Phase::Asked { slow: false })
        {
            candidate.phase = Phase::Asked { slow: true };
            self.in_flight_slow += 1;
        }
    }

    /// All who answered, closest first.
    pub(super) fn answered(&self) -> impl Iterator<Item = AnsweredNode> {
        self.candidates.values().filter_map(|candidate| match candidate.phase {
            Phase::Answered { says: Condition { settled, whole }, .. } => {
                Some(AnsweredNode { info: candidate.info(), settled, whole })
            }
            _ => None,
        })
    }

    /// How many answers it took, one after the other, to hear of the last of T.
    pub(super) fn hops(&self) -> usize {
        let answered = |candidate: &&Candidate| matches!(candidate.phase, Phase::Answered { .. });
        let closest = self.candidates.values().filter(answered).take(self.config.k);
        closest.map(|candidate| candidate.hops).max().unwrap_or(0)
    }

    /// Those who belong to T once the walk is over, and those before the last of them who answered
    /// and do not count, no more than k of these.
    pub(super) fn answered_up_to_last_that_counts(&self) -> Vec<AnsweredNode> {
        let mut nodes = Vec::new();
        let (mut places, mut uncounted) = (self.config.k, self.config.k);
        for candidate in self.candidates.values() {
            let Phase::Answered { says, counts, .. } = candidate.phase else { continue };
            let left = if counts { &mut places } else { &mut uncounted };
            if *left > 0 {
                *left -= 1;
                let Condition { settled, whole } = says;
                nodes.push(AnsweredNode { info: candidate.info(), settled, whole });
            }
            if places == 0 {
                break;
            }
        }
        nodes
    }

    /// Whether any of T, once the walk is over, says that its routing table can be relied on.
    pub(super) fn any_settled(&self) -> bool {
        let counted = self.candidates.values().filter_map(|candidate| match candidate.phase {
            Phase::Answered { says, counts: true, .. } => Some(says.settled),
            _ => None,
        });
        counted.take(self.config.k).any(|settled| settled)
    }

    /// How many of the k closest known that count, or still may, are such.
    pub(super) fn among_closest(&self, such: impl Fn(&NodeId) -> bool) -> usize {
        let alive = self.candidates.values().filter(|candidate| candidate.phase.may_count());
        alive.take(self.config.k).filter(|candidate| such(&candidate.id)).count()
    }

    /// Whether a majority of T has answered, by the argument in the module's documentation.
    pub(super) fn majority_answered(&self) -> bool {
        let alive = self.candidates.values().filter(|candidate| candidate.phase.may_count());
        let (mut answered, mut answered_for_good) = (0, 0);
        for candidate in alive.take(self.config.k) {
            if let Phase::Answered { vouches, .. } = candidate.phase {
                answered += 1;
                if vouches {
                    answered_for_good = answered;
                }
            }
        }
        answered_for_good >= quorum_of(self.candidates.len().min(self.config.k))
    }

    fn land(&mut self, distance: &Distance, phase: Phase) -> bool {
        let Some(candidate) = self.candidates.get_mut(distance) else { return false };
        let Phase::Asked { slow } = candidate.phase else { return false };
        candidate.phase = phase;
        self.in_flight = self.in_flight.saturating_sub(1);
        self.in_flight_slow = self.in_flight_slow.saturating_sub(usize::from(slow));
        true
    }

    fn learn(&mut self, node: NodeInfo, hops: usize) {
        if node.id == self.own {
            return;
        }
        let distance = self.target.distance(node.id.key());
        let candidate = self.candidates.entry(distance).or_insert_with(|| Candidate {
            id: node.id,
            addrs: Vec::new(),
            hops,
            phase: Phase::Known,
        });
        candidate.merge(node.addrs);
        if self.candidates.len() > self.config.candidates_max {
            self.forget_the_farthest();
        }
    }

    /// Only who was not asked is forgotten: a forgotten one might be named and asked again.
    fn forget_the_farthest(&mut self) {
        let unasked = self.candidates.iter().rev().find(|(_, c)| c.phase == Phase::Known);
        if let Some(distance) = unasked.map(|(distance, _)| *distance) {
            self.candidates.remove(&distance);
        }
    }
}

impl Candidate {
    /// Adds addresses from one more answer. The first address of each answer goes before the second
    /// of any, so that one answer, false or not, cannot take all the places.
    fn merge(&mut self, addrs: Vec<SocketAddr>) {
        for (place, addr) in addrs.into_iter().take(ADDRS_MAX).enumerate() {
            if self.addrs.iter().all(|(_, known)| *known != addr) {
                let at = self.addrs.partition_point(|(other, _)| *other <= place);
                self.addrs.insert(at, (place, addr));
            }
        }
        self.addrs.truncate(ADDRS_MAX);
    }

    fn info(&self) -> NodeInfo {
        NodeInfo { id: self.id, addrs: self.addrs.iter().map(|(_, addr)| *addr).collect() }
    }
}
