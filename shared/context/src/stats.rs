//! What a context counts: requests asked and answered, their latencies, refusals and failures.

mod latencies;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dht_kad::Refusal;
use dht_kad::message::{
    TYPE_AUDIT, TYPE_FIND, TYPE_FIND_NODE, TYPE_PING, TYPE_RECONCILE, TYPE_STORE, TYPE_VITALS,
    TYPE_WATCH,
};

use crate::replication::ReplicationFigures;
use crate::watch::WatchFigures;
pub use latencies::{LATENCY_BUCKETS, Latencies};

use latencies::LatencyCounts;

/// Counts of one kind of request.
#[derive(Debug, Default)]
pub struct Counts {
    ok: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    latency: LatencyCounts,
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
    /// Refusals, by place in [`Refusal::NUMBERS`].
    refusals: [AtomicU64; Refusal::NUMBERS.len()],
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
    /// How long the requests took that this context asked, by kind.
    pub asked_latencies: Vec<(&'static str, Latencies)>,
    /// How long the requests took that this context answered, by kind.
    pub answered_latencies: Vec<(&'static str, Latencies)>,
    /// What this context refused, requests and single records, by the name of each reason's
    /// [number](dht_kad::ErrorNumber); all reasons, also those that never came.
    pub refusals: Vec<(&'static str, u64)>,
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
const KINDS: [&str; 8] =
    ["ping", "find_node", "find", "store", "watch", "reconcile", "audit", "vitals"];

impl Counts {
    fn note(&self, ending: Ending, took: Duration) {
        let counter = match ending {
            Ending::Ok => &self.ok,
            Ending::Refused => &self.refused,
            Ending::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.latency.note(took);
    }

    fn read(&self) -> CountsSnapshot {
        let latencies = self.latency.read();
        CountsSnapshot {
            ok: self.ok.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            p50_us: latencies.percentile_us(50),
            p99_us: latencies.percentile_us(99),
        }
    }
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

    /// Counts a request, or one record of it, that this context refused.
    pub fn note_refusal(&self, refusal: &Refusal) {
        let number = refusal.number();
        let place = Refusal::NUMBERS.iter().position(|counted| *counted == number);
        if let Some(count) = place.and_then(|place| self.refusals.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
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
        let latencies = |counts: &[Counts]| {
            let each = counts.iter().map(|counts| counts.latency.read());
            KINDS.iter().copied().zip(each).collect()
        };
        let reasons = Refusal::NUMBERS.iter().map(|number| number.name());
        let refused = self.refusals.iter().map(|count| count.load(Ordering::Relaxed));
        StatsSnapshot {
            asked: named(&self.asked),
            answered: named(&self.answered),
            asked_latencies: latencies(&self.asked),
            answered_latencies: latencies(&self.answered),
            refusals: reasons.zip(refused).collect(),
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
        TYPE_VITALS => Some(7),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_as_one_of_its_kind() {
        let stats = Stats::default();
        stats.note_asked(TYPE_FIND, Ending::Ok, Duration::from_micros(100));
        let read = stats.read();
        let find = read.asked[2];
        assert_eq!((find.0, find.1.ok, find.1.p50_us, find.1.p99_us), ("find", 1, 128, 128));
        assert_eq!(read.asked_latencies[2].1.sum(), Duration::from_micros(100));
        assert_eq!(read.asked[0].1, CountsSnapshot::default());
        assert_eq!(read.answered[2].1, CountsSnapshot::default());
    }

    #[test]
    fn a_refusal_counts_for_its_reason_alone() {
        let stats = Stats::default();
        stats.note_refusal(&Refusal::Busy);
        stats.note_refusal(&Refusal::SeqTooLow { stored: 3 });
        stats.note_refusal(&Refusal::SeqTooLow { stored: 4 });
        let refusals = stats.read().refusals;
        let some: Vec<_> = refusals.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(some, [("SeqTooLow", 2), ("Busy", 1)]);
    }
}
