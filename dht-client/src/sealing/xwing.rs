//! X-Wing for HPKE, by an implementation that is several times as fast where that gives the same bytes.
//!
//! ```text
//! seed (32 bytes) ─ SHAKE256 ─▶ ML-KEM-768 key pair, X25519 key pair: once a key, not once an opening
//! encapsulated key = ML-KEM ciphertext (1,088) ‖ X25519 public key (32)
//! shared secret = SHA3-256(ML-KEM's ‖ X25519's ‖ the sender's X25519 key ‖ the recipient's ‖ label)
//! ```
//!
//! The private key of X-Wing is its seed, and whoever keeps nothing else generates both key pairs anew for each
//! opening. [`ExpandedKey`] keeps them. What is computed with them is left to AWS-LC, which TLS has brought along
//! already: its ML-KEM takes a seventh, its X25519 half of the time of portable Rust. To open takes no chance,
//! and gives the same secret either way. To seal does: AWS-LC draws its own, and nobody can repeat it. So there are two ways
//! to seal, and what one seals is opened like what the other does:
//!
//! | [`Chance`] | encapsulates | for |
//! |---|---|---|
//! | [`Drawn`] | AWS-LC | whatever is secret |
//! | [`Given`] | [`XWing`], from a seeded generator | simulations, vectors |
//!
//! All bytes are those of [`XWing`]. Source: [draft-connolly-cfrg-xwing-kem], sections 5.2 to 5.5.
//!
//! [draft-connolly-cfrg-xwing-kem]: https://datatracker.ietf.org/doc/draft-connolly-cfrg-xwing-kem/

use std::marker::PhantomData;
use std::sync::Arc;

use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use curve25519_dalek::montgomery::MontgomeryPoint;
use hpke::kem::{SharedSecret, XWing};
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable, HpkeError, Kem, Serializable};
// FIPS 203 has the expanded form of a key besides its seed, and it is what AWS-LC takes.
#[allow(deprecated)]
use ml_kem::ExpandedKeyEncoding;
use ml_kem::{MlKem768, Seed};
use sha3::{Digest, Sha3_256};
use shake::{ExtendableOutput, Shake256, Update, XofReader};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// Bytes of ML-KEM-768's ciphertext, which an encapsulated key begins with.
const ML_KEM_CIPHERTEXT_LEN: usize = 1088;
/// Bytes of ML-KEM-768's public key, which a public key begins with.
const ML_KEM_PUBLIC_LEN: usize = 1184;
/// What the combiner ends with, in the words of the draft.
const LABEL: &[u8; 6] = br"\.//^\";

type PublicKey = <XWing as Kem>::PublicKey;
type EncappedKey = <XWing as Kem>::EncappedKey;

/// X-Wing as a KEM of HPKE whose private key is [expanded](ExpandedKey).
pub(super) struct ExpandedXWing<C>(PhantomData<C>);

/// Chance that AWS-LC draws.
pub(super) enum Drawn {}

/// Chance that comes from a generator.
pub(super) enum Given {}

/// Both private keys, and the seed that they come from. All of it is overwritten when dropped.
#[derive(Clone)]
pub(super) struct ExpandedKey {
    seed: <XWing as Kem>::PrivateKey,
    // Nothing if there was no memory for it.
    halves: Option<Arc<Halves>>,
}

struct Halves {
    ml_kem: DecapsulationKey,
    x25519: Secret,
    x25519_public: [u8; 32],
}

/// An X25519 private key.
struct Secret {
    bytes: Zeroizing<[u8; 32]>,
    key: agreement::PrivateKey,
}

impl ExpandedKey {
    fn of(seed: <XWing as Kem>::PrivateKey) -> Self {
        let halves = Halves::of(&Zeroizing::new(seed.to_bytes().into())).map(Arc::new);
        ExpandedKey { seed, halves }
    }

    /// The secret that an encapsulated key stands for. One that was made for somebody else gives some
    /// other secret, with which nothing opens.
    fn decapsulate(&self, encapsulated: &[u8]) -> Result<[u8; 32], HpkeError> {
        let halves = self.halves.as_ref().ok_or(HpkeError::DecapError)?;
        let parts = encapsulated.split_at_checked(ML_KEM_CIPHERTEXT_LEN);
        let (ciphertext, senders) = parts.ok_or(HpkeError::DecapError)?;
        let ml_kem = halves.ml_kem.decapsulate(Ciphertext::from(ciphertext));
        let ml_kem = ml_kem.map_err(|_| HpkeError::DecapError)?;
        let senders: [u8; 32] = senders.try_into().map_err(|_| HpkeError::DecapError)?;
        let x25519 = halves.x25519.agree(&senders);
        Ok(combine(ml_kem.as_ref(), &x25519, &senders, &halves.x25519_public))
    }
}

