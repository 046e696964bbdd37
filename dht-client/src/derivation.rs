//! What the client derives from its secrets: one purpose, one context, one home.
//!
//! BLAKE3's `derive_key` mode (BLAKE3 paper, section 2.3) under a context that names the purpose, over
//!
//! ```text
//! version: u8 = 1 ‖ network ‖ part ‖ part ‖ …     each: length (u32, big-endian) ‖ bytes
//! ```
//!
//! where the network's name is empty for what an identity is in every network. Lengths delimit the
//! parts, so that no two lists of parts are the same input.

use dht_kad::NetworkName;
use zeroize::Zeroizing;

/// The version of what is hashed.
const VERSION: u8 = 1;

/// Declares [`Purpose`] and its contexts from one list.
macro_rules! purposes {
    ($($(#[$doc:meta])* $name:ident = $context:literal,)*) => {
        /// What something is derived for.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Purpose {
            $($(#[$doc])* $name,)*
        }

        impl Purpose {
            /// Every purpose.
            #[cfg(test)]
            const ALL: &'static [Purpose] = &[$(Purpose::$name,)*];

            /// The context of BLAKE3's `derive_key` mode.
            pub(crate) const fn context(self) -> &'static str {
                match self {
                    $(Purpose::$name => $context,)*
                }
            }
        }
    };
}

purposes! {
    /// An identity's root, from the seed of its words.
    IdentityRoot = "dht 2026 v1 client identity root",
    /// An identity's Ed25519 secret, from its root.
    IdentitySigning = "dht 2026 v1 client identity signing",
    /// An identity's sealing seed, from its root.
    IdentitySealing = "dht 2026 v1 client identity sealing",
    /// What an identity keeps for itself is derived from this, and this from its root.
    IdentitySelf = "dht 2026 v1 client identity self",
    /// The scalar that blinds an identity's public key.
    Blinding = "dht 2026 v1 client blinding",
    /// The nonce prefix of a blinded key.
    BlindingPrefix = "dht 2026 v1 client blinding prefix",
    /// The label of an identity's key bundle.
    BundleLabel = "dht 2026 v1 client key bundle label",
    /// Seals a key bundle to those who know the identity.
    BundleSeal = "dht 2026 v1 client key bundle seal",
    /// Signs what an identity keeps for itself about contacts.
    ContactPublisher = "dht 2026 v1 client contact publisher",
    /// Where it is kept.
    ContactLabel = "dht 2026 v1 client contact label",
    /// In which slot.
    ContactSlot = "dht 2026 v1 client contact slot",
    /// What seals it.
    ContactSeal = "dht 2026 v1 client contact seal",
    /// Where contact requests to an identity lie.
    RequestLabel = "dht 2026 v1 client request label",
    /// What a contact request's inner signature signs.
    RequestSigned = "dht 2026 v1 client request signed",
    /// Signs the records of one mailbox.
    MailboxPublisher = "dht 2026 v1 client mailbox publisher",
    /// Where one mailbox lies.
    MailboxLabel = "dht 2026 v1 client mailbox label",
    /// An installation's tag within one direction of a pair.
    MailboxTag = "dht 2026 v1 client mailbox tag",
    /// What a letter's inner signature signs.
    LetterSigned = "dht 2026 v1 client letter signed",
    /// Signs the acknowledgements of one direction of a pair.
    AckPublisher = "dht 2026 v1 client acknowledgement publisher",
    /// Where they lie.
    AckLabel = "dht 2026 v1 client acknowledgement label",
    /// What seals them.
    AckSeal = "dht 2026 v1 client acknowledgement seal",
    /// Where the claims of a name lie.
    NameLabel = "dht 2026 v1 client name label",
    /// Where an identity says which names it has.
    NamesLabel = "dht 2026 v1 client names label",
    /// In which slot of these a name lies.
    NameSlot = "dht 2026 v1 client name slot",
    /// Whether an identity's file is whole.
    IdentityCheck = "dht 2026 v1 client identity file check",
}

/// 32 bytes derived for `purpose` from `parts`, in `network` or in every one.
pub(crate) fn derive(
    purpose: Purpose,
    network: Option<&NetworkName>,
    parts: &[&[u8]],
) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(*hasher(purpose, network, parts).finalize().as_bytes())
}

/// 64 bytes derived likewise: enough to be reduced to a scalar without bias.
pub(crate) fn derive_wide(
    purpose: Purpose,
    network: Option<&NetworkName>,
    parts: &[&[u8]],
) -> Zeroizing<[u8; 64]> {
    let mut wide = Zeroizing::new([0; 64]);
    hasher(purpose, network, parts).finalize_xof().fill(wide.as_mut());
    wide
}

fn hasher(purpose: Purpose, network: Option<&NetworkName>, parts: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(purpose.context());
    hasher.update(&[VERSION]);
    let network = network.map_or("", NetworkName::as_str).as_bytes();
    for part in std::iter::once(&network).chain(parts) {
        // No part is as long as 4 GiB.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        hasher.update(&length.to_be_bytes());
        hasher.update(part);
    }
    hasher
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_purposes_networks_or_lists_of_parts_give_the_same() {
        let main: NetworkName = "main".parse().unwrap();
        let mut seen = BTreeSet::new();
        for purpose in Purpose::ALL {
            assert!(seen.insert(*derive(*purpose, None, &[b"ab"])));
            assert!(seen.insert(*derive(*purpose, Some(&main), &[b"ab"])));
            assert!(seen.insert(*derive(*purpose, None, &[b"a", b"b"])));
            assert!(seen.insert(*derive(*purpose, None, &[b"ab", b""])));
        }
    }

    #[test]
    fn the_wide_form_begins_with_the_short_one() {
        let short = derive(Purpose::Blinding, None, &[b"x"]);
        assert_eq!(derive_wide(Purpose::Blinding, None, &[b"x"])[..32], short[..]);
    }
}
