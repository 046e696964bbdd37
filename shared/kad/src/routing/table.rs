//! [`RoutingTable`]: buckets that split around the own id.

use std::collections::BTreeMap;

use rand_core::Rng;

use super::TableConfig;
use super::bucket::{Bucket, Peer};
use super::prefix::Prefix;
use crate::id::{Distance, ID_LEN, Key, NodeId};
use crate::message::NODES_MAX;
use crate::time::UnixMs;

/// The most buckets there can be. A further one would hold the own id alone.
const BUCKETS_MAX: usize = 8 * ID_LEN;

/// The servers that a node keeps in mind, by distance from itself.
#[derive(Debug)]
pub struct RoutingTable {
    own: NodeId,
    config: TableConfig,
    /// Never empty. Bucket `i` shares exactly `i` bits with the own id, the last one at least that.
    buckets: Vec<Bucket>,
    /// How many peers of each prefix are in the buckets.
    of_prefix: BTreeMap<Prefix, usize>,
}

/// Names a bucket of the table as it is now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BucketIndex(usize);

/// What became of a peer that was inserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Insertion {
    /// It is in the table now.
    Added,
    /// It was in the table, and is now the most recently heard.
    Refreshed,
    /// Its bucket is full, and it waits. Ask `revalidate`, the peer that was not heard for longest,
    /// and remove that one if it does not answer.
    Waiting {
        /// The longest unheard peer of the bucket.
        revalidate: NodeId,
    },
    /// Enough peers of its prefix are there.
    TooManyOfPrefix,
    /// A node does not keep itself.
    OwnId,
}

/// What became of a peer that was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Removal {
    /// Whether it was in the table. Who only waited is forgotten without being counted here.
    pub removed: bool,
    /// Who took its place; worth asking, since it may have waited for long.
    pub promoted: Option<NodeId>,
}

impl RoutingTable {
    /// An empty table for the node `own`. All of it counts as not looked up yet.
    #[must_use]
    pub fn new(own: NodeId, config: TableConfig) -> Self {
        let config = TableConfig { k: config.k.max(1), ..config };
        RoutingTable { own, config, buckets: vec![Bucket::default()], of_prefix: BTreeMap::new() }
    }

    /// Takes note of a peer that has just answered as an authenticated server.
    ///
    /// A known peer becomes the most recently heard of its bucket; if its prefix changed, the new
    /// one is counted from now on unless there are enough of it, in which case the old one is.
    pub fn insert(&mut self, id: NodeId, prefix: Prefix, now: UnixMs) -> Insertion {
        if id == self.own {
            return Insertion::OwnId;
        }
        if self.refresh(&id, prefix, now) {
            return Insertion::Refreshed;
        }
        if self.count_of(prefix) >= self.config.peers_per_prefix_in_table {
            return Insertion::TooManyOfPrefix;
        }
        self.split_for(&id);
        let at = self.bucket_of(id.key());
        if !self.fits(at, prefix) {
            return Insertion::TooManyOfPrefix;
        }
        let peer = Peer { id, prefix, heard: now };
        let TableConfig { k, replacements_max, peers_per_prefix_in_bucket, .. } = self.config;
        if let Some(bucket) = self.buckets.get_mut(at)
            && bucket.peers().len() >= k
            && let Some(revalidate) = bucket.longest_unheard()
        {
            bucket.wait(peer, replacements_max, peers_per_prefix_in_bucket);
            return Insertion::Waiting { revalidate };
        }
        self.add(at, peer);
        Insertion::Added
    }

    /// Forgets a peer, because it failed or stopped being a server. The most recently heard
    /// replacement that the prefix limits allow takes its place.
    pub fn remove(&mut self, id: &NodeId) -> Removal {
        let at = self.bucket_of(id.key());
        let Some(bucket) = self.buckets.get_mut(at) else { return Removal::default() };
        bucket.take_replacement(id);
        let Some(peer) = bucket.take(id) else { return Removal::default() };
        self.uncount(peer.prefix);
        Removal { removed: true, promoted: self.promote(at) }
    }

    /// Whether this peer is in the table. Who only waits is not.
    #[must_use]
    pub fn contains(&self, id: &NodeId) -> bool {
        self.buckets.get(self.bucket_of(id.key())).is_some_and(|bucket| bucket.get(id).is_some())
    }

