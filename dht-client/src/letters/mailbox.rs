//! Where letters lie: mailboxes, slots, and the places of acknowledgements.
//!
//! ```text
//! secret of one direction ─┬─ epoch ─▶ mailbox: publisher (a pseudonym), label
//!                          ├─ installation ─▶ tag:  slot = tag (24 bits) ‖ counter (40 bits)
//!                          └────────▶ acknowledgements: publisher, label, what seals them
//! ```
//!
//! Both sides derive all of it: the sender to write, the recipient to find, and to prune what it has.
//! To anybody else two mailboxes of one pair, two epochs of one direction and two tags of one
//! installation have nothing in common.

use std::fmt;

use dht_context::key_pair::KeyPair;
use dht_kad::admission::FUTURE_TOLERANCE_MS;
use dht_kad::record::Retention;
use dht_kad::{NetworkName, UnixMs};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use crate::derivation::{Purpose, derive};

/// How long one mailbox is written to: as long as its letters live, so that two of them hold all
/// that waits.
pub(crate) const EPOCH_MS: u64 = Retention::Days7.lifetime_ms();
/// Bits of a slot below its tag.
const COUNTER_BITS: u32 = 40;
/// The last counter of a tag: a letter a second for 34,000 years.
pub(crate) const COUNTER_MAX: u64 = (1 << COUNTER_BITS) - 1;
/// The last tag.
const TAG_MAX: u64 = (1 << (u64::BITS - COUNTER_BITS)) - 1;

/// What one side of a pair needs to write to the other, or the other to read it: the direction's
/// secret, and who the two are.
#[derive(Clone)]
pub(crate) struct Direction {
    /// Known to the two alone.
    pub(crate) secret: Zeroizing<[u8; 32]>,
    /// The identity that writes.
    pub(crate) sender: [u8; 32],
    /// The identity that reads.
    pub(crate) recipient: [u8; 32],
}

/// Which of an installation's letters within one direction: 24 bits.
pub(crate) type Tag = u32;

/// The letters of one direction in one epoch.
pub(crate) struct Mailbox {
    /// Which epoch: Unix ms divided by [`EPOCH_MS`].
    pub(crate) epoch: u64,
    /// Under which label.
    pub(crate) label: [u8; 32],
    /// Who signs its records.
    pub(crate) signer: KeyPair,
}

/// Where the recipient's devices say what they have.
pub(crate) struct AckPlace {
    /// Under which label.
    pub(crate) label: [u8; 32],
    /// Who signs there.
    pub(crate) signer: SigningKey,
    /// What seals it.
    pub(crate) seal: Zeroizing<[u8; 32]>,
}

impl Direction {
    /// The mailbox of an epoch.
    pub(crate) fn mailbox(&self, network: &NetworkName, epoch: u64) -> Mailbox {
        let part = |purpose| derive(purpose, Some(network), &[&*self.secret, &epoch.to_be_bytes()]);
        Mailbox {
            epoch,
            label: *part(Purpose::MailboxLabel),
            signer: KeyPair::from_seed(&part(Purpose::MailboxPublisher)),
        }
    }

    /// An installation's tag. A `salt` other than 0 gives it another one, where the first is taken.
    pub(crate) fn tag(&self, network: &NetworkName, installation: &[u8; 16], salt: u64) -> Tag {
        let salt = salt.to_be_bytes();
        let parts: [&[u8]; 3] = [&*self.secret, installation, &salt];
        let parts = if salt == [0; 8] { parts.split_at(2).0 } else { &parts };
        let [a, b, c, ..] = *derive(Purpose::MailboxTag, Some(network), parts);
        u32::from_be_bytes([0, a, b, c])
    }

    /// What tells the directions of one contact apart in the profile.
    pub(crate) fn fingerprint(&self, network: &NetworkName) -> u32 {
        let [a, b, c, d, ..] = *derive(Purpose::AckLabel, Some(network), &[&*self.secret]);
        u32::from_be_bytes([a, b, c, d])
    }

