//! One bucket: the peers of one region, and who waits to replace them.

use super::prefix::Prefix;
use crate::id::NodeId;
use crate::time::UnixMs;

/// A server as the table remembers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    pub(super) id: NodeId,
    pub(super) prefix: Prefix,
    pub(super) heard: UnixMs,
}

/// The peers of one region of the keyspace.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Longest unheard first.
    peers: Vec<Peer>,
    /// Longest unheard first; disjoint from the peers.
    replacements: Vec<Peer>,
    /// When somebody last looked up a key of this region.
    pub(super) looked_up: UnixMs,
}

impl Bucket {
    pub(super) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    pub(super) fn replacements(&self) -> &[Peer] {
        &self.replacements
    }

    pub(super) fn longest_unheard(&self) -> Option<NodeId> {
        self.peers.first().map(|peer| peer.id)
    }

    pub(super) fn get(&self, id: &NodeId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.id == *id)
    }

    pub(super) fn of_prefix(&self, prefix: Prefix) -> usize {
        of_prefix(&self.peers, prefix)
    }

    /// Adds a peer, or puts one back, where the time it was heard says.
    pub(super) fn add(&mut self, peer: Peer) {
        self.take_replacement(&peer.id);
        let place = self.peers.partition_point(|other| other.heard <= peer.heard);
        self.peers.insert(place, peer);
    }

    pub(super) fn take(&mut self, id: &NodeId) -> Option<Peer> {
        take(&mut self.peers, id)
    }

    pub(super) fn take_replacement(&mut self, id: &NodeId) -> Option<Peer> {
        take(&mut self.replacements, id)
    }

    /// Lets a peer wait. When there are too many, of its prefix or in all, the one that was not
    /// heard for longest makes room, so that nobody fills the waiting line from one place.
    pub(super) fn wait(&mut self, peer: Peer, max: usize, max_of_prefix: usize) {
        self.take_replacement(&peer.id);
        self.replacements.push(peer);
        if of_prefix(&self.replacements, peer.prefix) > max_of_prefix
            && let Some(oldest) = self.replacements.iter().position(|o| o.prefix == peer.prefix)
        {
            self.replacements.remove(oldest);
        }
        if self.replacements.len() > max {
            self.replacements.remove(0);
        }
    }

    /// Moves the peers for which `leaves` holds to a new bucket. Only the last bucket splits, and
    /// it splits before anyone would have to wait, so there are no replacements to divide.
    pub(super) fn split_off(&mut self, leaves: impl Fn(&NodeId) -> bool) -> Bucket {
        let (gone, stay) = self.peers.iter().copied().partition(|peer| leaves(&peer.id));
        self.peers = stay;
        Bucket { peers: gone, replacements: Vec::new(), looked_up: self.looked_up }
    }
}

fn of_prefix(peers: &[Peer], prefix: Prefix) -> usize {
    peers.iter().filter(|peer| peer.prefix == prefix).count()
}

fn take(peers: &mut Vec<Peer>, id: &NodeId) -> Option<Peer> {
    let place = peers.iter().position(|peer| peer.id == *id)?;
    Some(peers.remove(place))
}
