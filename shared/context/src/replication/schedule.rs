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
//! ([`Wants`](super::wants::Wants)). Anybody may offer, and make it last: after what was offered has been
//! fetched, all else that is due goes first for as long as that took.

use std::sync::Arc;
use std::time::Duration;

use dht_kad::NodeId;
use dht_kad::admission::Path;
use dht_kad::message::NodeInfo;
use tokio::time::Instant;

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
/// The longest that a page of what was offered may take, whoever offered it: anybody may, and whoever
/// then answers a fetch enters the table where there is room. A page of usual records takes a second;
/// what does not come in time is offered again.
const OFFERED_LONGEST: Duration = Duration::from_secs(5);

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

/// When each of [`KINDS`] is due, if ever.
type Due = [Option<Instant>; KINDS.len()];

/// Which kind's turn it is.
#[derive(Debug, Default)]
struct KindTurns {
    /// The place in [`KINDS`] after the kind that had its turn last.
    next: usize,
    /// For how long all else that is due goes before [`Kind::Fetch`].
    fetch_waits: Duration,
}

/// What the schedule remembers from one thing to the next.
struct Course {
    kinds: KindTurns,
    offering: Option<Offering>,
    offer_due: Instant,
    offer_retries: u32,
    salted: SaltedWalk,
    salted_due: Instant,
    save_due: Instant,
}

impl KindTurns {
    /// Whose turn it is among the kinds that are due; or when the first one will be.
    fn next(&mut self, due: Due, now: Instant) -> Result<Kind, Option<Instant>> {
        let mut first: Option<Instant> = None;
        let mut fetch_at = None;
        for step in 0..KINDS.len() {
            let place = (self.next + step) % KINDS.len();
            let kind = KINDS.get(place).copied();
            let (Some(kind), Some(Some(due))) = (kind, due.get(place).copied()) else { continue };
            if due > now {
                first = Some(first.map_or(due, |first| first.min(due)));
            } else if kind == Kind::Fetch && !self.fetch_waits.is_zero() {
                fetch_at = Some(place);
            } else {
                self.next = place + 1;
                return Ok(kind);
            }
        }
        // Nobody else is kept waiting.
        let place = fetch_at.ok_or(first)?;
        self.next = place + 1;
        Ok(Kind::Fetch)
    }

    /// A kind's turn took so long.
    fn took(&mut self, kind: Kind, time: Duration) {
        self.fetch_waits =
            if kind == Kind::Fetch { time } else { self.fetch_waits.saturating_sub(time) };
    }
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
            kinds: KindTurns::default(),
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
                    let started = Instant::now();
                    self.do_next(kind, &mut course).await;
                    course.kinds.took(kind, started.elapsed());
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
        let due = KINDS.map(|kind| self.due(kind, course, now));
        course.kinds.next(due, now).map_err(|first| first.unwrap_or(course.save_due))
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
        let in_table = |holder: &NodeId| self.registry.in_table(holder);
        let turn = self.replication.state().wants.take(in_table);
        let Some((holder, wanted)) = turn else { return };
        let (peer, until) = (self.peer(holder), Instant::now() + OFFERED_LONGEST);
        let report = self.fetch_from(&peer, wanted, Path::Offered, until).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// These are due now, the others in a second.
    fn due(kinds: &[Kind], now: Instant) -> Due {
        KINDS.map(|kind| Some(if kinds.contains(&kind) { now } else { now + SECOND }))
    }

    #[test]
    fn each_kind_that_is_due_has_its_turn() {
        let (mut kinds, now) = (KindTurns::default(), Instant::now());
        let turns: Vec<_> = (0..6).map(|_| kinds.next(due(&KINDS, now), now)).collect();
        let mut expected = KINDS.map(Ok).to_vec();
        expected.push(Ok(Kind::Fetch));
        assert_eq!(turns, expected);
        assert_eq!(kinds.next(due(&[], now), now), Err(Some(now + SECOND)));
        assert_eq!(kinds.next([None; KINDS.len()], now), Err(None));
    }

    #[test]
    fn what_is_due_goes_before_offers_for_as_long_as_those_took() {
        let (mut kinds, now) = (KindTurns::default(), Instant::now());
        let mut fetched = 0;
        for _ in 0..71 {
            let kind = kinds.next(due(&[Kind::Fetch, Kind::Round], now), now).unwrap();
            kinds.took(kind, if kind == Kind::Fetch { 60 * SECOND } else { SECOND });
            fetched += u32::from(kind == Kind::Fetch);
        }
        assert_eq!(fetched, 2, "one, then sixty rounds, and another one");
    }

    #[test]
    fn where_nothing_else_is_due_what_was_offered_does_not_wait() {
        let (mut kinds, now) = (KindTurns::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(kinds.next(due(&[Kind::Fetch], now), now), Ok(Kind::Fetch));
            kinds.took(Kind::Fetch, 60 * SECOND);
        }
    }
}
