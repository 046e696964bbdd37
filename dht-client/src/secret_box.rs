//! Sealing under a secret that both sides know: XChaCha20-Poly1305 with a random nonce in front.
//!
//! ```text
//! seal(key, aad, plaintext) ─▶ nonce (24 bytes) ‖ ciphertext (plaintext + 16)
//! ```
//!
//! A nonce of 24 bytes may be drawn at random for as long as a key is used. Source:
//! [draft-irtf-cfrg-xchacha].
//!
//! [draft-irtf-cfrg-xchacha]: https://datatracker.ietf.org/doc/draft-irtf-cfrg-xchacha/

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::entropy::{Entropy, EntropyError};

/// Bytes of the nonce that a sealed text begins with.
pub(crate) const NONCE_LEN: usize = 24;
/// What sealing adds to a plaintext, in bytes.
pub(crate) const BOX_OVERHEAD: usize = NONCE_LEN + 16;

/// Seals `plaintext` under `key`, bound to `aad`.
pub(crate) fn seal(
    key: &[u8; 32],
    aad: &[u8],
    plaintext: &[u8],
    entropy: &Entropy,
) -> Result<Vec<u8>, EntropyError> {
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce)?;
    let mut sealed = Vec::with_capacity(plaintext.len() + BOX_OVERHEAD);
    sealed.extend_from_slice(&nonce);
    let text = cipher(key).encrypt(&XNonce::from(nonce), Payload { msg: plaintext, aad });
    // Only a text of 256 GiB is refused, and none comes near.
    sealed.extend_from_slice(&text.unwrap_or_default());
    Ok(sealed)
}

/// Opens what was sealed under the same `key` and `aad`; nothing if it was not, or was changed.
pub(crate) fn open(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let opened = cipher(key).decrypt(&XNonce::from(*nonce), Payload { msg: text, aad });
    opened.ok().map(Zeroizing::new)
}

/// Overwrites its copy of the key when dropped: the crate's feature `zeroize`.
fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_words_around_it_alone() {
        let sealed = seal(&[1; 32], b"aad", b"plain", &Entropy::from_seed([9; 32])).unwrap();
        assert_eq!(sealed.len(), b"plain".len() + BOX_OVERHEAD);
        assert_eq!(open(&[1; 32], b"aad", &sealed).unwrap().as_slice(), b"plain");
        assert!(open(&[2; 32], b"aad", &sealed).is_none());
        assert!(open(&[1; 32], b"other", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(open(&[1; 32], b"aad", &bad).is_none(), "byte {at}");
            assert!(open(&[1; 32], b"aad", &sealed[..at]).is_none(), "{at} bytes");
        }
    }

    #[test]
    fn the_same_text_is_sealed_differently_each_time() {
        let entropy = Entropy::from_seed([9; 32]);
        let one = seal(&[1; 32], b"", b"plain", &entropy).unwrap();
        assert_ne!(one, seal(&[1; 32], b"", b"plain", &entropy).unwrap());
    }
}
