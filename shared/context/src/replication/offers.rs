//! Offers: what lies here and belongs elsewhere.
//!
//! A node that is not among the closest to a key any more, because closer ones came, keeps what it
//! holds there and serves it. It offers it to those that it belongs to now, as slots and versions;
//! they fetch what they lack, at their own pace. Offered again later they answer that they hold it.
//! Once a quorum of them says so of all of a part, that part is done until it changes. Nothing is
//! ever deleted for having been handed on.
//!
//! Parts are small enough to be offered at once. Whom an item belongs to is looked up for all of its
//! surroundings together: at the resolution of this node's neighbourhood, keys have nearly the same
//! closest servers, there as here.

use std::collections::BTreeMap;
use std::sync::Arc;

use dht_kad::message::NodeInfo;
use dht_kad::message::reconcile::{Holding, OFFER_MAX, Offered, Reconcile, Reconciled};
use dht_kad::put::quorum_of;
use dht_kad::reconcile::{Cut, Item, Part, Prefix, RowKey};
use dht_kad::routing::K;

use super::part_walk::PartWalk;
use crate::context::Inner;
use crate::requests::AskError;

/// The most places of which it is remembered during a pass who is closest to them, at some 2 KiB each.
const REGIONS_MAX: usize = 1_024;
/// The most parts that are passed over at once because they are done: others get their turn then.
const PASSED_MAX: usize = 32;

/// A pass over what is to be offered.
#[derive(Debug)]
pub(crate) struct Offering {
    walk: PartWalk,
    goal: Goal,
    /// Who is closest to which part of the keyspace, as looked up during this pass.
    closest: BTreeMap<Prefix, Vec<NodeInfo>>,
    confirmed: u64,
    unconfirmed: u64,
}

/// Among whom a quorum is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Goal {
    /// The closest, this node perhaps among them.
    Closest,
    /// The closest others: this node leaves.
    Others,
}

impl Offering {
    /// A pass that takes this walk.
    pub(super) fn new(walk: PartWalk, goal: Goal) -> Self {
        Offering { walk, goal, closest: BTreeMap::new(), confirmed: 0, unconfirmed: 0 }
    }

    /// How many items a quorum has said to hold.
    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// How many items no quorum has said to hold yet.
    pub(super) fn unconfirmed(&self) -> u64 {
        self.unconfirmed
    }
}

impl Inner {
    /// A pass over all that lies outside of what belongs here.
    pub(super) fn begin_offering(&self) -> Offering {
        let outside = self.replication.neighbourhood().outside();
        let covered = |part: &Part| outside.iter().any(|prefix| prefix.covers(&part.prefix));
        let cut = Cut::at(self.clock.now());
        let keep = |part: &Part| cut.takes(&part.group) && covered(part);
        self.replication.state().progress.retain_offered(keep);
        Offering::new(PartWalk::new(&*self.store, &cut, outside, None, OFFER_MAX), Goal::Closest)
    }

    /// Offers the next part that is not done. False when there is none.
    pub(super) async fn offer_next(self: &Arc<Self>, offering: &mut Offering) -> bool {
        for _ in 0..PASSED_MAX {
            let next = offering.walk.next(&*self.store).await;
            let Some((part, print)) = next else { return false };
            // Who leaves does not count itself, as it may have when this was remembered.
            let closest = offering.goal == Goal::Closest;
            if closest && self.replication.state().progress.is_offered(&part, &print) {
                offering.confirmed += print.count;
                continue;
            }
            let unconfirmed = self.offer_part(&part, offering).await;
            offering.unconfirmed += unconfirmed;
            offering.confirmed += print.count.saturating_sub(unconfirmed);
            if unconfirmed == 0 && closest {
                self.replication.state().progress.note_offered(part, &print);
            }
            return true;
        }
        true
    }

