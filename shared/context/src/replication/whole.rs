//! Whether this node holds what it should, as far as it knows: what it tells everybody who asks.
//!
//! A node that joins among the k closest to a key holds nothing of what was put there before, until
//! it has fetched it; until then its empty hands prove nothing to a reader
//! ([`dht_kad::lookup`]). So it is not *whole* until a quorum of its neighbours has had a round with
//! it after which it lacked nothing that they hold. By then it has what any quorum before it
//! acknowledged. What is only restarted stays whole: what it missed in a moment is what any node
//! misses that is not reached for a moment, and majorities make up for that.

use std::sync::atomic::{AtomicBool, Ordering};

use dht_kad::UnixMs;

use crate::context::Inner;

/// Whether this node is whole.
#[derive(Debug, Default)]
pub(super) struct Whole(AtomicBool);

impl Whole {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, whole: bool) {
        self.0.store(whole, Ordering::Relaxed);
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

    /// Looks whether it has become whole.
    pub(super) fn consider_whole(&self) {
        if self.replication.is_whole() {
            return;
        }
        let alone = self.registry.table_len() == 0 && self.membership.is_settled();
        let complete = self.membership.has_looked_around()
            && self.replication.state().turns.taken_from_quorum();
        if alone || complete {
            self.replication.whole.set(true);
            self.note_whole();
            tracing::info!("this node holds what its neighbours hold");
        }
    }

    /// Remembers, for the next start, that it is whole now.
    pub(super) fn note_whole(&self) {
        if self.replication.is_whole() {
            let now = self.clock.now();
            self.replication.state().progress.note_whole(now);
        }
    }
}
