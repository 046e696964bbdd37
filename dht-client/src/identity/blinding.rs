//! Blinded keys: under what name an identity publishes, so that storage nodes never see the identity.
//!
//! ```text
//! A = the identity's public key, a its secret scalar, w the word for what is published
//!
//! h  = derive_wide(Blinding, network, A, w) mod L
//! A' = h·A     anybody who knows the identity can tell       (readers)
//! a' = h·a     only the identity can                         (the publisher)
//! ```
//!
//! A' is an Ed25519 key like any other. Who does not know A cannot tell that two such keys belong to
//! one identity, nor come from A' to A. The word and the network keep what is published for one
//! purpose apart from all else. Nonces of signatures come from a prefix of the blinded key's own.
//!
//! Sources: Tor's rend-spec-v3, appendix A.2; [draft-irtf-cfrg-signature-key-blinding].
//!
//! [draft-irtf-cfrg-signature-key-blinding]: https://datatracker.ietf.org/doc/draft-irtf-cfrg-signature-key-blinding/

use std::fmt;

use curve25519_dalek::Scalar;
use dht_kad::NetworkName;
use dht_kad::record::RecordSigner;
use dht_kad::record::layout::SIGNATURE_LEN;
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use sha2::Sha512;

use super::Identity;
use crate::derivation::{Purpose, derive, derive_wide};

/// The secret half of an identity's key for one purpose; signs records. Never printed.
pub struct BlindedKey {
    // Overwrites itself when dropped.
    secret: ExpandedSecretKey,
    public: VerifyingKey,
}

impl Identity {
    /// The key that this identity signs with, in `network`, for what `word` names.
    #[must_use]
    pub fn blinded(&self, network: &NetworkName, word: &str) -> BlindedKey {
        let signing = self.signing_key();
        let identity = self.public_key();
        let mut secret = ExpandedSecretKey::from(signing.as_bytes());
        secret.scalar *= factor(network, &identity, word);
        let parts: [&[u8]; 3] = [&secret.hash_prefix, &identity, word.as_bytes()];
        secret.hash_prefix = *derive(Purpose::BlindingPrefix, Some(network), &parts);
        let public = VerifyingKey::from(&secret);
        BlindedKey { secret, public }
    }
}

/// The key under which `identity` publishes, in `network`, what `word` names; nothing if the bytes
/// are no identity's public key: not on the curve, or not of the group's prime order.
#[must_use]
pub fn blinded_public(network: &NetworkName, identity: &[u8; 32], word: &str) -> Option<[u8; 32]> {
    let point = VerifyingKey::from_bytes(identity).ok()?.to_edwards();
    // A key with a part of small order would have several blinded ones; and every identity has one
    // spelling.
    if !point.is_torsion_free() || point.is_small_order() || point.compress().0 != *identity {
        return None;
    }
    Some((point * factor(network, identity, word)).compress().0)
}

/// h, the same for the publisher and its readers.
fn factor(network: &NetworkName, identity: &[u8; 32], word: &str) -> Scalar {
    let wide = derive_wide(Purpose::Blinding, Some(network), &[identity, word.as_bytes()]);
    Scalar::from_bytes_mod_order_wide(&wide)
}

impl RecordSigner for BlindedKey {
    fn publisher(&self) -> [u8; 32] {
        self.public.to_bytes()
    }

    fn sign_message(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        raw_sign::<Sha512>(&self.secret, message, &self.public).to_bytes()
    }
}

impl fmt::Debug for BlindedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlindedKey({})", hex::encode(self.public.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ed25519_dalek::Signature;

    use super::*;

    fn network(name: &str) -> NetworkName {
        name.parse().unwrap()
    }

    #[test]
    fn readers_and_the_publisher_come_to_the_same_key_and_its_signatures_hold() {
        for seed in 0..32 {
            let identity = Identity::from_root(&[seed; 32]);
            let main = network("main");
            let blinded = identity.blinded(&main, "bundle");
            let public = blinded_public(&main, &identity.public_key(), "bundle").unwrap();
            assert_eq!(blinded.publisher(), public);
            let key = VerifyingKey::from_bytes(&public).unwrap();
            for message in [&b""[..], b"message", &[7; 1000]] {
                let signature = Signature::from_bytes(&blinded.sign_message(message));
                key.verify_strict(message, &signature).unwrap();
                assert!(key.verify_strict(b"another", &signature).is_err());
                let own = identity.signing_key().verifying_key();
                assert!(own.verify_strict(message, &signature).is_err());
            }
        }
    }

    #[test]
    fn keys_of_one_identity_for_different_networks_and_words_share_no_bytes() {
        let identity = Identity::from_root(&[1; 32]);
        let mut seen = BTreeSet::from([identity.public_key()]);
        let mut nonces = BTreeSet::new();
        for name in ["main", "test"] {
            for word in ["bundle", "names", ""] {
                let blinded = identity.blinded(&network(name), word);
                let public = blinded.publisher();
                for other in &seen {
                    let same = public.iter().zip(other).filter(|(one, two)| one == two).count();
                    // Two random keys share more than 6 of 32 bytes less than once in 10^9.
                    assert!(same <= 6, "{name} {word}: {same} bytes");
                }
                assert!(seen.insert(public));
                // The first half of a signature is its nonce's: the same one under two keys would
                // give both away.
                let signature = blinded.sign_message(b"message");
                assert!(nonces.insert(signature[..32].to_vec()));
            }
        }
    }

    #[test]
    fn what_is_no_identity_has_no_blinded_key() {
        let main = network("main");
        let blinded = |key: &[u8; 32]| blinded_public(&main, key, "bundle");
        // y = 2 is on no point; 1 is the neutral one; 0 is of order 4.
        let small = |y| {
            let mut bytes = [0; 32];
            bytes[0] = y;
            bytes
        };
        for y in [2, 1, 0] {
            assert_eq!(blinded(&small(y)), None, "y = {y}");
        }
        // A sound key plus the point of order 2 is on the curve, but not of prime order.
        let sound = VerifyingKey::from_bytes(&Identity::from_root(&[1; 32]).public_key()).unwrap();
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        let order_two = VerifyingKey::from_bytes(&minus_one).unwrap().to_edwards();
        let mixed = (sound.to_edwards() + order_two).compress().0;
        assert!(VerifyingKey::from_bytes(&mixed).is_ok());
        assert_eq!(blinded(&mixed), None);
        assert!(blinded(&sound.to_bytes()).is_some());
    }

    #[test]
    fn debug_prints_the_public_half_alone() {
        let blinded = Identity::from_root(&[1; 32]).blinded(&network("main"), "bundle");
        assert_eq!(
            format!("{blinded:?}"),
            format!("BlindedKey({})", hex::encode(blinded.publisher()))
        );
    }
}
