//! How long is waited before what the network did not take is tried again: one rule for queued writes,
//! letters and upkeep.

use std::time::Duration;

use rand_core::Rng;

use crate::entropy::Entropy;

/// The first wait; it doubles with each failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait: a network that comes back is used within ten minutes, also by who has not seen it go.
pub(crate) const LONGEST: Duration = Duration::from_secs(10 * 60);

/// The wait after so many failures before the present one. It has jitter: clients that lost the same
/// network should not come back in step.
pub(crate) fn backoff(failures: u32, entropy: &Entropy) -> Duration {
    // Without entropy there is no jitter, and no harm.
    let chance = entropy.generator().map_or(0, |mut generator| generator.next_u64());
    between(failures, chance)
}

/// Doubled each time, between half of it and all of it.
fn between(failures: u32, chance: u64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
    let half = u64::try_from((doubled / 2).as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(half + chance % (half + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_a_second_to_ten_minutes() {
        for (failures, longest_ms) in [(0, 1_000), (1, 2_000), (5, 32_000), (30, 600_000)] {
            assert_eq!(between(failures, 0), Duration::from_millis(longest_ms / 2));
            assert_eq!(between(failures, longest_ms / 2), Duration::from_millis(longest_ms));
        }
    }
}