impl Halves {
    fn of(seed: &[u8; 32]) -> Option<Self> {
        let mut expanding = Shake256::default();
        expanding.update(seed);
        let mut expanded = expanding.finalize_xof();
        let (mut ml_kem, mut x25519) = (Zeroizing::new([0; 64]), Zeroizing::new([0; 32]));
        expanded.read(&mut *ml_kem);
        expanded.read(&mut *x25519);
        let ml_kem = Zeroizing::new(Seed::try_from(&ml_kem[..]).ok()?);
        let ml_kem = ml_kem::DecapsulationKey::<MlKem768>::from_seed(*ml_kem);
        #[allow(deprecated)]
        let ml_kem = Zeroizing::new(ml_kem.to_expanded_bytes());
        let ml_kem = DecapsulationKey::new(&ML_KEM_768, &ml_kem[..]).ok()?;
        let x25519 = Secret::of(x25519)?;
        Some(Halves { ml_kem, x25519_public: x25519.public()?, x25519 })
    }
}

impl Secret {
    fn of(bytes: Zeroizing<[u8; 32]>) -> Option<Self> {
        let key = agreement::PrivateKey::from_private_key(&X25519, &*bytes).ok()?;
        Some(Secret { bytes, key })
    }

    fn public(&self) -> Option<[u8; 32]> {
        self.key.compute_public_key().ok()?.as_ref().try_into().ok()
    }

    /// X25519 as X-Wing has it: with a point of small order it gives zeros, and no error.
    fn agree(&self, theirs: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        let other = UnparsedPublicKey::new(&X25519, theirs);
        let shared = agree(&self.key, other, (), |shared| {
            Ok(Zeroizing::new(<[u8; 32]>::try_from(shared).map_err(|_| ())?))
        });
        // AWS-LC refuses such a point. Whatever else it may refuse, this is right.
        shared.unwrap_or_else(|()| {
            Zeroizing::new(MontgomeryPoint(*theirs).mul_clamped(*self.bytes).to_bytes())
        })
    }
}

/// Makes a secret for somebody, and what gives it to him.
fn encapsulate(
    to: &PublicKey,
    generator: &mut impl CryptoRng,
) -> Option<([u8; 32], [u8; ML_KEM_CIPHERTEXT_LEN + 32])> {
    let to = to.to_bytes();
    let (ml_kem, x25519) = to.split_at_checked(ML_KEM_PUBLIC_LEN)?;
    let ml_kem = EncapsulationKey::new(&ML_KEM_768, ml_kem).ok()?;
    let (ciphertext, ml_kem) = ml_kem.encapsulate().ok()?;
    let mut bytes = Zeroizing::new([0; 32]);
    generator.fill_bytes(&mut *bytes);
    let (once, theirs) = (Secret::of(bytes)?, x25519.try_into().ok()?);
    let ours = once.public()?;
    let secret = combine(ml_kem.as_ref(), &once.agree(&theirs), &ours, &theirs);
    let encapsulated = [ciphertext.as_ref(), &ours].concat();
    Some((secret, encapsulated.try_into().ok()?))
}

