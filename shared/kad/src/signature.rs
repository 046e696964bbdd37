//! [`SignatureCheck`]: whether a key has signed a message, strictly.
//!
//! Strict is what [`VerifyingKey::verify_strict`] takes: canonical encodings, and neither key nor signature of
//! small order, so that a signature stands for one message of one key. It says so at the price of a square root,
//! to see whether the signature's point has a small order. There are eight such points, each with one canonical
//! encoding, and what is no canonical encoding does not equal what is computed from the key: so to compare bytes
//! says the same. A test holds both beside each other on every odd case.
//!
//! A second square root is what it takes to decode a key. Records come many of one publisher, and receipts many
//! of one node: the key that was decoded last is kept.

use ed25519_dalek::{Signature, Verifier, VerifyingKey};

/// The points of small order, as they are encoded.
const SMALL_ORDER: [[u8; 32]; 8] = {
    let (mut identity, mut order_2) = ([0; 32], [0xff; 32]);
    identity[0] = 1;
    (order_2[0], order_2[31]) = (0xec, 0x7f);
    let (order_4, order_8, other_8) = ([0; 32], ORDER_8, OTHER_ORDER_8);
    [
        identity,
        order_2,
        order_4,
        negated(order_4),
        order_8,
        negated(order_8),
        other_8,
        negated(other_8),
    ]
};
const ORDER_8: [u8; 32] = [
    0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
    0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
];
const OTHER_ORDER_8: [u8; 32] = [
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
    0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
];

/// The encoding of the point with the other sign.
const fn negated(mut point: [u8; 32]) -> [u8; 32] {
    point[31] |= 0x80;
    point
}

/// Why a signature does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignatureError {
    /// The key is no point.
    NotAKey,
    /// It is not the key's over this message, or one of them is of small order.
    Wrong,
}

/// Checks signatures, one after the other.
#[derive(Clone, Default, Debug)]
pub struct SignatureCheck {
    last: Option<VerifyingKey>,
}

impl SignatureCheck {
    /// That `key` has signed `message`.
    ///
    /// # Errors
    /// [`SignatureError`], if it has not.
    pub fn check(
        &mut self,
        key: &[u8; 32],
        message: &[u8],
        signature: &[u8; 64],
    ) -> Result<(), SignatureError> {
        let known = self.last.filter(|last| last.as_bytes() == key);
        let key = match known {
            Some(known) => known,
            None => VerifyingKey::from_bytes(key).map_err(|_| SignatureError::NotAKey)?,
        };
        self.last = Some(key);
        let signature = Signature::from_bytes(signature);
        if key.is_weak() || SMALL_ORDER.contains(signature.r_bytes()) {
            return Err(SignatureError::Wrong);
        }
        key.verify(message, &signature).map_err(|_| SignatureError::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
    use curve25519_dalek::scalar::Scalar;
    use ed25519_dalek::{Signer, SigningKey};
    use sha2::{Digest, Sha512};

    use super::*;

    const MESSAGE: &[u8] = b"message";

    /// What `verify_strict` says.
    fn strict(key: &[u8; 32], signature: &[u8; 64]) -> Result<(), SignatureError> {
        let key = VerifyingKey::from_bytes(key).map_err(|_| SignatureError::NotAKey)?;
        let checked = key.verify_strict(MESSAGE, &Signature::from_bytes(signature));
        checked.map_err(|_| SignatureError::Wrong)
    }

    fn point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
        CompressedEdwardsY(*bytes).decompress()
    }

    #[test]
    fn there_are_eight_points_of_small_order_and_these_are_they() {
        let points: Vec<_> = SMALL_ORDER.iter().map(|bytes| point(bytes).unwrap()).collect();
        for (place, one) in points.iter().enumerate() {
            assert!(one.is_small_order());
            assert_eq!(one.compress().to_bytes(), SMALL_ORDER[place], "canonical");
            assert!(points.iter().skip(place + 1).all(|other| other != one), "twice the same");
        }
    }

    /// Encodings of field elements from p on: what they encode has another encoding, too.
    fn not_canonical() -> Vec<[u8; 32]> {
        let mut all = Vec::new();
        for low in 0xed..=0xff_u8 {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, 0x7f);
            all.extend([bytes, negated(bytes)]);
        }
        let (mut minus_zero, mut minus_one) = (SMALL_ORDER[0], SMALL_ORDER[1]);
        (minus_zero[31], minus_one[31]) = (minus_zero[31] | 0x80, minus_one[31] | 0x80);
        all.extend([minus_zero, minus_one]);
        all
    }

