//! The schedule: one task that decides what repair does next, and does one thing at a time.
//!
//! ```text
//! not settled ─▶ wait until it is, and a jittered moment more ─▶ all neighbours are due
//!
//!    ┌─▶ what is due?  fetch what was offered │ a round │ an offer │ a salted part │ save ─┐
//!    │        nothing: rest until something is, or until woken                             │
//!    └─────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Of the kinds of things that are due each has its turn, so that none waits for another to run
//! dry; within each kind the same holds for neighbours ([`Turns`](super::turns::Turns)) and holders
//! ([`Wants`](super::wants::Wants)).

use std::sync::Arc;
use std::time::Duration;

use dht_kad::NodeId;
use dht_kad::admission::Path;
use dht_kad::message::NodeInfo;
use tokio::time::Instant;

use super::fetch::TURN_LONGEST;
use super::figures::count;
use super::offers::Offering;
use super::progress::Progress;
use super::round::RoundError;
use super::salted::SaltedWalk;
use super::turns::around;
use crate::context::Inner;

/// What is remembered is saved so often at most.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// The first wait before what no quorum has is offered again: time to fetch it. It doubles up to the
/// time between rounds.
const OFFER_AGAIN: Duration = Duration::from_secs(1);

/// How often a node that is not whole yet looks around: it is of little use until it is.
const HURRY: Duration = Duration::from_millis(20);

/// The kinds of things that repair does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Fetch,
    Round,
    Offer,
    Salted,
    Save,
}

const KINDS: [Kind; 5] = [Kind::Fetch, Kind::Round, Kind::Offer, Kind::Salted, Kind::Save];

/// What the schedule remembers from one thing to the next.
struct Course {
    /// The place in [`KINDS`] after the kind that had its turn last.
    next_kind: usize,
    offering: Option<Offering>,
    offer_due: Instant,
    offer_retries: u32,
    salted: SaltedWalk,
    salted_due: Instant,
    save_due: Instant,
}

impl Inner {
    /// Looks again and again at who counts as a holder.
    pub(crate) async fn watch_holders(self: Arc<Self>) {
        let tick = self.config.timing.tick;
        loop {
            self.look_at_holders();
            let whole = self.replication.is_whole();
            tokio::time::sleep(if whole { tick } else { tick.min(HURRY) }).await;
        }
    }

    fn look_at_holders(&self) {
        // Before the table itself: what changes in between is seen at the next look.
        let changes = self.registry.table_changes();
        if !self.replication.has_seen_table(changes) {
            let (own, table) = (self.registry.own(), self.registry.servers());
            if let Some(half_bytes) = self.replication.note_table(own, table, changes, &self.chance)
            {
                self.store.set_resolution(half_bytes);
            }
        }
        self.consider_whole();
    }

