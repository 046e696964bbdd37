//! One phase: many operations of one kind, some at once, timed and counted.
//!
//! ```text
//! begin ─▶ note each operation, or a whole batch of them ─▶ end ─▶ print, failure
//! ```
//!
//! What is done as a whole, such as a batch of letters, has a rate and a processor time; its parts have no
//! latencies of their own, and none are told.

use dht_client::{ClientError, ErrorNumber};
use futures_util::stream::{self, StreamExt};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tokio::time::Instant;

use crate::cli::failure::Failure;
use crate::cli::print;

/// Latencies are kept to one part in a thousand.
const SIGNIFICANT_DIGITS: u8 = 3;
/// The longest latency that is told from longer ones: a day, the longest time limit.
const LATENCY_MAX_US: u64 = 86_400 * 1_000_000;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Operations that count.
    pub(super) count: u64,
    /// Operations at once.
    pub(super) concurrency: usize,
    /// Operations before that do not count.
    pub(super) warm_up: u64,
    /// Bytes of each value.
    pub(super) size: usize,
}

/// Whether an operation that succeeded returned what it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Checked {
    Right,
    Wrong,
}

impl From<bool> for Checked {
    fn from(right: bool) -> Self {
        if right { Checked::Right } else { Checked::Wrong }
    }
}

/// What a phase came to.
pub(super) struct Phase {
    op: &'static str,
    load: Load,
    started: Instant,
    elapsed_secs: f64,
    cpu_secs: f64,
    /// Operations that ended well, whether what they returned is right or wrong.
    done: u64,
    latency_us: Histogram<u64>,
    wrong: u64,
    errors: u64,
    first_error: Option<(ErrorNumber, String)>,
    /// The numbers of the operations that returned what they should.
    pub(super) succeeded: Vec<u64>,
}

/// Does `operation` with numbers that rise from 0, those of the warm-up after the others.
pub(super) async fn run<F>(
    op: &'static str,
    load: Load,
    mut operation: impl FnMut(u64) -> F,
) -> Result<Phase, Failure>
where
    F: Future<Output = Result<Checked, ClientError>>,
{
    let warm_up = stream::iter(load.count..load.count + load.warm_up).map(&mut operation);
    warm_up.buffer_unordered(load.concurrency).for_each(|_| async {}).await;

    let mut phase = Phase::begin(op, load)?;
    let mut under_way = stream::iter(0..load.count)
        .map(|number| timed(number, operation(number)))
        .buffer_unordered(load.concurrency);
    while let Some((number, took_us, result)) = under_way.next().await {
        phase.note(number, took_us, result);
    }
    phase.end();
    drop(under_way);
    Ok(phase)
}

async fn timed<T>(number: u64, operation: impl Future<Output = T>) -> (u64, u64, T) {
    let started = Instant::now();
    let result = operation.await;
    let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    (number, took_us, result)
}

impl Phase {
    /// Begins to count time and processor time.
    pub(super) fn begin(op: &'static str, load: Load) -> Result<Self, Failure> {
        Ok(Phase {
            op,
            load,
            latency_us: histogram()?,
            done: 0,
            elapsed_secs: 0.0,
            cpu_secs: -process_cpu_secs(),
            started: Instant::now(),
            wrong: 0,
            errors: 0,
            first_error: None,
            succeeded: Vec::new(),
        })
    }

    /// Takes note of one operation.
    pub(super) fn note(&mut self, number: u64, took_us: u64, result: Result<Checked, ClientError>) {
        match result {
            Ok(checked) => {
                self.done += 1;
                self.latency_us.saturating_record(took_us);
                match checked {
                    Checked::Right => self.succeeded.push(number),
                    Checked::Wrong => self.wrong += 1,
                }
            }
            Err(error) => self.note_failed(1, error.number(), error.to_string()),
        }
    }

    /// Takes note of operations that were done together: how many ended well, and how many of these
    /// returned something wrong.
    pub(super) fn note_batch(&mut self, done: u64, wrong: u64) {
        self.done += done;
        self.wrong += wrong;
    }

    /// Takes note of operations that failed, and why.
    pub(super) fn note_failed(&mut self, count: u64, number: ErrorNumber, sentence: String) {
        self.errors += count;
        self.first_error.get_or_insert((number, sentence));
    }

