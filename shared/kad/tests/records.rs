//! What a record is, and what is refused as none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

use bytes::Bytes;
use dht_kad::admission::{FUTURE_TOLERANCE_MS, Path, check_times};
use dht_kad::record::layout::{BODY_MAX, EXT_MAX, HEAD_MIN, RECORD_MAX};
use dht_kad::record::{Kind, MalformedRecord, Retention, SignatureFault, Space, WORK_BITS_MAX};
use dht_kad::{ParsedRecord, RecordDraft, Refusal, UnixMs};
use proptest::prelude::*;
use samples::{NOW, draft, identity, network, records, sign};

/// Parses and verifies, as everything from the network is.
fn admit(bytes: Vec<u8>) -> Option<dht_kad::ValidRecord> {
    ParsedRecord::parse(Bytes::from(bytes)).ok()?.verify(&network()).ok()
}

fn any_draft() -> impl Strategy<Value = RecordDraft> {
    let choices = (0..3_usize, 0..3_usize, any::<bool>());
    let numbers = (any::<u64>(), any::<u64>(), 0..u64::MAX / 2, 0..=365 * 86_400_000_u64);
    let ext = prop::collection::vec(any::<u8>(), 0..=64);
    let body = prop::collection::vec(any::<u8>(), 0..=256);
    (choices, any::<[u8; 32]>(), numbers, ext, body).prop_map(
        |(choices, label, numbers, ext, body)| {
            let (space, retention, deletes) = choices;
            let (slot, seq, created_at, guard) = numbers;
            let space = [Space::Owned, Space::Topic, Space::Content][space];
            let content = space == Space::Content;
            let plain = |number| if content { 0 } else { number };
            let kind = if deletes && !content { Kind::Tombstone } else { Kind::Value };
            RecordDraft {
                space,
                kind,
                retention: Retention::ALL[retention],
                label: if content { [0; 32] } else { label },
                slot: plain(slot),
                seq: plain(seq),
                created_at: UnixMs(created_at),
                guard_until: UnixMs(plain(created_at + guard)),
                work_bits: 0,
                ext: Bytes::from(ext),
                body: if kind == Kind::Tombstone { Bytes::new() } else { Bytes::from(body) },
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_signed_reads_back_and_verifies(draft in any_draft(), secret in any::<[u8; 32]>()) {
        let identity = ed25519_dalek::SigningKey::from_bytes(&secret);
        let record = draft.sign(&identity, &network()).unwrap();
        let read = ParsedRecord::parse(record.bytes().clone()).unwrap();
        prop_assert_eq!(read.space(), draft.space);
        prop_assert_eq!(read.kind(), draft.kind);
        prop_assert_eq!(read.retention(), draft.retention);
        prop_assert_eq!(read.label(), &draft.label);
        prop_assert_eq!(*read.publisher(), identity.verifying_key().to_bytes());
        prop_assert_eq!((read.slot(), read.seq()), (draft.slot, draft.seq));
        prop_assert_eq!((read.created_at(), read.guard_until()), (draft.created_at, draft.guard_until));
        prop_assert_eq!(read.body(), Some(draft.body.clone()));
        prop_assert_eq!(read.verify(&network()).unwrap(), record.clone());
        let head = ParsedRecord::parse(record.head_bytes()).unwrap().verify(&network()).unwrap();
        prop_assert_eq!(&head, &record.head_only());
        let whole = ParsedRecord::parse(record.bytes().clone()).unwrap();
        prop_assert_eq!(head.with_body_of(whole), Ok(record));
    }

    #[test]
    fn any_bytes_are_read_safely(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _refused_mostly = ParsedRecord::parse(Bytes::from(bytes));
    }
}

#[test]
fn a_head_that_is_known_vouches_for_its_own_body_alone() {
    for (name, record) in records() {
        let (head, bytes) = (record.head_only(), record.bytes().to_vec());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let Ok(changed) = ParsedRecord::parse(Bytes::from(changed)) else { continue };
            assert!(head.with_body_of(changed).is_err(), "{name}: byte {at}");
        }
    }
}

#[test]
fn a_changed_byte_anywhere_is_refused() {
    for (name, record) in records() {
        let bytes = record.bytes().to_vec();
        assert!(admit(bytes.clone()).is_some(), "{name}");
        for at in 0..bytes.len() {
            for change in (0..8).map(|bit| 1 << bit).chain([0xff]) {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                assert!(admit(changed).is_none(), "{name}: byte {at} changed by {change}");
            }
        }
    }
}

#[test]
fn a_record_with_bytes_more_or_less_is_refused() {
    for (name, record) in records() {
        let bytes = record.bytes().to_vec();
        let head_len = record.head_bytes().len();
        for len in (0..bytes.len()).filter(|len| *len != head_len) {
            assert!(admit(bytes[..len].to_vec()).is_none(), "{name} cut to {len}");
        }
        let longer = [bytes, vec![0]].concat();
        assert!(admit(longer).is_none(), "{name} with a byte more");
    }
}

#[test]
fn a_record_of_another_network_is_refused() {
    for (name, record) in records() {
        let read = ParsedRecord::parse(record.bytes().clone()).unwrap();
        let verdict = read.clone().verify(&"vectors2".parse().unwrap());
        assert_eq!(verdict, Err(SignatureFault::WrongSignature), "{name}");
        assert_ne!(read.claimed_id(&"vectors2".parse().unwrap()).key, record.id().key);
    }
}

#[test]
fn a_publisher_of_small_order_signs_nothing() {
    let mut bytes = sign(&draft()).bytes().to_vec();
    let identity_point = [&[1][..], &[0; 31]].concat();
    bytes[36..68].copy_from_slice(&identity_point);
    let head_len = bytes.len() - 5;
    bytes[head_len - 64..head_len - 32].copy_from_slice(&identity_point);
    bytes[head_len - 32..head_len].fill(0);
    let verdict = ParsedRecord::parse(Bytes::from(bytes)).unwrap().verify(&network());
    assert_eq!(verdict, Err(SignatureFault::WrongSignature));
}

#[test]
fn a_future_time_is_refused_on_every_path() {
    let at = |created_at| sign(&RecordDraft { created_at, ..draft() });
    for path in [Path::Repair, Path::Store { expected_seq: None }] {
        let latest = at(NOW.after(FUTURE_TOLERANCE_MS));
        assert_eq!(check_times(&latest, path, NOW), Ok(()));
        let future = at(NOW.after(FUTURE_TOLERANCE_MS + 1));
        assert_eq!(check_times(&future, path, NOW), Err(Refusal::FromTheFuture { clock: NOW }));
    }
}

#[test]
fn the_rules_between_fields_hold() {
    let refused = |draft: RecordDraft| draft.sign(&identity(1), &network()).unwrap_err();
    let malformed = dht_kad::record::DraftError::Malformed;
    let content = RecordDraft { space: Space::Content, label: [0; 32], slot: 0, seq: 0, ..draft() };
    assert!(content.sign(&identity(1), &network()).is_ok());
    for odd in [
        RecordDraft { label: [1; 32], ..content.clone() },
        RecordDraft { slot: 1, ..content.clone() },
        RecordDraft { seq: 1, ..content.clone() },
        RecordDraft { guard_until: NOW, ..content.clone() },
        RecordDraft { kind: Kind::Tombstone, body: Bytes::new(), ..content },
    ] {
        assert_eq!(refused(odd), malformed(MalformedRecord::ContentNotPlain));
    }
    let year = Retention::Days365.lifetime_ms();
    let guarded = |guard_until| RecordDraft { guard_until, ..draft() };
    assert!(guarded(NOW.after(year)).sign(&identity(1), &network()).is_ok());
    assert_eq!(refused(guarded(NOW.after(year + 1))), malformed(MalformedRecord::GuardTooLong));
    let endless = RecordDraft { created_at: UnixMs(u64::MAX), ..draft() };
    assert_eq!(refused(endless), malformed(MalformedRecord::TimeOverflow));
    let carrying = RecordDraft { kind: Kind::Tombstone, ..draft() };
    assert_eq!(refused(carrying), malformed(MalformedRecord::TombstoneWithBody));
    let long = RecordDraft { ext: vec![0; EXT_MAX + 1].into(), ..draft() };
    assert_eq!(refused(long), malformed(MalformedRecord::ExtTooLarge(EXT_MAX + 1)));
    let large = RecordDraft { body: vec![0; BODY_MAX + 1].into(), ..draft() };
    assert_eq!(refused(large), malformed(MalformedRecord::BodyTooLarge(BODY_MAX + 1)));
    let costly = RecordDraft { work_bits: WORK_BITS_MAX + 1, ..draft() };
    assert!(costly.sign(&identity(1), &network()).is_err());
}

#[test]
fn work_done_in_steps_is_the_work_done_at_once() {
    let costly = RecordDraft { work_bits: 12, ..draft() };
    let at_once = costly.sign(&identity(1), &network()).unwrap();
    assert!(at_once.work_bits() >= 12);
    let mut work = costly.begin(at_once.publisher(), &network()).unwrap();
    let mut steps = 0;
    while !work.step(16) {
        steps += 1;
        assert_eq!(work.tried(), 16 * steps);
    }
    assert!(steps > 1, "one step is not all of it");
    let tried = work.tried();
    assert!(work.step(16) && work.tried() == tried, "done is done");
    assert_eq!(work.sign(&identity(1)).unwrap(), at_once);
    let half_done = costly.begin(at_once.publisher(), &network()).unwrap();
    assert_eq!(half_done.sign(&identity(1)).unwrap(), at_once, "signing does what is left");
}

#[test]
fn the_largest_record_is_as_long_as_the_layout_says() {
    let largest =
        RecordDraft { ext: vec![1; EXT_MAX].into(), body: vec![2; BODY_MAX].into(), ..draft() };
    assert_eq!(sign(&largest).bytes().len(), RECORD_MAX);
    let smallest = RecordDraft { body: Bytes::new(), ..draft() };
    assert_eq!(sign(&smallest).bytes().len(), HEAD_MIN);
}

#[test]
fn numbers_that_mean_nothing_are_named() {
    let bytes = sign(&draft()).bytes().to_vec();
    let with = |at: usize, value| {
        let mut changed = bytes.clone();
        changed[at] = value;
        ParsedRecord::parse(Bytes::from(changed)).unwrap_err()
    };
    assert_eq!(with(0, 2), MalformedRecord::UnknownVersion(2));
    assert_eq!(Refusal::from(with(0, 2)), Refusal::UnknownRecordVersion(2));
    for (at, field, value) in [(1, "space", 3), (2, "kind", 2), (3, "retention", 3)] {
        assert_eq!(with(at, value), MalformedRecord::UnknownField { field, value });
    }
}

#[test]
fn work_is_shown_by_the_hash_and_not_by_the_nonce() {
    assert_eq!(sign(&draft()).work_bits(), 0);
    let worked = sign(&RecordDraft { work_bits: 8, ..draft() });
    assert!(worked.work_bits() >= 8);
    let read = ParsedRecord::parse(worked.head_bytes()).unwrap().verify(&network()).unwrap();
    assert_eq!(read.work_bits(), worked.work_bits());
}

#[test]
fn one_label_has_one_key_a_publisher_and_another_one_as_a_topic() {
    let owned = sign(&draft());
    let topic = sign(&RecordDraft { space: Space::Topic, ..draft() });
    let of_another = |draft: &RecordDraft| draft.sign(&identity(2), &network()).unwrap().id().key;
    assert_ne!(owned.id().key, topic.id().key);
    assert_ne!(of_another(&draft()), owned.id().key);
    assert_eq!(of_another(&RecordDraft { space: Space::Topic, ..draft() }), topic.id().key);
}
