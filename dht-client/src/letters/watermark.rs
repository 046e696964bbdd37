//! Watermarks: what each of the recipient's devices says that it has.
//!
//! A device keeps one record for each direction that it reads, in a slot of its own there. Its body is a
//! random nonce (24 bytes) ‖ XChaCha20-Poly1305, under what both sides derive, bound to the slot, of
//!
//! ```text
//! version (1) ‖ updated_at (8) ‖ count (2) ‖ count × (tag ‖ counter, as in a slot: 8)
//! ```
//!
//! in the order of tags, filled up with zeros to a multiple of 512 bytes. A counter says: up to here all
//! letters of this tag were acknowledged on this device.

use std::collections::BTreeMap;

use dht_kad::UnixMs;

use super::mailbox::{AckPlace, Tag, slot_of, split_slot};
use super::tags::TAGS_MAX;
use crate::entropy::{Entropy, EntropyError};
use crate::secret_box;

const VERSION: u8 = 1;
/// Bytes before the counters.
const FIXED: usize = 1 + 8 + 2;
/// The step of its size: how many tags there are is nobody's business.
const STEP: usize = 512;

/// What one device has of one direction.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Watermark {
    /// When it said so.
    pub(crate) updated_at: UnixMs,
    /// Of each tag, the counter up to which all is acknowledged.
    pub(crate) marks: BTreeMap<Tag, u64>,
}

impl Watermark {
    /// Seals it for a device's slot.
    pub(crate) fn seal(
        &self,
        place: &AckPlace,
        slot: u64,
        entropy: &Entropy,
    ) -> Result<Vec<u8>, EntropyError> {
        let mut plain = vec![VERSION];
        plain.extend_from_slice(&self.updated_at.0.to_be_bytes());
        let marks = self.marks.iter().take(TAGS_MAX);
        plain.extend_from_slice(&u16::try_from(marks.len()).unwrap_or(u16::MAX).to_be_bytes());
        plain.extend(marks.flat_map(|(tag, counter)| slot_of(*tag, *counter).to_be_bytes()));
        plain.resize(plain.len().next_multiple_of(STEP), 0);
        secret_box::seal(&place.seal, &slot.to_be_bytes(), &plain, entropy)
    }

    /// Opens what lies in a device's slot; nothing if it is no watermark.
    pub(crate) fn open(place: &AckPlace, slot: u64, body: &[u8]) -> Option<Self> {
        let plain = secret_box::open(&place.seal, &slot.to_be_bytes(), body)?;
        let (head, rest) = plain.split_at_checked(FIXED)?;
        let (&[version], head) = head.split_first_chunk()?;
        let (&updated_at, head) = head.split_first_chunk()?;
        let count = usize::from(u16::from_be_bytes(*head.first_chunk()?));
        let (marks, padding) = rest.split_at_checked(count.checked_mul(8)?)?;
        let slots = marks.as_chunks::<8>().0.iter().map(|slot| u64::from_be_bytes(*slot));
        let marks: BTreeMap<_, _> = slots.map(split_slot).collect();
        let one_form = version == VERSION
            && count <= TAGS_MAX
            && marks.len() == count
            && plain.len() == (FIXED + 8 * count).next_multiple_of(STEP)
            && padding.iter().all(|byte| *byte == 0);
        let updated_at = UnixMs(u64::from_be_bytes(updated_at));
        one_form.then_some(Watermark { updated_at, marks })
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::letters::mailbox::Direction;
    use crate::letters::mailbox::tests::main;

    fn place(secret: u8) -> AckPlace {
        let secret = Zeroizing::new([secret; 32]);
        Direction { secret, sender: [1; 32], recipient: [2; 32] }.ack_place(&main())
    }

    fn watermark(tags: u32) -> Watermark {
        let marks = (0..tags).map(|tag| (tag * 1000, u64::from(tag) + 5)).collect();
        Watermark { updated_at: UnixMs(77), marks }
    }

    #[test]
    fn what_is_sealed_opens_as_it_was() {
        for tags in [0, 1, 100, u32::try_from(TAGS_MAX).unwrap()] {
            let mark = watermark(tags);
            let sealed = mark.seal(&place(1), 9, &Entropy::system()).unwrap();
            assert_eq!(Watermark::open(&place(1), 9, &sealed), Some(mark));
            assert_eq!((sealed.len() - secret_box::BOX_OVERHEAD) % STEP, 0);
        }
    }

    #[test]
    fn nothing_of_it_can_be_changed_cut_or_moved() {
        let sealed = watermark(3).seal(&place(1), 9, &Entropy::system()).unwrap();
        assert_eq!(Watermark::open(&place(1), 8, &sealed), None, "another device's slot");
        assert_eq!(Watermark::open(&place(2), 9, &sealed), None, "another direction");
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(Watermark::open(&place(1), 9, &changed), None, "byte {at} bit {bit}");
            }
            assert_eq!(Watermark::open(&place(1), 9, &sealed[..at]), None, "{at} bytes");
        }
    }
}
