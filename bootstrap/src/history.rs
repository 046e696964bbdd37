//! [`History`]: how the node was over the last hours, one [`Sample`] every ten seconds.
//!
//! The samples lie in a ring in memory and end with the process: who wants more lets Prometheus scrape
//! the node. Rates and latencies are those of the ten seconds before the sample, not since the start.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dht_context::clock::{Clock, SystemClock};
use dht_context::stats::Latencies;
use dht_kad::UnixMs;
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;

use crate::admin::ReadNode;
use crate::reading::Reading;

/// How far apart samples are: a plot of six hours then has more of them than a screen has columns.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// The most samples kept: six hours, a shift's length, in about a megabyte.
pub const SAMPLES_MAX: usize = 6 * 60 * 6;

/// What a put is, and a get: the kinds of requests that are plotted.
const PUT: &str = "store";
const GET: &str = "find";

/// How the node was at a moment, and what it did in the time before.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// When, by this machine's clock: Unix time in milliseconds.
    pub at_ms: u64,
    /// Whether it was ready.
    pub ready: bool,
    /// Peers known.
    pub peers: usize,
    /// Servers in the routing table.
    pub table: usize,
    /// Live connections.
    pub connections: usize,
    /// Records kept, by class of lifetime.
    pub records_by_retention: Vec<(String, u64)>,
    /// Bytes that they are charged.
    pub bytes: u64,
    /// Put requests of others answered a second.
    pub puts_per_sec: f64,
    /// Get requests of others answered a second.
    pub gets_per_sec: f64,
    /// How long those took.
    pub puts: Took,
    /// How long those took.
    pub gets: Took,
    /// How long ago the neighbour that was longest not found equal was found so, in milliseconds.
    pub lag_ms: u64,
    /// For how long something has been known to lack, in milliseconds.
    pub oldest_unrepaired_ms: u64,
    /// Records known to lack copies.
    pub under_replicated: u64,
    /// Bytes free on the disk, if known.
    pub disk_free_bytes: Option<u64>,
    /// Bytes of memory in RAM, if known.
    pub memory_bytes: Option<u64>,
    /// What was refused since the sample before, by reason; only reasons that came.
    pub refusals: Vec<(String, u64)>,
}

/// How long requests took, in microseconds, up to a factor of 2; 0 if there were none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Took {
    /// Half took at most this.
    pub p50_us: u64,
    /// 99 of 100 took at most this.
    pub p99_us: u64,
}

/// The samples after a moment, oldest first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HistoryReport {
    /// Seconds from one sample to the next.
    pub every_secs: u64,
    /// The samples.
    pub samples: Vec<Sample>,
}

/// The last samples of a node.
#[derive(Debug, Default)]
pub struct History {
    samples: Mutex<VecDeque<Sample>>,
}

impl History {
    /// Takes a sample again and again. It never ends by itself.
    pub async fn keep(self: Arc<Self>, read: ReadNode) {
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        // After a stall the samples go on at their distance, instead of being made up for.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let (mut before, mut began) = (read(), tokio::time::Instant::now());
        loop {
            ticks.tick().await;
            let (now, ended) = (read(), tokio::time::Instant::now());
            self.push(sample(&before, &now, ended - began, SystemClock.now()));
            (before, began) = (now, ended);
        }
    }

    /// The samples that were taken after this moment.
    #[must_use]
    pub fn after(&self, moment: UnixMs) -> HistoryReport {
        let samples = self.lock();
        let later = samples.iter().skip_while(|sample| sample.at_ms <= moment.0).cloned();
        HistoryReport { every_secs: SAMPLE_EVERY.as_secs(), samples: later.collect() }
    }

    fn push(&self, sample: Sample) {
        let mut samples = self.lock();
        if samples.len() >= SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        // Nothing that can panic happens under this lock.
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What lies between two readings.
fn sample(before: &Reading, now: &Reading, took: Duration, at: UnixMs) -> Sample {
    let answered = |kind: &str| {
        let of = |reading: &Reading| {
            let mut kinds = reading.answered_latencies.iter();
            kinds.find(|(counted, _)| *counted == kind).map(|(_, latencies)| latencies.clone())
        };
        of(now).unwrap_or_default().since(&of(before).unwrap_or_default())
    };
    let (puts, gets) = (answered(PUT), answered(GET));
    let per_sec = |latencies: &Latencies| per_sec(latencies.count(), took);
    let status = &now.status;
    let refused = status.refusals.iter().zip(&before.status.refusals);
    Sample {
        at_ms: at.0,
        ready: status.ready,
        peers: status.peers,
        table: status.table,
        connections: status.connections,
        records_by_retention: status.records_by_retention.clone(),
        bytes: status.bytes,
        puts_per_sec: per_sec(&puts),
        gets_per_sec: per_sec(&gets),
        puts: Took::of(&puts),
        gets: Took::of(&gets),
        lag_ms: status.replication.lag_ms,
        oldest_unrepaired_ms: status.replication.oldest_unrepaired_ms,
        under_replicated: status.replication.under_replicated,
        disk_free_bytes: status.disk_free_bytes,
        memory_bytes: status.memory_bytes,
        refusals: refused
            .map(|((reason, count), (_, earlier))| (reason, count.saturating_sub(*earlier)))
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.clone(), count))
            .collect(),
    }
}

/// To a tenth: what a person reads, and short in JSON.
fn per_sec(count: u64, took: Duration) -> f64 {
    let rate = count as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE);
    (rate * 10.0).round() / 10.0
}

impl Took {
    fn of(latencies: &Latencies) -> Self {
        Took { p50_us: latencies.percentile_us(50), p99_us: latencies.percentile_us(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_newest_and_no_more_than_its_bound() {
        let history = History::default();
        let count = SAMPLES_MAX as u64 + 5;
        for at_ms in 1..=count {
            history.push(Sample { at_ms, ..Sample::default() });
        }
        let all = history.after(UnixMs(0)).samples;
        assert_eq!((all.len(), all[0].at_ms, all[all.len() - 1].at_ms), (SAMPLES_MAX, 6, count));
        let last: Vec<u64> =
            history.after(UnixMs(count - 2)).samples.iter().map(|sample| sample.at_ms).collect();
        assert_eq!(last, [count - 1, count]);
    }

    #[test]
    fn rates_are_per_second_and_to_a_tenth() {
        assert_eq!(per_sec(123, Duration::from_secs(10)), 12.3);
        assert_eq!(per_sec(1, Duration::from_secs(30)), 0.0);
        assert_eq!(per_sec(0, Duration::ZERO), 0.0);
    }
}
