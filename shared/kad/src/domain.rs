//! Domain separation: every derived key, digest and signed message names its purpose and network.
//!
//! BLAKE3's `derive_key` mode (BLAKE3 paper, section 2.3) takes a context string that is a constant
//! of this program, one a purpose. What is hashed or signed then starts with
//! `version ‖ object type ‖ length of the network's name ‖ the name`, so that no hash and no
//! signature made for one purpose or network means anything in another.

use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

use crate::id::Key;
use crate::network::NetworkName;

/// The version of the domain prefix.
const DOMAIN_VERSION: u8 = 1;

/// What a hash or signature is for. The number is the object type in the prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Purpose {
    /// The key of a record in the `Owned` space.
    OwnedKey = 1,
    /// The key of a record in the `Topic` space.
    TopicKey = 2,
    /// The key of a record in the `Content` space.
    ContentKey = 3,
    /// The 32-byte label of an application's own name for something.
    Label = 4,
    /// The signature of a record.
    RecordSignature = 5,
    /// The digest of a record's signed content.
    RecordDigest = 6,
    /// The proof of work of a record.
    RecordWork = 7,
    /// A node's signature under a receipt.
    Receipt = 8,
}

impl Purpose {
    /// The context string of BLAKE3's `derive_key` mode.
    #[must_use]
    pub const fn context(self) -> &'static str {
        match self {
            Purpose::OwnedKey => "dht 2026 v1 key owned",
            Purpose::TopicKey => "dht 2026 v1 key topic",
            Purpose::ContentKey => "dht 2026 v1 key content",
            Purpose::Label => "dht 2026 v1 label",
            Purpose::RecordSignature => "dht 2026 v1 record signature",
            Purpose::RecordDigest => "dht 2026 v1 record digest",
            Purpose::RecordWork => "dht 2026 v1 record work",
            Purpose::Receipt => "dht 2026 v1 receipt",
        }
    }

    /// The hash of [`Self::context`] that BLAKE3 begins with.
    fn context_key(self) -> &'static ContextKey {
        let [owned, topic, content, label, signature, digest, work, receipt] = &*CONTEXT_KEYS;
        match self {
            Purpose::OwnedKey => owned,
            Purpose::TopicKey => topic,
            Purpose::ContentKey => content,
            Purpose::Label => label,
            Purpose::RecordSignature => signature,
            Purpose::RecordDigest => digest,
            Purpose::RecordWork => work,
            Purpose::Receipt => receipt,
        }
    }
}

/// Each purpose's context, hashed: as constant as the contexts, and a third of the work of a short
/// hash, so it is done once.
static CONTEXT_KEYS: LazyLock<[ContextKey; 8]> = LazyLock::new(|| {
    [
        Purpose::OwnedKey,
        Purpose::TopicKey,
        Purpose::ContentKey,
        Purpose::Label,
        Purpose::RecordSignature,
        Purpose::RecordDigest,
        Purpose::RecordWork,
        Purpose::Receipt,
    ]
    .map(|purpose| hash_derive_key_context(purpose.context()))
});

/// Starts a message for `purpose` in `network`: the common prefix, with room for `extra` bytes more.
#[must_use]
pub fn prefix(purpose: Purpose, network: &NetworkName, extra: usize) -> Vec<u8> {
    let name = network.as_str().as_bytes();
    // A network's name has at most 64 bytes, so its length fits one byte.
    #[allow(clippy::cast_possible_truncation)]
    let name_len = name.len() as u8;
    let mut message = Vec::with_capacity(3 + name.len() + extra);
    message.extend_from_slice(&[DOMAIN_VERSION, purpose as u8, name_len]);
    message.extend_from_slice(name);
    message
}

/// Hashes `parts`, one after the other, for `purpose` in `network`.
///
/// The parts are not delimited: give parts of fixed length, or only one.
#[must_use]
pub fn derive(purpose: Purpose, network: &NetworkName, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_from_context_key(purpose.context_key());
    hasher.update(&prefix(purpose, network, 0));
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// The label of an application's own name for something, such as `profile`.
#[must_use]
pub fn label(network: &NetworkName, name: &str) -> [u8; 32] {
    derive(Purpose::Label, network, &[name.as_bytes()])
}

/// The key of what `publisher` keeps under `label`: nobody else can write there.
#[must_use]
pub fn owned_key(network: &NetworkName, publisher: &[u8; 32], label: &[u8; 32]) -> Key {
    Key(derive(Purpose::OwnedKey, network, &[publisher, label]))
}

/// The key of the topic `label`: anyone may write there, each publisher in slots of its own.
#[must_use]
pub fn topic_key(network: &NetworkName, label: &[u8; 32]) -> Key {
    Key(derive(Purpose::TopicKey, network, &[label]))
}

/// The key of the immutable content whose BLAKE3 hash is `body_hash`.
#[must_use]
pub fn content_key(network: &NetworkName, body_hash: &[u8; 32]) -> Key {
    Key(derive(Purpose::ContentKey, network, &[body_hash]))
}

/// The hash of a record's body.
#[must_use]
pub fn body_hash(body: &[u8]) -> [u8; 32] {
    *blake3::hash(body).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_hashes_under_its_own_context() {
        let network = "main".parse::<NetworkName>().unwrap();
        for purpose in [
            Purpose::OwnedKey,
            Purpose::TopicKey,
            Purpose::ContentKey,
            Purpose::Label,
            Purpose::RecordSignature,
            Purpose::RecordDigest,
            Purpose::RecordWork,
            Purpose::Receipt,
        ] {
            let mut message = prefix(purpose, &network, 0);
            message.extend_from_slice(b"one part");
            let whole = blake3::derive_key(purpose.context(), &message);
            assert_eq!(derive(purpose, &network, &[b"one ", b"part"]), whole, "{purpose:?}");
        }
    }
}
