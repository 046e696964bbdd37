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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dht_kad::message::NodeInfo;
use dht_kad::message::reconcile::{Holding, OFFER_MAX, Offered, Reconcile, Reconciled};
use dht_kad::put::{quorum_of, too_few};
use dht_kad::reconcile::{Cut, Item, Part, Prefix, RowKey};
use dht_kad::routing::K;
use tokio::time::Instant;

use super::part_walk::PartWalk;
use crate::context::Inner;
use crate::requests::AskError;

/// The most places of which it is remembered who is closest to them, at some 2 KiB each.
const REGIONS_MAX: usize = 1_024;
/// From so many items on a server is first asked to list what it has of their part.
const LIST_FROM: usize = 4;
/// The most parts that are passed over at once because they are done: others get their turn then.
const PASSED_MAX: usize = 32;
/// In so many passes, one soon after another, what a server fetches counts as held, so that no more copies
/// leave here than it takes. What it does not hold after that it may never hold, as it is full, or lies:
/// then others are asked as well.
const COMING_PASSES: u32 = 3;

/// A pass over what is to be offered.
#[derive(Debug)]
pub(crate) struct Offering {
    walk: PartWalk,
    began: Instant,
    aim: Aim,
    confirmed: u64,
    unconfirmed: u64,
}

/// Who is closest to which part of the keyspace, as looked up lately: looking it up costs more than
/// most offers do.
#[derive(Debug, Default)]
pub(super) struct Regions(BTreeMap<Prefix, (Instant, Vec<NodeInfo>)>);

impl Regions {
    fn get(&self, region: &Prefix, within: Duration) -> Option<Vec<NodeInfo>> {
        let (at, closest) = self.0.get(region)?;
        (at.elapsed() < within).then(|| closest.clone())
    }

    fn note(&mut self, region: Prefix, closest: &[NodeInfo]) {
        if self.0.len() >= REGIONS_MAX {
            self.0.pop_first();
        }
        self.0.insert(region, (Instant::now(), closest.to_vec()));
    }
}

/// Among whom a quorum is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Goal {
    /// The closest, this node perhaps among them.
    Closest,
    /// The closest others: this node leaves.
    Others,
}

/// What a pass is for.
#[derive(Clone, Copy, Debug)]
struct Aim {
    goal: Goal,
    /// Whether what a server fetches now counts as held by it, as far as whom to ask goes.
    coming_counts: bool,
}