    /// How many peers are in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.peers().len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.peers().is_empty())
    }

    /// The `count` peers of the table that are closest to `target`, closest first.
    #[must_use]
    pub fn closest(&self, target: &Key, count: usize) -> Vec<NodeId> {
        self.by_distance(target).take(count).collect()
    }

    /// All peers of the table, those closest to `target` first.
    ///
    /// Buckets are disjoint ranges of distance from any target, so they are visited nearest first
    /// and only those needed are sorted: one to three of them as a rule.
    fn by_distance<'a>(&'a self, target: &'a Key) -> impl Iterator<Item = NodeId> {
        self.nearest_first(target).flat_map(|bucket| {
            let ranked = bucket.peers().iter().map(|p| (target.distance(p.id.key()), p.id));
            let mut ranked: Vec<(Distance, NodeId)> = ranked.collect();
            ranked.sort_unstable();
            ranked.into_iter().map(|(_, id)| id)
        })
    }

    /// Whom to name to somebody who asks for the servers closest to `target`: the k closest of the
    /// table; and where some of these are not whole, as far as is known, the next closest that are, until
    /// k whole ones are named, or [`NODES_MAX`] in all. Closest first, without `except`.
    ///
    /// The k closest alone would not do: where k servers have just joined next to a place, nobody
    /// would hear of those that hold what lies there.
    #[must_use]
    pub fn to_name(
        &self,
        target: &Key,
        except: Option<&NodeId>,
        is_whole: impl Fn(&NodeId) -> bool,
    ) -> Vec<NodeId> {
        let k = self.config.k;
        let mut others = self.by_distance(target).filter(|id| Some(id) != except);
        let mut named: Vec<NodeId> = others.by_ref().take(k).collect();
        let whole = named.iter().filter(|id| is_whole(id)).count();
        let places = (k - whole).min(NODES_MAX.saturating_sub(k));
        named.extend(others.filter(is_whole).take(places));
        named
    }

    /// The peers that were last heard before `before`, longest unheard first: ask them, and remove
    /// who does not answer.
    #[must_use]
    pub fn unheard_since(&self, before: UnixMs) -> Vec<NodeId> {
        let mut unheard: Vec<(UnixMs, NodeId)> =
            self.peers().filter(|p| p.heard < before).map(|p| (p.heard, p.id)).collect();
        unheard.sort_unstable();
        unheard.into_iter().map(|(_, id)| id).collect()
    }

    /// The buckets in which no key was looked up since `before`: look up a random key in each.
    #[must_use]
    pub fn stale_buckets(&self, before: UnixMs) -> Vec<BucketIndex> {
        let stale = self.buckets.iter().enumerate().filter(|(_, b)| b.looked_up < before);
        stale.map(|(at, _)| BucketIndex(at)).collect()
    }

    /// Takes note that `target` was looked up.
    pub fn note_lookup(&mut self, target: &Key, now: UnixMs) {
        let at = self.bucket_of(target);
        if let Some(bucket) = self.buckets.get_mut(at) {
            bucket.looked_up = now;
        }
    }

    /// A random key of the bucket's range, each as likely as any other.
    #[must_use]
    pub fn random_key_in(&self, bucket: BucketIndex, rng: &mut impl Rng) -> Key {
        let mut key = Key([0; ID_LEN]);
        rng.fill_bytes(&mut key.0);
        let shared = bucket.0.min(self.last());
        for at in 0..shared {
            set_bit(&mut key, at, bit(self.own.key(), at));
        }
        if shared < self.last() {
            set_bit(&mut key, shared, !bit(self.own.key(), shared));
        }
        key
    }

    /// All peers, bucket by bucket from the farthest.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.peers().map(|peer| peer.id).collect()
    }

    /// How many peers each bucket holds, from the farthest.
    #[must_use]
    pub fn bucket_sizes(&self) -> Vec<usize> {
        self.buckets.iter().map(|bucket| bucket.peers().len()).collect()
    }

    /// How many wait to replace a peer of each bucket, from the farthest.
    #[must_use]
    pub fn replacement_counts(&self) -> Vec<usize> {
        self.buckets.iter().map(|bucket| bucket.replacements().len()).collect()
    }

    /// The bucket whose range a key lies in.
    #[must_use]
    pub fn bucket_index(&self, key: &Key) -> BucketIndex {
        BucketIndex(self.bucket_of(key))
    }

    /// The prefix that a peer of the table is counted under.
    #[must_use]
    pub fn prefix_of(&self, id: &NodeId) -> Option<Prefix> {
        self.buckets.get(self.bucket_of(id.key()))?.get(id).map(|peer| peer.prefix)
    }

    fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.buckets.iter().flat_map(|bucket| bucket.peers())
    }

    fn last(&self) -> usize {
        self.buckets.len().saturating_sub(1)
    }

    fn bucket_of(&self, key: &Key) -> usize {
        (self.own.key().distance(key).shared_bits() as usize).min(self.last())
    }

    /// All buckets, those with the closest peers to `target` first.
    ///
    /// Bucket `i` lies on the other side of bit `i` from the own id. If the target does too, the
    /// bucket is nearer to it than all that follow (they are on the own side); if not, farther than
    /// all that follow. So: the former ascending, then the last, then the latter descending.
    fn nearest_first<'a>(&'a self, target: &'a Key) -> impl Iterator<Item = &'a Bucket> {
        let last = self.last();
        let beyond = move |at: &usize| bit(self.own.key(), *at) != bit(target, *at);
        let nearer = (0..last).filter(beyond);
        let farther = (0..last).rev().filter(move |at| !beyond(at));
        nearer.chain([last]).chain(farther).filter_map(|at| self.buckets.get(at))
    }

    fn refresh(&mut self, id: &NodeId, prefix: Prefix, now: UnixMs) -> bool {
        let at = self.bucket_of(id.key());
        let Some(mut peer) = self.buckets.get_mut(at).and_then(|bucket| bucket.take(id)) else {
            return false;
        };
        self.uncount(peer.prefix);
        if self.fits(at, prefix) {
            peer.prefix = prefix;
        }
        peer.heard = now;
        self.add(at, peer);
        true
    }

    /// Splits the last bucket until the newcomer's has room or is not the last.
    fn split_for(&mut self, id: &NodeId) {
        while self.buckets.len() < BUCKETS_MAX && self.bucket_of(id.key()) == self.last() {
            let (own, last, k) = (self.own, self.last(), self.config.k);
            let Some(bucket) = self.buckets.last_mut().filter(|b| b.peers().len() >= k) else {
                return;
            };
            let closer = bucket
                .split_off(|peer| own.key().distance(peer.key()).shared_bits() as usize > last);
            self.buckets.push(closer);
        }
    }

    fn promote(&mut self, at: usize) -> Option<NodeId> {
        let waiting = self.buckets.get(at)?.replacements().iter().rev();
        let peer = *waiting.into_iter().find(|peer| self.fits(at, peer.prefix))?;
        self.add(at, peer);
        Some(peer.id)
    }

    fn add(&mut self, at: usize, peer: Peer) {
        if let Some(bucket) = self.buckets.get_mut(at) {
            bucket.add(peer);
            *self.of_prefix.entry(peer.prefix).or_default() += 1;
        }
    }

    fn fits(&self, at: usize, prefix: Prefix) -> bool {
        let in_bucket = self.buckets.get(at).map_or(0, |bucket| bucket.of_prefix(prefix));
        in_bucket < self.config.peers_per_prefix_in_bucket
            && self.count_of(prefix) < self.config.peers_per_prefix_in_table
    }

    fn count_of(&self, prefix: Prefix) -> usize {
        self.of_prefix.get(&prefix).copied().unwrap_or(0)
    }

    fn uncount(&mut self, prefix: Prefix) {
        let left = self.count_of(prefix).saturating_sub(1);
        if left == 0 {
            self.of_prefix.remove(&prefix);
        } else {
            self.of_prefix.insert(prefix, left);
        }
    }
}

fn bit(key: &Key, at: usize) -> bool {
    key.0.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0)
}

fn set_bit(key: &mut Key, at: usize, on: bool) {
    if let Some(byte) = key.0.get_mut(at / 8) {
        let mask = 0x80 >> (at % 8);
        *byte = if on { *byte | mask } else { *byte & !mask };
    }
}
