//! [`Entropy`]: where the client's secrets and nonces come from.

use std::sync::{Arc, Mutex, PoisonError};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use thiserror::Error;
use zeroize::Zeroizing;

/// The operating system gave no random bytes.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("no secret can be made ({0}); give the process access to the system's random numbers")]
pub struct EntropyError(String);

/// A source of unpredictable bytes; all clones draw from the same one.
#[derive(Clone, Debug, Default)]
pub struct Entropy(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Seeded(Arc<Mutex<ChaCha20Rng>>),
}

impl Entropy {
    /// The operating system's.
    #[must_use]
    pub fn system() -> Self {
        Entropy(Source::System)
    }

    /// Always the same from the same seed: for simulations and test vectors, where nothing is secret.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Entropy(Source::Seeded(Arc::new(Mutex::new(ChaCha20Rng::from_seed(seed)))))
    }

    /// Fills `bytes`.
    ///
    /// # Errors
    /// [`EntropyError`].
    pub fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        match &self.0 {
            Source::System => {
                getrandom::fill(bytes).map_err(|error| EntropyError(error.to_string()))
            }
            Source::Seeded(generator) => {
                generator.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
                Ok(())
            }
        }
    }

    /// `N` bytes, overwritten in memory when dropped.
    ///
    /// # Errors
    /// [`EntropyError`].
    pub fn secret<const N: usize>(&self) -> Result<Zeroizing<[u8; N]>, EntropyError> {
        let mut bytes = Zeroizing::new([0; N]);
        self.fill(bytes.as_mut())?;
        Ok(bytes)
    }

    /// Whether the same can be drawn again.
    pub(crate) fn is_seeded(&self) -> bool {
        matches!(self.0, Source::Seeded(_))
    }

    /// A generator for one operation that needs more, seeded from here.
    ///
    /// # Errors
    /// [`EntropyError`].
    pub(crate) fn generator(&self) -> Result<ChaCha20Rng, EntropyError> {
        Ok(ChaCha20Rng::from_seed(*self.secret()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_the_system_does_not() {
        let draw = |entropy: &Entropy| *entropy.secret::<32>().unwrap();
        assert_eq!(draw(&Entropy::from_seed([1; 32])), draw(&Entropy::from_seed([1; 32])));
        assert_ne!(draw(&Entropy::system()), draw(&Entropy::system()));
        let seeded = Entropy::from_seed([1; 32]);
        assert_ne!(draw(&seeded), draw(&seeded.clone()), "clones go on where the other stopped");
    }
}