impl Offering {
    /// A pass that takes this walk, after so many in a row that left something unconfirmed.
    pub(super) fn new(walk: PartWalk, goal: Goal, passes_before: u32) -> Self {
        let aim = Aim { goal, coming_counts: passes_before < COMING_PASSES };
        Offering { walk, began: Instant::now(), aim, confirmed: 0, unconfirmed: 0 }
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
    /// A pass over all that lies outside of what belongs here, after so many in a row that left
    /// something unconfirmed.
    pub(super) fn begin_offering(&self, passes_before: u32) -> Offering {
        let outside = self.replication.neighbourhood().outside();
        let covered = |part: &Part| outside.iter().any(|prefix| prefix.covers(&part.prefix));
        let cut = Cut::at(self.clock.now());
        let keep = |part: &Part| cut.takes(&part.group) && covered(part);
        self.replication.state().progress.retain_offered(keep);
        let walk = PartWalk::new(&*self.store, &cut, outside, None, OFFER_MAX);
        Offering::new(walk, Goal::Closest, passes_before)
    }

    /// Offers the next part that is not done. False when there is none.
    pub(super) async fn offer_next(self: &Arc<Self>, offering: &mut Offering) -> bool {
        // Who leaves does not count itself, as it may have when something was remembered.
        let closest = offering.aim.goal == Goal::Closest;
        for _ in 0..PASSED_MAX {
            let Some((part, print)) = offering.walk.next(&*self.store).await else {
                if closest && offering.unconfirmed == 0 {
                    let prefixes = offering.walk.prefixes().to_vec();
                    self.replication.state().recent.note_offered(offering.began, prefixes);
                }
                return false;
            };
            if closest && self.replication.state().progress.is_offered(&part, &print) {
                offering.confirmed += print.count;
                continue;
            }
            let unconfirmed = self.offer_part(&part, offering.aim).await;
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
    async fn offer_part(self: &Arc<Self>, part: &Part, aim: Aim) -> u64 {
        let mut unconfirmed = 0;
        let mut after: Option<RowKey> = None;
        loop {
            let items = self.store.items(part.clone(), after, OFFER_MAX).wait().await;
            let Ok(items) = items else { return unconfirmed + 1 };
            after = items.last().map(|item| item.row);
            unconfirmed += self.offer_items(part, &items, aim).await;
            if items.len() < OFFER_MAX {
                return unconfirmed;
            }
        }
    }

    async fn offer_items(self: &Arc<Self>, part: &Part, items: &[Item], aim: Aim) -> u64 {
        let depth = self.replication.neighbourhood().resolution();
        let mut unconfirmed = 0;
        for near in items.chunk_by(|a, b| Prefix::of(&a.row, depth) == Prefix::of(&b.row, depth)) {
            let Some(first) = near.first() else { continue };
            let targets = self.belongs_to(Prefix::of(&first.row, depth), aim.goal).await;
            unconfirmed += self.offer_to_quorum(part, near, &targets, aim.coming_counts).await;
        }
        unconfirmed
    }

    /// The servers that the keys under a prefix belong to, closest first. Nobody, if far fewer are found
    /// than this node remembers: that these few hold something would mean as little as a put that only
    /// they acknowledge.
    async fn belongs_to(self: &Arc<Self>, region: Prefix, goal: Goal) -> Vec<NodeInfo> {
        let lately = self.config.timing.repair_every;
        let known = self.replication.state().regions.get(&region, lately);
        let closest = match known {
            Some(closest) => closest,
            None => {
                self.replication.pace.before_request().await;
                let closest = self.closest_servers(&region.middle_key(), Vec::new()).await;
                let closest: Vec<NodeInfo> = closest.into_iter().map(|node| node.info).collect();
                if too_few(closest.len(), self.membership.remembered(), K) {
                    return Vec::new();
                }
                self.replication.state().regions.note(region, &closest);
                closest
            }
        };
        let own = (goal == Goal::Others).then(|| self.registry.own());
        closest.into_iter().filter(|node| Some(node.id) != own).take(K).collect()
    }

    /// Offers items of a part to as many of these servers, closest first, as it takes for a quorum to
    /// hold each, or to fetch it now if that counts. Says how many no quorum holds yet.
    ///
    /// What a server lists of the part needs no offer: a name costs 9 bytes in a list, and some 120 in
    /// an offer.
    async fn offer_to_quorum(
        self: &Arc<Self>,
        part: &Part,
        items: &[Item],
        targets: &[NodeInfo],
        coming_counts: bool,
    ) -> u64 {
        let own = self.registry.own();
        let need = quorum_of(targets.len());
        let here = usize::from(targets.iter().any(|node| node.id == own));
        let mut copies: Vec<(&Item, usize, usize)> =
            items.iter().map(|item| (item, here, 0)).collect();
        for node in targets.iter().filter(|node| node.id != own) {
            let mut open: Vec<_> =
                copies.iter_mut().filter(|(_, held, coming)| held + coming < need).collect();
            if open.len() >= LIST_FROM
                && let Ok((Reconciled::Items(listed), _)) =
                    self.ask_holder(node, Reconcile::Listing(part.clone())).await
            {
                let listed: BTreeSet<u64> = listed.into_iter().collect();
                for (item, held, _) in &mut open {
                    *held += usize::from(listed.contains(&item.short()));
                }
                open.retain(|(item, _, _)| !listed.contains(&item.short()));
                if open.is_empty() {
                    continue;
                }
            }
            if open.is_empty() {
                break;
            }
            let offers = open.iter().map(|(item, _, _)| Offered::new(part.group, item)).collect();
            let Ok(holdings) = self.offer_to(node, offers).await else { continue };
            for ((_, held, coming), holding) in open.iter_mut().zip(holdings) {
                *held += usize::from(holding == Holding::Held);
                *coming += usize::from(coming_counts && holding == Holding::Wanted);
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
