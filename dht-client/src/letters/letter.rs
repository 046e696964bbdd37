//! A letter: what is sealed into the body of one record of a mailbox.
//!
//! Integers are big-endian. The plaintext, sealed to the recipient with info `dht 1 letter` and bound
//! to network, label and slot:
//!
//! ```text
//! offset  size  field
//!      0     1  version      1
//!      1     1  kind         0 data, 1 manifest of chunks
//!      2    32  sender       Ed25519 public key
//!     34     8  sent_at      Unix ms: when the sender handed it over
//!     42     8  previous     counter of the letter of this tag that has to be there before it; 0 if none
//!     50     8  previous_at  Unix ms: created_at of that letter's record; 0 if none
//!     58    64  signature    the sender's
//!    122     4  length of payload
//!    126     p  payload
//!  126+p        zeros, up to the size class
//! ```
//!
//! The signature is made over a hash of both identities, epoch, slot, and all of these fields, so that
//! nobody but the sender can say this, and not to anybody else or at another place: the mailbox's own
//! key, which the recipient knows too, only says that it is one of the two.

use bytes::Bytes;
use dht_context::PutError;
use dht_kad::record::layout::BODY_MAX;
use dht_kad::record::{
    DraftError, Kind as RecordKind, RecordDraft, RecordSigner, Retention, Space,
};
use dht_kad::signature::{SignatureCheck, SignatureError};
use dht_kad::{NetworkName, ParsedRecord, UnixMs, ValidRecord};
use thiserror::Error;
use zeroize::Zeroizing;

use super::mailbox::{Direction, Mailbox};
use crate::derivation::{Purpose, derive};
use crate::entropy::Entropy;
use crate::error::ClientError;
use crate::sealing::{SEAL_OVERHEAD, SealError, SealingKey, SealingPublic};

const VERSION: u8 = 1;
/// What is sealed, in the words of HPKE.
const INFO: &[u8] = b"dht 1 letter";
/// Bytes before the payload.
const FIXED: usize = 126;
/// The smallest size class, in bytes of plaintext: a line or two.
const CLASS_MIN: usize = 512;
/// The largest: what fits a record's body.
const CLASS_MAX: usize = BODY_MAX - SEAL_OVERHEAD;
/// The longest payload of one letter; what is longer goes in chunks.
pub(crate) const PAYLOAD_MAX: usize = CLASS_MAX - FIXED;
/// The version of a letter's slot that its sender signs first.
pub(crate) const FIRST_SEQ: u64 = 1;

/// What the payload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// What the application handed over.
    Data = 0,
    /// Where its chunks are.
    Manifest = 1,
}

/// A letter in the clear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Letter {
    pub(crate) kind: Kind,
    pub(crate) sent_at: UnixMs,
    /// The counter of the letter of this tag that comes before it; 0 if it is the first.
    pub(crate) previous: u64,
    /// When that one's record was created: 7 days later it cannot come any more.
    pub(crate) previous_at: UnixMs,
    pub(crate) payload: Zeroizing<Vec<u8>>,
}

/// What lies in a mailbox's slot is no letter of that direction.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub(crate) enum LetterFault {
    #[error("it cannot be opened: {0}")]
    Sealed(#[from] SealError),
    #[error("it is no letter of a known form")]
    Malformed,
    #[error("it is of another sender than this mailbox's")]
    WrongSender,
    #[error("its sender did not sign it for this place")]
    WrongSignature,
}

impl Letter {
    /// Seals and signs it for a slot of a mailbox, created at `created_at`.
    pub(crate) fn seal(
        &self,
        place: &Place<'_>,
        sender: &dyn RecordSigner,
        to: &SealingPublic,
        created_at: UnixMs,
        entropy: &Entropy,
    ) -> Result<ValidRecord, SealOrDraft> {
        let mut plain = Zeroizing::new(Vec::with_capacity(class_of(FIXED + self.payload.len())));
        plain.extend_from_slice(&[VERSION, self.kind as u8]);
        plain.extend_from_slice(&place.direction.sender);
        for number in [self.sent_at.0, self.previous, self.previous_at.0] {
            plain.extend_from_slice(&number.to_be_bytes());
        }
        plain.extend_from_slice(&sender.sign_message(&*self.message(place)));
        // A payload that does not fit is refused by the record's own limit.
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        plain.extend_from_slice(&length.to_be_bytes());
        plain.extend_from_slice(&self.payload);
        let class = class_of(plain.len());
        plain.resize(class, 0);
        let body = to.seal(INFO, &*place.binding(), &plain, entropy)?;
        Ok(place.draft(body.into(), created_at).sign(&place.mailbox.signer, place.network)?)
    }

