//! [`ExpandedXWing`]: X-Wing with a private key that is expanded once.
//!
//! ```text
//! seed (32 bytes) ─ SHAKE256 ─▶ ML-KEM-768 key pair, X25519 key pair: once a key, not once an opening
//! encapsulated key = ML-KEM ciphertext (1,088) ‖ X25519 public key (32)
//! shared secret = SHA3-256(ML-KEM's ‖ X25519's ‖ the sender's X25519 key ‖ the recipient's ‖ label)
//! ```
//!
//! The private key of X-Wing is its seed, and whoever keeps nothing else generates both key pairs anew for each
//! opening, which is a third of its cost. This keeps them. All bytes are those of [`XWing`], to which
//! everything but the opening is left. Source: [draft-connolly-cfrg-xwing-kem], sections 5.2 to 5.5.
//!
//! [draft-connolly-cfrg-xwing-kem]: https://datatracker.ietf.org/doc/draft-connolly-cfrg-xwing-kem/

use curve25519_dalek::montgomery::MontgomeryPoint;
use hpke::kem::{MlKem768, SharedSecret, XWing};
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable, HpkeError, Kem, Serializable};
use sha3::{Digest, Sha3_256};
use shake::{ExtendableOutput, Shake256, Update, XofReader};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// Bytes of ML-KEM-768's ciphertext, which an encapsulated key begins with.
const ML_KEM_CIPHERTEXT_LEN: usize = 1088;
/// What the combiner ends with, in the words of the draft.
const LABEL: &[u8; 6] = br"\.//^\";

/// X-Wing as a KEM of HPKE whose private key is [expanded](ExpandedKey).
pub(super) enum ExpandedXWing {}

/// Both private keys, and the seed that they come from. All of it is overwritten when dropped.
#[derive(Clone)]
pub(super) struct ExpandedKey {
    seed: <XWing as Kem>::PrivateKey,
    // Behind a pointer: its kilobytes would else be copied wherever the key is moved to. Always there: any
    // seed of this length is one.
    ml_kem: Option<Box<<MlKem768 as Kem>::PrivateKey>>,
    x25519: Zeroizing<[u8; 32]>,
    x25519_public: [u8; 32],
}

impl ExpandedKey {
    fn of(seed: <XWing as Kem>::PrivateKey) -> Self {
        let mut expanding = Shake256::default();
        expanding.update(&Zeroizing::new(seed.to_bytes()));
        let mut expanded = expanding.finalize_xof();
        let (mut ml_kem, mut x25519) = (Zeroizing::new([0; 64]), Zeroizing::new([0; 32]));
        expanded.read(&mut *ml_kem);
        expanded.read(&mut *x25519);
        ExpandedKey {
            seed,
            ml_kem: Deserializable::from_bytes(&*ml_kem).ok().map(Box::new),
            x25519_public: MontgomeryPoint::mul_base_clamped(*x25519).to_bytes(),
            x25519,
        }
    }

    /// The secret that an encapsulated key stands for. One that was made for somebody else gives some
    /// other secret, with which nothing opens.
    fn decapsulate(&self, encapsulated: &[u8]) -> Result<[u8; 32], HpkeError> {
        let halves = encapsulated.split_at_checked(ML_KEM_CIPHERTEXT_LEN);
        let (ml_kem, x25519) = halves.ok_or(HpkeError::DecapError)?;
        let ml_kem = <MlKem768 as Kem>::EncappedKey::from_bytes(ml_kem)?;
        let private = self.ml_kem.as_ref().ok_or(HpkeError::DecapError)?;
        let ml_kem = MlKem768::decap(private, None, &ml_kem)?;
        let senders: [u8; 32] = x25519.try_into().map_err(|_| HpkeError::DecapError)?;
        let x25519 = MontgomeryPoint(senders).mul_clamped(*self.x25519);
        let x25519 = Zeroizing::new(x25519.to_bytes());
        let mut combiner = Sha3_256::new();
        let parts: [&[u8]; 5] = [&ml_kem.0, &*x25519, &senders, &self.x25519_public, LABEL];
        for part in parts {
            Digest::update(&mut combiner, part);
        }
        Ok(combiner.finalize().into())
    }
}

impl Serializable for ExpandedKey {
    type OutputSize = <<XWing as Kem>::PrivateKey as Serializable>::OutputSize;

