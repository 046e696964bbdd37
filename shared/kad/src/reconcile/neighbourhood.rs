//! [`Neighbourhood`]: which parts of the keyspace a node should hold, and together with whom.
//!
//! Each key belongs to the k servers closest to it. The keyspace is cut into parts by prefix:
//!
//! ```text
//! all ─▶ do all its keys have the same k closest? ── yes ─▶ a part, theirs
//!                     │ no, or not for sure
//!                     ▼
//!        16 children, each alike, until a part holds about one server ─▶ those of its middle
//! ```
//!
//! To keys that share a prefix, servers with different prefixes of that length are in one and the
//! same order; so only where the k-th and the one after it share theirs are there keys with different
//! holders, and parts with one server each know nearly all. What the middle gets wrong there, an
//! offer by a holder that finds itself outside puts right. Parts that are not the node's are not cut
//! further, so the work grows with k and the depth, and hardly with the network.
//!
//! Who holds a part depends on the part and the servers alone: two nodes that know the same servers
//! agree on what they share.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Prefix;
use crate::id::{ID_LEN, Key, NodeId};
use crate::message::reconcile::RANGE_MAX;

/// The longest prefix of a part, in half bytes: enough for four thousand million servers.
const LEN_MAX: usize = 8;
/// The most parts that are looked at with one length of prefix. There are some hundreds; more if very
/// many servers have ids alike, as only somebody who seeks them has, and then coarser parts must do.
const PARTS_MAX: usize = 4_096;
/// How many bits tell any two servers apart.
const ALL_BITS: usize = 8 * ID_LEN;

/// Who should hold what around a node, as far as it knows the servers there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Neighbourhood {
    own: NodeId,
    k: usize,
    /// Every server that counts, the node itself included, in the order of their ids.
    servers: Vec<NodeId>,
    resolution: usize,
    range: Vec<Prefix>,
    shared: BTreeMap<NodeId, Vec<Prefix>>,
}

impl Neighbourhood {
    /// The neighbourhood of `own` among the other servers that count, with `k` holders a key.
    #[must_use]
    pub fn new(own: NodeId, others: &[NodeId], k: usize) -> Self {
        let mut servers: Vec<NodeId> = others.iter().copied().chain([own]).collect();
        servers.sort_unstable();
        servers.dedup();
        let own_at = servers.partition_point(|id| *id < own);
        let holdings = Division { own_at, k, servers: &servers }.holdings();
        let (mut range, mut shared) = (Vec::new(), BTreeMap::new());
        for (at, (id, parts)) in servers.iter().zip(holdings).enumerate() {
            if at == own_at {
                range = coarsened(merged(parts));
            } else if !parts.is_empty() {
                shared.insert(*id, largest(merged(parts)));
            }
        }
        let all = shared.values().chain([&range]).flatten();
        let resolution = all.map(Prefix::len).max().unwrap_or_default();
        Neighbourhood { own, k, servers, resolution, range, shared }
    }

    /// The node whose neighbourhood it is.
    #[must_use]
    pub fn own(&self) -> NodeId {
        self.own
    }

    /// The longest prefix in any range, in half bytes.
    #[must_use]
    pub fn resolution(&self) -> usize {
        self.resolution
    }

    /// By how many half bytes fingerprints must tell slots apart: enough for the parts of this node,
    /// and for those that a neighbour asks about which knows up to twice as many servers. With fewer
    /// such a neighbour would be refused for good, as soon as its parts are finer.
    #[must_use]
    pub fn fingerprint_resolution(&self) -> usize {
        part_len(2 * self.servers.len())
    }

    /// The parts of the keyspace that the node should hold; none covers another.
    #[must_use]
    pub fn range(&self) -> &[Prefix] {
        &self.range
    }

    /// The parts of the keyspace that it should not hold: those that the range leaves.
    #[must_use]
    pub fn outside(&self) -> Vec<Prefix> {
        let mut outside = Vec::new();
        leave_out(&self.range, Prefix::all(), &mut outside);
        outside
    }

