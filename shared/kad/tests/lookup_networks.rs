//! The lookups' properties, over simulated networks: each node answers from its own routing table,
//! answers come in any order, and some nodes are dead, slow or lie.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use dht_kad::lookup::{
    AnsweredNode, ClosestLookup, Condition, Consistency, LookupConfig, Step, ValueLookup,
    ValueOutcome, ValueStep,
};
use dht_kad::message::{NODES_MAX, NodeInfo, Receipt};
use dht_kad::put::{NodeResult, PutPlan, PutProgress, quorum_of};
use dht_kad::routing::{Prefix, RoutingTable, TableConfig};
use dht_kad::{Key, NodeId, UnixMs};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

const WELL: Condition = Condition { settled: true, whole: true };

fn random_key(rng: &mut ChaCha20Rng) -> Key {
    let mut key = Key([0; 32]);
    rng.fill_bytes(&mut key.0);
    key
}

fn below(rng: &mut ChaCha20Rng, bound: usize) -> usize {
    (rng.next_u64() % bound.max(1) as u64) as usize
}

fn info(id: NodeId, place: u32) -> NodeInfo {
    let [_, a, b, c] = place.to_be_bytes();
    NodeInfo { id, addrs: vec![SocketAddr::from(([a + 11, b, c, 1], 7000))] }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Honest,
    Dead,
    Liar,
    /// Names only the others of its kind.
    Conspirator,
}

/// Nodes whose tables know everybody that there is room for.
struct Network {
    k: usize,
    infos: BTreeMap<NodeId, NodeInfo>,
    tables: BTreeMap<NodeId, RoutingTable>,
    kinds: BTreeMap<NodeId, Kind>,
    /// Those that are not whole, as everybody knows.
    new: BTreeSet<NodeId>,
}

impl Network {
    fn new(size: usize, k: usize, rng: &mut ChaCha20Rng) -> Self {
        let infos: BTreeMap<NodeId, NodeInfo> = (0..size as u32)
            .map(|place| {
                let id = NodeId::from_bytes(random_key(rng).0);
                (id, info(id, place))
            })
            .collect();
        let config = TableConfig { k, ..TableConfig::default() };
        let mut tables = BTreeMap::new();
        for own in infos.keys() {
            let mut others: Vec<&NodeInfo> = infos.values().collect();
            let mut table = RoutingTable::new(*own, config);
            while !others.is_empty() {
                let other = others.swap_remove(below(rng, others.len()));
                table.insert(other.id, Prefix::of(&other.addrs[0]), UnixMs(1));
            }
            tables.insert(*own, table);
        }
        let kinds = infos.keys().map(|id| (*id, Kind::Honest)).collect();
        Network { k, infos, tables, kinds, new: BTreeSet::new() }
    }

    fn ids(&self) -> Vec<NodeId> {
        self.infos.keys().copied().collect()
    }

    fn config(&self) -> LookupConfig {
        LookupConfig { k: self.k, ..LookupConfig::default() }
    }

    /// Who is truly closest.
    fn closest(&self, target: &Key, count: usize) -> Vec<NodeId> {
        let mut ids = self.ids();
        ids.sort_by_key(|id| target.distance(id.key()));
        ids.truncate(count);
        ids
    }

    /// What a node starts from: its table if it is a server, else a few that it was told of.
    fn seeds(&self, own: &NodeId, target: &Key, rng: &mut ChaCha20Rng) -> Vec<NodeInfo> {
        let ids = match self.tables.get(own) {
            Some(table) => table.to_name(target, None, |id| !self.new.contains(id)),
            None => (0..3).map(|_| self.ids()[below(rng, self.infos.len())]).collect(),
        };
        ids.iter().map(|id| self.infos[id].clone()).collect()
    }

    /// Somebody who asks: one of the servers, or a client.
    fn asker(&self, rng: &mut ChaCha20Rng) -> NodeId {
        let ids = self.ids();
        match below(rng, 2) {
            0 => ids[below(rng, ids.len())],
            _ => NodeId::from_bytes(random_key(rng).0),
        }
    }

    fn answer(
        &self,
        from: &NodeId,
        asker: &NodeId,
        target: &Key,
        rng: &mut ChaCha20Rng,
    ) -> Option<Vec<NodeInfo>> {
        match self.kinds.get(from).copied().unwrap_or(Kind::Dead) {
            Kind::Dead => None,
            Kind::Honest => {
                let is_whole = |id: &NodeId| !self.new.contains(id);
                let named = self.tables[from].to_name(target, Some(asker), is_whole);
                Some(named.iter().map(|id| self.infos[id].clone()).collect())
            }
            Kind::Liar => Some(self.lies(from, asker, target, rng)),
            Kind::Conspirator => {
                let ring = self.kinds.iter().filter(|(_, kind)| **kind == Kind::Conspirator);
                Some(ring.map(|(id, _)| self.infos[id].clone()).collect())
            }
        }
    }

