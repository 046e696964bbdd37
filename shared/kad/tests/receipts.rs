//! Which receipts are promises, and what an audit makes of what a node shows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

use bytes::Bytes;
use dht_kad::admission::FUTURE_TOLERANCE_MS;
use dht_kad::audit::{Breach, ReceiptFault, Verdict, judge};
use dht_kad::message::RecordBytes;
use dht_kad::message::audit::{Evidence, Receipt, proof};
use dht_kad::record::{Kind, Retention, Space};
use dht_kad::time::{DAY_MS, HOUR_MS};
use dht_kad::{NetworkName, NodeId, RecordDraft, UnixMs, ValidRecord};
use proptest::prelude::*;
use samples::{NOW, draft, identity, network, node_id, receipt_by, records, sign};

const NONCE: [u8; 32] = [9; 32];

/// The promise of node 2 to keep a record to the end that it was signed for.
fn promise(record: &ValidRecord) -> Receipt {
    receipt_by(2, record, end_of(record), NOW.after(1_000))
}

fn end_of(record: &ValidRecord) -> UnixMs {
    match record.kind() {
        Kind::Value => record.expires_at(),
        Kind::Tombstone => record.keep_until(),
    }
}

fn check(receipt: &Receipt, record: &ValidRecord) -> Result<(), ReceiptFault> {
    receipt.verify(&network(), record, &node_id(2))
}

/// What a node shows that holds these bytes as record or head.
fn shows(record: &ValidRecord) -> Evidence {
    let proof = proof(&NONCE, record.bytes());
    Evidence::Holds { head: RecordBytes(record.head_bytes()), proof }
}

fn verdict(record: &ValidRecord, evidence: &Evidence, now: UnixMs) -> Verdict {
    judge(&promise(record), record, &network(), &NONCE, evidence, now)
}

fn value() -> ValidRecord {
    sign(&draft())
}

fn content(retention: Retention, created_at: UnixMs) -> ValidRecord {
    let space = Space::Content;
    sign(&RecordDraft { space, retention, created_at, label: [0; 32], slot: 0, seq: 0, ..draft() })
}

#[test]
fn an_honest_receipt_of_every_form_of_record_is_a_promise() {
    for (name, record) in records() {
        assert_eq!(check(&promise(&record), &record), Ok(()), "{name}");
    }
}

#[test]
fn a_receipt_is_one_nodes_word_on_one_version_in_one_network() {
    let record = value();
    let good = promise(&record);
    let elsewhere: NetworkName = "elsewhere".parse().unwrap();
    assert_eq!(good.verify(&elsewhere, &record, &node_id(2)), Err(ReceiptFault::WrongSignature));
    assert_eq!(good.verify(&network(), &record, &node_id(3)), Err(ReceiptFault::OtherNode));
    let later = sign(&RecordDraft { seq: 6, ..draft() });
    assert_eq!(check(&good, &later), Err(ReceiptFault::WrongSignature));
    let other_slot = sign(&RecordDraft { slot: 4, ..draft() });
    assert_eq!(check(&good, &other_slot), Err(ReceiptFault::WrongSignature));
    let signed_by_another =
        Receipt { node_key: promise_key(2), ..receipt_by(3, &record, end_of(&record), NOW) };
    assert_eq!(check(&signed_by_another, &record), Err(ReceiptFault::WrongSignature));
}

fn promise_key(node: u8) -> [u8; 32] {
    identity(node).verifying_key().to_bytes()
}

