//! Replication: the copies of every record kept whole on the k servers closest to it, while nodes
//! come, go, crash and return.
//!
//! ```text
//! registry ─▶ members ─▶ Neighbourhood ─▶ schedule ─▶ round with one neighbour ─▶ fetch ─▶ store
//!             (who counts)  (who shares what)  │          (compare, then take)       ▲
//!                                              └─▶ offers ─▶ «do you hold these?»    │ pulls
//! what neighbours ask ─▶ answers ─▶ fingerprints, items, records of the store        │
//!                           └─ an offer of what belongs here and is not here ────────┘
//! ```
//!
//! A node only ever takes what it asked for, from a server of its own choice, at its own pace, and
//! checks it like any other record. So records move in one way: *compare* (a *round* with a
//! neighbour that should hold the same) or be *offered* something (by a holder that is not among the
//! closest any more), then *fetch*, verify, store, and count as done what was read back.
//!
//! - `members`: which servers count as holders: those of the table, and those that left it a moment
//!   ago and may be restarting.
//! - `schedule`: what comes next, one thing at a time, never before the table is settled; `turns`:
//!   when whom: every neighbour in turn, jittered; at once after joining and when one comes back;
//!   `wants`: what others offered and is to be fetched.
//! - `standing`: what the rounds, ours and theirs, show of the copies around this node.
//! - `round`: one comparison with one neighbour, and the fetching of what it showed.
//! - `answers`: what neighbours are answered, from local information only.
//! - `salted`: once a day, part by part, the comparison that nobody can prepare for.
//! - `offers`: what lies here and belongs elsewhere, until a quorum of those it belongs to has it;
//!   `part_walk` finds it, a small part at a time.
//! - `handover`: at a stop, what publishers put here a moment ago (`recent`) and others may lack;
//!   before leaving for good, everything.
//! - `pace`: how many bytes a second, and a share of the time, so that puts and gets come first.
//! - `progress`: what is remembered across restarts.
//! - `whole`: whether this node holds what it should, as it tells everybody who asks.
//! - `figures`: what is counted: lag, what is known to lack copies, bytes by purpose.

pub(crate) mod answers;
mod fetch;
mod figures;
mod handover;
mod members;
mod offers;
mod pace;
mod part_walk;
mod progress;
mod question;
mod recent;
mod round;
mod salted;
mod schedule;
mod standing;
mod turns;
mod wants;
mod whole;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dht_kad::message::reconcile::Wanted;
use dht_kad::reconcile::{Neighbourhood, Prefix};
use dht_kad::routing::K;
use dht_kad::{Key, NodeId, ValidRecord};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::config::ContextConfig;
pub use figures::{Figures, ReplicationFigures};
pub use handover::LeaveReport;
use members::Members;
use offers::Regions;
pub use pace::Pace;
use progress::Progress;
use recent::{Accepted, Recent};
pub use round::RoundError;
use turns::{Rhythm, Turns};
use wants::Wants;
use whole::Whole;

/// What replication's parts share with the server that answers for them.
pub struct Replication {
    pub(crate) figures: Figures,
    pub(crate) pace: Pace,
    pub(crate) unwanted: fetch::Unwanted,
    whole: Whole,
    state: Mutex<State>,
    /// Something is to be done that was not before. Only the schedule waits for it.
    wake: Notify,
}

struct State {
    neighbourhood: Arc<Neighbourhood>,
    members: Members,
    /// The [number](crate::registry::PeerRegistry::table_changes) of the table that they were made from.
    seen_table: Option<u64>,
    turns: Turns,
    wants: Wants,
    recent: Recent,
    progress: Progress,
    regions: Regions,
    /// Records that were offered where they belong and have no quorum there yet.
    unconfirmed: u64,
    /// Other keys belong here than before: what lies here is to be looked through.
    range_changed: bool,
    /// This node stops, or has left: it takes no puts, and repairs nothing any more.
    ending: bool,
    /// This node hands over all that it holds, to leave: it takes no puts, and repairs nothing
    /// meanwhile.
    leaving: bool,
}

/// What one comparison with one neighbour came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RoundReport {
    /// Both hold the same, as far as they should.
    pub equal: bool,
    /// All of it was compared, and all of what lacked that the neighbour still had was fetched;
    /// otherwise the round ended at its bounds, or something could not be told apart yet.
    pub complete: bool,
    /// Versions that the neighbour holds, which this node should and did not, those left out that it
    /// does not want: superseded ones, those not yet made, those that exceed a quota.
    pub lacked: u64,
    /// Of those, how many this node holds now.
    pub fetched: u64,
    /// Of those, how many this node cannot take, as its rows for them are damaged.
    pub damaged: u64,
    /// Versions that this node holds and the neighbour did not, as far as the comparison saw.
    pub lacked_there: u64,
    /// Bytes that were asked and answered to find what differs.
    pub compare_bytes: u64,
    /// Bytes that were asked and answered to fetch it.
    pub fetch_bytes: u64,
}

#[cfg(test)]
impl RoundReport {
    /// What a round says that finds nothing different.
    const EQUAL: Self = RoundReport {
        equal: true,
        complete: true,
        lacked: 0,
        fetched: 0,
        damaged: 0,
        lacked_there: 0,
        compare_bytes: 0,
        fetch_bytes: 0,
    };
}

