//! Whether the clock can be relied on: what a store may show, take and destroy depends on it.
//!
//! A wrong clock must not destroy anything. [`ClockTrust`] compares the wall clock with two witnesses:
//!
//! - the *high-water time*, the latest moment that the store ever trusted, which it keeps on disk. A
//!   clock that lies more than [`BACKWARD_TOLERANCE_MS`] before it is **behind**: what had expired
//!   stays hidden, writes are refused, nothing is destroyed.
//! - the machine's uptime, which nobody sets. A clock that ran more than [`JUMP_MAX_MS`] ahead of it
//!   since it was trusted last (or, at a start, ahead of the high-water time) is **ahead**: what has
//!   expired by it is hidden and writes go on, but nothing is destroyed until the clock is confirmed:
//!   by peers that agree with it ([`ClockTrust::set_agrees`]), or by standing for [`CONFIRM_MS`]
//!   without being set back.
//!
//! Peers that disagree make the clock unsure in any case; peers that agree with a clock that is
//! behind show that the high-water time was wrong, and replace it.

use dht_kad::UnixMs;
use dht_kad::time::{HOUR_MS, MINUTE_MS};

/// How far a clock may step back without being doubted: what time synchronisation corrects.
pub const BACKWARD_TOLERANCE_MS: u64 = MINUTE_MS;
/// How far it may run ahead of the uptime: well below the shortest retention, 8 hours, so that a
/// clock that is believed destroys nothing before most of its time.
pub const JUMP_MAX_MS: u64 = HOUR_MS;
/// How long a clock that jumped ahead must stand until it is believed: time enough to correct it.
pub const CONFIRM_MS: u64 = 6 * HOUR_MS;

/// What is made of one look at the clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The time to go by. It never runs back while the clock is behind.
    pub now: UnixMs,
    /// Whether writes may be taken.
    pub sure: bool,
    /// Whether what has expired may be destroyed.
    pub may_destroy: bool,
}

/// What a store trusted last. It reads no clock: it is told what the clocks show.
#[derive(Clone, Copy, Debug)]
pub struct ClockTrust {
    /// The latest trusted time.
    high_water: UnixMs,
    /// The uptime when the wall clock was trusted last.
    uptime_ms: u64,
    /// The wall clock then.
    wall: UnixMs,
    /// Since which uptime the clock is ahead.
    ahead_since_ms: Option<u64>,
    /// What peers say.
    agrees: Option<bool>,
    /// What the wall clock that they spoke of showed, and the uptime then: what they agreed with is
    /// that clock, and not one that was set since.
    said_of: (UnixMs, u64),
}

impl ClockTrust {
    /// Trust in `high_water`, at a start at which the machine had been up for so long.
    #[must_use]
    pub fn new(high_water: UnixMs, uptime_ms: u64) -> Self {
        ClockTrust {
            high_water,
            uptime_ms,
            wall: high_water,
            ahead_since_ms: None,
            agrees: None,
            said_of: (high_water, uptime_ms),
        }
    }

    /// The latest trusted time.
    #[must_use]
    pub fn high_water(&self) -> UnixMs {
        self.high_water
    }

    /// Notes whether long-lived peers agree with a wall clock that shows this at this uptime; `None`
    /// while nobody can say.
    pub fn set_agrees(&mut self, agrees: Option<bool>, wall: UnixMs, uptime_ms: u64) {
        self.agrees = agrees;
        self.said_of = (wall, uptime_ms);
    }

    /// Looks at the wall clock, and at the uptime at the same moment.
    pub fn look(&mut self, wall: UnixMs, uptime_ms: u64) -> Moment {
        let disputed = self.agrees == Some(false);
        let agreed = self.agrees == Some(true) && !self.was_set_since_said(wall, uptime_ms);
        let behind = wall.after(BACKWARD_TOLERANCE_MS) < self.high_water;
        let expected = self.wall.after(uptime_ms.saturating_sub(self.uptime_ms));
        if disputed || (behind && !agreed) {
            // What has ended since the clock was trusted last is not shown either: the uptime tells.
            let now = wall.max(self.high_water).max(expected);
            return Moment { now, sure: false, may_destroy: false };
        }
        let ahead = wall > expected.after(JUMP_MAX_MS);
        if ahead && !agreed {
            let since_ms = *self.ahead_since_ms.get_or_insert(uptime_ms);
            if uptime_ms.saturating_sub(since_ms) < CONFIRM_MS {
                return Moment { now: wall, sure: true, may_destroy: false };
            }
        }
        self.ahead_since_ms = None;
        self.high_water = if behind { wall } else { self.high_water.max(wall) };
        self.wall = wall;
        self.uptime_ms = uptime_ms;
        Moment { now: self.high_water, sure: true, may_destroy: true }
    }

