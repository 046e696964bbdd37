//! The wall clock, behind a trait, so that tests and the simulator set it.

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
