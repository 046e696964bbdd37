//! The other way: which names an identity says it has.
//!
//! ```text
//! Owned, publisher = the identity, label = derive(NamesLabel, identity), 365 days
//!   slot = first 8 bytes of derive(NameSlot, name), big-endian: version: u8 = 1 ‖ the name
//! ```
//!
//! Anybody can say so of any name: an entry counts once a look-up of the name leads back to the identity.

use bytes::Bytes;
use dht_kad::NetworkName;

use super::form::Name;
use crate::derivation::{Purpose, derive};

/// The version of an entry's body.
const VERSION: u8 = 1;

/// The label that an identity's names lie under.
pub(super) fn names_label(network: &NetworkName, identity: &[u8; 32]) -> [u8; 32] {
    *derive(Purpose::NamesLabel, Some(network), &[identity])
}

/// The slot that a name lies in there.
pub(super) fn name_slot(network: &NetworkName, name: &Name) -> u64 {
    let hash = derive(Purpose::NameSlot, Some(network), &[name.as_str().as_bytes()]);
    hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// An entry's body.
pub(super) fn encode(name: &Name) -> Bytes {
    Bytes::from([&[VERSION], name.as_str().as_bytes()].concat())
}

/// The name that an entry is for, if it is one in its slot.
pub(super) fn decode(network: &NetworkName, slot: u64, body: &[u8]) -> Option<Name> {
    let (version, text) = body.split_first()?;
    let text = str::from_utf8(text).ok()?;
    let name: Name = text.parse().ok()?;
    let fits = *version == VERSION && name.as_str() == text && name_slot(network, &name) == slot;
    fits.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_only_in_its_slot_and_form() {
        let network: NetworkName = "test".parse().unwrap();
        let name: Name = "alice".parse().unwrap();
        let slot = name_slot(&network, &name);
        assert_eq!(decode(&network, slot, &encode(&name)), Some(name.clone()));
        assert_eq!(decode(&network, slot + 1, &encode(&name)), None);
        for body in [&b""[..], b"\x02alice", b"\x01Alice", b"\x01alice ", b"\x01"] {
            assert_eq!(decode(&network, slot, body), None);
        }
        assert_ne!(name_slot(&"main".parse().unwrap(), &name), slot);
    }
}
