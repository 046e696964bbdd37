//! [`Turns`]: when which neighbour is compared with next. Pure: the moments and the chance come from
//! outside.
//!
//! Each neighbour has a time of its own, jittered, so that rounds spread evenly however many
//! neighbours there are. Whoever has been due for longest is next, so nobody is left out: one that
//! fails is put off, longer each time, and meanwhile holds up nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dht_kad::NodeId;
use dht_kad::put::quorum_of;
use dht_kad::reconcile::{Neighbourhood, Prefix};
use tokio::time::Instant;

use super::RoundReport;
use super::standing::{Shown, Standing};
use crate::chance::Chance;

/// A round that fetched so many records goes on at once: there is most likely more.
const MUCH: u64 = 256;
/// The first wait before a neighbour is asked again that failed or still differs; it doubles up to
/// the time between rounds.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// How often rounds happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rhythm {
    /// Between two rounds with one neighbour.
    pub(crate) every: Duration,
    /// Within which a neighbour that came has its first round.
    pub(crate) soon: Duration,
}

/// The neighbours, and when each has its next round.
#[derive(Debug)]
pub(crate) struct Turns {
    rhythm: Rhythm,
    turns: BTreeMap<NodeId, Turn>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    due: Instant,
    /// Which of those that are due at the same moment comes first: chance.
    order: u64,
    /// Rounds in a row that failed, or that left differences behind.
    retries: u32,
    /// When the last round began after which it lacked nothing that this node holds.
    has_all: Option<Instant>,
    /// A round has ended after which this node lacked nothing that it holds.
    taken_all: bool,
    /// What rounds have shown of the copies.
    shown: Shown,
}

/// One of those that share a part of the keyspace with this node.
#[derive(Clone, Copy)]
struct Sharer {
    /// It says that it holds what it should.
    whole: bool,
    /// It has shown all that it holds there, and this node has it.
    taken: bool,
}

/// How many of them there are.
#[derive(Clone, Copy, Default)]
struct Sharers {
    all: usize,
    taken: usize,
    whole: usize,
    whole_taken: usize,
}

impl Turns {
    /// No neighbours yet.
    pub(crate) fn new(rhythm: Rhythm) -> Self {
        Turns { rhythm, turns: BTreeMap::new() }
    }

    /// These are the neighbours now. One that is new has its first round soon; at once if this node
    /// is in a hurry.
    pub(crate) fn keep(
        &mut self,
        neighbours: &[NodeId],
        chance: &Chance,
        now: Instant,
        hurry: bool,
    ) {
        self.turns.retain(|id, _| neighbours.binary_search(id).is_ok());
        let soon = if hurry { Duration::ZERO } else { self.rhythm.soon };
        for id in neighbours {
            self.turns.entry(*id).or_insert_with(|| Turn {
                due: now + within(chance, soon),
                order: 0,
                retries: 0,
                has_all: None,
                taken_all: false,
                shown: Shown::since(now),
            });
        }
    }

    /// All are due at once, in an order of chance: this node has just joined, or come back.
    pub(crate) fn all_now(&mut self, chance: &Chance, now: Instant) {
        for turn in self.turns.values_mut() {
            turn.due = now;
            turn.retries = 0;
            turn.order = chance.below(u64::MAX);
        }
    }

    /// What belongs here has changed: all are due sooner than they were, in a tenth of the time
    /// between rounds.
    pub(crate) fn range_changed(&mut self, chance: &Chance, now: Instant) {
        let span = self.rhythm.every / 10;
        for turn in self.turns.values_mut() {
            turn.due = turn.due.min(now + within(chance, span));
        }
    }

    /// Who is next, and when.
    pub(crate) fn next(&self) -> Option<(Instant, NodeId)> {
        let first = self.turns.iter().min_by_key(|(id, turn)| (turn.due, turn.order, **id));
        first.map(|(id, turn)| (turn.due, *id))
    }

    /// A round that began at `started` has ended.
    pub(crate) fn done(
        &mut self,
        id: &NodeId,
        report: &RoundReport,
        started: Instant,
        chance: &Chance,
    ) {
        let every = self.rhythm.every;
        let Some(turn) = self.turns.get_mut(id) else { return };
        turn.order = 0;
        turn.shown.compared(report, started);
        if report.complete && report.lacked_there == 0 {
            turn.has_all = Some(started);
        }
        turn.taken_all |= report.complete;
        let now = Instant::now();
        if report.fetched >= MUCH {
            // Not before others that are due already.
            turn.retries = 0;
            turn.due = now;
        } else if report.lacked > 0 || !report.complete {
            turn.retry(every, chance, now);
        } else {
            turn.retries = 0;
            turn.due = now + around(chance, every);
        }
    }

