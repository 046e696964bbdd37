//! The wall clocks of simulated machines.
//!
//! ```text
//! world's time of day  = epoch + virtual time since the run began + jumps of the whole world
//! a host's time of day = the world's + the host's own error
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

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
    error_ms: AtomicI64,
}

impl HostClock {
    /// A clock that is right.
    #[must_use]
    pub fn new(world: Arc<WorldClock>) -> Self {
        HostClock { world, error_ms: AtomicI64::new(0) }
    }

    /// Sets how far it is ahead of the truth, or behind it if negative.
    pub fn set_error_ms(&self, error_ms: i64) {
        self.error_ms.store(error_ms, Ordering::SeqCst);
    }
}

impl Clock for HostClock {
    fn now(&self) -> UnixMs {
        UnixMs(self.world.now().0.saturating_add_signed(self.error_ms.load(Ordering::SeqCst)))
    }
}