    /// Offers all items of a part; says how many of them no quorum holds yet.
    async fn offer_part(self: &Arc<Self>, part: &Part, offering: &mut Offering) -> u64 {
        let mut unconfirmed = 0;
        let mut after: Option<RowKey> = None;
        loop {
            let items = self.store.items(part.clone(), after, OFFER_MAX).wait().await;
            let Ok(items) = items else { return unconfirmed + 1 };
            after = items.last().map(|item| item.row);
            unconfirmed += self.offer_items(part, &items, offering).await;
            if items.len() < OFFER_MAX {
                return unconfirmed;
            }
        }
    }

    async fn offer_items(
        self: &Arc<Self>,
        part: &Part,
        items: &[Item],
        offering: &mut Offering,
    ) -> u64 {
        let depth = self.replication.neighbourhood().resolution().max(part.prefix.len());
        let mut unconfirmed = 0;
        for near in items.chunk_by(|a, b| Prefix::of(&a.row, depth) == Prefix::of(&b.row, depth)) {
            let Some(first) = near.first() else { continue };
            let targets = self.belongs_to(Prefix::of(&first.row, depth), offering).await;
            let offered = near.iter().map(|item| Offered::new(part.group, item)).collect();
            unconfirmed += self.offer_to_quorum(offered, &targets).await;
        }
        unconfirmed
    }

    /// The servers that the keys under a prefix belong to, closest first. Nobody, if far fewer are found
    /// than this node remembers: that these few hold something would mean as little as a put that only
    /// they acknowledge.
    async fn belongs_to(
        self: &Arc<Self>,
        region: Prefix,
        offering: &mut Offering,
    ) -> Vec<NodeInfo> {
        if let Some(closest) = offering.closest.get(&region) {
            return closest.clone();
        }
        self.replication.pace.before_request().await;
        let closest = self.closest_servers(&region.middle_key(), Vec::new()).await.into_iter();
        let own = (offering.goal == Goal::Others).then(|| self.registry.own());
        let closest = closest.map(|node| node.info).filter(|node| Some(node.id) != own);
        let closest: Vec<NodeInfo> = closest.take(K).collect();
        if closest.len().saturating_mul(2) < self.membership.remembered() {
            return Vec::new();
        }
        if offering.closest.len() >= REGIONS_MAX {
            offering.closest.pop_first();
        }
        offering.closest.insert(region, closest.clone());
        closest
    }

    /// Offers items to as many of these servers, closest first, as it takes for a quorum to hold
    /// each or to fetch it now. Says how many no quorum holds yet.
    async fn offer_to_quorum(self: &Arc<Self>, offered: Vec<Offered>, targets: &[NodeInfo]) -> u64 {
        let own = self.registry.own();
        let need = quorum_of(targets.len());
        let here = usize::from(targets.iter().any(|node| node.id == own));
        let mut copies: Vec<(Offered, usize, usize)> =
            offered.into_iter().map(|offered| (offered, here, 0)).collect();
        for node in targets.iter().filter(|node| node.id != own) {
            let mut open: Vec<_> =
                copies.iter_mut().filter(|(_, held, coming)| held + coming < need).collect();
            if open.is_empty() {
                break;
            }
            let offers = open.iter().map(|(offered, _, _)| offered.clone()).collect();
            let Ok(holdings) = self.offer_to(node, offers).await else { continue };
            for ((_, held, coming), holding) in open.iter_mut().zip(holdings) {
                *held += usize::from(holding == Holding::Held);
                *coming += usize::from(holding == Holding::Wanted);
            }
        }
        let lacking = copies.iter().filter(|(_, held, _)| *held < need).count();
        u64::try_from(lacking).unwrap_or(u64::MAX)
    }

    /// Offers items to one server: at most [`OFFER_MAX`].
    pub(super) async fn offer_to(
        self: &Arc<Self>,
        node: &NodeInfo,
        offers: Vec<Offered>,
    ) -> Result<Vec<Holding>, AskError> {
        let count = offers.len();
        match self.ask_holder(node, Reconcile::Offer(offers)).await? {
            (Reconciled::Holdings(holdings), _) if holdings.len() == count => Ok(holdings),
            _ => Err(AskError::WrongAnswer(node.id)),
        }
    }
}