    /// Where its acknowledgements lie.
    pub(crate) fn ack_place(&self, network: &NetworkName) -> AckPlace {
        let part = |purpose| derive(purpose, Some(network), &[&*self.secret]);
        AckPlace {
            label: *part(Purpose::AckLabel),
            signer: SigningKey::from_bytes(&part(Purpose::AckPublisher)),
            seal: part(Purpose::AckSeal),
        }
    }
}

impl fmt::Debug for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (hex::encode(self.sender), hex::encode(self.recipient));
        write!(f, "Direction({from} to {to})")
    }
}

/// The epoch of a moment.
pub(crate) const fn epoch_of(at: UnixMs) -> u64 {
    at.0 / EPOCH_MS
}

/// The epochs whose mailboxes may hold something live: of those who wrote it up to a lifetime ago, or
/// whose clock is as far ahead as servers allow. Two, or for minutes three.
pub(crate) fn live_epochs(now: UnixMs) -> std::ops::RangeInclusive<u64> {
    let first = epoch_of(UnixMs(now.0.saturating_sub(EPOCH_MS)));
    first..=epoch_of(now.after(FUTURE_TOLERANCE_MS))
}

/// The slot of a tag's letter.
pub(crate) fn slot_of(tag: Tag, counter: u64) -> u64 {
    (u64::from(tag) << COUNTER_BITS) | (counter & COUNTER_MAX)
}

/// The tag and counter of a slot.
pub(crate) fn split_slot(slot: u64) -> (Tag, u64) {
    let tag = u32::try_from((slot >> COUNTER_BITS) & TAG_MAX).unwrap_or(Tag::MAX);
    (tag, slot & COUNTER_MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use dht_kad::record::RecordSigner;

    use super::*;

    pub(crate) fn main() -> NetworkName {
        "main".parse().unwrap()
    }

    fn direction(secret: u8) -> Direction {
        Direction { secret: Zeroizing::new([secret; 32]), sender: [1; 32], recipient: [2; 32] }
    }

    #[test]
    fn a_slot_is_a_tag_and_a_counter() {
        for (tag, counter) in [(0, 1), (0xab_cdef, 7), (0xff_ffff, COUNTER_MAX)] {
            assert_eq!(split_slot(slot_of(tag, counter)), (tag, counter));
        }
        assert_eq!(slot_of(0xab_cdef, 7), 0xabcd_ef00_0000_0007);
        assert!(slot_of(1, COUNTER_MAX) < slot_of(2, 0), "a tag's slots lie together");
    }

    #[test]
    fn nothing_of_one_direction_epoch_or_network_is_that_of_another() {
        let test: NetworkName = "test".parse().unwrap();
        let mut seen = BTreeSet::new();
        for network in [main(), test] {
            for secret in [1, 2] {
                let direction = direction(secret);
                for epoch in [2_900, 2_901] {
                    let mailbox = direction.mailbox(&network, epoch);
                    assert!(seen.insert(mailbox.label) && seen.insert(mailbox.signer.publisher()));
                }
                let acks = direction.ack_place(&network);
                assert!(seen.insert(acks.label) && seen.insert(acks.signer.publisher()));
                assert!(seen.insert(*acks.seal));
            }
        }
    }

    #[test]
    fn a_salt_gives_an_installation_another_tag() {
        let direction = direction(1);
        let tags: BTreeSet<_> = (0..4).map(|salt| direction.tag(&main(), &[7; 16], salt)).collect();
        assert_eq!(tags.len(), 4);
        assert!(tags.iter().all(|tag| u64::from(*tag) <= TAG_MAX));
    }

    #[test]
    fn what_is_live_lies_in_two_epochs_and_for_minutes_in_three() {
        let start = UnixMs(100 * EPOCH_MS);
        assert_eq!(live_epochs(start), 99..=100);
        assert_eq!(live_epochs(start.after(EPOCH_MS / 2)), 99..=100);
        assert_eq!(live_epochs(start.after(EPOCH_MS - 1)), 99..=101);
    }
}