    /// Whom it shares parts with, and which; none covers another. Not more than [`RANGE_MAX`] for
    /// each, the largest ones: what is left out is shared with others, too.
    pub fn shared(&self) -> impl Iterator<Item = (&NodeId, &[Prefix])> {
        self.shared.iter().map(|(id, range)| (id, range.as_slice()))
    }

    /// The k servers closest to a key, closest first, the node itself among them if it is one.
    #[must_use]
    pub fn closest(&self, key: &Key, count: usize) -> Vec<NodeId> {
        let closest = Closest::to(key, ALL_BITS, &self.servers, count).places();
        let mut closest: Vec<NodeId> =
            closest.filter_map(|at| self.servers.get(at).copied()).collect();
        closest.sort_unstable_by_key(|id| id.key().distance(key));
        closest
    }

    /// Whether the node should take a record at this key: it is among the 2k closest, so that a
    /// holder that knows others better, or that some of them are gone, finds takers.
    #[must_use]
    pub fn may_take(&self, key: &Key) -> bool {
        let own_at = self.servers.partition_point(|id| *id < self.own);
        Closest::to(key, ALL_BITS, &self.servers, 2 * self.k).has(own_at)
    }
}

/// How the keyspace is divided around a node. Servers are told by their places in the list of all.
struct Division<'a> {
    own_at: usize,
    k: usize,
    servers: &'a [NodeId],
}

/// For each server, the parts that it holds together with the node, itself included.
type Holdings = Vec<Vec<Prefix>>;

impl Division<'_> {
    fn holdings(&self) -> Holdings {
        let mut holdings = vec![Vec::new(); self.servers.len()];
        let len_max = part_len(self.servers.len());
        let mut parts = vec![Prefix::all()];
        for len in 0..=len_max {
            parts.retain(|part| !self.settle(part, 4 * len, &mut holdings));
            if len == len_max || 16 * parts.len() > PARTS_MAX {
                break;
            }
            parts = parts.iter().flat_map(|part| (0..16).map(|half| part.child(half))).collect();
        }
        for part in &parts {
            self.settle(part, ALL_BITS, &mut holdings);
        }
        holdings
    }

    /// Notes who holds a part together with the node, by its middle's first `bits`. False if these
    /// leave it open, and the node may be one of them.
    fn settle(&self, part: &Prefix, bits: usize, holdings: &mut Holdings) -> bool {
        let closest = Closest::to(&part.middle_key(), bits, self.servers, self.k);
        let (own_is_sure, open) = (closest.has(self.own_at), closest.unsure.clone());
        if open.is_empty() && own_is_sure {
            for at in closest.places() {
                if let Some(parts) = holdings.get_mut(at) {
                    parts.push(part.clone());
                }
            }
        }
        open.is_empty() || !(own_is_sure || open.contains(&self.own_at))
    }
}

/// The servers closest to all keys that share their first bits, as places in a list in order.
struct Closest {
    /// Runs of servers that are among them for sure.
    sure: Vec<Range<usize>>,
    /// Servers alike in all these bits, of which some are, and some are not.
    unsure: Range<usize>,
}

impl Closest {
    /// The `count` closest of the servers, which are in order, to keys that are like `key` in the
    /// first `bits`.
    ///
    /// From all servers on it looks at the half of them that is like the key in the next bit. If all
    /// of that half fit, they are in, and the rest of the room is filled from the other half, whatever
    /// is closest to the key there; if not, the other half is out.
    fn to(key: &Key, bits: usize, servers: &[NodeId], count: usize) -> Self {
        let (mut sure, mut room, mut run) = (Vec::new(), count, 0..servers.len());
        for at in 0..bits {
            if run.len() <= room {
                break;
            }
            let Some(looked_at) = servers.get(run.clone()) else { break };
            let ones_from = run.start + looked_at.partition_point(|id| !bit(id.key(), at));
            let (zeros, ones) = (run.start..ones_from, ones_from..run.end);
            let (near, far) = if bit(key, at) { (ones, zeros) } else { (zeros, ones) };
            run = if near.len() <= room {
                room -= near.len();
                sure.push(near);
                far
            } else {
                near
            };
        }
        if run.len() <= room {
            sure.push(run);
            run = 0..0;
        }
        let unsure = if room == 0 { 0..0 } else { run };
        Closest { sure, unsure }
    }