    /// Repairs until this node stops.
    pub(crate) async fn repair(self: Arc<Self>) {
        self.load_progress();
        self.await_settled().await;
        let now = Instant::now();
        let mut course = Course {
            next_kind: 0,
            offering: None,
            offer_due: now + self.chance.jittered(self.config.timing.repair_soon),
            offer_retries: 0,
            salted: SaltedWalk::default(),
            salted_due: now + self.chance.jittered(self.config.timing.repair_soon),
            save_due: now + SAVE_EVERY,
        };
        while !self.replication.has_ended() {
            if self.replication.is_ending() {
                self.replication.wake.notified().await;
                continue;
            }
            if !self.membership.is_settled() {
                self.await_settled().await;
            }
            match self.next_kind(&mut course) {
                Ok(kind) => {
                    self.do_next(kind, &mut course).await;
                    // Some of it asks nobody and awaits nothing.
                    tokio::task::yield_now().await;
                }
                Err(due) => {
                    tokio::select! {
                        biased;
                        () = self.replication.wake.notified() => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
            }
        }
    }

    /// Waits until the table can be relied on, and a moment more, different at each node, unless it is
    /// not whole yet. Then all
    /// neighbours are due: this node has just come, or come back.
    async fn await_settled(&self) {
        let timing = &self.config.timing;
        loop {
            while !self.membership.is_settled() {
                tokio::time::sleep(timing.tick.min(HURRY)).await;
            }
            if self.replication.is_whole() {
                tokio::time::sleep(self.chance.jittered(timing.repair_wait)).await;
            }
            if self.membership.is_settled() {
                break;
            }
        }
        self.look_at_holders();
        self.replication.state().turns.all_now(&self.chance, Instant::now());
    }

    /// What is due now and whose turn it is; or when something will be.
    fn next_kind(&self, course: &mut Course) -> Result<Kind, Instant> {
        let now = Instant::now();
        if std::mem::take(&mut self.replication.state().range_changed) {
            course.salted.begin_anew();
        }
        let mut first = course.save_due;
        for step in 0..KINDS.len() {
            let place = (course.next_kind + step) % KINDS.len();
            let Some(kind) = KINDS.get(place).copied() else { continue };
            let Some(due) = self.due(kind, course, now) else { continue };
            if due <= now {
                course.next_kind = place + 1;
                return Ok(kind);
            }
            first = first.min(due);
        }
        Err(first)
    }

    fn due(&self, kind: Kind, course: &Course, now: Instant) -> Option<Instant> {
        match kind {
            Kind::Fetch => (!self.replication.state().wants.is_empty()).then_some(now),
            Kind::Round => self.replication.state().turns.next().map(|(due, _)| due),
            Kind::Offer => Some(course.offer_due),
            Kind::Salted => Some(course.salted_due),
            Kind::Save => Some(course.save_due),
        }
    }

    async fn do_next(self: &Arc<Self>, kind: Kind, course: &mut Course) {
        match kind {
            Kind::Fetch => self.fetch_wanted().await,
            Kind::Round => self.hold_round().await,
            Kind::Offer => self.offer_some(course).await,
            Kind::Salted => {
                let wait = self.compare_salted(&mut course.salted).await;
                course.salted_due = Instant::now() + around(&self.chance, wait);
            }
            Kind::Save => {
                self.note_whole();
                self.save_progress().await;
                course.save_due = Instant::now() + SAVE_EVERY;
            }
        }
    }

    async fn hold_round(self: &Arc<Self>) {
        let Some((_, id)) = self.replication.state().turns.next() else { return };
        let neighbourhood = self.replication.neighbourhood();
        let mut shared = neighbourhood.shared();
        let range = shared.find(|(other, _)| **other == id).map(|(_, range)| range);
        let (Some(peer), Some(range)) = (self.registry.info(&id), range) else {
            self.replication.state().turns.failed(&id, &self.chance);
            return;
        };
        let started = Instant::now();
        match self.compare_with(&peer, range).await {
            Ok(report) => {
                count(&self.replication.figures.rounds_ok);
                tracing::debug!(peer = %id, ?report, "a round has ended");
                self.replication.note_round(&id, range, &report, started, &self.chance);
                self.consider_whole();
            }
            Err(error) => {
                count(&self.replication.figures.rounds_failed);
                tracing::debug!(peer = %id, %error, "a round came to no end");
                self.replication.state().turns.failed(&id, &self.chance);
            }
        }
    }

    /// Fetches a page of what the holder whose turn it is has offered.
    async fn fetch_wanted(self: &Arc<Self>) {
        let taken = self.replication.state().wants.take();
        let Some((holder, wanted)) = taken else { return };
        let peer = self.peer(holder);
        let report =
            self.fetch_from(&peer, wanted, Path::Offered, Instant::now() + TURN_LONGEST).await;
        if matches!(report.stopped, Some(RoundError::Ask(_) | RoundError::WrongAnswer(_))) {
            // Or its silence, a page of it at a time, would take the turns of others.
            self.replication.state().wants.forget(&holder);
        }
        // What could not be fetched is offered again.
        tracing::debug!(peer = %holder, ?report, "fetched what was offered");
    }

    /// One part of a pass over what lies here and belongs elsewhere.
    async fn offer_some(self: &Arc<Self>, course: &mut Course) {
        let mut offering = match course.offering.take() {
            Some(offering) => offering,
            None => self.begin_offering(course.offer_retries),
        };
        if self.offer_next(&mut offering).await {
            course.offering = Some(offering);
            return;
        }
        let unconfirmed = offering.unconfirmed();
        self.replication.state().unconfirmed = unconfirmed;
        let every = self.config.timing.repair_every;
        let wait = if unconfirmed == 0 {
            course.offer_retries = 0;
            around(&self.chance, every)
        } else {
            let retries = course.offer_retries;
            course.offer_retries = retries.saturating_add(1);
            self.chance.backoff(retries, OFFER_AGAIN.min(every), every)
        };
        course.offer_due = Instant::now() + wait;
    }

    fn load_progress(&self) {
        match Progress::from_bytes(&self.store.saved_progress()) {
            Ok(progress) => {
                self.recall_whole(progress.whole_at());
                self.replication.state().progress = progress;
            }
            Err(error) => tracing::warn!(%error, "repair begins anew"),
        }
    }

    /// Saves what is remembered across restarts, if it has changed.
    pub(crate) async fn save_progress(&self) {
        let unsaved = self.replication.state().progress.take_unsaved();
        let Some(bytes) = unsaved else { return };
        if let Err(error) = self.store.save_progress(bytes).await {
            tracing::warn!(%error, "how far repair has come could not be saved; trying again");
            self.replication.state().progress.note_unsaved();
        }
    }

    /// A server, and where it can be reached as far as is known: an open connection needs no address.
    pub(super) fn peer(&self, id: NodeId) -> NodeInfo {
        self.registry.info(&id).unwrap_or(NodeInfo { id, addrs: Vec::new() })
    }
}