    /// The signature with this point for which the equation holds, if the key's secret is `secret`.
    fn fitting(key: &[u8; 32], r: &[u8; 32], secret: &Scalar) -> [u8; 32] {
        let hash = Sha512::new().chain_update(r).chain_update(key).chain_update(MESSAGE).finalize();
        (Scalar::from_bytes_mod_order_wide(&hash.into()) * secret).to_bytes()
    }

    /// s + the group's order: the same to whoever computes with it.
    fn unreduced(s: &[u8; 32]) -> [u8; 32] {
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let (mut sum, mut carry) = ([0; 32], 0);
        for (place, byte) in sum.iter_mut().enumerate() {
            let total = u16::from(s[place]) + u16::from(ORDER[place]) + carry;
            (*byte, carry) = (total as u8, total >> 8);
        }
        sum
    }

    #[test]
    fn it_says_what_verify_strict_says_on_every_odd_case() {
        let signer = SigningKey::from_bytes(&[7; 32]);
        let (public, secret) = (signer.verifying_key().to_bytes(), signer.to_scalar());
        let honest = signer.sign(MESSAGE);
        let mut odd: Vec<[u8; 32]> = SMALL_ORDER.to_vec();
        odd.extend(not_canonical());
        odd.extend((0..8).map(|byte| [byte; 32]));
        // A point that has a part of small order.
        let mixed = point(&public).unwrap() + point(&ORDER_8).unwrap();
        odd.push(mixed.compress().to_bytes());
        let keys: Vec<[u8; 32]> = [public].into_iter().chain(odd.clone()).collect();
        let rs: Vec<[u8; 32]> = [*honest.r_bytes(), public].into_iter().chain(odd).collect();
        let (mut check, mut taken, mut equations) = (SignatureCheck::default(), 0, 0);
        for key in &keys {
            for r in &rs {
                let fitting = fitting(key, r, &secret);
                let honest_s = *honest.s_bytes();
                for s in [honest_s, [0; 32], fitting, unreduced(&honest_s), unreduced(&fitting)] {
                    let signature = Signature::from_components(*r, s).to_bytes();
                    let said = check.check(key, MESSAGE, &signature);
                    assert_eq!(said, strict(key, &signature), "{key:02x?} {signature:02x?}");
                    taken += usize::from(said.is_ok());
                    let loose = VerifyingKey::from_bytes(key).ok().is_some_and(|key| {
                        key.verify(MESSAGE, &Signature::from_bytes(&signature)).is_ok()
                    });
                    equations += usize::from(loose);
                }
            }
        }
        assert_eq!(taken, 1, "the honest one");
        assert!(equations > 8, "odd ones for which the equation holds were among them");
    }

    #[test]
    fn one_after_the_other_each_is_checked_by_its_own_key() {
        let mut check = SignatureCheck::default();
        let no_key = (0..=255).map(|byte| [byte; 32]).find(|key| point(key).is_none()).unwrap();
        let signers = [[1; 32], [2; 32]].map(|seed| SigningKey::from_bytes(&seed));
        for (place, signer) in signers.iter().cycle().take(6).enumerate() {
            let signature = signer.sign(MESSAGE).to_bytes();
            let other = signers[(place + 1) % 2].verifying_key().to_bytes();
            let own = signer.verifying_key().to_bytes();
            for _ in 0..2 {
                assert_eq!(check.check(&own, MESSAGE, &signature), Ok(()));
            }
            assert_eq!(check.check(&own, b"other", &signature), Err(SignatureError::Wrong));
            assert_eq!(check.check(&other, MESSAGE, &signature), Err(SignatureError::Wrong));
            assert_eq!(check.check(&no_key, MESSAGE, &signature), Err(SignatureError::NotAKey));
        }
    }
}