    /// Counts no more time.
    pub(super) fn end(&mut self) {
        self.elapsed_secs = self.started.elapsed().as_secs_f64();
        self.cpu_secs += process_cpu_secs();
    }

    /// Why the phase cannot be relied on, if so.
    pub(super) fn failure(&self) -> Option<Failure> {
        let (op, count) = (self.op, self.load.count);
        if self.wrong > 0 {
            let sentence = format!(
                "{} of {count} answers to {op} were wrong; find out which node lost or changed a value",
                self.wrong
            );
            return Some(Failure::new(ErrorNumber::WrongAnswer, sentence));
        }
        let (number, first) = self.first_error.as_ref()?;
        let sentence =
            format!("{} of {count} operations of {op} failed; the first: {first}", self.errors);
        Some(Failure::new(*number, sentence))
    }

    /// Prints one JSON object, or one line.
    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        let done = self.done as f64;
        let ops_per_sec = rounded(done / self.elapsed_secs.max(f64::EPSILON));
        let cpu_us = rounded(self.cpu_secs * 1e6 / done.max(1.0));
        let quantile =
            |part| (!self.latency_us.is_empty()).then(|| self.latency_us.value_at_quantile(part));
        let (p50, p99) = (quantile(0.5), quantile(0.99));
        if json {
            return print::object(&json!({
                "op": self.op,
                "ops_per_sec": ops_per_sec,
                "p50_us": p50,
                "p99_us": p99,
                "errors": self.errors,
                "wrong": self.wrong,
                "cpu_us_per_op_client": cpu_us,
                "count": self.load.count,
                "concurrency": self.load.concurrency,
                "size": self.load.size,
            }));
        }
        let shown = |latency: Option<u64>| latency.map_or("-".to_owned(), |us| us.to_string());
        print::line(&format!(
            "{:<7} {ops_per_sec:>9.1}/s  p50 {:>7} us  p99 {:>7} us  client CPU {cpu_us:>6.1} us  errors {}  wrong {}",
            self.op,
            shown(p50),
            shown(p99),
            self.errors,
            self.wrong,
        ))
    }
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, SIGNIFICANT_DIGITS).map_err(|error| {
        let sentence = format!("latencies cannot be counted ({error}); report this fault");
        Failure::new(ErrorNumber::Internal, sentence)
    })
}

fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Processor time of this process so far, in user and system mode.
fn process_cpu_secs() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn phase() -> Phase {
        let load = Load { count: 3, concurrency: 1, warm_up: 0, size: 0 };
        Phase::begin("get", load).unwrap()
    }

    #[test]
    fn latencies_from_microseconds_to_hours_are_told_apart() {
        let mut phase = phase();
        for (number, took_us) in [5, 12_000, 7_200_000_000].into_iter().enumerate() {
            phase.note(number as u64, took_us, Ok(Checked::Right));
        }
        let close = |quantile, expected: f64| {
            let found = phase.latency_us.value_at_quantile(quantile) as f64;
            assert!((found / expected - 1.0).abs() < 0.001, "{found} is not {expected}");
        };
        close(0.01, 5.0);
        close(0.5, 12_000.0);
        close(0.99, 7_200_000_000.0);
        assert!(phase.failure().is_none());
    }

    #[test]
    fn a_batch_has_a_rate_and_no_latencies() {
        let mut phase = phase();
        phase.note_batch(3, 0);
        assert!(phase.failure().is_none() && phase.done == 3 && phase.latency_us.is_empty());
        phase.note_failed(2, ErrorNumber::NotFound, "two did not come".to_owned());
        assert!(phase.failure().is_some() && phase.errors == 2);
    }

    #[test]
    fn a_wrong_answer_and_an_error_fail_the_run() {
        let mut failed = phase();
        failed.note(0, 1, Err(ClientError::TimedOut(Duration::from_secs(1))));
        assert!(failed.failure().is_some() && failed.errors == 1);
        let mut wrong = phase();
        wrong.note(0, 1, Ok(Checked::Wrong));
        assert!(wrong.failure().is_some() && wrong.succeeded.is_empty());
    }
}
