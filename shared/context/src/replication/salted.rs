//! The salted comparison: what nobody can prepare for.
//!
//! Fingerprints are sums, and whoever may choose very many digests can choose some whose sum is that
//! of others: a holder that lacks the former and has the latter would never be found out. So, part by
//! part, all that a node holds is compared once a day with one neighbour by the sum of digests
//! hashed under a salt made that moment. Where that differs the items are compared one by one,
//! whatever the plain fingerprints say.
//!
//! A walk goes over the groups that are there when it begins, and the next one begins when its day is
//! over. Between two parts it waits for as long as the parts that are left need to fill the time that is
//! left; they are counted anew in each group, as records come and go meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dht_kad::NodeId;
use dht_kad::admission::Path;
use dht_kad::message::reconcile::{SHORTS_MAX, Salted, Wanted};
use dht_kad::message::{NodeInfo, Reconcile, Reconciled};
use dht_kad::reconcile::{Cut, Group, Item, Neighbourhood, Part, Prefix, salted};
use rand_core::Rng;
use tokio::time::Instant;

use super::fetch::TURN_LONGEST;
use super::figures::count;
use super::part_walk::PartWalk;
use crate::context::Inner;
use crate::requests::AskError;
use crate::store::RecordStore;

/// The shortest time between two parts, however many there are: 864,000 fit a day. There are 150,000 at most,
/// 256 prefixes in some 600 groups, as long as few have more than [`SHORTS_MAX`] items.
const WAIT_LEAST: Duration = Duration::from_millis(100);

/// A walk over all parts, as far as it has come since the start; what it had come to before is in
/// [`Progress`](super::progress::Progress).
#[derive(Debug, Default)]
pub(super) struct SaltedWalk(Option<UnderWay>);

#[derive(Debug)]
struct UnderWay {
    walk: PartWalk,
    /// The group in which it is.
    group: Option<Group>,
    spread: Spread,
}

/// How a walk is spread over its time.
#[derive(Debug)]
struct Spread {
    /// The time of a whole walk.
    every: Duration,
    /// How many parts a whole walk has.
    parts: u32,
    left: u32,
    /// When none should be left.
    until: Instant,
}

impl UnderWay {
    /// A part was compared; says how long to wait until the next one.
    async fn wait_after(&mut self, part: &Part, store: &dyn RecordStore) -> Duration {
        self.spread.done_one();
        if self.group != Some(part.group) || self.spread.left == 0 {
            self.group = Some(part.group);
            self.spread.note_left(self.walk.left(store).await);
        }
        self.spread.wait(Instant::now())
    }
}

impl Spread {
    /// A walk of so many parts, of which so many are left.
    fn new(every: Duration, parts: u32, left: u32, now: Instant) -> Self {
        let parts = parts.max(left);
        // With nothing to compare, a day is a day.
        let rest = every.checked_div(parts).map_or(every, |even| even * left);
        Spread { every, parts, left, until: now + rest }
    }

    fn done_one(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// So many are left, whatever was thought before.
    fn note_left(&mut self, left: u32) {
        self.left = left;
        self.parts = self.parts.max(left);
    }

    /// How long to wait until the next part: so that all that are left fit the time that is left, but no
    /// less than half of what a part has of a whole walk. What was held up is not made up for in a rush.
    fn wait(&self, now: Instant) -> Duration {
        let even = self.every / self.parts.max(1);
        self.rest(now).checked_div(self.left).unwrap_or_default().max(even / 2).max(WAIT_LEAST)
    }

    /// How long it is until the end of the walk's time.
    fn rest(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }
}

impl SaltedWalk {
    /// Other keys belong here than before: the walk goes on among them.
    pub(super) fn begin_anew(&mut self) {
        self.0 = None;
    }
}

impl Inner {
    /// Compares the next part under a salt; says how long to wait until the one after it.
    pub(super) async fn compare_salted(self: &Arc<Self>, salted: &mut SaltedWalk) -> Duration {
        let mut under_way = match salted.0.take() {
            Some(under_way) => under_way,
            None => self.begin_salted().await,
        };
        let Some((part, _)) = under_way.walk.next(&*self.store).await else {
            let mut state = self.replication.state();
            state.progress.note_salted(None);
            // Once a day what was handed on is offered again: all who had it may be gone since.
            state.progress.retain_offered(|_| false);
            return under_way.spread.rest(Instant::now()).max(WAIT_LEAST);
        };
        if let Some(peer) = self.sharer_of(&part)
            && let Err(error) = self.compare_part_salted(&peer, &part).await
        {
            tracing::debug!(peer = %peer.id, %error, "a salted comparison came to no end");
        }
        let wait = under_way.wait_after(&part, &*self.store).await;
        self.replication.state().progress.note_salted(Some(part));
        salted.0 = Some(under_way);
        wait
    }