    /// A round could not be held, or not to its end.
    pub(crate) fn failed(&mut self, id: &NodeId, chance: &Chance) {
        let every = self.rhythm.every;
        if let Some(turn) = self.turns.get_mut(id) {
            turn.retry(every, chance, Instant::now());
        }
    }

    /// A neighbour compares itself with this node.
    pub(crate) fn looked(&mut self, id: &NodeId, now: Instant) {
        if let Some(turn) = self.turns.get_mut(id) {
            turn.shown.looked(now);
        }
    }

    /// A neighbour fetches records from this node.
    pub(crate) fn fetched(&mut self, id: &NodeId, now: Instant) {
        if let Some(turn) = self.turns.get_mut(id) {
            turn.shown.fetched(now);
        }
    }

    /// Whether a quorum of the neighbours has shown all that it holds, and this node has it; and a
    /// quorum of those that are whole, if any is: many that come at once hold nothing, however many
    /// agree.
    pub(crate) fn taken_from_quorum(&self, whole: &BTreeSet<NodeId>) -> bool {
        let quorum =
            |of: Vec<&Turn>| of.iter().filter(|turn| turn.taken_all).count() >= quorum_of(of.len());
        let of_whole = self.turns.iter().filter(|(id, _)| whole.contains(id));
        let of_whole: Vec<_> = of_whole.map(|(_, turn)| turn).collect();
        let none_whole = of_whole.is_empty();
        quorum(self.turns.values().collect()) && (none_whole || quorum(of_whole))
    }

    /// The same of each part of the keyspace: of those of them that share it with this node.
    pub(crate) fn taken_of_every_part(
        &self,
        neighbourhood: &Neighbourhood,
        whole: &BTreeSet<NodeId>,
    ) -> bool {
        let mut shares: Vec<(&Prefix, Sharer)> = Vec::new();
        for (id, range) in neighbourhood.shared() {
            let Some(turn) = self.turns.get(id) else { continue };
            let sharer = Sharer { whole: whole.contains(id), taken: turn.taken_all };
            shares.extend(range.iter().map(|prefix| (prefix, sharer)));
        }
        shares.sort_unstable_by_key(|(prefix, _)| *prefix);
        // Some share more of the keyspace than just this part of it: the wider parts that cover it.
        let mut covering: Vec<(&Prefix, Sharers)> = Vec::new();
        shares.chunk_by(|(one, _), (other, _)| one == other).all(|sharers| {
            let Some((prefix, _)) = sharers.first() else { return true };
            while covering.last().is_some_and(|(wider, _)| !wider.covers(prefix)) {
                covering.pop();
            }
            let wider = covering.last().map_or(Sharers::default(), |(_, wider)| *wider);
            let all = sharers.iter().fold(wider, |all, (_, sharer)| all.and(*sharer));
            covering.push((prefix, all));
            all.are_enough()
        })
    }

    /// Nobody counts as having shown all any more: this node was away for long.
    pub(crate) fn forget_taken(&mut self) {
        self.turns.values_mut().for_each(|turn| turn.taken_all = false);
    }

    /// Since when a neighbour has been known to have all that this node then held.
    pub(crate) fn has_all(&self, id: &NodeId) -> Option<Instant> {
        self.turns.get(id)?.has_all
    }

    /// What the rounds say.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        Standing::of(self.turns.values().map(|turn| &turn.shown), self.rhythm.every, now)
    }
}

impl Sharers {
    fn and(self, sharer: Sharer) -> Self {
        let one_if = usize::from;
        Sharers {
            all: self.all + 1,
            taken: self.taken + one_if(sharer.taken),
            whole: self.whole + one_if(sharer.whole),
            whole_taken: self.whole_taken + one_if(sharer.whole && sharer.taken),
        }
    }

    /// Whether this node has what a quorum of them holds: of those that are whole, if any is.
    fn are_enough(self) -> bool {
        match self.whole {
            0 => self.taken >= quorum_of(self.all),
            whole => self.whole_taken >= quorum_of(whole),
        }
    }
}

impl Turn {
    fn retry(&mut self, every: Duration, chance: &Chance, now: Instant) {
        self.order = 0;
        self.due = now + chance.backoff(self.retries, RETRY_FIRST.min(every), every);
        self.retries = self.retries.saturating_add(1);
    }
}

/// Some time below `span`.
pub(crate) fn within(chance: &Chance, span: Duration) -> Duration {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(chance.below(micros))
}

