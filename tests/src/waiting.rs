//! Waiting for what has to come, under limits that only a fault exceeds.

use std::time::{Duration, Instant};

/// The most that anything here may take: generous, since the machine may be busy.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The pause between two looks: short beside what is waited for, and nothing beside its cost.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks again and again until `look` finds something, and fails with `what` after [`LIMIT`].
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        pause();
    }
}

/// Gives the others a moment before the next look.
pub(crate) fn pause() {
    std::thread::park_timeout(PAUSE);
}