    fn write_exact(&self, to: &mut [u8]) {
        self.seed.write_exact(to);
    }
}

impl Deserializable for ExpandedKey {
    fn from_bytes(seed: &[u8]) -> Result<Self, HpkeError> {
        Deserializable::from_bytes(seed).map(ExpandedKey::of)
    }
}

impl ConstantTimeEq for ExpandedKey {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.seed.ct_eq(&other.seed)
    }
}

impl Kem for ExpandedXWing {
    type PublicKey = <XWing as Kem>::PublicKey;
    type PrivateKey = ExpandedKey;
    type EncappedKey = <XWing as Kem>::EncappedKey;
    type NSecret = <XWing as Kem>::NSecret;

    const KEM_ID: u16 = XWing::KEM_ID;

    fn sk_to_pk(key: &ExpandedKey) -> Self::PublicKey {
        XWing::sk_to_pk(&key.seed)
    }

    fn derive_keypair(material: &[u8]) -> (ExpandedKey, Self::PublicKey) {
        let (seed, public) = XWing::derive_keypair(material);
        (ExpandedKey::of(seed), public)
    }

    fn decap(
        key: &ExpandedKey,
        sender: Option<&Self::PublicKey>,
        encapsulated: &Self::EncappedKey,
    ) -> Result<SharedSecret<Self>, HpkeError> {
        // X-Wing does not say who encapsulated.
        if sender.is_some() {
            return Err(HpkeError::DecapError);
        }
        Ok(SharedSecret(key.decapsulate(&encapsulated.to_bytes())?.into()))
    }

    fn encap_with_rng(
        to: &Self::PublicKey,
        sender: Option<(&ExpandedKey, &Self::PublicKey)>,
        generator: &mut impl CryptoRng,
    ) -> Result<(SharedSecret<Self>, Self::EncappedKey), HpkeError> {
        if sender.is_some() {
            return Err(HpkeError::EncapError);
        }
        let (secret, encapsulated) = XWing::encap_with_rng(to, None, generator)?;
        Ok((SharedSecret(secret.0), encapsulated))
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn an_expanded_key_is_the_key_of_its_seed_and_finds_the_same_secrets() {
        let mut generator = ChaCha20Rng::from_seed([5; 32]);
        for material in 0..20_u8 {
            let (seed, public) = XWing::derive_keypair(&[material; 32]);
            let (expanded, same_public) = ExpandedXWing::derive_keypair(&[material; 32]);
            assert_eq!(public, same_public);
            assert_eq!(seed.to_bytes(), expanded.to_bytes());
            let again = ExpandedKey::from_bytes(&seed.to_bytes()).unwrap();
            assert_eq!(public, ExpandedXWing::sk_to_pk(&again));

            let (secret, encapsulated) =
                XWing::encap_with_rng(&public, None, &mut generator).unwrap();
            let found = ExpandedXWing::decap(&again, None, &encapsulated).unwrap();
            assert_eq!(found.0, secret.0);

            // Nor do they differ on what nobody encapsulated.
            let bytes = encapsulated.to_bytes();
            for at in [0, 700, ML_KEM_CIPHERTEXT_LEN - 1, ML_KEM_CIPHERTEXT_LEN, bytes.len() - 1] {
                let mut wrong = bytes;
                wrong[at] ^= 1;
                let wrong = Deserializable::from_bytes(&wrong).unwrap();
                let found = ExpandedXWing::decap(&expanded, None, &wrong).unwrap();
                assert_eq!(found.0, XWing::decap(&seed, None, &wrong).unwrap().0, "byte {at}");
                assert_ne!(found.0, secret.0, "byte {at}");
            }
        }
    }

    #[test]
    fn it_says_nothing_of_a_sender() {
        let (key, public) = ExpandedXWing::derive_keypair(&[1; 32]);
        let mut generator = ChaCha20Rng::from_seed([5; 32]);
        let sender = Some((&key, &public));
        assert!(ExpandedXWing::encap_with_rng(&public, sender, &mut generator).is_err());
        let (_, encapsulated) =
            ExpandedXWing::encap_with_rng(&public, None, &mut generator).unwrap();
        assert!(ExpandedXWing::decap(&key, Some(&public), &encapsulated).is_err());
    }
}
