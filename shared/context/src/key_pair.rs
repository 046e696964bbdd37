//! [`KeyPair`]: an Ed25519 key pair that signs by AWS-LC, which TLS has brought along already.
//!
//! Ed25519 takes no chance (RFC 8032): a key has one signature of a message, whoever makes it. AWS-LC makes it in
//! half of the time of portable Rust, which is most of what many writes and each receipt cost their signer.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use dht_kad::record::RecordSigner;
use ed25519_dalek::{Signer, SigningKey};
use zeroize::Zeroizing;

/// An Ed25519 key pair; overwritten when its last clone is dropped, and never printed.
#[derive(Clone)]
pub struct KeyPair(Arc<Parts>);

struct Parts {
    seed: Zeroizing<[u8; 32]>,
    public: [u8; 32],
    // Nothing if there was no memory for it.
    fast: Option<Ed25519KeyPair>,
}

impl KeyPair {
    /// The key pair with this seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let fast = Ed25519KeyPair::from_seed_unchecked(seed).ok();
        let public = fast.as_ref().and_then(|pair| pair.public_key().as_ref().try_into().ok());
        let public = public.unwrap_or_else(|| slow(seed).verifying_key().to_bytes());
        KeyPair(Arc::new(Parts { seed: Zeroizing::new(*seed), public, fast }))
    }

    /// The 32 bytes that it comes from.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.0.seed
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.0.public
    }

    /// Signs a message (RFC 8032).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.0.fast.as_ref().and_then(|pair| pair.try_sign(message).ok());
        let signature = signature.and_then(|signature| signature.as_ref().try_into().ok());
        signature.unwrap_or_else(|| slow(&self.0.seed).sign(message).to_bytes())
    }
}

/// The same in Rust, for when AWS-LC has no memory.
fn slow(seed: &[u8; 32]) -> SigningKey {
    SigningKey::from_bytes(seed)
}

impl RecordSigner for KeyPair {
    fn publisher(&self) -> [u8; 32] {
        self.public_key()
    }

    fn sign_message(&self, message: &[u8]) -> [u8; 64] {
        self.sign(message)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_key_pair_of_its_seed_and_signs_the_one_signature() {
        for seed in 0..64 {
            let (pair, same) = (KeyPair::from_seed(&[seed; 32]), slow(&[seed; 32]));
            assert!(pair.0.fast.is_some());
            assert_eq!(pair.public_key(), same.verifying_key().to_bytes());
            assert_eq!(pair.seed(), &[seed; 32]);
            for length in [0, 1, 100, 70_000] {
                let message = vec![seed; length];
                assert_eq!(pair.sign(&message), same.sign(&message).to_bytes(), "{length} bytes");
            }
        }
    }

    #[test]
    fn debug_prints_nothing_of_it() {
        assert_eq!(format!("{:?}", KeyPair::from_seed(&[0xab; 32])), "KeyPair(..)");
    }
}
