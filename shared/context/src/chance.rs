//! Chance: one seeded generator per context, so that a simulated run can be repeated.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// A context's generator, shared by its tasks. Not for secrets.
#[derive(Debug)]
pub struct Chance(Mutex<ChaCha8Rng>);

impl Chance {
    /// A generator that always gives the same from the same seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Chance(Mutex::new(ChaCha8Rng::from_seed(seed)))
    }

    /// Uses the generator for a moment.
    pub fn with<T>(&self, draw: impl FnOnce(&mut ChaCha8Rng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Any number.
    pub fn number(&self) -> u64 {
        self.with(|rng| rng.next_u64())
    }

    /// A number below `bound`, or 0 if `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        self.number().checked_rem(bound).unwrap_or(0)
    }

    /// Between half of `span` and all of it: what keeps many nodes from acting at once.
    pub fn jittered(&self, span: Duration) -> Duration {
        let half = span / 2;
        let part = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        half + Duration::from_micros(self.below(part.saturating_add(1)))
    }

    /// The wait before attempt number `attempt` (from 0): `first` doubled each time, at most
    /// `longest`, jittered.
    pub fn backoff(&self, attempt: u32, first: Duration, longest: Duration) -> Duration {
        let doubled = first.saturating_mul(1_u32.checked_shl(attempt.min(16)).unwrap_or(u32::MAX));
        self.jittered(doubled.min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_longest_with_jitter_of_half() {
        let chance = Chance::from_seed([1; 32]);
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(2));
        for (attempt, expected_ms) in [(0, 100), (1, 200), (3, 800), (9, 2000), (40, 2000)] {
            let wait = chance.backoff(attempt, first, longest).as_millis();
            assert!((expected_ms / 2..=expected_ms).contains(&wait), "{attempt}: {wait}");
        }
    }
}
