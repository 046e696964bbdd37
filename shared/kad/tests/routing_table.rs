//! The routing table's properties, under random tables and random sequences of operations.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use dht_kad::routing::{Insertion, K, Prefix, RoutingTable, TableConfig};
use dht_kad::{Key, NodeId, UnixMs};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

fn random_key(rng: &mut ChaCha20Rng) -> Key {
    let mut key = Key([0; 32]);
    rng.fill_bytes(&mut key.0);
    key
}

/// A place that shares about `bits` bits with `near`, so that deep buckets are reached too.
fn key_near(near: &Key, bits: usize, rng: &mut ChaCha20Rng) -> Key {
    let mut key = random_key(rng);
    key.0[..bits / 8].copy_from_slice(&near.0[..bits / 8]);
    key
}

fn node(key: Key) -> NodeId {
    NodeId::from_bytes(key.0)
}

/// A prefix of its own for each number.
fn prefix(number: u32) -> Prefix {
    let [_, a, b, c] = number.to_be_bytes();
    Prefix::of(&SocketAddr::from(([a + 11, b, c, 1], 7000)))
}

fn table_of(own: NodeId, ids: &[NodeId]) -> RoutingTable {
    let mut table = RoutingTable::new(own, TableConfig::default());
    for (number, id) in ids.iter().enumerate() {
        table.insert(*id, prefix(number as u32), UnixMs(number as u64));
    }
    table
}

proptest! {
    /// Elsewhere, shared-prefix length was sorted as if it were distance: the farthest peers came
    /// first.
    #[test]
    fn distance_sorted_backwards(
        seed: u64, peers in 0_usize..400, count in 0_usize..60, depth in 0_usize..80,
        target_depth in 0_usize..=256,
    ) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let own = random_key(&mut rng);
        let ids: Vec<NodeId> = (0..peers)
            .map(|at| node(key_near(&own, at % (depth + 1), &mut rng)))
            .collect();
        let table = table_of(node(own), &ids);
        let target = key_near(&own, target_depth, &mut rng);

        let mut sorted = table.ids();
        sorted.sort_by_key(|id| target.distance(id.key()));
        sorted.truncate(count);
        prop_assert_eq!(table.closest(&target, count), sorted);
    }

    #[test]
    fn the_bounds_hold_whatever_happens_and_no_peer_is_in_two_buckets(
        seed: u64,
        operations in prop::collection::vec((0_u8..8, 0_usize..300, 0_u32..60), 1..900),
    ) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let own = random_key(&mut rng);
        let known: Vec<NodeId> =
            (0..300).map(|at| node(key_near(&own, at % 50, &mut rng))).chain([node(own)]).collect();
        let config = TableConfig::default();
        let mut table = RoutingTable::new(node(own), config);
        for (now, (operation, at, place)) in operations.into_iter().enumerate() {
            let (id, now) = (known[at], UnixMs(now as u64));
            let before: BTreeSet<NodeId> = table.ids().into_iter().collect();
            match operation {
                0 => {
                    let removal = table.remove(&id);
                    prop_assert_eq!(removal.removed, before.contains(&id));
                    prop_assert!(!table.contains(&id));
                    prop_assert!(removal.promoted.is_none_or(|promoted| table.contains(&promoted)));
                }
                1 => table.note_lookup(id.key(), now),
                _ => {
                    let insertion = table.insert(id, prefix(place), now);
                    let newcomer = insertion == Insertion::Added;
                    prop_assert_eq!(insertion == Insertion::Refreshed, before.contains(&id));
                    prop_assert_eq!(table.len(), before.len() + usize::from(newcomer));
                    prop_assert!(before.iter().all(|peer| table.contains(peer)), "one was evicted");
                    if insertion == Insertion::TooManyOfPrefix {
                        let same: Vec<NodeId> = table.ids().into_iter()
                            .filter(|peer| table.prefix_of(peer) == Some(prefix(place)))
                            .collect();
                        let bucket = table.bucket_index(id.key());
                        let near =
                            same.iter().filter(|peer| table.bucket_index(peer.key()) == bucket);
                        prop_assert!(same.len() >= 10 || near.count() >= 2, "refused for nothing");
                    }
                    if let Insertion::Waiting { revalidate } = insertion {
                        prop_assert!(table.contains(&revalidate) && !table.contains(&id));
                    }
                }
            }
            check_bounds(&table, &config)?;
        }
    }

    #[test]
    fn a_random_key_of_a_bucket_lies_in_it(seed: u64, peers in 0_usize..400) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let own = random_key(&mut rng);
        let ids: Vec<NodeId> = (0..peers).map(|_| node(random_key(&mut rng))).collect();
        let mut table = table_of(node(own), &ids);
        let stale = table.stale_buckets(UnixMs(1));
        prop_assert_eq!(stale.len(), table.bucket_sizes().len());
        for bucket in stale {
            let key = table.random_key_in(bucket, &mut rng);
            prop_assert_eq!(table.bucket_index(&key), bucket);
            table.note_lookup(&key, UnixMs(5));
        }
        prop_assert!(table.stale_buckets(UnixMs(5)).is_empty());
        prop_assert_eq!(table.stale_buckets(UnixMs(6)).len(), table.bucket_sizes().len());
    }
}