    /// Made-up nodes near the target, nodes named twice and under false addresses, the asker.
    fn lies(
        &self,
        from: &NodeId,
        asker: &NodeId,
        target: &Key,
        rng: &mut ChaCha20Rng,
    ) -> Vec<NodeInfo> {
        let ids = self.ids();
        let mut lies = Vec::new();
        for place in 0..below(rng, NODES_MAX) {
            let id = match below(rng, 5) {
                0 => *asker,
                1 => *from,
                2 => ids[below(rng, ids.len())],
                _ => {
                    let mut near = random_key(rng);
                    near.0[..4].copy_from_slice(&target.0[..4]);
                    NodeId::from_bytes(near.0)
                }
            };
            let lie = info(id, 1_000_000 + place as u32);
            lies.extend([lie.clone(), lie]);
        }
        lies.truncate(NODES_MAX);
        lies
    }
}

/// Either lookup, as the driver sees it.
trait Machine {
    fn step(&mut self) -> Step;
    fn answered(&mut self, from: &NodeId, nodes: Vec<NodeInfo>, says: Condition);
    fn failed(&mut self, from: &NodeId);
    fn slow(&mut self, from: &NodeId);
}

impl Machine for ClosestLookup {
    fn step(&mut self) -> Step {
        self.next()
    }
    fn answered(&mut self, from: &NodeId, nodes: Vec<NodeInfo>, says: Condition) {
        self.on_answer(from, nodes, says);
    }
    fn failed(&mut self, from: &NodeId) {
        self.on_failure(from);
    }
    fn slow(&mut self, from: &NodeId) {
        self.on_slow(from);
    }
}

/// A value lookup among nodes of which some hold the value.
struct Get<'a> {
    lookup: ValueLookup,
    holders: &'a BTreeSet<NodeId>,
}

impl Machine for Get<'_> {
    fn step(&mut self) -> Step {
        match self.lookup.next() {
            ValueStep::Ask { node, .. } => Step::Ask(node),
            ValueStep::Wait => Step::Wait,
            ValueStep::Done => Step::Done,
        }
    }
    fn answered(&mut self, from: &NodeId, nodes: Vec<NodeInfo>, says: Condition) {
        self.lookup.on_answer(from, self.holders.contains(from), nodes, says);
    }
    fn failed(&mut self, from: &NodeId) {
        self.lookup.on_failure(from);
    }
    fn slow(&mut self, from: &NodeId) {
        self.lookup.on_slow(from);
    }
}

/// Runs a lookup to its end, checks that it keeps within its bounds, and returns whom it asked.
fn drive(
    machine: &mut impl Machine,
    network: &Network,
    asker: &NodeId,
    target: &Key,
    slow_in_8: usize,
    rng: &mut ChaCha20Rng,
) -> BTreeSet<NodeId> {
    let config = network.config();
    let mut asked = BTreeSet::new();
    let mut brisk: Vec<NodeId> = Vec::new();
    let mut slow: Vec<NodeId> = Vec::new();
    loop {
        match machine.step() {
            Step::Done => return asked,
            Step::Ask(node) => {
                assert_ne!(node.id, *asker, "it asked itself");
                assert!(asked.insert(node.id), "it asked a node twice");
                assert!(asked.len() <= config.max_requests, "it asked too many");
                brisk.push(node.id);
                assert!(brisk.len() <= config.alpha, "it asked too many at once");
            }
            Step::Wait => {
                let at = below(rng, brisk.len() + slow.len());
                assert!(!brisk.is_empty() || !slow.is_empty(), "it waits for nobody");
                if at < brisk.len() && below(rng, 8) < slow_in_8 {
                    let id = brisk.swap_remove(at);
                    machine.slow(&id);
                    slow.push(id);
                    continue;
                }
                let id = if at < brisk.len() {
                    brisk.swap_remove(at)
                } else {
                    slow.swap_remove(at - brisk.len())
                };
                match network.answer(&id, asker, target, rng) {
                    Some(nodes) => {
                        let whole = !network.new.contains(&id);
                        machine.answered(&id, nodes, Condition { whole, ..WELL });
                    }
                    None => machine.failed(&id),
                }
            }
        }
    }
}