    /// Opens and checks what lies in a slot of a mailbox.
    pub(crate) fn open(
        place: &Place<'_>,
        key: &SealingKey,
        body: &[u8],
    ) -> Result<Self, LetterFault> {
        let plain = key.open(INFO, &*place.binding(), body)?;
        let (letter, sender, signature) = decode(&plain).ok_or(LetterFault::Malformed)?;
        if sender != place.direction.sender {
            return Err(LetterFault::WrongSender);
        }
        match SignatureCheck::default().check(&sender, &*letter.message(place), &signature) {
            Ok(()) => Ok(letter),
            Err(SignatureError::NotAKey) => Err(LetterFault::WrongSender),
            Err(SignatureError::Wrong) => Err(LetterFault::WrongSignature),
        }
    }

    /// What the sender signs.
    pub(super) fn message(&self, place: &Place<'_>) -> Zeroizing<[u8; 32]> {
        let numbers =
            [place.mailbox.epoch, place.slot, self.previous, self.previous_at.0, self.sent_at.0];
        let [epoch, slot, previous, previous_at, sent_at] = numbers.map(u64::to_be_bytes);
        let payload = blake3::hash(&self.payload);
        derive(
            Purpose::LetterSigned,
            Some(place.network),
            &[
                &place.direction.sender,
                &place.direction.recipient,
                &epoch,
                &slot,
                &previous,
                &previous_at,
                &sent_at,
                &[self.kind as u8],
                payload.as_bytes(),
            ],
        )
    }
}

/// A slot of a mailbox.
pub(crate) struct Place<'a> {
    pub(crate) network: &'a NetworkName,
    pub(crate) direction: &'a Direction,
    pub(crate) mailbox: &'a Mailbox,
    pub(crate) slot: u64,
}

impl Place<'_> {
    /// What the seal is bound to.
    pub(super) fn binding(&self) -> Zeroizing<[u8; 32]> {
        let parts: [&[u8]; 2] = [&self.mailbox.label, &self.slot.to_be_bytes()];
        derive(Purpose::LetterSigned, Some(self.network), &parts)
    }

    fn draft(&self, body: Bytes, created_at: UnixMs) -> RecordDraft {
        RecordDraft {
            space: Space::Owned,
            kind: RecordKind::Value,
            retention: Retention::Days7,
            label: self.mailbox.label,
            slot: self.slot,
            seq: FIRST_SEQ,
            created_at,
            guard_until: UnixMs(0),
            work_bits: 0,
            ext: Bytes::new(),
            body,
        }
    }

    /// The same letter under a record that shows `work_bits`, superseding `before` where that has
    /// got to.
    pub(crate) fn with_work(
        &self,
        before: &ParsedRecord,
        work_bits: u32,
    ) -> Result<ValidRecord, DraftError> {
        let body = before.body().unwrap_or_default();
        let draft = RecordDraft {
            seq: before.seq().saturating_add(1),
            guard_until: before.keep_until(),
            work_bits,
            ..self.draft(body, before.created_at())
        };
        draft.sign(&self.mailbox.signer, self.network)
    }

    /// What takes away a letter that was created at `created_at`, and was not signed anew.
    pub(crate) fn tombstone(
        &self,
        created_at: UnixMs,
        now: UnixMs,
    ) -> Result<ValidRecord, DraftError> {
        let draft = RecordDraft {
            kind: RecordKind::Tombstone,
            retention: Retention::Hours8,
            // After whatever its sender signed for it, work and all.
            seq: FIRST_SEQ << 32,
            guard_until: created_at.after(Retention::Days7.lifetime_ms()),
            ..self.draft(Bytes::new(), now.max(created_at.after(1)))
        };
        draft.sign(&self.mailbox.signer, self.network)
    }
}

/// A letter cannot be sealed.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub(crate) enum SealOrDraft {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Draft(#[from] DraftError),
}

impl From<SealOrDraft> for ClientError {
    fn from(error: SealOrDraft) -> Self {
        match error {
            SealOrDraft::Seal(error) => error.into(),
            SealOrDraft::Draft(error) => PutError::from(error).into(),
        }
    }
}

/// The size class of a plaintext: the next power of two, or all that fits.
fn class_of(length: usize) -> usize {
    match length.max(CLASS_MIN).checked_next_power_of_two() {
        Some(class) if class <= CLASS_MAX => class,
        _ => CLASS_MAX.max(length),
    }
}

