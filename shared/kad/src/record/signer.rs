//! [`RecordSigner`]: whoever can sign records as one publisher.

use ed25519_dalek::{Signer, SigningKey};

use super::layout::SIGNATURE_LEN;

/// Signs records as one publisher: an Ed25519 key pair, however its secret is kept or derived.
///
/// What it signs has to pass the strict verification of [RFC 8032] under its public key: canonical
/// encodings, and no key of small order.
///
/// [RFC 8032]: https://www.rfc-editor.org/rfc/rfc8032
pub trait RecordSigner: Send + Sync {
    /// The Ed25519 public key, which names the publisher.
    fn publisher(&self) -> [u8; 32];

    /// The Ed25519 signature of a message.
    fn sign_message(&self, message: &[u8]) -> [u8; SIGNATURE_LEN];
}

impl RecordSigner for SigningKey {
    fn publisher(&self) -> [u8; 32] {
        self.verifying_key().to_bytes()
    }

    fn sign_message(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.sign(message).to_bytes()
    }
}