    /// A walk from where the last one was, at a speed at which a whole one takes its time.
    async fn begin_salted(&self) -> UnderWay {
        let cut = Cut::at(self.clock.now());
        let neighbourhood = self.replication.neighbourhood();
        let mut range = Vec::new();
        for prefix in neighbourhood.range() {
            self.shared_within(&neighbourhood, prefix.clone(), &mut range);
        }
        let after = self.replication.state().progress.salted_after().cloned();
        let walk = |after| PartWalk::new(&*self.store, &cut, range.clone(), after, SHORTS_MAX);
        let parts = walk(None).left(&*self.store).await;
        let walk = walk(after);
        let left = walk.left(&*self.store).await;
        let every = self.config.timing.salted_every;
        UnderWay { walk, group: None, spread: Spread::new(every, parts, left, Instant::now()) }
    }

    /// Adds the largest parts under a prefix that some neighbour shares whole.
    fn shared_within(&self, around: &Neighbourhood, prefix: Prefix, found: &mut Vec<Prefix>) {
        if !self.sharers(around, &prefix).is_empty() {
            found.push(prefix);
        } else if prefix.len() < around.resolution() {
            (0..16).for_each(|half| self.shared_within(around, prefix.child(half), found));
        }
    }

    /// The neighbours that should hold all under a prefix as well and can be asked.
    fn sharers(&self, around: &Neighbourhood, prefix: &Prefix) -> Vec<NodeId> {
        let shares = |range: &[Prefix]| range.iter().any(|shared| shared.covers(prefix));
        let sharers = around.shared().filter(|(_, range)| shares(range)).map(|(id, _)| *id);
        sharers.filter(|id| self.registry.in_table(id)).collect()
    }

    /// One of them, by chance.
    fn sharer_of(&self, part: &Part) -> Option<NodeInfo> {
        let sharers = self.sharers(&self.replication.neighbourhood(), &part.prefix);
        let chosen = self.chance.below(u64::try_from(sharers.len()).unwrap_or(0));
        self.registry.info(sharers.get(usize::try_from(chosen).unwrap_or(0))?)
    }

    async fn compare_part_salted(
        self: &Arc<Self>,
        peer: &NodeInfo,
        part: &Part,
    ) -> Result<(), AskError> {
        let mut salt = [0; 32];
        self.chance.with(|rng| rng.fill_bytes(&mut salt));
        let items = self.store.items(part.clone(), None, SHORTS_MAX + 1).wait().await;
        let Some(items) = items.ok().filter(|items| items.len() <= SHORTS_MAX) else {
            return Ok(());
        };
        let figures = &self.replication.figures;
        let question = Reconcile::Salted(Salted { part: part.clone(), salt });
        match self.ask_holder(peer, question).await? {
            (Reconciled::Salted(theirs), _) if theirs == salted(&items, &salt).print() => {
                count(&figures.salted_equal);
                return Ok(());
            }
            (Reconciled::Salted(_), _) => count(&figures.salted_differed),
            (Reconciled::TooLarge, _) => return Ok(()),
            _ => return Err(AskError::WrongAnswer(peer.id)),
        }
        let theirs = match self.ask_holder(peer, Reconcile::Listing(part.clone())).await? {
            (Reconciled::Items(theirs), _) => theirs,
            (Reconciled::TooLarge, _) => return Ok(()),
            _ => return Err(AskError::WrongAnswer(peer.id)),
        };
        let ours: BTreeSet<u64> = items.iter().map(Item::short).collect();
        let (unwanted, now) = (&self.replication.unwanted, self.clock.now());
        let lacks = |short: &u64| !ours.contains(short) && !unwanted.knows(*short, now);
        let shorts: Vec<u64> = theirs.into_iter().filter(lacks).collect();
        if !shorts.is_empty() {
            let wanted = vec![Wanted { part: part.clone(), shorts }];
            let report =
                self.fetch_from(peer, wanted, Path::Repair, Instant::now() + TURN_LONGEST).await;
            tracing::debug!(peer = %peer.id, ?report, "a salted comparison showed what lacked");
        }
        Ok(())
    }
}
