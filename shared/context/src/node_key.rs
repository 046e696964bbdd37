//! The secret that names a node.
//!
//! A [`NodeKey`] is an Ed25519 secret. Its public half is what the TLS handshake proves, and the
//! hash of that is the [`NodeId`]. A server keeps its key, so that it stays the same node across
//! restarts; a client makes a new one per process, so that its traffic is not linked over time.
//! It is never an identity of a user, and signs nothing but handshakes and receipts.

use std::fmt;

use dht_kad::NodeId;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::key_pair::KeyPair;

/// What the secrets that are derived from the node's key, and not the key itself, start from.
const DERIVED_CONTEXT: &str = "dht 2026 v1 node key derived secret";

/// What precedes the 32 bytes of an Ed25519 secret in PKCS #8 (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A node's Ed25519 secret; overwritten when dropped, and never printed.
#[derive(Clone)]
pub struct NodeKey(KeyPair);

/// The operating system gave no random bytes.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("no node key can be made ({0}); give the process access to the system's random numbers")]
pub struct EntropyError(String);

impl NodeKey {
    /// Makes a new key from the operating system's entropy: the one place of this crate that reads it.
    ///
    /// # Errors
    /// [`EntropyError`] if the system has none to give.
    pub fn generate() -> Result<Self, EntropyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| EntropyError(error.to_string()))?;
        Ok(NodeKey(KeyPair::from_seed(&seed)))
    }

    /// The key with this seed, as [`to_seed_bytes`](Self::to_seed_bytes) gave it.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        NodeKey(KeyPair::from_seed(&seed))
    }

    /// The 32 bytes to keep in a file that only the node can read.
    #[must_use]
    pub fn to_seed_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.0.seed())
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.0.public_key()
    }

    /// The name of the node that holds this key.
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId::from_public_key(&self.public_key())
    }

    /// Signs a message that says what it is for, as a receipt does (RFC 8032).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }

    /// The key in PKCS #8, for the TLS provider.
    pub(crate) fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let mut der = Zeroizing::new(Vec::with_capacity(PKCS8_PREFIX.len() + 32));
        der.extend_from_slice(&PKCS8_PREFIX);
        der.extend_from_slice(self.to_seed_bytes().as_ref());
        der
    }

    /// A secret for `purpose` that stays the same across restarts and tells nothing of the key.
    pub(crate) fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(DERIVED_CONTEXT);
        hasher.update(self.to_seed_bytes().as_ref()).update(purpose);
        *hasher.finalize().as_bytes()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey of {:?}", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_seed_and_two_generated_ones_differ() {
        let key = NodeKey::generate().unwrap();
        assert_eq!(NodeKey::from_seed(*key.to_seed_bytes()).id(), key.id());
        assert_ne!(NodeKey::generate().unwrap().id(), key.id());
    }

    #[test]
    fn debug_prints_the_id_and_no_part_of_the_secret() {
        let key = NodeKey::from_seed([0xab; 32]);
        let printed = format!("{key:?}");
        assert!(printed.contains(&format!("{:?}", key.id())));
        assert!(!printed.contains("abab") && !printed.contains("171"));
    }

    #[test]
    fn derived_secrets_differ_by_purpose_and_key() {
        let key = NodeKey::from_seed([1; 32]);
        assert_eq!(key.derive(b"a"), key.derive(b"a"));
        assert_ne!(key.derive(b"a"), key.derive(b"b"));
        assert_ne!(key.derive(b"a"), NodeKey::from_seed([2; 32]).derive(b"a"));
    }
}
