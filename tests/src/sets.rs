//! What nodes hold, compared as their neighbours compare it.

use dht_kad::message::reconcile::{GroupPrint, Whole};
use dht_kad::message::{Reconcile, Reconciled, Request, Response};
use dht_kad::reconcile::{Cut, Prefix, Print};

use crate::node_process::NodeProcess;
use crate::records::now;
use crate::wire::WirePeer;

/// The fingerprints of all that a node holds and that does not end soon, group by group.
#[must_use]
pub fn groups_of(peer: &WirePeer, cut: Cut) -> Vec<GroupPrint> {
    // No set has this print, so that the node tells what it has in its place.
    let print = Print { count: u64::MAX, hash: [0; 16] };
    let whole = Whole { cut, range: vec![Prefix::all()], print };
    match peer.ask(&Request::Reconcile(Reconcile::Whole(whole))) {
        Response::Reconciled(Reconciled::Groups(groups)) => groups,
        other => panic!("not the groups of a node: {other:?}"),
    }
}

/// How many records each node holds if all hold the same, or nothing if they differ.
#[must_use]
pub fn held_alike(nodes: &[NodeProcess]) -> Option<u64> {
    let cut = Cut::at(now());
    let mut sets = nodes.iter().map(|node| groups_of(&WirePeer::to(node), cut));
    let first = sets.next().unwrap_or_default();
    let alike = sets.all(|set| set == first);
    alike.then(|| first.iter().map(|group| group.print.count).sum())
}
