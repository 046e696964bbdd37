//! The wall clocks of simulated machines.
//!
//! ```text
//! world's time of day  = epoch + virtual time since the run began + jumps of the whole world
//! a host's time of day = the world's + the host's own error
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dht_context::clock::Clock;
use dht_kad::UnixMs;
use tokio::time::Instant;

/// When every run begins: a moment in 2027.
pub const EPOCH: UnixMs = UnixMs(1_800_000_000_000);

/// The true time of day.
#[derive(Debug)]
pub struct WorldClock {
    began: Instant,
    jumped_ms: AtomicU64,
}

impl WorldClock {
    /// A clock that shows [`EPOCH`] now.
    #[must_use]
    pub fn new() -> Self {
        WorldClock { began: Instant::now(), jumped_ms: AtomicU64::new(0) }
    }

    /// Moves the time of day of all hosts on, without the days in between being lived through:
    /// records age, timers do not.
    pub fn jump(&self, span_ms: u64) {
        self.jumped_ms.fetch_add(span_ms, Ordering::SeqCst);
    }
}

impl Default for WorldClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for WorldClock {
    fn now(&self) -> UnixMs {
        let lived_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        EPOCH.after(lived_ms).after(self.jumped_ms.load(Ordering::SeqCst))
    }
}

/// One host's idea of the time of day.
#[derive(Debug)]
pub struct HostClock {
    world: Arc<WorldClock>,
    error: Mutex<Error>,
}

/// By how much a clock is wrong: so much at a moment, and growing or shrinking from then on.
#[derive(Clone, Copy, Debug)]
struct Error {
    ahead_ms: i64,
    drift_ppm: i64,
    since: UnixMs,
}

impl HostClock {
    /// A clock that is right.
    #[must_use]
    pub fn new(world: Arc<WorldClock>) -> Self {
        let error = Error { ahead_ms: 0, drift_ppm: 0, since: world.now() };
        HostClock { world, error: Mutex::new(error) }
    }

    /// Sets how far it is ahead of the truth, or behind it if negative.
    pub fn set_error_ms(&self, ahead_ms: i64) {
        let since = self.world.now();
        let mut error = self.error();
        *error = Error { ahead_ms, since, ..*error };
    }

    /// Lets it run too fast from now on by so many millionths, or too slow if negative.
    pub fn set_drift_ppm(&self, drift_ppm: i64) {
        let since = self.world.now();
        let mut error = self.error();
        *error = Error { ahead_ms: error.ahead_ms_at(since), drift_ppm, since };
    }

    /// How far it is ahead of the truth.
    #[must_use]
    pub fn error_ms(&self) -> i64 {
        let now = self.world.now();
        self.error().ahead_ms_at(now)
    }

    fn error(&self) -> MutexGuard<'_, Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Error {
    fn ahead_ms_at(&self, now: UnixMs) -> i64 {
        let elapsed_ms = i64::try_from(now.since(self.since)).unwrap_or(i64::MAX);
        let drifted_ms = elapsed_ms.saturating_mul(self.drift_ppm) / 1_000_000;
        self.ahead_ms.saturating_add(drifted_ms)
    }
}

impl Clock for HostClock {
    fn now(&self) -> UnixMs {
        let now = self.world.now();
        UnixMs(now.0.saturating_add_signed(self.error().ahead_ms_at(now)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_jumps_and_drifts_from_where_it_is() {
        let world = Arc::new(WorldClock::new());
        let clock = HostClock::new(Arc::clone(&world));
        assert_eq!(clock.now(), EPOCH);
        clock.set_error_ms(-500);
        clock.set_drift_ppm(1_000);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!((clock.error_ms(), clock.now()), (-400, EPOCH.after(99_600)));
        clock.set_drift_ppm(0);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(clock.error_ms(), -400);
    }
}
