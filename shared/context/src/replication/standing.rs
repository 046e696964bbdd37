//! [`Standing`]: how the copies around a node stand, as the rounds with its neighbours show it. Pure.
//!
//! ```text
//! rounds with a neighbour ─┐
//!                          ├─▶ Shown, one for each neighbour ─▶ Standing: that of the worst off
//! its rounds with this node ┘
//! ```
//!
//! What a round leaves missing *here* is missing, also where only a damaged row is in its place; what it has
//! fetched is not, nor what the neighbour lists and does not have. What it shows to be missing *there* may not
//! belong there at all: who holds a record is reckoned from the servers that one knows, and a full
//! bucket of the table leaves some out, so that two nodes may draw a border at different places for
//! good. Which of them is right cannot be known here. But a neighbour that lacks what it thinks its own
//! comes and fetches it: one that looks again and again and fetches nothing lacks nothing. And one that
//! thinks nothing here its own does not come. Should it stay away because its repair stands still, then
//! it says so itself. But nobody is in step with this node, however content, while this node's own rounds
//! with it fail.

use std::time::Duration;

use tokio::time::Instant;

use super::RoundReport;

/// Who has not come for so many times the time between rounds does not come any more.
const RECENT: u32 = 3;

/// What the rounds say of the copies around this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Standing {
    /// How many neighbours there are.
    pub(crate) neighbours: u64,
    /// How long ago the neighbour for which that is longest was found equal, or came. As good as equal
    /// is one that lacks nothing by its own reckoning, and of whose records none is missing here.
    pub(crate) lag: Duration,
    /// For how long something has been known to lack that still may.
    pub(crate) oldest_unrepaired: Duration,
    /// The most records that some neighbour lacked at its last round, and still may.
    pub(crate) lacking_there: u64,
}

/// What rounds have shown of one neighbour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    /// Since when it has been a neighbour.
    since: Instant,
    /// When the last round began that found both equal.
    equal: Option<Instant>,
    /// When the last round began that left nothing missing here.
    taken: Option<Instant>,
    /// When the first of the rounds began since which none has found both equal.
    differs: Option<Instant>,
    /// The last round left something missing here, or may have.
    lacks_here: bool,
    /// How many records the neighbour lacked at the last round.
    lacks_there: u64,
    /// When it last came, to compare itself with this node or to fetch something.
    came: Option<Instant>,
    /// When the last round of its own began, unless it has fetched something since.
    looks: Option<Instant>,
    /// When the last round of its own began after which it fetched nothing until the next one.
    content: Option<Instant>,
}

/// The moment for which something is told.
#[derive(Clone, Copy)]
struct Told {
    at: Instant,
    recent: Duration,
}

impl Standing {
    /// How the copies stand where each neighbour is compared once in `every`.
    pub(crate) fn of<'a>(
        neighbours: impl Iterator<Item = &'a Shown>,
        every: Duration,
        now: Instant,
    ) -> Self {
        let told = Told { at: now, recent: RECENT * every };
        neighbours.fold(Standing::default(), |worst, shown| Standing {
            neighbours: worst.neighbours + 1,
            lag: worst.lag.max(told.age(shown.as_good_as_equal(told))),
            oldest_unrepaired: worst
                .oldest_unrepaired
                .max(shown.unrepaired(told).map_or(Duration::ZERO, |since| told.age(since))),
            lacking_there: worst.lacking_there.max(shown.lacking_there(told)),
        })
    }
}

impl Told {
    fn age(self, moment: Instant) -> Duration {
        self.at.saturating_duration_since(moment)
    }

    fn is_recent(self, moment: Instant) -> bool {
        self.age(moment) <= self.recent
    }
}

impl Shown {
    /// A new neighbour.
    pub(crate) fn since(now: Instant) -> Self {
        Shown {
            since: now,
            equal: None,
            taken: None,
            differs: None,
            lacks_here: false,
            lacks_there: 0,
            came: None,
            looks: None,
            content: None,
        }
    }

    /// A round with it that began at `started` has ended.
    pub(crate) fn compared(&mut self, report: &RoundReport, started: Instant) {
        self.lacks_there = report.lacked_there;
        self.lacks_here = !report.complete || report.damaged > 0;
        if !self.lacks_here {
            self.taken = Some(started);
        }
        if report.equal {
            self.equal = Some(started);
            self.differs = None;
        } else {
            self.differs.get_or_insert(started);
        }
    }

    /// It compares itself with this node.
    pub(crate) fn looked(&mut self, now: Instant) {
        self.came = Some(now);
        self.content = self.looks.or(self.content);
        self.looks = Some(now);
    }

    /// It fetches records from this node.
    pub(crate) fn fetched(&mut self, now: Instant) {
        self.came = Some(now);
        self.looks = None;
    }

    /// When it was last known to lack nothing by its own reckoning.
    fn content(&self, told: Told) -> Option<Instant> {
        let comes = told.is_recent(self.came.unwrap_or(self.since));
        if comes { self.content } else { self.taken }
    }

    fn as_good_as_equal(&self, told: Told) -> Instant {
        let content = self.content(told).min(self.taken);
        self.equal.max(content).unwrap_or(self.since)
    }

