//! Sealing to an identity: HPKE in base mode, to a hybrid key.
//!
//! The suite is X-Wing (X25519 with ML-KEM-768, KEM 0x647a), HKDF-SHA256 and ChaCha20-Poly1305: who
//! breaks one of the two keys has won nothing. Sources: [RFC 9180], [draft-connolly-cfrg-xwing-kem],
//! [draft-ietf-hpke-pq].
//!
//! ```text
//! seal(to, info, aad, plaintext) ─▶ encapsulated key (1,120 bytes) ‖ ciphertext (plaintext + 16)
//! ```
//!
//! What is sealed to an identity can be opened with what its words derive, and nothing else. The private key
//! is kept [expanded](xwing), as opening is what a reader of many letters does most. Where entropy is the
//! operating system's, sealing is left to the fastest implementation at hand; where it is seeded, to one that
//! the same seed repeats.
//!
//! [RFC 9180]: https://www.rfc-editor.org/rfc/rfc9180
//! [draft-connolly-cfrg-xwing-kem]: https://datatracker.ietf.org/doc/draft-connolly-cfrg-xwing-kem/
//! [draft-ietf-hpke-pq]: https://datatracker.ietf.org/doc/draft-ietf-hpke-pq/

mod xwing;

use std::fmt;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::entropy::{Entropy, EntropyError};
use xwing::{Chance, Drawn, ExpandedXWing, Given};

/// The KEM where chance plays no part.
type Opening = ExpandedXWing<Drawn>;

/// Bytes of a public sealing key.
pub const SEALING_PUBLIC_LEN: usize = 1216;
/// Bytes of the encapsulated key that a sealed text begins with.
pub const ENCAPSULATED_LEN: usize = 1120;
/// What sealing adds to a plaintext, in bytes.
pub const SEAL_OVERHEAD: usize = ENCAPSULATED_LEN + 16;

/// The secret half of an identity's sealing key.
#[derive(Clone)]
pub struct SealingKey {
    // Overwrites itself when dropped.
    secret: <Opening as Kem>::PrivateKey,
    public: SealingPublic,
}

/// The public half: anyone may seal to it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingPublic(<Opening as Kem>::PublicKey);

/// Something cannot be sealed, or opened.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// The bytes are no public sealing key.
    #[error("these bytes are no sealing key; fetch the identity's key bundle again")]
    NotAKey,
    /// The text was not sealed to this key, or not with these words around it, or was changed.
    #[error(
        "this was sealed to another identity, or changed on the way; ask its sender for it again"
    )]
    NotForUs,
    /// The text cannot be sealed.
    #[error("this cannot be sealed; report it as a fault of this program")]
    Failed,
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl SealingKey {
    /// The key pair of a seed.
    #[must_use]
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        let (secret, public) = Opening::derive_keypair(seed);
        SealingKey { secret, public: SealingPublic(public) }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &SealingPublic {
        &self.public
    }

    /// Opens what was [sealed](SealingPublic::seal) with the same `info` and `aad`.
    ///
    /// # Errors
    /// [`SealError::NotForUs`].
    pub fn open(
        &self,
        info: &[u8],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (key, text) = sealed.split_at_checked(ENCAPSULATED_LEN).ok_or(SealError::NotForUs)?;
        let key =
            <Opening as Kem>::EncappedKey::from_bytes(key).map_err(|_| SealError::NotForUs)?;
        hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Opening>(
            &OpModeR::Base,
            &self.secret,
            &key,
            info,
            text,
            aad,
        )
        .map(Zeroizing::new)
        .map_err(|_| SealError::NotForUs)
    }
}

