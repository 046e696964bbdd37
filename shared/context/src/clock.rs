//! The wall clock, behind a trait, so that tests and the simulator set it.

use std::sync::atomic::{AtomicU64, Ordering};

use dht_kad::UnixMs;

/// Tells the time of day. Spans are measured by tokio's clock instead, which never jumps.
pub trait Clock: Send + Sync + 'static {
    /// The present moment, as this machine believes it to be.
    fn now(&self) -> UnixMs;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> UnixMs {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixMs(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that shows what it is told, and stands still in between: for tests and the simulator.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub const fn new(now: UnixMs) -> Self {
        ManualClock(AtomicU64::new(now.0))
    }

    /// Shows `now` from here on, which may lie before what it showed.
    pub fn set(&self, now: UnixMs) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Moves on by `span_ms`.
    pub fn advance(&self, span_ms: u64) {
        self.0.fetch_add(span_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::SeqCst))
    }
}