    fn was_set_since_said(&self, wall: UnixMs, uptime_ms: u64) -> bool {
        let (said_wall, said_uptime_ms) = self.said_of;
        let unset = said_wall.after(uptime_ms.saturating_sub(said_uptime_ms));
        wall.0.abs_diff(unset.0) > BACKWARD_TOLERANCE_MS
    }
}

#[cfg(test)]
mod tests {
    use dht_kad::time::DAY_MS;

    use super::*;

    const START: UnixMs = UnixMs(1_000 * DAY_MS);

    #[test]
    fn a_clock_that_keeps_pace_is_trusted() {
        let mut trust = ClockTrust::new(START, 0);
        for day in 0..30 {
            let moment = trust.look(START.after(day * DAY_MS), day * DAY_MS);
            assert!(moment.sure && moment.may_destroy);
            assert_eq!(moment.now, START.after(day * DAY_MS));
        }
    }

    #[test]
    fn a_clock_behind_the_high_water_time_hides_refuses_and_destroys_nothing() {
        let mut trust = ClockTrust::new(START, 0);
        let moment = trust.look(UnixMs(START.0 - BACKWARD_TOLERANCE_MS - 1), 0);
        assert_eq!(moment, Moment { now: START, sure: false, may_destroy: false });
        assert!(trust.look(UnixMs(START.0 - BACKWARD_TOLERANCE_MS), 0).sure);
        assert_eq!(trust.high_water, START);
    }

    #[test]
    fn a_clock_that_was_set_back_shows_nothing_that_has_ended_since() {
        let mut trust = ClockTrust::new(START, 0);
        let moment = trust.look(UnixMs(START.0 - 30 * DAY_MS), 5 * HOUR_MS);
        assert_eq!((moment.now, moment.sure), (START.after(5 * HOUR_MS), false));
    }

    #[test]
    fn a_jump_ahead_destroys_nothing_until_it_has_stood() {
        let mut trust = ClockTrust::new(START, 0);
        let jumped = START.after(JUMP_MAX_MS + 1);
        let moment = trust.look(jumped, 0);
        assert_eq!(moment, Moment { now: jumped, sure: true, may_destroy: false });
        assert!(!trust.look(jumped.after(CONFIRM_MS - 1), CONFIRM_MS - 1).may_destroy);
        assert!(trust.look(jumped.after(CONFIRM_MS), CONFIRM_MS).may_destroy);
    }

    #[test]
    fn a_jump_that_is_set_back_leaves_no_trace() {
        let mut trust = ClockTrust::new(START, 0);
        trust.look(START.after(30 * DAY_MS), 0);
        let moment = trust.look(START.after(5), 5);
        assert_eq!(moment, Moment { now: START.after(5), sure: true, may_destroy: true });
        trust.look(START.after(30 * DAY_MS), CONFIRM_MS - 1);
        assert!(!trust.look(START.after(30 * DAY_MS), CONFIRM_MS).may_destroy);
    }

    #[test]
    fn peers_confirm_a_jump_or_dispute_the_clock() {
        let mut trust = ClockTrust::new(START, 0);
        trust.set_agrees(Some(true), START.after(30 * DAY_MS), 0);
        assert!(trust.look(START.after(30 * DAY_MS), 0).may_destroy);
        trust.set_agrees(Some(false), START.after(30 * DAY_MS), 0);
        assert!(!trust.look(START.after(30 * DAY_MS), 0).sure);
    }

    #[test]
    fn what_peers_agreed_with_is_not_the_clock_that_was_set_since() {
        let mut trust = ClockTrust::new(START, 0);
        trust.set_agrees(Some(true), START, 0);
        let moment = trust.look(UnixMs(START.0 - DAY_MS), 10);
        assert_eq!(moment, Moment { now: START.after(10), sure: false, may_destroy: false });
        assert!(!trust.look(START.after(DAY_MS), 20).may_destroy);
        assert!(trust.look(START.after(30), 30).may_destroy);
    }

    #[test]
    fn peers_that_agree_with_a_clock_behind_correct_the_high_water_time() {
        let mut trust = ClockTrust::new(START.after(400 * DAY_MS), 0);
        assert!(!trust.look(START, 0).sure);
        trust.set_agrees(Some(true), START, 0);
        let moment = trust.look(START, 0);
        assert_eq!(moment, Moment { now: START, sure: true, may_destroy: true });
        assert_eq!(trust.high_water, START);
    }
}