fn find_closest(
    network: &Network,
    asker: &NodeId,
    target: &Key,
    rng: &mut ChaCha20Rng,
) -> (ClosestLookup, BTreeSet<NodeId>) {
    let seeds = network.seeds(asker, target, rng);
    let mut lookup = ClosestLookup::new(*target, *asker, seeds, network.config(), false);
    let asked = drive(&mut lookup, network, asker, target, 2, rng);
    (lookup, asked)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn among_honest_nodes_a_lookup_finds_the_true_closest(
        seed: u64, size in 1_usize..120, k in 1_usize..=20,
    ) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let network = Network::new(size, k, &mut rng);
        for _ in 0..4 {
            let (asker, target) = (NodeId::from_bytes(random_key(&mut rng).0), random_key(&mut rng));
            let (lookup, asked) = find_closest(&network, &asker, &target, &mut rng);
            let result = lookup.result();
            let found: Vec<NodeId> = result.closest.iter().map(|node| node.info.id).collect();
            prop_assert_eq!(found, network.closest(&target, k));
            prop_assert_eq!((result.asked, result.failed), (asked.len(), 0));
        }
    }

    #[test]
    fn among_dead_nodes_and_liars_a_lookup_ends_within_its_bounds(
        seed: u64, size in 1_usize..120, dead in 0_usize..100, liars in 0_usize..40,
    ) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut network = Network::new(size, 20, &mut rng);
        for kind in network.kinds.values_mut() {
            *kind = match below(&mut rng, 100) {
                dice if dice < dead => Kind::Dead,
                _ if below(&mut rng, 100) < liars => Kind::Liar,
                _ => Kind::Honest,
            };
        }
        let (asker, target) = (network.asker(&mut rng), random_key(&mut rng));
        let (lookup, asked) = find_closest(&network, &asker, &target, &mut rng);
        let result = lookup.result();
        prop_assert!(result.closest.len() <= 20);
        prop_assert_eq!(result.asked, asked.len());
        let alive = |id| network.kinds.get(id).is_some_and(|kind| *kind != Kind::Dead);
        let found: Vec<NodeId> = result.closest.iter().map(|node| node.info.id).collect();
        prop_assert!(found.iter().all(|id| asked.contains(id) && alive(id)));
        let far = |node: &AnsweredNode| target.distance(node.info.id.key());
        prop_assert!(result.closest.is_sorted_by(|a, b| far(a) < far(b)));

        let holders = network.ids().into_iter().filter(|_| below(&mut rng, 3) == 0).collect();
        for consistency in [Consistency::One, Consistency::Default, Consistency::Quorum] {
            let outcome = get(&network, &asker, &target, consistency, &holders, 2, &mut rng);
            prop_assert!(outcome.holders.iter().all(|id| holders.contains(id)));
            prop_assert!(outcome.holders.iter().all(|id| outcome.answered.contains(id)));
        }
    }

    #[test]
    fn a_get_sees_every_acknowledged_put(seed: u64, size in 1_usize..120, k in 1_usize..=20) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let network = Network::new(size, k, &mut rng);
        for _ in 0..4 {
            let (writer, key) = (network.asker(&mut rng), random_key(&mut rng));
            let acknowledged = put(&network, &writer, &key, &mut rng);
            for consistency in [Consistency::One, Consistency::Default, Consistency::Quorum] {
                let reader = network.asker(&mut rng);
                let outcome =
                    get(&network, &reader, &key, consistency, &acknowledged, 2, &mut rng);
                let alone = outcome.asked == 0 && network.ids() == [reader];
                prop_assert!(outcome.conclusive || alone);
                prop_assert!(!outcome.holders.is_empty() || acknowledged.contains(&reader));
                if consistency == Consistency::Quorum {
                    let t = network.closest(&key, k);
                    let own = usize::from(t.contains(&reader));
                    let heard = t.iter().filter(|id| outcome.answered.contains(id)).count();
                    prop_assert!(heard + own >= quorum_of(t.len()), "{heard} of {}", t.len());
                }
            }
        }
    }

    #[test]
    fn in_a_network_of_up_to_k_nodes_a_miss_asks_no_more_than_a_majority(
        seed: u64, size in 1_usize..=20,
    ) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let network = Network::new(size, 20, &mut rng);
        let reader = NodeId::from_bytes(random_key(&mut rng).0);
        let key = random_key(&mut rng);
        for consistency in [Consistency::One, Consistency::Default, Consistency::Quorum] {
            let nobody = BTreeSet::new();
            let outcome = get(&network, &reader, &key, consistency, &nobody, 0, &mut rng);
            prop_assert!(outcome.conclusive && outcome.holders.is_empty());
            // With k others, the farthest might have left out somebody for the asker's sake.
            let spare = usize::from(size == 20);
            let answered = outcome.answered.len();
            prop_assert!((quorum_of(size)..=quorum_of(size) + spare).contains(&answered));
            let in_flight_at_the_end = outcome.asked - answered;
            prop_assert!(in_flight_at_the_end < network.config().alpha);
        }
    }
}

