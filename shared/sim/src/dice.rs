//! Seeds and dice: everything that a run leaves to chance follows from one number.
//!
//! Each purpose has a seed of its own, so that a new draw in one place changes nothing elsewhere.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

const SEED_CONTEXT: &str = "dht 2026 v1 simulator seed";

/// The number that a whole run follows from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed(pub u64);

impl Seed {
    /// The 32 bytes for one purpose, and for one of several that share it.
    #[must_use]
    pub fn derive(self, purpose: &str, number: u64) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(SEED_CONTEXT);
        hasher.update(&self.0.to_be_bytes()).update(&number.to_be_bytes());
        hasher.update(purpose.as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// Dice for one purpose.
    #[must_use]
    pub fn dice(self, purpose: &str, number: u64) -> Dice {
        Dice(ChaCha8Rng::from_seed(self.derive(purpose, number)))
    }
}

/// A seeded generator.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// A place in a list of `len`; 0 if it is empty.
    pub fn place(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// A span from `shortest` to `longest`, both included, in whole microseconds.
    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let room = longest.saturating_sub(shortest).as_micros();
        let room = u64::try_from(room).unwrap_or(u64::MAX - 1);
        shortest + Duration::from_micros(self.below(room + 1))
    }

    /// True in so many of a thousand cases.
    pub fn permille(&mut self, cases: u32) -> bool {
        self.below(1000) < u64::from(cases)
    }

    /// A number above 0, up to 1.
    pub fn fraction(&mut self) -> f64 {
        const STEPS: u32 = 1 << 30;
        let step = u32::try_from(1 + self.below(u64::from(STEPS))).unwrap_or(STEPS);
        f64::from(step) / f64::from(STEPS)
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