    /// Since when something has been known to lack, here or there, that still may.
    fn unrepaired(&self, told: Told) -> Option<Instant> {
        let differs = self.differs?;
        if self.lacks_here {
            return Some(differs).max(self.taken);
        }
        match self.content(told) {
            Some(content) => {
                let fetches =
                    self.looks.is_none() && self.came.is_some_and(|at| told.is_recent(at));
                fetches.then_some(content.max(differs))
            }
            None => Some(differs),
        }
    }

    fn lacking_there(&self, told: Told) -> u64 {
        self.unrepaired(told).map_or(0, |_| self.lacks_there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(600);
    const EQUAL: RoundReport = RoundReport::EQUAL;
    const LACKS_THERE: RoundReport = RoundReport { equal: false, lacked_there: 7, ..EQUAL };

    /// A neighbour that this node compares itself with once in `EVERY`, six times, each time with this
    /// result; what the neighbour does meanwhile is told by the number of the round.
    fn after_an_hour(report: RoundReport, its_own: impl Fn(&mut Shown, u32, Instant)) -> Standing {
        let start = Instant::now();
        let mut shown = Shown::since(start);
        for round in 1..=6 {
            let now = start + round * EVERY;
            its_own(&mut shown, round, now);
            shown.compared(&report, now);
        }
        Standing::of([shown].iter(), EVERY, start + 6 * EVERY)
    }

    fn looks(shown: &mut Shown, _: u32, now: Instant) {
        shown.looked(now);
    }

    #[test]
    fn who_looks_and_fetches_nothing_lacks_nothing() {
        let standing = after_an_hour(LACKS_THERE, looks);
        let expected = Standing { neighbours: 1, lag: EVERY, ..Standing::default() };
        assert_eq!(standing, expected);
    }

    #[test]
    fn who_never_comes_thinks_nothing_of_it_its_own() {
        let standing = after_an_hour(LACKS_THERE, |_, _, _| {});
        assert_eq!(standing, Standing { neighbours: 1, ..Standing::default() });
    }

    #[test]
    fn who_fetches_again_and_again_lacks_it_still() {
        let standing = after_an_hour(LACKS_THERE, |shown, _, now| {
            shown.looked(now);
            shown.fetched(now);
        });
        let expected = Standing {
            neighbours: 1,
            lag: 6 * EVERY,
            oldest_unrepaired: 5 * EVERY,
            lacking_there: 7,
        };
        assert_eq!(standing, expected);
    }

    #[test]
    fn who_has_lacked_nothing_lately_and_fetches_now_lacks_it_since_then() {
        let standing = after_an_hour(LACKS_THERE, |shown, round, now| {
            shown.looked(now);
            if round == 6 {
                shown.fetched(now);
            }
        });
        let expected =
            Standing { neighbours: 1, lag: EVERY, oldest_unrepaired: EVERY, lacking_there: 7 };
        assert_eq!(standing, expected);
    }

    #[test]
    fn who_came_once_and_comes_no_more_shares_nothing_any_more() {
        let standing = after_an_hour(LACKS_THERE, |shown, round, now| {
            if round <= 2 {
                looks(shown, round, now);
            }
        });
        assert_eq!(standing, Standing { neighbours: 1, ..Standing::default() });
    }

    #[test]
    fn what_is_missing_here_is_missing_whoever_is_content() {
        for report in [
            RoundReport { equal: false, complete: false, ..EQUAL },
            RoundReport { equal: false, lacked: 1, damaged: 1, ..EQUAL },
        ] {
            let standing = after_an_hour(report, looks);
            assert_eq!((standing.lag, standing.oldest_unrepaired), (6 * EVERY, 5 * EVERY));
        }
    }

    #[test]
    fn what_was_fetched_or_was_only_listed_is_not_missing() {
        for fetched in [0, 3] {
            let report = RoundReport { equal: false, lacked: 3, fetched, ..EQUAL };
            let standing = after_an_hour(report, looks);
            assert_eq!((standing.lag, standing.oldest_unrepaired), (EVERY, Duration::ZERO));
        }
    }

    #[test]
    fn what_is_missing_since_the_last_round_is_not_missing_for_as_long_as_borders_differ() {
        let (start, mut shown) = (Instant::now(), Shown::since(Instant::now()));
        let partial = RoundReport { complete: false, ..LACKS_THERE };
        for (round, report) in [(1, LACKS_THERE), (2, LACKS_THERE), (3, partial)] {
            shown.looked(start + round * EVERY);
            shown.compared(&report, start + round * EVERY);
        }
        let standing = Standing::of([shown].iter(), EVERY, start + 3 * EVERY);
        assert_eq!((standing.lag, standing.oldest_unrepaired), (EVERY, EVERY));
    }

    #[test]
    fn nobody_is_in_step_while_rounds_with_it_fail() {
        let (start, mut shown) = (Instant::now(), Shown::since(Instant::now()));
        shown.compared(&EQUAL, start + EVERY);
        (2..=6).for_each(|round| shown.looked(start + round * EVERY));
        let standing = Standing::of([shown].iter(), EVERY, start + 6 * EVERY);
        assert_eq!((standing.lag, standing.oldest_unrepaired), (5 * EVERY, Duration::ZERO));
    }
}