/// Attackers ground their names to be the closest to a key, and all show an old version of what is
/// there: a third of T. Who asks the closest first sees nothing else.
#[test]
fn a_third_of_t_that_conspires_is_seldom_all_that_a_default_get_hears() {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let (mut fooled, mut requests) = (0, 0);
    let (networks, reads) = (10, 300);
    for _ in 0..networks {
        let mut network = Network::new(150, 20, &mut rng);
        let key = random_key(&mut rng);
        let hostile: BTreeSet<NodeId> = network.closest(&key, 7).into_iter().collect();
        for id in &hostile {
            network.kinds.insert(*id, Kind::Conspirator);
        }
        let holders: BTreeSet<NodeId> = network.closest(&key, 20).into_iter().collect();
        for _ in 0..reads {
            let reader = network.asker(&mut rng);
            let outcome = get(&network, &reader, &key, Consistency::Default, &holders, 0, &mut rng);
            requests += outcome.asked;
            fooled += usize::from(outcome.holders.iter().all(|id| hostile.contains(id)));
        }
    }
    let all = networks * reads;
    assert!(fooled * 100 < all, "{fooled} of {all} reads saw the attackers alone");
    assert!(requests < 11 * all, "{requests} requests for {all} reads");
}

/// Twenty-five newcomers are closer to a key than all who were there before and hold what lies there.
/// Whoever named the k closest alone would name newcomers alone.
#[test]
fn more_newcomers_than_k_next_to_a_key_hide_nobody_who_is_whole() {
    let mut rng = ChaCha20Rng::seed_from_u64(25);
    for size in [46, 60, 120, 250] {
        let mut network = Network::new(size, 20, &mut rng);
        let key = random_key(&mut rng);
        let closest = network.closest(&key, 45);
        network.new = closest[..25].iter().copied().collect();
        let t = &closest[25..];
        for _ in 0..20 {
            let asker = network.asker(&mut rng);
            let (lookup, asked) = find_closest(&network, &asker, &key, &mut rng);
            let result = lookup.result();
            let whole = result.closest.iter().filter(|node| node.whole).map(|node| node.info.id);
            let found: Vec<NodeId> = whole.collect();
            let mut others = t.to_vec();
            others.retain(|id| *id != asker);
            assert!(found.starts_with(&others), "{} of {} found", found.len(), others.len());
            assert!(asked.len() <= 60, "{} requests", asked.len());
            let holders = t.iter().copied().collect();
            for consistency in [Consistency::One, Consistency::Default, Consistency::Quorum] {
                let outcome = get(&network, &asker, &key, consistency, &holders, 2, &mut rng);
                assert!(outcome.conclusive && !outcome.holders.is_empty(), "{outcome:?}");
            }
        }
    }
}

fn get(
    network: &Network,
    reader: &NodeId,
    key: &Key,
    consistency: Consistency,
    holders: &BTreeSet<NodeId>,
    slow_in_8: usize,
    rng: &mut ChaCha20Rng,
) -> ValueOutcome {
    let seeds = network.seeds(reader, key, rng);
    let chance = rng.next_u64();
    let lookup = ValueLookup::new(*key, *reader, seeds, consistency, network.config(), chance);
    let mut get = Get { lookup, holders };
    let asked = drive(&mut get, network, reader, key, slow_in_8, rng);
    let outcome = get.lookup.outcome().unwrap();
    assert_eq!(outcome.asked, asked.len());
    outcome
}

/// Puts something that as few as possible of T acknowledge, at random, and returns who did.
fn put(network: &Network, writer: &NodeId, key: &Key, rng: &mut ChaCha20Rng) -> BTreeSet<NodeId> {
    let (lookup, _) = find_closest(network, writer, key, rng);
    let mut found = lookup.result().closest;
    if let Some(own) = network.infos.get(writer) {
        found.push(AnsweredNode { info: own.clone(), settled: true, whole: true });
        found.sort_by_key(|node| key.distance(node.info.id.key()));
    }
    let mut plan = PutPlan::new(&found, network.k, network.infos.len(), None).unwrap();
    let mut waiting: Vec<NodeId> = plan.targets().iter().map(|node| node.id).collect();
    let mut acknowledged = BTreeSet::new();
    while plan.progress() == PutProgress::Pending {
        let id = waiting.swap_remove(below(rng, waiting.len()));
        let (expires_at, accepted_at) = (UnixMs(9), UnixMs(1));
        let receipt = Receipt { expires_at, accepted_at, node_key: [1; 32], signature: [2; 64] };
        plan.on_result(&id, NodeResult::Stored(receipt));
        acknowledged.insert(id);
    }
    assert_eq!(plan.progress(), PutProgress::Reached);
    acknowledged
}
