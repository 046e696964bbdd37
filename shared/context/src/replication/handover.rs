//! Handing over: before a stop, what others may lack; before leaving for good, everything.
//!
//! ```text
//! stop:   puts refused ─▶ what publishers put here, and no round has shown at a quorum of the others
//!         ─▶ offered to all of them at once, again and again, while they fetch
//!         ─▶ a quorum holds each, or the limit has passed, or nobody answers
//! leave:  puts refused ─▶ passes over all that is here, as over what belongs elsewhere
//!         ─▶ a quorum of the others holds each ─▶ «I am leaving»
//!         ─▶ nothing has moved for long, or nobody waits for it any more ─▶ puts are taken again
//! ```
//!
//! Reads, comparisons and fetches are answered all the while. A node that has nothing to hand over
//! stops at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dht_kad::NodeId;
use dht_kad::message::Reconcile;
use dht_kad::message::reconcile::{Holding, OFFER_MAX, Offered};
use dht_kad::put::quorum_of;
use dht_kad::reconcile::{Cut, Prefix};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;

use super::Replication;
use super::offers::{Goal, Offering};
use super::part_walk::PartWalk;
use crate::context::Inner;

/// The first wait before a stop offers again what is being fetched; it doubles up to
/// [`OFFER_LONGEST`].
const OFFER_FIRST: Duration = Duration::from_millis(20);
/// The longest such wait.
const OFFER_LONGEST: Duration = Duration::from_millis(500);
/// After so many times in a row that nobody took anything a stop gives up: all others stop, too.
const IN_VAIN_MAX: u32 = 3;
/// The wait between two passes of a leave, while others fetch.
const PASS_AGAIN: Duration = Duration::from_secs(1);
/// A leave gives up when no further record was confirmed for so long.
const STILL_LONGEST: Duration = Duration::from_secs(120);
/// How many servers are told at once that this one leaves.
const TELL_PARALLEL: usize = 16;

/// What a leave came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct LeaveReport {
    /// Records that a quorum of those they belong to holds now.
    pub handed_over: u64,
    /// Records of which that is not known.
    pub not_confirmed: u64,
}

/// A leave under way. It is undone when this is dropped, unless it came to its end.
struct Leaving<'a>(&'a Replication);

impl Leaving<'_> {
    /// All was handed over: this node takes no puts any more.
    fn for_good(&self) {
        self.0.begin_end();
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.state().leaving = false;
        self.0.wake.notify_one();
    }
}

/// An item on its way to a quorum.
struct Pending {
    offered: Offered,
    /// Who should hold it, and does not as far as is known.
    targets: BTreeSet<NodeId>,
    /// How many of them still have to say that they do.
    needed: usize,
}

impl Replication {
    /// This node ends: it takes no puts from now on, and repairs nothing.
    pub(crate) fn begin_end(&self) {
        self.state().ending = true;
        self.wake.notify_one();
    }

    /// This node takes no puts and repairs nothing while it hands over what it holds.
    fn begin_leaving(&self) -> Leaving<'_> {
        self.state().leaving = true;
        Leaving(self)
    }

    /// What publishers put here of which nothing has shown that a quorum of the others holds it.
    fn pending(&self) -> Vec<Pending> {
        let state = self.state();
        let mut pending = Vec::new();
        for accepted in state.recent.versions() {
            if state.recent.proofs().is_offered(&accepted) {
                continue;
            }
            let others = accepted.others(&state.neighbourhood);
            let quorum = quorum_of(others.len());
            let all = others.len();
            let lacks =
                |id: &NodeId| !state.recent.proofs().is_held_by(&accepted, id, &state.turns);
            let targets: BTreeSet<NodeId> = others.into_iter().filter(lacks).collect();
            let needed = quorum.saturating_sub(all - targets.len());
            if all > 0 && needed > 0 {
                pending.push(Pending { offered: accepted.offered(), targets, needed });
            }
        }
        pending
    }
}

impl Inner {
    /// Hands over, within the time limit, what others may lack of what was put here.
    pub(crate) async fn hand_over(self: &Arc<Self>) {
        self.replication.begin_end();
        let pending = self.replication.pending();
        if pending.is_empty() {
            return;
        }
        let (started, count) = (Instant::now(), pending.len());
        let limit = self.config.timing.handover;
        let left = tokio::time::timeout(limit, self.offer_until_held(pending)).await;
        let took_ms = started.elapsed().as_millis();
        match left {
            Ok(0) => tracing::info!(count, took_ms, "handed over what was put here last"),
            Ok(left) => tracing::info!(count, left, took_ms, "nobody takes the rest over now"),
            Err(_) => tracing::info!(count, took_ms, "the rest is handed over at the next start"),
        }
    }

