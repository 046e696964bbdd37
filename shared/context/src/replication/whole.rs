//! Whether this node holds what it should, as far as it knows: what it tells everybody who asks.
//!
//! A node that joins among the k closest to a key holds nothing of what was put there before, until
//! it has fetched it; until then its empty hands prove nothing to a reader
//! ([`dht_kad::lookup`]). So it is not *whole* until a quorum of its neighbours, and of those of them that
//! are whole if any is, has had a round with it after which it lacked nothing that they hold. By then
//! it has what any quorum before it acknowledged, since the same holds for each part of what belongs
//! here among those that share it. What is only restarted stays whole: what it missed in a moment is what any node misses that is not reached for a moment, and
//! majorities make up for that. What was cut off from
//! the network for longer than others wait for it is not whole any more, and begins anew.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dht_kad::{NodeId, UnixMs};
use tokio::time::Instant;

use crate::context::Inner;

/// Whether this node is whole.
#[derive(Debug, Default)]
pub(super) struct Whole {
    whole: AtomicBool,
    /// Since when its table cannot be relied on.
    cut_off: Mutex<Option<Instant>>,
}

impl Whole {
    pub(super) fn get(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    fn set(&self, whole: bool) {
        self.whole.store(whole, Ordering::Relaxed);
    }

    /// For how long its table could not be relied on, without a break.
    fn cut_off_for(&self, settled: bool, now: Instant) -> Duration {
        let mut cut_off = self.cut_off.lock().unwrap_or_else(PoisonError::into_inner);
        *cut_off = if settled { None } else { cut_off.or(Some(now)) };
        cut_off.map_or(Duration::ZERO, |since| now.duration_since(since))
    }
}

impl Inner {
    /// After a start: whether it was whole when it was last known to run, a moment ago.
    pub(super) fn recall_whole(&self, whole_at: Option<UnixMs>) {
        let now = self.clock.now();
        let grace_ms = u64::try_from(self.config.timing.grace.as_millis()).unwrap_or(u64::MAX);
        let lately = |at: UnixMs| at <= now && now.since(at) < grace_ms;
        self.replication.whole.set(whole_at.is_some_and(lately));
    }

    /// Looks whether it has become whole, or is not any more.
    pub(super) fn consider_whole(&self) {
        let settled = self.membership.is_settled();
        let cut_off_for = self.replication.whole.cut_off_for(settled, Instant::now());
        if self.replication.is_whole() {
            if cut_off_for >= self.config.timing.grace {
                self.replication.whole.set(false);
                self.replication.state().turns.forget_taken();
                self.membership.forget_looked_around();
                tracing::info!(
                    "this node was cut off for long: it may lack what was put meanwhile"
                );
            }
            return;
        }
        // Who has somebody to ask is not alone, but early.
        let nobody_else = self.config.sources.is_empty() || self.sources.only_this_node();
        let alone = self.bootstrap.is_empty()
            && nobody_else
            && self.registry.table_len() == 0
            && self.membership.is_settled();
        let complete = || {
            self.membership.has_looked_around()
                && self.has_taken_from_quorums(&self.registry.whole_servers())
        };
        if alone || complete() {
            self.replication.whole.set(true);
            self.note_whole();
            tracing::info!("this node holds what its neighbours hold");
        }
    }

    /// Whether a quorum of the neighbours, and of those that share each part of what belongs here, has
    /// shown all that it holds.
    fn has_taken_from_quorums(&self, whole: &BTreeSet<NodeId>) -> bool {
        let neighbourhood = self.replication.neighbourhood();
        let state = self.replication.state();
        state.turns.taken_from_quorum(whole)
            && state.turns.taken_of_every_part(&neighbourhood, whole)
    }

    /// Remembers, for the next start, that it is whole now.
    pub(super) fn note_whole(&self) {
        if self.replication.is_whole() {
            let now = self.clock.now();
            self.replication.state().progress.note_whole(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_an_unbroken_time_without_the_network_counts() {
        let whole = Whole::default();
        let second = Duration::from_secs(1);
        assert_eq!(whole.cut_off_for(false, Instant::now()), Duration::ZERO);
        tokio::time::advance(second).await;
        assert_eq!(whole.cut_off_for(false, Instant::now()), second);
        assert_eq!(whole.cut_off_for(true, Instant::now()), Duration::ZERO);
        tokio::time::advance(second).await;
        assert_eq!(whole.cut_off_for(false, Instant::now()), Duration::ZERO);
    }
}
