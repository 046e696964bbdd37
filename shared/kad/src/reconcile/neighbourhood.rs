//! [`Neighbourhood`]: which parts of the keyspace a node should hold, and together with whom.
//!
//! Each key belongs to the k servers closest to it. Around a node the keyspace is cut into parts by
//! prefix, fine enough that hardly any part has a server of its own; within such a part all keys
//! have nearly the same closest servers, and those of its middle are taken for all of it. What that
//! gets wrong at the border, an offer by a holder that finds itself outside puts right.

use std::collections::BTreeMap;

use super::Prefix;
use crate::id::{Key, NodeId};

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
        let range = vec![Prefix::all()];
        let shared = servers.iter().filter(|id| **id != own).map(|id| (*id, range.clone()));
        let shared = shared.collect();
        Neighbourhood { own, k, servers, resolution: 0, range, shared }
    }

    /// The node whose neighbourhood it is.
    #[must_use]
    pub fn own(&self) -> NodeId {
        self.own
    }

    /// The longest prefix in any range, in half bytes: what fingerprints must tell apart.
    #[must_use]
    pub fn resolution(&self) -> usize {
        self.resolution
    }

    /// The parts of the keyspace that the node should hold; none covers another.
    #[must_use]
    pub fn range(&self) -> &[Prefix] {
        &self.range
    }

    /// The parts of the keyspace that it should not hold: those that the range leaves.
    #[must_use]
    pub fn outside(&self) -> Vec<Prefix> {
        Vec::new()
    }

    /// Whom it shares parts with, and which; none covers another. Not more than
    /// [`RANGE_MAX`](crate::message::reconcile::RANGE_MAX) for each.
    pub fn shared(&self) -> impl Iterator<Item = (&NodeId, &[Prefix])> {
        self.shared.iter().map(|(id, range)| (id, range.as_slice()))
    }

    /// The k servers closest to a key, closest first, the node itself among them if it is one.
    #[must_use]
    pub fn closest(&self, key: &Key, count: usize) -> Vec<NodeId> {
        let mut servers = self.servers.clone();
        servers.sort_unstable_by_key(|id| id.key().distance(key));
        servers.truncate(count);
        servers
    }

    /// Whether the node should take a record at this key: it is among the 2k closest, so that a
    /// holder that knows others better, or that some of them are gone, finds takers.
    #[must_use]
    pub fn may_take(&self, key: &Key) -> bool {
        self.closest(key, 2 * self.k).contains(&self.own)
    }
}