/// A key of small order "signs" anything for whoever checks less than strictly.
#[test]
fn a_key_of_small_order_signs_nothing() {
    let record = value();
    let mut node_key = [0; 32];
    node_key[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let forged = Receipt { node_key, signature, ..promise(&record) };
    let node = NodeId::from_public_key(&node_key);
    let told = forged.verify(&network(), &record, &node);
    assert_eq!(told, Err(ReceiptFault::WrongSignature));
}

#[test]
fn no_other_end_than_the_records_own_is_promised() {
    let record = value();
    for end in [0, NOW.0, end_of(&record).0 - 1, end_of(&record).0 + 1, u64::MAX] {
        let receipt = receipt_by(2, &record, UnixMs(end), NOW);
        assert_eq!(check(&receipt, &record), Err(ReceiptFault::OtherEnd), "{end}");
    }
    let (_, tombstone) =
        records().into_iter().find(|(name, _)| *name == "owned_tombstone").unwrap();
    let only_its_class = receipt_by(2, &tombstone, tombstone.expires_at(), NOW);
    assert_eq!(check(&only_its_class, &tombstone), Err(ReceiptFault::OtherEnd));
}

#[test]
fn of_content_that_is_held_for_longer_the_longer_time_is_promised() {
    let short = content(Retention::Hours8, NOW);
    let end = short.expires_at();
    let promised = |end| check(&receipt_by(2, &short, end, NOW), &short);
    assert_eq!(promised(end), Ok(()));
    assert_eq!(promised(content(Retention::Days365, NOW).expires_at()), Ok(()));
    assert_eq!(promised(UnixMs(end.0 - 1)), Err(ReceiptFault::OtherEnd), "never a shorter one");
    assert_eq!(
        promised(NOW.after(400 * DAY_MS)),
        Err(ReceiptFault::OtherEnd),
        "no record lasts so"
    );
}

#[test]
fn what_could_not_have_been_accepted_then_was_not() {
    let record = value();
    let accepted = |at| check(&receipt_by(2, &record, end_of(&record), UnixMs(at)), &record);
    let (made, end) = (record.created_at().0, end_of(&record).0);
    for within in [made - FUTURE_TOLERANCE_MS, made, made + HOUR_MS, end] {
        assert_eq!(accepted(within), Ok(()), "{within}");
    }
    for outside in [0, made - HOUR_MS, end + HOUR_MS, u64::MAX] {
        assert_eq!(accepted(outside), Err(ReceiptFault::OtherMoment), "{outside}");
    }
}

proptest! {
    #[test]
    fn no_changed_bit_of_a_receipt_goes_unnoticed(bit in 0..(16 + 32 + 64) * 8_usize) {
        let record = value();
        let mut receipt = promise(&record);
        let (byte, mask) = (bit / 8, 1_u8 << (bit % 8));
        match byte {
            0..8 => receipt.expires_at.0 ^= 1 << bit,
            8..16 => receipt.accepted_at.0 ^= 1 << (bit - 64),
            16..48 => receipt.node_key[byte - 16] ^= mask,
            _ => receipt.signature[byte - 48] ^= mask,
        }
        prop_assert!(check(&receipt, &record).is_err());
    }

    #[test]
    fn only_who_knows_every_byte_is_judged_to_keep_it(
        body in prop::collection::vec(any::<u8>(), 1..200), at in any::<prop::sample::Index>(),
    ) {
        let record = sign(&RecordDraft { body: Bytes::from(body.clone()), ..draft() });
        prop_assert_eq!(verdict(&record, &shows(&record), NOW), Verdict::Kept);
        let mut known = record.bytes().to_vec();
        let at = record.bytes().len() - body.len() + at.index(body.len());
        known[at] ^= 1;
        let head = RecordBytes(record.head_bytes());
        let guessed = Evidence::Holds { head: head.clone(), proof: proof(&NONCE, &known) };
        let broken = Verdict::Broken(Breach::WrongProof);
        prop_assert_eq!(verdict(&record, &guessed, NOW), broken);
        let answered_before = Evidence::Holds { head, proof: proof(&[8; 32], record.bytes()) };
        prop_assert_eq!(verdict(&record, &answered_before, NOW), broken);
    }

    #[test]
    fn no_evidence_whatever_panics(
        head in prop::collection::vec(any::<u8>(), 0..400), proof in any::<[u8; 32]>(), now in any::<u64>(),
    ) {
        let evidence = Evidence::Holds { head: RecordBytes(head.into()), proof };
        let told = verdict(&value(), &evidence, UnixMs(now));
        prop_assert!(matches!(told, Verdict::Expired | Verdict::Broken(Breach::FalseHead)));
    }
}

#[test]
fn every_form_of_record_is_kept_by_who_shows_it() {
    for (name, record) in records().into_iter().filter(|(_, record)| record.has_body()) {
        assert_eq!(verdict(&record, &shows(&record), NOW), Verdict::Kept, "{name}");
    }
}

#[test]
fn a_body_is_owed_until_its_end_and_nothing_after_it() {
    let record = value();
    let end = end_of(&record);
    let just_before = UnixMs(end.0 - 1);
    let well_before = UnixMs(end.0 - FUTURE_TOLERANCE_MS - 1);
    let head_alone = shows(&record.head_only());
    for (evidence, breach) in
        [(&Evidence::Nothing, Breach::Nothing), (&head_alone, Breach::WrongProof)]
    {
        assert_eq!(verdict(&record, evidence, well_before), Verdict::Broken(breach));
        assert_eq!(verdict(&record, evidence, just_before), Verdict::Expired, "clocks differ");
        assert_eq!(verdict(&record, evidence, end), Verdict::Expired);
    }
    assert_eq!(verdict(&record, &shows(&record), just_before), Verdict::Kept);
    assert_eq!(verdict(&record, &shows(&record), end), Verdict::Expired);
    assert_eq!(verdict(&record, &Evidence::Later, NOW), Verdict::Unknown);
    assert_eq!(verdict(&record, &Evidence::Later, end), Verdict::Expired);
}

#[test]
fn a_version_that_supersedes_it_is_an_answer_and_an_earlier_one_is_none() {
    let record = value();
    let newer =
        sign(&RecordDraft { seq: 9, guard_until: end_of(&record), body: "new".into(), ..draft() });
    assert_eq!(verdict(&record, &shows(&newer), NOW), Verdict::Newer { seq: 9 });
    let deleted = sign(&RecordDraft {
        kind: Kind::Tombstone,
        seq: 7,
        guard_until: end_of(&record),
        body: Bytes::new(),
        ..draft()
    });
    assert_eq!(verdict(&record, &shows(&deleted), NOW), Verdict::Newer { seq: 7 });
    assert_eq!(verdict(&newer, &shows(&record), NOW), Verdict::Broken(Breach::Older));
}

#[test]
fn a_head_that_is_of_another_slot_or_signed_by_nobody_is_no_answer() {
    let record = value();
    let elsewhere = sign(&RecordDraft { slot: 4, seq: 9, ..draft() });
    assert_eq!(verdict(&record, &shows(&elsewhere), NOW), Verdict::Broken(Breach::OtherSlot));
    let newer = sign(&RecordDraft { seq: 9, ..draft() });
    let mut forged = newer.head_bytes().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let head = RecordBytes(forged.into());
    let evidence = Evidence::Holds { head, proof: proof(&NONCE, newer.bytes()) };
    assert_eq!(verdict(&record, &evidence, NOW), Verdict::Broken(Breach::FalseHead));
}

#[test]
fn content_that_is_held_for_longer_has_to_be_known_as_well() {
    let short = content(Retention::Hours8, NOW);
    let long = content(Retention::Days7, NOW);
    assert_eq!(verdict(&short, &shows(&long), NOW), Verdict::Newer { seq: 0 });
    let head = RecordBytes(long.head_bytes());
    let unknown = Evidence::Holds { head, proof: [0; 32] };
    assert_eq!(verdict(&short, &unknown, NOW), Verdict::Broken(Breach::WrongProof));
}

#[test]
fn without_the_body_no_proof_can_be_judged() {
    let record = value();
    let told =
        judge(&promise(&record), &record.head_only(), &network(), &NONCE, &shows(&record), NOW);
    assert_eq!(told, Verdict::Unknown);
}
