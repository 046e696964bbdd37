//! Comparing this node's clock with those of its long-lived peers.
//!
//! A wrong clock would make a store hide or destroy what is alive. So a node asks the peers that have
//! been in its table longest for the time, takes the median of the differences, which a minority of
//! liars cannot move, and tells its store whether that agrees with its own clock. The peers are those
//! known longest, since whoever wants to outvote a clock has to have been there for as long.
//!
//! ```text
//! the clock, read once ─▶ + what each peer takes to answer ─▶ its difference ─▶ the median
//!          └─▶ + what all of them take ─▶ the clock that was compared ─▶ the store ◀─┘
//! ```
//!
//! The clock may be set while peers are asked, and one that is silent is waited for: they have said
//! nothing of the clock that it is then.

use std::sync::Arc;

use dht_kad::UnixMs;
use dht_kad::admission::FUTURE_TOLERANCE_MS;
use dht_kad::message::NodeInfo;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::context::Inner;

/// How many peers are asked: a majority of them is hard to have and cheap to ask.
const WITNESSES: usize = 7;
/// With fewer answers than this nobody can say.
const WITNESSES_MIN: usize = 3;

impl Inner {
    /// Compares the clock again and again, from the moment the node is settled.
    pub(crate) async fn watch_clock(self: Arc<Self>) {
        loop {
            self.membership.settled().await;
            let reading = Reading::of(self.clock.as_ref());
            let witnesses = self.registry.longest_known(WITNESSES);
            let asked = witnesses.into_iter().map(|node| self.clock_ahead_of(node, reading));
            let ahead: Vec<i64> = join_all(asked).await.into_iter().flatten().collect();
            let ahead = median(ahead);
            let agrees = ahead.map(agrees);
            if agrees == Some(false) {
                tracing::warn!(
                    "this machine's clock differs from its peers' by more than 10 minutes; set it"
                );
            }
            self.clock_ahead_ms.set(ahead);
            self.store.note_clock(agrees, reading.now());
            tokio::time::sleep(self.chance.jittered(self.config.timing.compare_clocks)).await;
        }
    }

    /// By how many milliseconds this node's clock is ahead of a peer's.
    async fn clock_ahead_of(self: &Arc<Self>, node: NodeInfo, reading: Reading) -> Option<i64> {
        let asked = Instant::now();
        let pong = self.requests.ping(&node).await.ok()?;
        let way_back_ms = u64::try_from(asked.elapsed().as_millis() / 2).ok()?;
        let theirs = pong.clock.after(way_back_ms);
        Some(difference_ms(reading.now(), theirs))
    }
}

/// The clock as it was read once.
#[derive(Clone, Copy)]
struct Reading {
    wall: UnixMs,
    at: Instant,
}

impl Reading {
    fn of(clock: &dyn Clock) -> Self {
        Reading { wall: clock.now(), at: Instant::now() }
    }

    /// What the clock shows now, if nobody has set it since.
    fn now(self) -> UnixMs {
        self.wall.after(u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

fn difference_ms(ours: UnixMs, theirs: UnixMs) -> i64 {
    let ahead = i64::try_from(ours.since(theirs)).unwrap_or(i64::MAX);
    let behind = i64::try_from(theirs.since(ours)).unwrap_or(i64::MAX);
    ahead.saturating_sub(behind)
}

/// The median difference; `None` if too few answered.
fn median(mut ahead_ms: Vec<i64>) -> Option<i64> {
    if ahead_ms.len() < WITNESSES_MIN {
        return None;
    }
    ahead_ms.sort_unstable();
    ahead_ms.get(ahead_ms.len() / 2).copied()
}

/// Whether the clocks show the same time, for what is decided by it.
fn agrees(ahead_ms: i64) -> bool {
    ahead_ms.unsigned_abs() <= FUTURE_TOLERANCE_MS
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    const HOUR: i64 = 3_600_000;

    fn judge(ahead_ms: Vec<i64>) -> Option<bool> {
        median(ahead_ms).map(agrees)
    }

    #[test]
    fn the_median_decides_and_a_minority_of_liars_does_not() {
        assert_eq!(judge(vec![0, 1]), None);
        assert_eq!(judge(vec![5, -7, HOUR]), Some(true));
        assert_eq!(judge(vec![HOUR, HOUR, -HOUR, 3, HOUR]), Some(false));
        assert_eq!(judge(vec![-HOUR, -HOUR, -HOUR, 0]), Some(false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_while_peers_are_asked_is_not_the_one_that_they_spoke_of() {
        let clock = ManualClock::new(UnixMs(1_000_000));
        let reading = Reading::of(&clock);
        clock.set(UnixMs(7));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(reading.now(), UnixMs(1_005_000));
    }

    #[test]
    fn differences_have_a_sign() {
        assert_eq!(difference_ms(UnixMs(10), UnixMs(4)), 6);
        assert_eq!(difference_ms(UnixMs(4), UnixMs(10)), -6);
        assert_eq!(difference_ms(UnixMs(u64::MAX), UnixMs(0)), i64::MAX);
    }
}