/// The letter, its sender and its signature, of a plaintext in the one form that it has.
fn decode(plain: &[u8]) -> Option<(Letter, [u8; 32], [u8; 64])> {
    let (head, rest) = plain.split_at_checked(FIXED)?;
    let (&[version, kind], head) = head.split_first_chunk()?;
    let (&sender, head) = head.split_first_chunk()?;
    let (&sent_at, head) = head.split_first_chunk()?;
    let (&previous, head) = head.split_first_chunk()?;
    let (&previous_at, head) = head.split_first_chunk()?;
    let (&signature, head) = head.split_first_chunk()?;
    let length = u32::from_be_bytes(*head.first_chunk()?);
    let (payload, padding) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let kind = match kind {
        0 => Kind::Data,
        1 => Kind::Manifest,
        _ => return None,
    };
    let one_form = version == VERSION
        && plain.len() == class_of(FIXED + payload.len())
        && padding.iter().all(|byte| *byte == 0);
    let letter = Letter {
        kind,
        sent_at: UnixMs(u64::from_be_bytes(sent_at)),
        previous: u64::from_be_bytes(previous),
        previous_at: UnixMs(u64::from_be_bytes(previous_at)),
        payload: Zeroizing::new(payload.to_vec()),
    };
    one_form.then_some((letter, sender, signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::letters::mailbox::slot_of;
    use crate::letters::mailbox::tests::main;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    struct Pair {
        alice: Identity,
        bob: Identity,
        network: NetworkName,
        direction: Direction,
        mailbox: Mailbox,
    }

    impl Pair {
        fn new() -> Self {
            let (alice, bob) = (Identity::from_root(&[1; 32]), Identity::from_root(&[2; 32]));
            let direction = Direction {
                secret: Zeroizing::new([3; 32]),
                sender: alice.public_key(),
                recipient: bob.public_key(),
            };
            let mailbox = direction.mailbox(&main(), super::super::mailbox::epoch_of(NOW));
            Pair { alice, bob, network: main(), direction, mailbox }
        }

        fn place(&self, slot: u64) -> Place<'_> {
            let (network, direction, mailbox) = (&self.network, &self.direction, &self.mailbox);
            Place { network, direction, mailbox, slot }
        }

        fn seal(&self, slot: u64, letter: &Letter) -> ValidRecord {
            let (signer, to) = (self.alice.signing_key(), self.bob.sealing_key().public());
            let entropy = Entropy::from_seed([9; 32]);
            letter.seal(&self.place(slot), signer, to, NOW, &entropy).unwrap()
        }

        fn open(&self, slot: u64, body: &[u8]) -> Result<Letter, LetterFault> {
            Letter::open(&self.place(slot), self.bob.sealing_key(), body)
        }
    }

    fn letter(payload: &[u8]) -> Letter {
        Letter {
            kind: Kind::Data,
            sent_at: NOW,
            previous: 6,
            previous_at: UnixMs(NOW.0 - 1),
            payload: Zeroizing::new(payload.to_vec()),
        }
    }

    #[test]
    fn what_is_sealed_opens_as_it_was() {
        let pair = Pair::new();
        for size in [0, 1, CLASS_MIN - FIXED, 1024, PAYLOAD_MAX] {
            let letter = letter(&vec![7; size]);
            let record = pair.seal(slot_of(5, 7), &letter);
            assert_eq!(pair.open(record.slot(), &record.body().unwrap()).unwrap(), letter);
            assert_eq!(record.verify_again(), Ok(()));
        }
        let too_long = letter(&vec![7; PAYLOAD_MAX + 1]);
        let (signer, to) = (pair.alice.signing_key(), pair.bob.sealing_key().public());
        let refused = too_long.seal(&pair.place(1), signer, to, NOW, &Entropy::system());
        assert!(matches!(refused, Err(SealOrDraft::Draft(_))));
    }

    trait VerifyAgain {
        fn verify_again(&self) -> Result<(), dht_kad::record::SignatureFault>;
    }

    impl VerifyAgain for ValidRecord {
        fn verify_again(&self) -> Result<(), dht_kad::record::SignatureFault> {
            ParsedRecord::parse(self.bytes().clone()).unwrap().verify(&main()).map(drop)
        }
    }

    #[test]
    fn sizes_are_seen_by_class_alone() {
        let pair = Pair::new();
        let sealed = |size| pair.seal(1, &letter(&vec![1; size])).body().unwrap().len();
        assert_eq!(sealed(0), CLASS_MIN + SEAL_OVERHEAD);
        assert_eq!(sealed(0), sealed(CLASS_MIN - FIXED));
        assert_eq!(sealed(CLASS_MIN - FIXED + 1), 1024 + SEAL_OVERHEAD);
        assert_eq!(sealed(32 * 1024), BODY_MAX);
        assert_eq!(sealed(PAYLOAD_MAX), BODY_MAX);
    }

    #[test]
    fn nothing_of_a_letter_can_be_changed_cut_or_moved() {
        let pair = Pair::new();
        let slot = slot_of(5, 7);
        let body = pair.seal(slot, &letter(b"hello")).body().unwrap();
        for bit in 0..body.len() * 8 {
            // A bit of each byte, all bits of the first and last ones: each costs an opening.
            if bit % 8 != (bit / 8) % 8 && (8..(body.len() - 1) * 8).contains(&bit) {
                continue;
            }
            let mut changed = body.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(pair.open(slot, &changed).is_err(), "bit {bit}");
        }
        for length in [0, 1, SEAL_OVERHEAD, body.len() - 1] {
            assert!(pair.open(slot, &body[..length]).is_err(), "{length} bytes");
        }
        assert!(pair.open(slot_of(5, 8), &body).is_err(), "another slot");
        let mut elsewhere = Pair::new();
        elsewhere.mailbox = pair.direction.mailbox(&main(), pair.mailbox.epoch + 1);
        assert!(elsewhere.open(slot, &body).is_err(), "another epoch");
        let mut other = Pair::new();
        other.network = "test".parse().unwrap();
        assert!(other.open(slot, &body).is_err(), "another network");
        let mut eve = Pair::new();
        eve.bob = Identity::from_root(&[4; 32]);
        assert!(eve.open(slot, &body).is_err(), "another recipient");
    }

    #[test]
    fn who_knows_the_mailbox_cannot_write_in_the_senders_name() {
        let pair = Pair::new();
        let (eve, to) = (Identity::from_root(&[4; 32]), pair.bob.sealing_key().public());
        let place = pair.place(1);
        let letter = letter(b"hello");
        let entropy = Entropy::from_seed([9; 32]);
        let forged = letter.seal(&place, eve.signing_key(), to, NOW, &entropy).unwrap();
        let body = forged.body().unwrap();
        assert_eq!(pair.open(1, &body).unwrap_err(), LetterFault::WrongSignature);

        let mut as_eve = Pair::new();
        as_eve.direction.sender = eve.public_key();
        let own = letter.seal(&as_eve.place(1), eve.signing_key(), to, NOW, &entropy).unwrap();
        let body = own.body().unwrap();
        assert_eq!(pair.open(1, &body).unwrap_err(), LetterFault::WrongSender);
    }

    #[test]
    fn a_recipient_cannot_pass_a_letter_on_as_written_to_another() {
        let pair = Pair::new();
        let record = pair.seal(1, &letter(b"hello"));
        let plain = pair
            .bob
            .sealing_key()
            .open(INFO, &*pair.place(1).binding(), &record.body().unwrap())
            .unwrap();
        let mut carol = Pair::new();
        carol.bob = Identity::from_root(&[5; 32]);
        carol.direction.recipient = carol.bob.public_key();
        let binding = carol.place(1).binding();
        let to = carol.bob.sealing_key().public();
        let passed_on = to.seal(INFO, &*binding, &plain, &Entropy::system()).unwrap();
        assert_eq!(carol.open(1, &passed_on).unwrap_err(), LetterFault::WrongSignature);
    }

    #[test]
    fn a_plaintext_has_one_form() {
        let pair = Pair::new();
        let (place, to) = (pair.place(1), pair.bob.sealing_key().public());
        let record = pair.seal(1, &letter(b"hello"));
        let plain =
            pair.bob.sealing_key().open(INFO, &*place.binding(), &record.body().unwrap()).unwrap();
        type Change = fn(&mut Vec<u8>);
        let changed: [(&str, Change); 5] = [
            ("a later version", |plain| plain[0] = 2),
            ("an unknown kind", |plain| plain[1] = 2),
            ("a length past the end", |plain| plain[122] = 1),
            ("padding that says something", |plain| *plain.last_mut().unwrap() = 1),
            ("a size of no class", |plain| plain.push(0)),
        ];
        for (what, change) in changed {
            let mut plain = plain.to_vec();
            change(&mut plain);
            let body = to.seal(INFO, &*place.binding(), &plain, &Entropy::system()).unwrap();
            assert_eq!(pair.open(1, &body).unwrap_err(), LetterFault::Malformed, "{what}");
        }
    }

    #[test]
    fn a_letter_signed_anew_and_its_tombstone_supersede_it() {
        let pair = Pair::new();
        let place = pair.place(1);
        let first = pair.seal(1, &letter(b"hello"));
        let worked = place.with_work(&first, 4).unwrap();
        assert!(worked.work_bits() >= 4 && worked.precedence() > first.precedence());
        assert_eq!(worked.body(), first.body());
        let gone = place.tombstone(first.created_at(), NOW.after(5)).unwrap();
        assert!(gone.precedence() > worked.precedence());
        assert!(gone.seq() > worked.seq() && gone.keep_until() >= worked.keep_until());
    }
}
