//! What a context counts: requests asked and answered, their latencies, and failures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dht_kad::message::{
    TYPE_AUDIT, TYPE_FIND, TYPE_FIND_NODE, TYPE_PING, TYPE_RECONCILE, TYPE_STORE, TYPE_WATCH,
};

use crate::replication::ReplicationFigures;
use crate::watch::WatchFigures;

/// Buckets of a latency histogram: the upper bound of bucket `n` is `2^n` microseconds, and the
/// last one, from 17 s on, is more than any time limit here.
const LATENCY_BUCKETS: usize = 26;

/// Counts of one kind of request.
#[derive(Debug, Default)]
pub struct Counts {
    ok: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    latency: [AtomicU64; LATENCY_BUCKETS],
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It was answered as asked.
    Ok,
    /// It was refused with a number.
    Refused,
    /// No answer came, or none that could be used.
    Failed,
}

/// All that a context counts. Counters only grow.
#[derive(Debug, Default)]
pub struct Stats {
    asked: [Counts; KINDS.len()],
    answered: [Counts; KINDS.len()],
    /// Dials that failed.
    pub dials_failed: AtomicU64,
    /// Dials that led to a connection.
    pub dials_ok: AtomicU64,
    /// Connections that others dialled.
    pub accepted: AtomicU64,
    /// Records, nodes or receipts in answers that were false: wrong place, wrong signature, too many.
    pub lies: AtomicU64,
}

/// One kind of request, read at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct CountsSnapshot {
    /// Answered as asked.
    pub ok: u64,
    /// Refused with a number.
    pub refused: u64,
    /// Without a usable answer.
    pub failed: u64,
    /// Half took at most this, in microseconds, up to a factor of 2; 0 if there were none.
    pub p50_us: u64,
    /// 99 of 100 took at most this, in microseconds, up to a factor of 2; 0 if there were none.
    pub p99_us: u64,
}

/// Everything counted, read at a moment.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct StatsSnapshot {
    /// Requests that this context asked, by kind.
    pub asked: Vec<(&'static str, CountsSnapshot)>,
    /// Requests that this context answered, by kind.
    pub answered: Vec<(&'static str, CountsSnapshot)>,
    /// Dials that led to a connection.
    pub dials_ok: u64,
    /// Dials that failed.
    pub dials_failed: u64,
    /// Connections that others dialled.
    pub accepted: u64,
    /// False things in answers.
    pub lies: u64,
    /// Servers in the routing table.
    pub table: usize,
    /// Peers known.
    pub peers: usize,
    /// Live connections.
    pub connections: usize,
    /// What replication counted, and how the copies around this node stand.
    pub replication: ReplicationFigures,
    /// Who watches this node.
    pub watches: WatchFigures,
}

/// The kinds that are counted, in the order of their frame types.
const KINDS: [&str; 7] = ["ping", "find_node", "find", "store", "watch", "reconcile", "audit"];

impl Counts {
    fn note(&self, ending: Ending, took: Duration) {
        let counter = match ending {
            Ending::Ok => &self.ok,
            Ending::Refused => &self.refused,
            Ending::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        let last = LATENCY_BUCKETS - 1;
        if let Some(count) = self.latency.get(bucket.min(last)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn read(&self) -> CountsSnapshot {
        let buckets: Vec<u64> =
            self.latency.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        CountsSnapshot {
            ok: self.ok.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            p50_us: percentile(&buckets, 50),
            p99_us: percentile(&buckets, 99),
        }
    }
}

/// The upper bound of the bucket in which the given part of all measurements has been reached.
fn percentile(buckets: &[u64], percent: u64) -> u64 {
    let total: u64 = buckets.iter().sum();
    let wanted = (total * percent).div_ceil(100);
    let mut seen = 0;
    for (bucket, count) in buckets.iter().enumerate() {
        seen += count;
        if total > 0 && seen >= wanted {
            return 1 << bucket;
        }
    }
    0
}

impl Stats {
    /// Counts a request that this context asked.
    pub fn note_asked(&self, frame_type: u16, ending: Ending, took: Duration) {
        if let Some(counts) = kind_of(frame_type).and_then(|kind| self.asked.get(kind)) {
            counts.note(ending, took);
        }
    }

    /// Counts a request that this context answered.
    pub fn note_answered(&self, frame_type: u16, ending: Ending, took: Duration) {
        if let Some(counts) = kind_of(frame_type).and_then(|kind| self.answered.get(kind)) {
            counts.note(ending, took);
        }
    }

    /// Counts something false in an answer.
    pub fn note_lie(&self) {
        self.lies.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads all counters; the sizes are the registry's to fill in.
    #[must_use]
    pub fn read(&self) -> StatsSnapshot {
        let named = |counts: &[Counts]| {
            KINDS.iter().copied().zip(counts.iter().map(Counts::read)).collect()
        };
        StatsSnapshot {
            asked: named(&self.asked),
            answered: named(&self.answered),
            dials_ok: self.dials_ok.load(Ordering::Relaxed),
            dials_failed: self.dials_failed.load(Ordering::Relaxed),
            accepted: self.accepted.load(Ordering::Relaxed),
            lies: self.lies.load(Ordering::Relaxed),
            ..StatsSnapshot::default()
        }
    }
}

fn kind_of(frame_type: u16) -> Option<usize> {
    match frame_type {
        TYPE_PING => Some(0),
        TYPE_FIND_NODE => Some(1),
        TYPE_FIND => Some(2),
        TYPE_STORE => Some(3),
        TYPE_WATCH => Some(4),
        TYPE_RECONCILE => Some(5),
        TYPE_AUDIT => Some(6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_upper_bound_of_their_bucket() {
        let stats = Stats::default();
        for micros in (0..98).map(|_| 100).chain([5_000, 70_000]) {
            stats.note_asked(TYPE_FIND, Ending::Ok, Duration::from_micros(micros));
        }
        let find = stats.read().asked[2];
        assert_eq!((find.0, find.1.ok), ("find", 100));
        assert_eq!((find.1.p50_us, find.1.p99_us), (128, 8192));
        assert_eq!(stats.read().asked[0].1, CountsSnapshot::default());
    }
}