impl Replication {
    /// Replication at a node that knows nobody yet.
    #[must_use]
    pub fn new(own: NodeId, config: &ContextConfig) -> Self {
        let timing = &config.timing;
        let rhythm = Rhythm { every: timing.repair_every, soon: timing.repair_soon };
        let state = State {
            neighbourhood: Arc::new(Neighbourhood::new(own, &[], K)),
            members: Members::new(timing.grace),
            seen_table: None,
            turns: Turns::new(rhythm),
            wants: Wants::default(),
            recent: Recent::default(),
            progress: Progress::default(),
            regions: Regions::default(),
            unconfirmed: 0,
            range_changed: false,
            ending: false,
            leaving: false,
        };
        Replication {
            figures: Figures::default(),
            pace: Pace::new(config.repair_bytes_per_sec),
            unwanted: fetch::Unwanted::default(),
            whole: Whole::default(),
            state: Mutex::new(state),
            wake: Notify::new(),
        }
    }

    /// Who should hold what, as far as is known right now.
    #[must_use]
    pub fn neighbourhood(&self) -> Arc<Neighbourhood> {
        Arc::clone(&self.state().neighbourhood)
    }

    /// Whether this node holds what it should, as far as it knows; what others are told.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole.get()
    }

    /// Whether a record at this key may be taken from another holder.
    #[must_use]
    pub fn may_take(&self, key: &Key) -> bool {
        self.neighbourhood().may_take(key)
    }

    /// A holder offered these, and this node lacks them: they are fetched from it when their turn
    /// comes. False if too much waits already, or if this node stops.
    pub fn want(&self, holder: NodeId, wanted: Vec<Wanted>) -> bool {
        let mut state = self.state();
        let taken = !state.is_ending() && state.wants.add(holder, wanted);
        drop(state);
        if taken {
            self.wake.notify_one();
        }
        taken
    }

    /// A server was told what is here, to compare itself with it.
    fn note_look(&self, asker: &NodeId) {
        let mut state = self.state();
        state.turns.looked(asker, Instant::now());
        if state.members.note_staying(asker) {
            state.seen_table = None;
        }
    }

    /// A server fetches records from here.
    fn note_fetch(&self, asker: &NodeId) {
        self.state().turns.fetched(asker, Instant::now());
    }

    /// A server said that it leaves for good: it counts as a holder no more.
    pub fn note_leaving(&self, server: NodeId) {
        self.state().members.note_leaving(server, Instant::now());
    }

    /// A publisher put this record here; it is on stable storage.
    pub(crate) fn note_accepted(&self, record: &ValidRecord) {
        let accepted = Accepted::now(record);
        self.state().recent.note(accepted);
    }

    /// Whether this node stops or leaves, and takes no puts.
    pub(crate) fn is_ending(&self) -> bool {
        self.state().is_ending()
    }

    /// Whether this node repairs nothing any more, whatever comes.
    fn has_ended(&self) -> bool {
        self.state().ending
    }

    /// What was counted, and how the copies around this node stand.
    #[must_use]
    pub fn read(&self) -> ReplicationFigures {
        let state = self.state();
        let standing = state.turns.standing(Instant::now());
        let figures = self.figures.read(&standing);
        let under_replicated = figures.under_replicated.saturating_add(state.unconfirmed);
        ReplicationFigures { under_replicated, ..figures }
    }

    /// A round over this range that began at `started` has ended.
    fn note_round(
        &self,
        id: &NodeId,
        range: &[Prefix],
        report: &RoundReport,
        started: Instant,
        chance: &Chance,
    ) {
        let mut state = self.state();
        state.turns.done(id, report, started, chance);
        let State { recent, turns, neighbourhood, .. } = &mut *state;
        if turns.has_all(id) == Some(started) {
            recent.note_compared(*id, range, turns);
        }
        recent.forget_held(neighbourhood, turns);
    }

    /// Whether a look at the table would show nothing new: it has not changed since the last one, and
    /// nobody who is not in it counts for a time.
    fn has_seen_table(&self, changes: u64) -> bool {
        let state = self.state();
        state.seen_table == Some(changes) && state.members.is_steady()
    }

    /// The table, which has changed so often, shows these servers. Says whether slots are to be told apart differently.
    fn note_table(
        &self,
        own: NodeId,
        table: Vec<NodeId>,
        changes: u64,
        chance: &Chance,
    ) -> Option<usize> {
        let now = Instant::now();
        let mut state = self.state();
        state.seen_table = Some(changes);
        let change = state.members.observe(&table.into_iter().collect(), now);
        let resolution = change.holders.then(|| state.count_holders(own, chance, now));
        if change.holders || change.table {
            state.keep_neighbours(chance, now, !self.is_whole());
            drop(state);
            self.wake.notify_one();
        }
        resolution
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_ending(&self) -> bool {
        self.ending || self.leaving
    }

    /// Works out anew who should hold what; returns by how many half bytes slots are told apart.
    fn count_holders(&mut self, own: NodeId, chance: &Chance, now: Instant) -> usize {
        let neighbourhood = Neighbourhood::new(own, &self.members.holders(), K);
        if neighbourhood.range() != self.neighbourhood.range() {
            self.range_changed = true;
            self.turns.range_changed(chance, now);
        }
        self.neighbourhood = Arc::new(neighbourhood);
        self.neighbourhood.fingerprint_resolution()
    }

    fn keep_neighbours(&mut self, chance: &Chance, now: Instant, hurry: bool) {
        let shared = self.neighbourhood.shared().filter(|(_, range)| !range.is_empty());
        let present = shared.filter(|(id, _)| self.members.is_present(id));
        let mut neighbours: Vec<NodeId> = present.map(|(id, _)| *id).collect();
        neighbours.sort_unstable();
        self.turns.keep(&neighbours, chance, now, hurry);
    }
}