    /// Offers items until each is held by as many as it needs; says how many are not.
    async fn offer_until_held(self: &Arc<Self>, mut pending: Vec<Pending>) -> usize {
        let (mut attempt, mut in_vain) = (0, 0);
        while in_vain < IN_VAIN_MAX {
            let mut by_target: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
            for (place, item) in pending.iter().enumerate() {
                for id in item.targets.iter().filter(|id| self.registry.in_table(id)) {
                    by_target.entry(*id).or_default().push(place);
                }
            }
            let offers =
                by_target.into_iter().map(|(id, places)| self.offer_all(id, places, &pending));
            let answers = join_all(offers).await;
            let mut moved = false;
            for (id, answered) in answers {
                for (place, holding) in answered {
                    moved |= holding != Holding::Declined;
                    if holding == Holding::Held
                        && let Some(item) = pending.get_mut(place)
                    {
                        item.targets.remove(&id);
                        item.needed = item.needed.saturating_sub(1);
                    }
                }
            }
            pending.retain(|item| item.needed > 0);
            if pending.is_empty() {
                break;
            }
            in_vain = if moved { 0 } else { in_vain + 1 };
            tokio::time::sleep(self.chance.backoff(attempt, OFFER_FIRST, OFFER_LONGEST)).await;
            attempt += 1;
        }
        pending.len()
    }

    /// Offers items to one server, in batches; says what it answered of which.
    async fn offer_all(
        self: &Arc<Self>,
        id: NodeId,
        places: Vec<usize>,
        pending: &[Pending],
    ) -> (NodeId, Vec<(usize, Holding)>) {
        let mut answered = Vec::with_capacity(places.len());
        let node = self.peer(id);
        for batch in places.chunks(OFFER_MAX) {
            let items = batch.iter().filter_map(|place| pending.get(*place));
            let offers = items.map(|item| item.offered.clone()).collect();
            match self.offer_to(&node, offers).await {
                Ok(holdings) => answered.extend(batch.iter().copied().zip(holdings)),
                Err(error) => {
                    tracing::debug!(peer = %id, %error, "a neighbour does not answer an offer");
                    break;
                }
            }
        }
        (id, answered)
    }

    /// Hands over everything. If that came to its end, the neighbours are told that this node leaves
    /// for good; if not, or if this is dropped, the node goes on as before.
    pub(crate) async fn leave(
        self: &Arc<Self>,
        mut progress: impl FnMut(&LeaveReport),
    ) -> LeaveReport {
        let leaving = self.replication.begin_leaving();
        let (mut report, mut moved_at) = (LeaveReport::default(), Instant::now());
        let mut passes = 0;
        loop {
            let everywhere = vec![Prefix::all()];
            let cut = Cut::at(self.clock.now());
            let walk = PartWalk::new(&*self.store, &cut, everywhere, None, OFFER_MAX);
            let mut pass = Offering::new(walk, Goal::Others, passes);
            passes += 1;
            while self.offer_next(&mut pass).await {
                tokio::task::yield_now().await;
            }
            let before = report.handed_over;
            report =
                LeaveReport { handed_over: pass.confirmed(), not_confirmed: pass.unconfirmed() };
            progress(&report);
            if report.handed_over > before {
                moved_at = Instant::now();
            }
            if report.not_confirmed == 0 || moved_at.elapsed() >= STILL_LONGEST {
                break;
            }
            tokio::time::sleep(PASS_AGAIN).await;
        }
        if report.not_confirmed == 0 {
            leaving.for_good();
            self.say_leaving().await;
        }
        report
    }

    /// Tells all servers of the table that this one leaves for good.
    async fn say_leaving(self: &Arc<Self>) {
        let told = self.registry.servers().into_iter().map(|id| async move {
            if let Err(error) = self.ask_holder(&self.peer(id), Reconcile::Leaving).await {
                tracing::debug!(peer = %id, %error, "a neighbour was not told of the leaving");
            }
        });
        stream::iter(told).buffer_unordered(TELL_PARALLEL).collect::<()>().await;
    }
}
