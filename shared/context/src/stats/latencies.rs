//! How long things took: a histogram whose buckets double in width.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets of the histogram: the upper bound of bucket `n` is `2^n` microseconds, and the last one,
/// from 17 s on, is more than any time limit here.
pub const LATENCY_BUCKETS: usize = 26;

/// What is counted while things go on.
#[derive(Debug, Default)]
pub(super) struct LatencyCounts {
    sum_us: AtomicU64,
    buckets: [AtomicU64; LATENCY_BUCKETS],
}

/// A histogram, read at a moment.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Latencies {
    sum_us: u64,
    buckets: [u64; LATENCY_BUCKETS],
}

impl LatencyCounts {
    pub(super) fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        let last = LATENCY_BUCKETS - 1;
        if let Some(count) = self.buckets.get(bucket.min(last)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> Latencies {
        Latencies {
            sum_us: self.sum_us.load(Ordering::Relaxed),
            buckets: self.buckets.each_ref().map(|count| count.load(Ordering::Relaxed)),
        }
    }
}

impl Latencies {
    /// All of it together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// How many were measured.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The buckets, each with its upper bound in seconds, the last one's infinite, and how many fell
    /// into it.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        self.buckets.iter().enumerate().map(|(bucket, count)| {
            let last = bucket + 1 == LATENCY_BUCKETS;
            let bound =
                if last { f64::INFINITY } else { Duration::from_micros(1 << bucket).as_secs_f64() };
            (bound, *count)
        })
    }

    /// What came after `earlier`, which is of the same counts.
    #[must_use]
    pub fn since(&self, earlier: &Latencies) -> Latencies {
        let mut buckets = self.buckets;
        for (count, before) in buckets.iter_mut().zip(earlier.buckets) {
            *count = count.saturating_sub(before);
        }
        Latencies { sum_us: self.sum_us.saturating_sub(earlier.sum_us), buckets }
    }

    /// The upper bound, in microseconds, of the bucket in which the given part of all has been
    /// reached; 0 if there is nothing.
    #[must_use]
    pub fn percentile_us(&self, percent: u64) -> u64 {
        let total = self.count();
        let wanted = (total * percent).div_ceil(100);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if total > 0 && seen >= wanted {
                return 1 << bucket;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of_micros: &[u64]) -> LatencyCounts {
        let counts = LatencyCounts::default();
        of_micros.iter().for_each(|micros| counts.note(Duration::from_micros(*micros)));
        counts
    }

    #[test]
    fn percentiles_are_the_upper_bound_of_their_bucket() {
        let micros: Vec<u64> = (0..98).map(|_| 100).chain([5_000, 70_000]).collect();
        let latencies = counts(&micros).read();
        assert_eq!((latencies.percentile_us(50), latencies.percentile_us(99)), (128, 8192));
        assert_eq!(Latencies::default().percentile_us(99), 0);
    }

    #[test]
    fn each_is_counted_once_below_its_bound_and_above_the_one_before() {
        let latencies = counts(&[0, 1, 2, 3, 1_000, u64::MAX >> 1]).read();
        assert_eq!(latencies.count(), 6);
        let held: Vec<(f64, u64)> = latencies.buckets().filter(|(_, count)| *count > 0).collect();
        let bounds = [0.000_001, 0.000_002, 0.000_004, 0.001_024, f64::INFINITY];
        assert_eq!(held, bounds.into_iter().zip([1, 1, 2, 1, 1]).collect::<Vec<_>>());
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let counts = counts(&[100, 100]);
        let before = counts.read();
        counts.note(Duration::from_micros(9_000));
        let since = counts.read().since(&before);
        assert_eq!((since.count(), since.sum()), (1, Duration::from_micros(9_000)));
        assert_eq!(since.percentile_us(50), 16_384);
    }
}