fn check_bounds(table: &RoutingTable, config: &TableConfig) -> Result<(), TestCaseError> {
    let ids = table.ids();
    let distinct: BTreeSet<NodeId> = ids.iter().copied().collect();
    prop_assert_eq!(distinct.len(), ids.len(), "a peer is in two buckets");
    prop_assert_eq!(table.len(), ids.len());
    prop_assert_eq!(table.is_empty(), ids.is_empty());
    prop_assert!(table.bucket_sizes().iter().all(|size| *size <= config.k));
    prop_assert!(table.replacement_counts().iter().all(|size| *size <= config.replacements_max));
    prop_assert_eq!(
        table.replacement_counts().last().copied(),
        Some(0),
        "the last bucket splits instead"
    );

    let mut in_table: BTreeMap<Prefix, usize> = BTreeMap::new();
    let mut in_bucket: BTreeMap<(usize, Prefix), usize> = BTreeMap::new();
    let mut buckets = table.bucket_sizes().into_iter().enumerate();
    let mut bucket_left = buckets.next().unwrap();
    for id in &ids {
        while bucket_left.1 == 0 {
            bucket_left = buckets.next().unwrap();
        }
        bucket_left.1 -= 1;
        let prefix = table.prefix_of(id).unwrap();
        *in_table.entry(prefix).or_default() += 1;
        *in_bucket.entry((bucket_left.0, prefix)).or_default() += 1;
    }
    prop_assert!(in_table.values().all(|count| *count <= config.peers_per_prefix_in_table));
    prop_assert!(in_bucket.values().all(|count| *count <= config.peers_per_prefix_in_bucket));
    Ok(())
}

/// An id in the half of the keyspace that the own id, all zeros, is not in.
fn far(number: u8) -> NodeId {
    let mut bytes = [number; 32];
    bytes[0] = 0x80;
    NodeId::from_bytes(bytes)
}

/// A table whose bucket 0 is full with `far(0)` to `far(19)`, heard in this order.
fn full_bucket() -> RoutingTable {
    let mut table = RoutingTable::new(NodeId::from_bytes([0; 32]), TableConfig::default());
    table.insert(NodeId::from_bytes([1; 32]), prefix(1000), UnixMs(0));
    for number in 0..20 {
        let inserted = table.insert(far(number), prefix(number.into()), UnixMs(number.into()));
        assert_eq!(inserted, Insertion::Added);
    }
    table
}

#[test]
fn a_full_bucket_keeps_its_peers_and_lets_newcomers_wait() {
    let mut table = full_bucket();
    let waiting = Insertion::Waiting { revalidate: far(0) };
    assert_eq!(table.insert(far(30), prefix(30), UnixMs(100)), waiting);
    assert_eq!(table.insert(far(31), prefix(31), UnixMs(101)), waiting);
    assert_eq!(table.insert(far(30), prefix(30), UnixMs(102)), waiting, "heard once more");
    assert_eq!(table.insert(far(0), prefix(0), UnixMs(103)), Insertion::Refreshed);
    let waiting = Insertion::Waiting { revalidate: far(1) };
    assert_eq!(table.insert(far(32), prefix(32), UnixMs(99)), waiting);

    assert_eq!(table.remove(&far(1)).promoted, Some(far(32)), "the last to be heard comes first");
    assert_eq!(table.remove(&far(2)).promoted, Some(far(30)));
    assert!(!table.contains(&far(31)));
    assert!(!table.remove(&far(31)).removed, "who only waits is not in the table");
    assert_eq!(table.remove(&far(3)).promoted, None, "and is forgotten");
}

#[test]
fn only_a_replacement_that_the_prefix_limits_allow_is_promoted() {
    let mut table = full_bucket();
    table.insert(far(30), prefix(30), UnixMs(100));
    table.insert(far(31), prefix(4), UnixMs(101));
    table.insert(far(5), prefix(4), UnixMs(102));
    assert_eq!(table.prefix_of(&far(5)), Some(prefix(4)), "its address changed");
    assert_eq!(table.remove(&far(0)).promoted, Some(far(30)));
    assert_eq!(table.remove(&far(4)).promoted, Some(far(31)));
}

#[test]
fn one_prefix_gets_two_places_in_a_bucket_and_ten_in_the_table() {
    let mut table = RoutingTable::new(NodeId::from_bytes([0; 32]), TableConfig::default());
    let mut added = 0;
    for bucket in 0..16_u8 {
        // Fills the bucket, so that the next one is a bucket of its own.
        for number in 0..K as u8 + 3 {
            let mut bytes = [number; 32];
            (bytes[0], bytes[1]) = (0, 0);
            bytes[usize::from(bucket / 8)] = 0x80 >> (bucket % 8);
            let crowd = number < 3;
            let place = if crowd { 9999 } else { 100 * u32::from(bucket) + u32::from(number) };
            let inserted =
                table.insert(NodeId::from_bytes(bytes), prefix(place), UnixMs(number.into()));
            added += usize::from(crowd && inserted == Insertion::Added);
            assert!(number != 2 || inserted == Insertion::TooManyOfPrefix);
        }
    }
    assert_eq!(added, 10);
}

#[test]
fn a_hundred_nodes_of_one_machine_are_a_full_network() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let own = random_key(&mut rng);
    let mut table = RoutingTable::new(node(own), TableConfig::default());
    for port in 1..=100 {
        let id = node(random_key(&mut rng));
        let prefix = Prefix::of(&SocketAddr::from(([127, 0, 0, 1], port)));
        let inserted = table.insert(id, prefix, UnixMs(0));
        assert_ne!(inserted, Insertion::TooManyOfPrefix);
    }
    assert_eq!(table.closest(&own, K).len(), K);
}

#[test]
fn peers_not_heard_for_long_are_named_longest_first() {
    let mut table = full_bucket();
    table.insert(far(0), prefix(0), UnixMs(50));
    let unheard = table.unheard_since(UnixMs(4));
    assert_eq!(unheard, [NodeId::from_bytes([1; 32]), far(1), far(2), far(3)]);
    assert_eq!(table.insert(table_own(), prefix(5), UnixMs(60)), Insertion::OwnId);
}

fn table_own() -> NodeId {
    NodeId::from_bytes([0; 32])
}
