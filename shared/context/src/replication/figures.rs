//! What replication counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::standing::Standing;

/// Counters of replication. They only grow.
#[derive(Debug, Default)]
pub struct Figures {
    /// Bytes sent and received to compare, as asker and as answerer.
    pub(crate) compare_bytes: AtomicU64,
    /// Bytes sent and received for offers.
    pub(crate) offer_bytes: AtomicU64,
    /// Bytes of records fetched from other holders.
    pub(crate) fetched_bytes: AtomicU64,
    /// Bytes of records sent to other holders.
    pub(crate) served_bytes: AtomicU64,
    /// Records fetched, stored and read back.
    pub(crate) fetched: AtomicU64,
    /// Records fetched for which there was no room, or which exceeded a quota.
    pub(crate) without_room: AtomicU64,
    /// Records sent to other holders.
    pub(crate) served: AtomicU64,
    /// Rounds that came to their end.
    pub(crate) rounds_ok: AtomicU64,
    /// Rounds that a neighbour did not answer to their end.
    pub(crate) rounds_failed: AtomicU64,
    /// Parts compared under a salt that were equal.
    pub(crate) salted_equal: AtomicU64,
    /// Parts compared under a salt that were not.
    pub(crate) salted_differed: AtomicU64,
}

/// The counters, and how things stand, read at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ReplicationFigures {
    /// Bytes sent and received to compare.
    pub compare_bytes: u64,
    /// Bytes sent and received for offers.
    pub offer_bytes: u64,
    /// Bytes of records fetched from other holders.
    pub fetched_bytes: u64,
    /// Bytes of records sent to other holders.
    pub served_bytes: u64,
    /// Records fetched, stored and read back.
    pub fetched: u64,
    /// Records fetched for which there was no room, or which exceeded a quota.
    pub without_room: u64,
    /// Records sent to other holders.
    pub served: u64,
    /// Rounds that came to their end.
    pub rounds_ok: u64,
    /// Rounds that a neighbour did not answer to their end.
    pub rounds_failed: u64,
    /// Parts compared under a salt that were equal.
    pub salted_equal: u64,
    /// Parts compared under a salt that were not.
    pub salted_differed: u64,
    /// Neighbours present that should hold some of the same.
    pub neighbours: u64,
    /// How long ago the neighbour that was longest not found equal was found so, or came. As good as
    /// equal is one that lacks nothing by its own reckoning, and of whose records none is missing here.
    pub lag_ms: u64,
    /// For how long something has been known to lack, here or at a neighbour; 0 if nothing is. What a
    /// neighbour does not reckon its own it does not lack.
    pub oldest_unrepaired_ms: u64,
    /// Records known to lack copies: the most that one neighbour lacked at its last round and did not
    /// leave aside, and those that were offered elsewhere and have no quorum there yet.
    pub under_replicated: u64,
}

impl Figures {
    /// Reads all counters; how things stand is filled in.
    pub(super) fn read(&self, standing: &Standing) -> ReplicationFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        ReplicationFigures {
            compare_bytes: read(&self.compare_bytes),
            offer_bytes: read(&self.offer_bytes),
            fetched_bytes: read(&self.fetched_bytes),
            served_bytes: read(&self.served_bytes),
            fetched: read(&self.fetched),
            without_room: read(&self.without_room),
            served: read(&self.served),
            rounds_ok: read(&self.rounds_ok),
            rounds_failed: read(&self.rounds_failed),
            salted_equal: read(&self.salted_equal),
            salted_differed: read(&self.salted_differed),
            neighbours: standing.neighbours,
            lag_ms: millis(standing.lag),
            oldest_unrepaired_ms: millis(standing.oldest_unrepaired),
            under_replicated: standing.lacking_there,
        }
    }
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
