//! The store's clock: the wall clock, held against the machine's uptime and what peers say, by the
//! rules of [`clock_trust`](dht_context::store::clock_trust).

use std::sync::{Arc, Mutex, PoisonError};

use dht_context::clock::Clock;
use dht_context::store::clock_trust::ClockTrust;
pub(super) use dht_context::store::clock_trust::Moment;
pub use dht_context::store::clock_trust::{BACKWARD_TOLERANCE_MS, CONFIRM_MS, JUMP_MAX_MS};
use dht_kad::UnixMs;
use rustix::time::{ClockId, clock_gettime};

/// Watches the wall clock for one store.
pub(super) struct ClockGuard {
    clock: Arc<dyn Clock>,
    trust: Mutex<ClockTrust>,
}

impl ClockGuard {
    /// A guard that trusted `high_water` last; the present time where there is none.
    pub(super) fn new(clock: Arc<dyn Clock>, high_water: Option<UnixMs>) -> Self {
        let trust = ClockTrust::new(high_water.unwrap_or_else(|| clock.now()), uptime_ms());
        ClockGuard { clock, trust: Mutex::new(trust) }
    }

    /// Looks at the clock.
    pub(super) fn look(&self) -> Moment {
        let (wall, uptime_ms) = (self.clock.now(), uptime_ms());
        self.with_trust(|trust| trust.look(wall, uptime_ms))
    }

    /// The latest trusted time.
    pub(super) fn high_water(&self) -> UnixMs {
        self.with_trust(|trust| trust.high_water())
    }

    /// Notes whether long-lived peers agree with a clock that shows `wall` now; `None` while nobody
    /// can say.
    pub(super) fn set_agrees(&self, agrees: Option<bool>, wall: UnixMs) {
        let uptime_ms = uptime_ms();
        self.with_trust(|trust| trust.set_agrees(agrees, wall, uptime_ms));
    }

    fn with_trust<R>(&self, act: impl FnOnce(&mut ClockTrust) -> R) -> R {
        act(&mut self.trust.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for ClockGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClockGuard").field("trust", &self.trust).finish_non_exhaustive()
    }
}

/// Milliseconds since the machine started, sleep included. Nothing sets it.
fn uptime_ms() -> u64 {
    let uptime = clock_gettime(ClockId::Boottime);
    let secs_ms = u64::try_from(uptime.tv_sec).unwrap_or(0).saturating_mul(1_000);
    secs_ms.saturating_add(u64::try_from(uptime.tv_nsec).unwrap_or(0) / 1_000_000)
}