impl SealingPublic {
    /// The key with these bytes.
    ///
    /// # Errors
    /// [`SealError::NotAKey`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        <Opening as Kem>::PublicKey::from_bytes(bytes)
            .map(SealingPublic)
            .map_err(|_| SealError::NotAKey)
    }

    /// Its [`SEALING_PUBLIC_LEN`] bytes: ML-KEM's key, then X25519's.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes().to_vec()
    }

    /// Seals `plaintext`, bound to `info` (what it is) and `aad` (where it lies).
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(
        &self,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        entropy: &Entropy,
    ) -> Result<Vec<u8>, SealError> {
        match entropy.is_seeded() {
            true => self.seal_with::<Given>(info, aad, plaintext, entropy),
            false => self.seal_with::<Drawn>(info, aad, plaintext, entropy),
        }
    }

    fn seal_with<C: Chance>(
        &self,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        entropy: &Entropy,
    ) -> Result<Vec<u8>, SealError> {
        let mut generator = entropy.generator()?;
        let (key, text) = hpke::single_shot_seal_with_rng::<
            ChaCha20Poly1305,
            HkdfSha256,
            ExpandedXWing<C>,
        >(&OpModeS::Base, &self.0, info, plaintext, aad, &mut generator)
        .map_err(|_| SealError::Failed)?;
        let mut sealed = key.to_bytes().to_vec();
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

impl fmt::Debug for SealingPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = blake3::hash(&self.to_bytes());
        write!(f, "SealingPublic({})", digest.to_hex())
    }
}

#[cfg(test)]
mod tests {
    use hpke::kem::XWing;

    use super::*;

    fn sealed(to: &SealingKey) -> Vec<u8> {
        let entropy = Entropy::from_seed([9; 32]);
        to.public().seal(b"info", b"aad", b"plain", &entropy).unwrap()
    }

    #[test]
    fn what_is_sealed_to_a_key_opens_with_that_key_alone() {
        let (bob, eve) = (SealingKey::from_seed(&[1; 32]), SealingKey::from_seed(&[2; 32]));
        let sealed = sealed(&bob);
        assert_eq!(sealed.len(), b"plain".len() + SEAL_OVERHEAD);
        assert_eq!(bob.open(b"info", b"aad", &sealed).unwrap().as_slice(), b"plain");
        assert_eq!(eve.open(b"info", b"aad", &sealed).unwrap_err(), SealError::NotForUs);
    }

    #[test]
    fn nothing_of_what_is_sealed_can_be_changed() {
        let bob = SealingKey::from_seed(&[1; 32]);
        let sealed = sealed(&bob);
        assert!(bob.open(b"other", b"aad", &sealed).is_err());
        assert!(bob.open(b"info", b"other", &sealed).is_err());
        for at in [0, 5, 1100, ENCAPSULATED_LEN, sealed.len() - 1] {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(bob.open(b"info", b"aad", &bad).is_err(), "byte {at}");
        }
        for short in [0, 1, ENCAPSULATED_LEN - 1, ENCAPSULATED_LEN, sealed.len() - 1] {
            assert!(bob.open(b"info", b"aad", &sealed[..short]).is_err(), "{short} bytes");
        }
    }

    #[test]
    fn what_plain_hpke_seals_opens_and_the_other_way_round() {
        let (secret, public) = XWing::derive_keypair(&[1; 32]);
        let bob = SealingKey::from_seed(&[1; 32]);
        assert_eq!(bob.public().to_bytes(), public.to_bytes().to_vec());
        let mut generator = Entropy::from_seed([9; 32]).generator().unwrap();
        let (key, text) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeS::Base,
            &public,
            b"info",
            b"plain",
            b"aad",
            &mut generator,
        )
        .unwrap();
        assert_eq!(sealed(&bob), [&key.to_bytes()[..], &text].concat());

        let drawn = bob.public().seal(b"info", b"aad", b"plain", &Entropy::system()).unwrap();
        assert_eq!(bob.open(b"info", b"aad", &drawn).unwrap().as_slice(), b"plain");
        for sealed in [sealed(&bob), drawn] {
            let (key, text) = sealed.split_at(ENCAPSULATED_LEN);
            let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
                &OpModeR::Base,
                &secret,
                &Deserializable::from_bytes(key).unwrap(),
                b"info",
                text,
                b"aad",
            );
            assert_eq!(opened.unwrap(), b"plain");
        }
    }

    #[test]
    fn a_public_key_survives_its_bytes() {
        let bob = SealingKey::from_seed(&[1; 32]);
        let bytes = bob.public().to_bytes();
        assert_eq!(bytes.len(), SEALING_PUBLIC_LEN);
        assert_eq!(&SealingPublic::from_bytes(&bytes).unwrap(), bob.public());
        assert_eq!(SealingPublic::from_bytes(&bytes[1..]).unwrap_err(), SealError::NotAKey);
    }
}