fn combine(
    ml_kem: &[u8],
    x25519: &[u8; 32],
    senders: &[u8; 32],
    recipients: &[u8; 32],
) -> [u8; 32] {
    let mut combiner = Sha3_256::new();
    let parts: [&[u8]; 5] = [ml_kem, x25519, senders, recipients, LABEL];
    for part in parts {
        Digest::update(&mut combiner, part);
    }
    combiner.finalize().into()
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

/// Where an encapsulation takes its chance from.
pub(super) trait Chance {
    /// Makes a secret for somebody, and what gives it to him.
    fn encapsulate(
        to: &PublicKey,
        generator: &mut impl CryptoRng,
    ) -> Result<(SharedSecret<XWing>, EncappedKey), HpkeError>;
}

impl Chance for Drawn {
    fn encapsulate(
        to: &PublicKey,
        generator: &mut impl CryptoRng,
    ) -> Result<(SharedSecret<XWing>, EncappedKey), HpkeError> {
        let (secret, encapsulated) = encapsulate(to, generator).ok_or(HpkeError::EncapError)?;
        Ok((SharedSecret(secret.into()), EncappedKey::from_bytes(&encapsulated)?))
    }
}

impl Chance for Given {
    fn encapsulate(
        to: &PublicKey,
        generator: &mut impl CryptoRng,
    ) -> Result<(SharedSecret<XWing>, EncappedKey), HpkeError> {
        XWing::encap_with_rng(to, None, generator)
    }
}

impl<C: Chance> Kem for ExpandedXWing<C> {
    type PublicKey = PublicKey;
    type PrivateKey = ExpandedKey;
    type EncappedKey = EncappedKey;
    type NSecret = <XWing as Kem>::NSecret;

    const KEM_ID: u16 = XWing::KEM_ID;

    fn sk_to_pk(key: &ExpandedKey) -> PublicKey {
        XWing::sk_to_pk(&key.seed)
    }

    fn derive_keypair(material: &[u8]) -> (ExpandedKey, PublicKey) {
        let (seed, public) = XWing::derive_keypair(material);
        (ExpandedKey::of(seed), public)
    }

    fn decap(
        key: &ExpandedKey,
        sender: Option<&PublicKey>,
        encapsulated: &EncappedKey,
    ) -> Result<SharedSecret<Self>, HpkeError> {
        // X-Wing does not say who encapsulated.
        if sender.is_some() {
            return Err(HpkeError::DecapError);
        }
        Ok(SharedSecret(key.decapsulate(&encapsulated.to_bytes())?.into()))
    }

    fn encap_with_rng(
        to: &PublicKey,
        sender: Option<(&ExpandedKey, &PublicKey)>,
        generator: &mut impl CryptoRng,
    ) -> Result<(SharedSecret<Self>, EncappedKey), HpkeError> {
        if sender.is_some() {
            return Err(HpkeError::EncapError);
        }
        let (secret, encapsulated) = C::encapsulate(to, generator)?;
        Ok((SharedSecret(secret.0), encapsulated))
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    type Fast = ExpandedXWing<Drawn>;

    #[test]
    fn an_expanded_key_is_the_key_of_its_seed_and_finds_the_same_secrets() {
        let mut generator = ChaCha20Rng::from_seed([5; 32]);
        for material in 0..20_u8 {
            let (seed, public) = XWing::derive_keypair(&[material; 32]);
            let (expanded, same_public) = Fast::derive_keypair(&[material; 32]);
            assert_eq!(public, same_public);
            assert_eq!(seed.to_bytes(), expanded.to_bytes());
            let again = ExpandedKey::from_bytes(&seed.to_bytes()).unwrap();
            assert_eq!(public, Fast::sk_to_pk(&again));

            let (secret, encapsulated) =
                XWing::encap_with_rng(&public, None, &mut generator).unwrap();
            let found = Fast::decap(&again, None, &encapsulated).unwrap();
            assert_eq!(found.0, secret.0);

            // Nor do they differ on what nobody encapsulated.
            let bytes = encapsulated.to_bytes();
            for at in [0, 700, ML_KEM_CIPHERTEXT_LEN - 1, ML_KEM_CIPHERTEXT_LEN, bytes.len() - 1] {
                let mut wrong = bytes;
                wrong[at] ^= 1;
                let wrong = Deserializable::from_bytes(&wrong).unwrap();
                let found = Fast::decap(&expanded, None, &wrong).unwrap();
                assert_eq!(found.0, XWing::decap(&seed, None, &wrong).unwrap().0, "byte {at}");
                assert_ne!(found.0, secret.0, "byte {at}");
            }
        }
    }

    #[test]
    fn a_senders_key_of_small_order_gives_the_secret_that_x_wing_says() {
        let (seed, public) = XWing::derive_keypair(&[1; 32]);
        let (expanded, _) = Fast::derive_keypair(&[1; 32]);
        let mut generator = ChaCha20Rng::from_seed([5; 32]);
        let (_, encapsulated) = XWing::encap_with_rng(&public, None, &mut generator).unwrap();
        for small in [0, 1] {
            let mut bytes = encapsulated.to_bytes();
            bytes[ML_KEM_CIPHERTEXT_LEN..].fill(0);
            bytes[ML_KEM_CIPHERTEXT_LEN] = small;
            let odd = Deserializable::from_bytes(&bytes).unwrap();
            let found = Fast::decap(&expanded, None, &odd).unwrap();
            assert_eq!(found.0, XWing::decap(&seed, None, &odd).unwrap().0, "u = {small}");
        }
    }

    #[test]
    fn what_is_encapsulated_fast_is_found_by_plain_x_wing_and_never_twice_the_same() {
        let (seed, public) = XWing::derive_keypair(&[1; 32]);
        let mut secrets = Vec::new();
        for _ in 0..20 {
            // Not even with the same generator.
            let mut generator = ChaCha20Rng::from_seed([5; 32]);
            let (secret, encapsulated) =
                Fast::encap_with_rng(&public, None, &mut generator).unwrap();
            assert_eq!(XWing::decap(&seed, None, &encapsulated).unwrap().0, secret.0);
            assert!(!secrets.contains(&secret.0));
            secrets.push(secret.0);
        }
    }

    #[test]
    fn it_says_nothing_of_a_sender() {
        let (key, public) = Fast::derive_keypair(&[1; 32]);
        let mut generator = ChaCha20Rng::from_seed([5; 32]);
        let sender = Some((&key, &public));
        assert!(Fast::encap_with_rng(&public, sender, &mut generator).is_err());
        let (_, encapsulated) = Fast::encap_with_rng(&public, None, &mut generator).unwrap();
        assert!(Fast::decap(&key, Some(&public), &encapsulated).is_err());
    }
}