    /// Whether the server at a place is among them for sure.
    fn has(&self, at: usize) -> bool {
        self.sure.iter().any(|run| run.contains(&at))
    }

    fn places(self) -> impl Iterator<Item = usize> {
        self.sure.into_iter().flatten()
    }
}

fn bit(key: &Key, at: usize) -> bool {
    key.0.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

/// By how many half bytes parts have less than one server, on average.
fn part_len(servers: usize) -> usize {
    (0..LEN_MAX).find(|len| servers >> (4 * len) == 0).unwrap_or(LEN_MAX)
}

/// The same parts with each 16 siblings as their parent, in order.
fn merged(mut parts: Vec<Prefix>) -> Vec<Prefix> {
    parts.sort_unstable();
    let mut merged: Vec<Prefix> = Vec::new();
    for part in parts {
        merged.push(part);
        while let Some(parent) = parent_of_last(&merged) {
            merged.truncate(merged.len() - 16);
            merged.push(parent);
        }
    }
    merged
}

/// The parent of the last 16 parts if they are all its children.
fn parent_of_last(parts: &[Prefix]) -> Option<Prefix> {
    let last = parts.get(parts.len().checked_sub(16)?..)?;
    let (_, parent) = last.first()?.half_bytes().split_last()?;
    let is_child =
        |part: &Prefix| part.half_bytes().split_last().is_some_and(|(_, of)| of == parent);
    last.iter().all(is_child).then(|| Prefix::all().extended(parent))
}

/// So few parts that they can be asked for, with more in them rather than less: the longest prefixes
/// become shorter until there are no more than [`RANGE_MAX`].
fn coarsened(mut parts: Vec<Prefix>) -> Vec<Prefix> {
    while parts.len() > RANGE_MAX {
        let longest = parts.iter().map(Prefix::len).max().unwrap_or_default();
        let mut shorter = Vec::new();
        for part in parts {
            let part = part.shortened(longest.saturating_sub(1));
            if shorter.last().is_none_or(|last: &Prefix| !last.covers(&part)) {
                shorter.push(part);
            }
        }
        parts = merged(shorter);
    }
    parts
}

/// The largest of them, [`RANGE_MAX`] at most, in their order.
fn largest(mut parts: Vec<Prefix>) -> Vec<Prefix> {
    if parts.len() > RANGE_MAX {
        parts.sort_by_key(Prefix::len);
        parts.truncate(RANGE_MAX);
        parts.sort_unstable();
    }
    parts
}

/// Adds what lies under the prefix and in none of these parts, which are in order.
fn leave_out(parts: &[Prefix], prefix: Prefix, outside: &mut Vec<Prefix>) {
    if parts.iter().any(|part| part.covers(&prefix)) {
        return;
    }
    let from = parts.partition_point(|part| *part < prefix);
    let below = parts.get(from..).unwrap_or_default();
    let len = below.partition_point(|part| prefix.covers(part));
    match below.get(..len) {
        None | Some([]) => outside.push(prefix),
        Some(below) => (0..16).for_each(|half| leave_out(below, prefix.child(half), outside)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const K: usize = 20;

    fn hash(what: &str, number: usize) -> [u8; 32] {
        *blake3::hash(format!("{what} {number}").as_bytes()).as_bytes()
    }

    fn network(size: usize) -> Vec<NodeId> {
        let what = format!("one of {size}");
        (0..size).map(|number| NodeId::from_bytes(hash(&what, number))).collect()
    }

    fn truly_closest(servers: &[NodeId], key: &Key, count: usize) -> Vec<NodeId> {
        let mut servers = servers.to_vec();
        if count < servers.len() {
            servers.select_nth_unstable_by_key(count, |id| id.key().distance(key));
            servers.truncate(count);
        }
        servers.sort_unstable_by_key(|id| id.key().distance(key));
        servers
    }

    fn covered(parts: &[Prefix], key: &Key) -> bool {
        parts.iter().any(|part| part.covers(&Prefix::of_key(key, 2 * ID_LEN)))
    }

    /// How many of the places of 8 half bytes they cover.
    fn places(parts: &[Prefix]) -> u64 {
        parts.iter().map(|part| 1 << (4 * (LEN_MAX - part.len()))).sum()
    }

    const ALL_PLACES: u64 = 1 << (4 * LEN_MAX);

    fn all_of(servers: &[NodeId], k: usize) -> BTreeMap<NodeId, Neighbourhood> {
        servers.iter().map(|own| (*own, Neighbourhood::new(*own, servers, k))).collect()
    }

    #[test]
    fn nearly_every_key_lies_in_the_range_of_its_closest_and_is_shared_by_them() {
        for size in [10, 20, 21, 25, 64, 100, 180, 256, 700, 2_000] {
            let servers = network(size);
            let all = all_of(&servers, K);
            let (mut pairs, mut held, mut couples, mut shared) = (0, 0, 0, 0);
            for number in 0..400 {
                let key = Key(hash("key", number));
                let closest = truly_closest(&servers, &key, K);
                for own in &closest {
                    let neighbourhood = &all[own];
                    pairs += 1;
                    held += usize::from(covered(neighbourhood.range(), &key));
                    for peer in closest.iter().filter(|peer| *peer != own) {
                        couples += 1;
                        let parts = neighbourhood.shared.get(peer);
                        shared += usize::from(parts.is_some_and(|parts| covered(parts, &key)));
                    }
                }
            }
            assert!(held * 100 >= pairs * 97, "{held} of {pairs} among {size}");
            assert!(shared * 100 >= couples * 95, "{shared} of {couples} among {size}");
            let kept: u64 = all.values().map(|one| places(one.range())).sum();
            let due = ALL_PLACES * K.min(size) as u64;
            assert!(kept.abs_diff(due) * 100 <= due, "{kept} places for {due} among {size}");
        }
    }

    #[test]
    fn few_servers_hold_everything_all_together() {
        for size in 1..=K {
            let servers = network(size);
            let one = Neighbourhood::new(servers[0], &servers[1..], K);
            assert_eq!((one.range(), one.resolution()), (&[Prefix::all()][..], 0));
            assert!(one.outside().is_empty());
            assert_eq!(one.shared().count(), size - 1);
            assert!(one.shared().all(|(_, parts)| parts == [Prefix::all()]));
        }
    }

    #[test]
    fn who_knows_the_same_servers_agrees_on_what_is_shared() {
        for size in [22, 70, 300] {
            for (own, neighbourhood) in &all_of(&network(size), K) {
                for (peer, parts) in neighbourhood.shared() {
                    let theirs = Neighbourhood::new(*peer, &network(size), K);
                    assert_eq!(theirs.shared.get(own).map(Vec::as_slice), Some(parts));
                }
                if size > 100 {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_range_of_too_many_parts_becomes_larger_and_what_is_shared_smaller() {
        let half_bytes =
            (0..4_096_u16).map(|n| [(n >> 8) as u8, (n >> 4 & 15) as u8, n as u8 & 15]);
        let mut parts: Vec<_> = half_bytes.map(|half| Prefix::all().extended(&half)).collect();
        parts.retain(|part| !matches!(part.half_bytes(), [0..4, ..] | [_, _, 7..=15]));
        let fine = merged([vec![Prefix::all().child(2)], parts].concat());
        assert!(fine.len() > RANGE_MAX);
        let larger = coarsened(fine.clone());
        assert!(larger.len() <= RANGE_MAX && places(&larger) < ALL_PLACES);
        assert!(fine.iter().all(|part| larger.iter().any(|larger| larger.covers(part))));
        let smaller = largest(fine.clone());
        assert!(smaller.len() == RANGE_MAX && smaller.is_sorted());
        assert!(smaller.contains(&Prefix::all().child(2)));
        assert!(smaller.iter().all(|part| fine.contains(part)));
    }

    #[test]
    fn servers_whose_ids_were_sought_close_together_cost_no_more_than_others() {
        let sought = |number| {
            let mut id = hash("sought", number);
            id[..4].fill(0xab);
            NodeId::from_bytes(id)
        };
        let mut servers: Vec<_> = (0..10_000).map(sought).collect();
        servers.sort_unstable();
        let holdings = Division { own_at: 0, k: K, servers: &servers }.holdings();
        let parts: usize = holdings.iter().map(Vec::len).sum();
        assert!(parts <= PARTS_MAX * K, "{parts} parts");
        let one = Neighbourhood::new(servers[0], &servers, K);
        assert_eq!(places(one.range()) + places(&one.outside()), ALL_PLACES);
    }

    proptest! {
        #[test]
        fn range_and_outside_are_everything_and_have_nothing_in_common(
            size in 1..400_usize, k in 0..40_usize, places_of_keys in any::<[u32; 8]>(),
        ) {
            let servers = network(size);
            let one = Neighbourhood::new(servers[size / 2], &servers, k);
            let outside = one.outside();
            prop_assert_eq!(places(one.range()) + places(&outside), ALL_PLACES);
            for place in places_of_keys {
                let key = Key(hash("key", place as usize));
                prop_assert!(covered(one.range(), &key) != covered(&outside, &key));
            }
            prop_assert_eq!(merged(outside.clone()), outside);
            let all = one.shared().flat_map(|(_, parts)| parts).chain(one.range());
            for part in all {
                prop_assert!(part.len() <= one.resolution());
                prop_assert!(one.range().iter().any(|own| own.covers(part)));
            }
        }

        #[test]
        fn neighbours_that_do_not_know_the_same_servers_can_ask_each_other(
            size in 2..600_usize, known in prop::collection::vec(any::<bool>(), 600),
        ) {
            let servers = network(size);
            let (one, other) = (servers[0], servers[1]);
            let half: Vec<NodeId> = servers.iter().zip(known).enumerate()
                .filter(|(place, (_, known))| *place < 2 + size / 2 || *known)
                .map(|(_, (id, _))| *id).collect();
            let one = Neighbourhood::new(one, &servers, K);
            let other = Neighbourhood::new(other, &half, K);
            for (asker, asked) in [(&one, &other), (&other, &one)] {
                let of_asked = asker.shared().filter(|(id, _)| **id == asked.own());
                for part in of_asked.flat_map(|(_, parts)| parts) {
                    prop_assert!(part.len() <= asked.fingerprint_resolution());
                }
            }
        }

        #[test]
        fn the_closest_are_those_of_the_least_distance(
            size in 1..200_usize, count in 0..60_usize, near in 0..32_usize, key in any::<[u8; 32]>(),
        ) {
            let servers = network(size);
            let (own, others) = servers.split_first().unwrap();
            let one = Neighbourhood::new(*own, others, count / 2);
            let mut key = Key(key);
            key.0[..near].copy_from_slice(&own.as_bytes()[..near]);
            let truth = truly_closest(&servers, &key, count);
            prop_assert_eq!(one.closest(&key, count), truth);
            let double = truly_closest(&servers, &key, count / 2 * 2);
            prop_assert_eq!(one.may_take(&key), double.contains(own));
        }
    }
}
