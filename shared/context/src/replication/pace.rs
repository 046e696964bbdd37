//! [`Pace`]: repair comes second.
//!
//! After each request of repair comes a pause: as long as the bytes that it moved take at the rate
//! that the operator allows, and at least as long as the request itself took, so that repair never
//! uses more than half of the time. The more puts and gets the node answers, the longer the pause: up
//! to nine times as long as the request took. A tenth of the time is left for repair then, and it
//! still gets on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// While alone, repair rests as long as it worked.
const REST_ALONE: u32 = 1;
/// Beside a busy foreground it rests nine times as long.
const REST_BUSY: u32 = 9;
/// The longest rest for the time that one request took: one that waited for a dead peer did not
/// keep anybody busy.
const REST_LONGEST: Duration = Duration::from_millis(500);
/// Foreground requests are counted in spans of so long; the last whole one tells the rate.
const SPAN: Duration = Duration::from_millis(100);
/// With so many foreground requests in a span, 500 a second, it rests longest: a high rate, a tenth of
/// what a core does.
const BUSY: u32 = 50;

/// How fast repair may go. All of a node's repair shares one.
#[derive(Debug)]
pub struct Pace {
    bytes_per_sec: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the next request may start.
    free_at: Instant,
    span_began: Instant,
    in_span: u32,
    in_last_span: u32,
}

impl Pace {
    /// Repair that moves at most so many bytes a second.
    #[must_use]
    pub fn new(bytes_per_sec: u64) -> Self {
        let now = Instant::now();
        let state = State { free_at: now, span_began: now, in_span: 0, in_last_span: 0 };
        let bytes_per_sec = AtomicU64::new(bytes_per_sec.max(1));
        Pace { bytes_per_sec, state: Mutex::new(state) }
    }

    /// Moves at most so many bytes a second from the next request on.
    pub fn set_bytes_per_sec(&self, bytes_per_sec: u64) {
        self.bytes_per_sec.store(bytes_per_sec.max(1), Ordering::Relaxed);
    }

    /// Waits until repair may ask something again.
    pub async fn before_request(&self) {
        loop {
            let free_at = self.state().free_at;
            if free_at <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(free_at).await;
        }
    }

    /// A request of repair moved so many bytes, both ways together, and took so long.
    pub fn used(&self, bytes: usize, took: Duration) {
        let now = Instant::now();
        let mut state = self.state();
        let for_time = state.rest_after(took, now).min(REST_LONGEST);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let rate = self.bytes_per_sec.load(Ordering::Relaxed).max(1);
        let micros = bytes.saturating_mul(1_000_000) / rate;
        // What took long to move has used up part of its share meanwhile.
        let for_bytes = Duration::from_micros(micros).saturating_sub(took);
        state.free_at = state.free_at.max(now) + for_time.max(for_bytes);
    }

    /// The node answered a put or a get.
    pub fn note_foreground(&self) {
        let now = Instant::now();
        let mut state = self.state();
        state.turn_span(now);
        state.in_span = state.in_span.saturating_add(1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn rest_after(&mut self, took: Duration, now: Instant) -> Duration {
        self.turn_span(now);
        let foreground = self.in_span.max(self.in_last_span).min(BUSY);
        let longer = (REST_BUSY - REST_ALONE) * foreground;
        took.saturating_mul(REST_ALONE * BUSY + longer) / BUSY
    }

    fn turn_span(&mut self, now: Instant) {
        let passed = now.duration_since(self.span_began);
        if passed >= SPAN {
            self.in_last_span = if passed < 2 * SPAN { self.in_span } else { 0 };
            self.in_span = 0;
            self.span_began = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// How long repair has to wait.
    async fn wait(pace: &Pace) -> Duration {
        let started = Instant::now();
        pace.before_request().await;
        started.elapsed()
    }

    fn near(measured: Duration, expected: Duration) -> bool {
        measured >= expected && measured <= expected + 2 * MILLI
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_spread_over_the_time_that_they_are_allowed() {
        let pace = Pace::new(1_000_000);
        assert_eq!(wait(&pace).await, Duration::ZERO);
        pace.used(100_000, MILLI);
        pace.used(100_000, MILLI);
        assert!(near(wait(&pace).await, 198 * MILLI));
        assert_eq!(wait(&pace).await, Duration::ZERO, "time passed counts");
    }

    #[tokio::test(start_paused = true)]
    async fn another_rate_counts_from_the_next_request_on() {
        let pace = Pace::new(1_000_000);
        pace.used(100_000, MILLI);
        pace.set_bytes_per_sec(100_000);
        assert!(near(wait(&pace).await, 99 * MILLI));
        pace.used(100_000, MILLI);
        assert!(near(wait(&pace).await, 999 * MILLI));
    }

    #[tokio::test(start_paused = true)]
    async fn alone_repair_uses_half_of_the_time_and_beside_many_requests_a_tenth() {
        let pace = Pace::new(u64::MAX);
        pace.used(10, 10 * MILLI);
        assert!(near(wait(&pace).await, 10 * MILLI));
        for _ in 0..2 * BUSY {
            pace.note_foreground();
        }
        pace.used(10, 10 * MILLI);
        assert!(near(wait(&pace).await, 90 * MILLI));
        tokio::time::advance(2 * SPAN).await;
        pace.used(10, 10 * MILLI);
        assert!(near(wait(&pace).await, 10 * MILLI), "the many requests are over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_requests_slow_repair_down_a_little() {
        let pace = Pace::new(u64::MAX);
        for _ in 0..BUSY / 8 {
            pace.note_foreground();
        }
        pace.used(10, 10 * MILLI);
        let waited = wait(&pace).await;
        assert!(waited > 18 * MILLI && waited < 22 * MILLI, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_to_the_dead_does_not_hold_repair_up_for_as_long_again() {
        let pace = Pace::new(u64::MAX);
        pace.used(10, Duration::from_secs(3));
        assert!(near(wait(&pace).await, REST_LONGEST));
    }
}
