//! What replication counts.

use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Records sent to other holders.
    pub(crate) served: AtomicU64,
}

/// The counters, read at a moment.
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
    /// Records sent to other holders.
    pub served: u64,
}

impl Figures {
    /// Reads all counters.
    #[must_use]
    pub fn read(&self) -> ReplicationFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReplicationFigures {
            compare_bytes: read(&self.compare_bytes),
            offer_bytes: read(&self.offer_bytes),
            fetched_bytes: read(&self.fetched_bytes),
            served_bytes: read(&self.served_bytes),
            fetched: read(&self.fetched),
            served: read(&self.served),
        }
    }
}
