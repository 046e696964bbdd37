//! [`SignatureCheck`]: whether a key has signed a message, strictly.
//!
//! Strict is what [`VerifyingKey::verify_strict`] takes: canonical encodings, and neither key nor signature of
//! small order, so that a signature stands for one message of one key.
//!
//! To decode a key takes a square root, a tenth of a check. Records come many of one publisher, and receipts many
//! of one node: the key that was decoded last is kept.

use ed25519_dalek::{Signature, VerifyingKey};

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
        let checked = key.verify_strict(message, &Signature::from_bytes(signature));
        checked.map_err(|_| SignatureError::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    const MESSAGE: &[u8] = b"message";

    #[test]
    fn one_after_the_other_each_is_checked_by_its_own_key() {
        let mut check = SignatureCheck::default();
        let no_key = (0..=255)
            .map(|byte| [byte; 32])
            .find(|key| VerifyingKey::from_bytes(key).is_err())
            .unwrap();
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

    #[test]
    fn a_key_of_small_order_signs_nothing_though_the_equation_holds() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let signature = [identity, [0; 32]].concat().try_into().unwrap();
        let loose = VerifyingKey::from_bytes(&identity).unwrap();
        let holds =
            ed25519_dalek::Verifier::verify(&loose, MESSAGE, &Signature::from_bytes(&signature));
        assert!(holds.is_ok());
        let said = SignatureCheck::default().check(&identity, MESSAGE, &signature);
        assert_eq!(said, Err(SignatureError::Wrong));
    }
}