/// `span`, give or take a quarter.
pub(crate) fn around(chance: &Chance, span: Duration) -> Duration {
    span / 4 + chance.jittered(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const RHYTHM: Rhythm = Rhythm { every: MINUTE, soon: Duration::from_secs(6) };
    const EQUAL: RoundReport = RoundReport::EQUAL;

    fn ids(numbers: std::ops::Range<u8>) -> Vec<NodeId> {
        numbers.map(|number| NodeId::from_bytes([number; 32])).collect()
    }

    fn chance() -> Chance {
        Chance::from_seed([5; 32])
    }

    /// Runs rounds for `span`; tells who had one when.
    async fn run(
        turns: &mut Turns,
        span: Duration,
        chance: &Chance,
        mut round: impl FnMut(&NodeId) -> Option<RoundReport>,
    ) -> Vec<(Duration, NodeId)> {
        let began = Instant::now();
        let mut held = Vec::new();
        while let Some((due, id)) = turns.next().filter(|(due, _)| *due < began + span) {
            tokio::time::sleep_until(due).await;
            let started = Instant::now();
            // A round takes some time.
            tokio::time::advance(Duration::from_millis(1)).await;
            match round(&id) {
                Some(report) => turns.done(&id, &report, started, chance),
                None => turns.failed(&id, chance),
            }
            held.push((started - began, id));
        }
        held
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_cycle_is_back_to_back_and_shuffled_and_later_ones_are_spread() {
        let (chance, neighbours) = (chance(), ids(0..20));
        let mut turns = Turns::new(RHYTHM);
        turns.keep(&neighbours, &chance, Instant::now(), false);
        turns.all_now(&chance, Instant::now());
        let held = run(&mut turns, 10 * MINUTE, &chance, |_| Some(EQUAL)).await;
        let first: Vec<NodeId> = held.iter().take(20).map(|(_, id)| *id).collect();
        assert!(held[19].0 < Duration::from_secs(1));
        assert_ne!(first, neighbours, "shuffled");
        for id in &neighbours {
            let rounds = held.iter().filter(|(_, other)| other == id).count();
            assert!((8..=14).contains(&rounds), "{rounds} rounds in ten minutes");
        }
        let late = held.iter().filter(|(at, _)| *at >= 5 * MINUTE);
        let mut seconds: Vec<u64> = late.map(|(at, _)| at.as_secs() / 10).collect();
        seconds.dedup();
        assert!(seconds.len() > 25, "nearly every ten seconds somebody has a turn");
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_or_never_becomes_equal_holds_up_nobody() {
        let (chance, neighbours) = (chance(), ids(0..10));
        let mut turns = Turns::new(RHYTHM);
        turns.keep(&neighbours, &chance, Instant::now(), false);
        turns.all_now(&chance, Instant::now());
        let endless = RoundReport { equal: false, lacked: 900, fetched: 900, ..EQUAL };
        let stuck = RoundReport { equal: false, lacked: 1, ..EQUAL };
        let held = run(&mut turns, Duration::from_secs(3), &chance, |id| match id.as_bytes()[0] {
            0 => None,
            1 => Some(endless),
            2 => Some(stuck),
            _ => Some(EQUAL),
        })
        .await;
        let of = |number: u8| held.iter().filter(|(_, id)| id.as_bytes()[0] == number).count();
        assert!(of(1) > 100, "what has much to fetch goes on at once");
        assert!((2..=5).contains(&of(0)) && (2..=5).contains(&of(2)), "{} {}", of(0), of(2));
        assert!((3..10).all(|number| of(number) == 1), "and all others had their turn");
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_that_could_not_see_all_is_held_again_soon_and_proves_nothing() {
        let (chance, neighbours) = (chance(), ids(0..1));
        let mut turns = Turns::new(RHYTHM);
        let start = Instant::now();
        turns.keep(&neighbours, &chance, start, true);
        let partial = RoundReport { equal: false, complete: false, ..EQUAL };
        turns.done(&neighbours[0], &partial, start, &chance);
        let nobody = BTreeSet::new();
        assert!(!turns.taken_from_quorum(&nobody) && turns.has_all(&neighbours[0]).is_none());
        assert!(turns.next().is_some_and(|(due, _)| due <= start + RETRY_FIRST));
        // Versions that were replaced before they could be fetched are the neighbour's no more.
        let outrun = RoundReport { equal: false, lacked: 3, fetched: 1, ..EQUAL };
        turns.done(&neighbours[0], &outrun, start, &chance);
        assert!(turns.taken_from_quorum(&nobody));
    }

    #[tokio::test(start_paused = true)]
    async fn the_empty_hands_of_many_newcomers_make_nobody_whole() {
        let (chance, neighbours) = (chance(), ids(0..9));
        let mut turns = Turns::new(RHYTHM);
        turns.keep(&neighbours, &chance, Instant::now(), true);
        let whole: BTreeSet<NodeId> = ids(0..2).into_iter().chain(ids(40..50)).collect();
        for id in &neighbours[1..] {
            turns.done(id, &EQUAL, Instant::now(), &chance);
        }
        assert!(turns.taken_from_quorum(&BTreeSet::new()), "nobody is whole yet");
        assert!(!turns.taken_from_quorum(&whole), "one of two that are");
        turns.done(&neighbours[0], &EQUAL, Instant::now(), &chance);
        assert!(turns.taken_from_quorum(&whole));
    }

    /// Neighbours that share the halves of a part, each another one, are not indispensable for it: those
    /// that share all of it count for each half.
    #[tokio::test(start_paused = true)]
    async fn one_neighbour_whose_rounds_always_fail_keeps_nobody_from_being_whole() {
        let chance = chance();
        let id = |number: u8| NodeId::from_bytes(*blake3::hash(&[number]).as_bytes());
        for size in [22, 27, 33, 40] {
            let others: Vec<NodeId> = (1..size).map(id).collect();
            let neighbourhood = Neighbourhood::new(id(0), &others, dht_kad::routing::K);
            let mut neighbours: Vec<_> = neighbourhood.shared().map(|(id, _)| *id).collect();
            neighbours.sort_unstable();
            for sick in &neighbours {
                let mut turns = Turns::new(RHYTHM);
                turns.keep(&neighbours, &chance, Instant::now(), true);
                for id in neighbours.iter().filter(|id| *id != sick) {
                    turns.done(id, &EQUAL, Instant::now(), &chance);
                }
                for whole in [BTreeSet::new(), neighbours.iter().copied().collect()] {
                    assert!(turns.taken_of_every_part(&neighbourhood, &whole), "{size} {sick}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_every_part_a_quorum_has_to_be_taken() {
        let chance = chance();
        let id = |number: u8| NodeId::from_bytes(*blake3::hash(&[number]).as_bytes());
        let others: Vec<NodeId> = (1..200).map(id).collect();
        let neighbourhood = Neighbourhood::new(id(0), &others, dht_kad::routing::K);
        let mut neighbours: Vec<_> = neighbourhood.shared().map(|(id, _)| *id).collect();
        neighbours.sort_unstable();
        let whole: BTreeSet<NodeId> = neighbours.iter().copied().collect();
        for part in neighbourhood.range() {
            let shares = |id: &NodeId| {
                neighbourhood.shared().any(|(other, range)| {
                    let meets = |it: &Prefix| it.covers(part) || part.covers(it);
                    other == id && range.iter().any(meets)
                })
            };
            let (theirs, rest): (Vec<_>, Vec<_>) = neighbours.iter().partition(|id| shares(id));
            let mut turns = Turns::new(RHYTHM);
            turns.keep(&neighbours, &chance, Instant::now(), true);
            let few = theirs.into_iter().take(quorum_of(dht_kad::routing::K - 1) - 1);
            for id in few.chain(rest) {
                turns.done(id, &EQUAL, Instant::now(), &chance);
            }
            assert!(!turns.taken_of_every_part(&neighbourhood, &whole), "{part:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_neighbour_that_comes_has_a_round_soon_and_one_that_went_has_none() {
        let chance = chance();
        let mut turns = Turns::new(RHYTHM);
        turns.keep(&ids(0..5), &chance, Instant::now(), false);
        run(&mut turns, MINUTE / 4, &chance, |_| Some(EQUAL)).await;
        turns.keep(&ids(3..6), &chance, Instant::now(), false);
        let held = run(&mut turns, RHYTHM.soon, &chance, |_| Some(EQUAL)).await;
        assert_eq!(held.iter().map(|(_, id)| *id).collect::<Vec<_>>(), ids(5..6));
    }

    #[tokio::test(start_paused = true)]
    async fn lag_and_what_is_unrepaired_are_told_by_the_neighbour_that_is_worst_off() {
        let chance = chance();
        let mut turns = Turns::new(RHYTHM);
        let (start, neighbours) = (Instant::now(), ids(0..2));
        turns.keep(&neighbours, &chance, start, false);
        tokio::time::advance(MINUTE).await;
        let lacking = RoundReport { equal: false, lacked_there: 7, ..EQUAL };
        turns.done(&neighbours[0], &EQUAL, Instant::now(), &chance);
        turns.done(&neighbours[1], &lacking, Instant::now(), &chance);
        tokio::time::advance(MINUTE).await;
        let expected = Standing {
            neighbours: 2,
            lag: 2 * MINUTE,
            oldest_unrepaired: MINUTE,
            lacking_there: 7,
        };
        assert_eq!(turns.standing(Instant::now()), expected);
        assert_eq!(turns.has_all(&neighbours[0]), Some(start + MINUTE));
        assert_eq!(turns.has_all(&neighbours[1]), None);
        turns.done(&neighbours[1], &EQUAL, Instant::now(), &chance);
        let expected = Standing { neighbours: 2, lag: MINUTE, ..Standing::default() };
        assert_eq!(turns.standing(Instant::now()), expected);
    }
}
