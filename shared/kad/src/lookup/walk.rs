//! The walk that all lookups share: who is known, who is asked next, when it is over.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::LookupConfig;
use super::closest::{AnsweredNode, Condition};
use crate::id::{Distance, Key, NodeId};
use crate::message::{ADDRS_MAX, NodeInfo};
use crate::put::quorum_of;

/// Whom a walk asks next, of the k closest known that it has not asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Always the closest.
    ClosestFirst,
    /// The closest one at a time, until the closest of all has answered; beside it, and from then on,
    /// whoever has the lowest lot. Lots follow from this seed, which nobody else may know.
    ByLot(u64),
}

/// What a walk can do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Move {
    /// Ask the candidate at this distance.
    Ask {
        distance: Distance,
        /// It is its lot, and not only its place: nobody could know that it would be asked.
        by_lot: bool,
    },
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
    lot: u64,
    /// Asked because of its lot.
    by_lot: bool,
    phase: Phase,
}

/// The state of a walk towards one key.
#[derive(Debug)]
pub(super) struct Walk {
    target: Key,
    own: NodeId,
    config: LookupConfig,
    order: Order,
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
        order: Order,
    ) -> Self {
        let config = LookupConfig { k: config.k.max(1), alpha: config.alpha.max(1), ..config };
        let mut walk = Walk {
            target,
            own,
            config,
            order,
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

    /// What comes next. Among the k closest that have not failed, whoever is unasked is asked, in the
    /// walk's order, while fewer than `at_once` and α are under way. A slow one keeps its place, since
    /// the walk is not over before it answers or fails, but lends it to the next candidate meanwhile,
    /// so that its failure costs no second wait.
    pub(super) fn peek(&self, at_once: usize) -> Move {
        let mut places = self.config.k;
        let (mut waiting, mut arrived) = (false, None);
        let (mut closest, mut lowest) = (None, None);
        for (distance, candidate) in &self.candidates {
            if places == 0 {
                break;
            }
            match candidate.phase {
                Phase::Failed => continue,
                Phase::Answered { counts: false, .. } => {
                    arrived.get_or_insert(true);
                    continue;
                }
                Phase::Asked { slow: true } => {
                    waiting = true;
                    continue;
                }
                Phase::Asked { slow: false } => {
                    waiting = true;
                    arrived.get_or_insert(false);
                }
                Phase::Answered { .. } => {
                    arrived.get_or_insert(true);
                }
                Phase::Known => {
                    // Whether the closest of all is this one, which is to be asked.
                    let leads = arrived.is_none();
                    arrived.get_or_insert(false);
                    closest = closest.or(Some((*distance, leads)));
                    let lot = (candidate.lot, *distance);
                    lowest = Some(lowest.map_or(lot, |lowest| lot.min(lowest)));
                }
            }
            places -= 1;
        }
        let (Some((closest, leads)), Some((_, lowest))) = (closest, lowest) else {
            return if waiting { Move::Wait } else { Move::Done { exhausted: false } };
        };
        if self.asked >= self.config.max_requests {
            let answers_may_come = self.in_flight > 0;
            return if answers_may_come { Move::Wait } else { Move::Done { exhausted: true } };
        }
        let arrived = arrived.unwrap_or(false);
        let at_once =
            if arrived { self.config.alpha.min(at_once.max(1)) } else { self.config.alpha };
        if self.in_flight.saturating_sub(self.in_flight_slow) >= at_once {
            return Move::Wait;
        }
        match self.order {
            Order::ClosestFirst => Move::Ask { distance: closest, by_lot: false },
            Order::ByLot(_) if leads => Move::Ask { distance: closest, by_lot: closest == lowest },
            Order::ByLot(_) => Move::Ask { distance: lowest, by_lot: true },
        }
    }

    /// Marks the candidate at this distance as asked and says where it is.
    pub(super) fn ask(&mut self, distance: &Distance, by_lot: bool) -> Option<NodeInfo> {
        let candidate = self
            .candidates
            .get_mut(distance)
            .filter(|candidate| candidate.phase == Phase::Known)?;
        candidate.phase = Phase::Asked { slow: false };
        candidate.by_lot = by_lot;
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

    /// Whom a put goes to once the walk is over, closest first: the k closest that answered and count,
    /// which is T, and the k closest of those that answered and do not count, as far as they are closer
    /// than the last of T. These will belong to T when they are whole, so what is put now should lie
    /// there; they come between the others in the order of distance, and each says by `whole` which it
    /// is. If fewer than k count, the list goes on to the last that answered. Whoever failed, or has not
    /// answered, is not in it.
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

    /// How many of the k closest known that count, or still may, were asked by their lot and are such.
    pub(super) fn drawn_of_closest(&self, such: impl Fn(&NodeId) -> bool) -> usize {
        let alive = self.candidates.values().filter(|candidate| candidate.phase.may_count());
        let closest = alive.take(self.config.k);
        closest.filter(|candidate| candidate.by_lot && such(&candidate.id)).count()
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
        let order = self.order;
        let candidate = self.candidates.entry(distance).or_insert_with(|| Candidate {
            id: node.id,
            addrs: Vec::new(),
            hops,
            lot: order.lot_of(&node.id),
            by_lot: false,
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

impl Order {
    /// A server's lot in this walk; who does not know the seed cannot choose a name for it.
    fn lot_of(self, id: &NodeId) -> u64 {
        let Order::ByLot(seed) = self else { return 0 };
        let mut key = [0; blake3::KEY_LEN];
        for (place, byte) in key.iter_mut().zip(seed.to_be_bytes()) {
            *place = byte;
        }
        let mut lot = [0; 8];
        blake3::Hasher::new_keyed(&key).update(id.as_bytes()).finalize_xof().fill(&mut lot);
        u64::from_be_bytes(lot)
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
