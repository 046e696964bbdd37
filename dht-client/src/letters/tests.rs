//! Letters from Alice to Bob over a network that a test makes up.

use std::sync::atomic::Ordering;

use dht_context::clock::Clock;
use dht_kad::admission::Limits;
use dht_kad::record::Kind;
use dht_kad::time::{DAY_MS, MINUTE_MS};

use super::chunks::cut;
use super::letter::{Kind as LetterKind, Letter, Place};
use super::mailbox::{epoch_of, slot_of};
use super::office::{
    ALICE, BOB, Device, Office, alice_to_bob, bob, from_alice, run, texts, to_bob,
};
use super::outbox::{Attempt, Outbox, Payload};
use super::tags::has_ended;
use super::*;
use crate::entropy::Entropy;

fn three() -> (Office, Device, Device) {
    let office = Office::new();
    let (alice, bob) = (Device::new(ALICE, &office), Device::new(BOB, &office));
    (office, alice, bob)
}

fn numbers(range: std::ops::Range<u64>) -> Vec<u64> {
    range.collect()
}

#[test]
fn letters_to_somebody_away_come_once_and_in_order() {
    let (office, alice, bob) = three();
    alice.write(&office, 0..1_000);
    office.clock.advance(6 * DAY_MS);
    let report = bob.fetch(&office);
    assert_eq!((report.ready, report.missed, report.rejected), (1_000, 0, 0));
    assert_eq!(bob.read(), numbers(0..1_000));
    assert_eq!(bob.fetch(&office).ready, 0);
    alice.write(&office, 1_000..1_003);
    assert_eq!(bob.fetch(&office).ready, 3);
    assert_eq!(bob.read(), numbers(0..1_003));
}

#[test]
fn what_is_acknowledged_is_told_and_taken_away() {
    let (office, alice, bob) = three();
    alice.write(&office, 0..5);
    bob.fetch(&office);
    let letters = bob.letters();
    assert_eq!(bob.ack(&office, &[letters[0].id, letters[1].id, letters[4].id]), 2);
    assert_eq!(bob.read(), [2, 3]);
    alice.settle(&office);
    assert_eq!(alice.states(), ["fetched", "fetched", "stored", "stored", "stored"]);
    assert_eq!(bob.ack_all(&office), 3);
    assert_eq!(alice.settle(&office).waiting, 0);
    assert_eq!(alice.states(), ["fetched"; 5]);
    let left = office.records();
    assert!(
        left.iter().all(|record| record.label() != &mailbox_label(&office)),
        "no letter is left"
    );
    assert_eq!(bob.ack(&office, &[letters[0].id]), 0, "again is no harm");
}

fn mailbox_label(office: &Office) -> [u8; 32] {
    alice_to_bob().mailbox(&office.network, epoch_of(office.clock.now())).label
}

/// `second-device-loses-messages`: elsewhere two devices of one identity each rewrote the outbox.
#[test]
fn second_device_loses_messages_not_here() {
    let office = Office::new();
    let (laptop, phone) = (Device::new(ALICE, &office), Device::new(ALICE, &office));
    let (bobs, other) = (Device::new(BOB, &office), Device::new(BOB, &office));
    for round in 0..10 {
        laptop.write(&office, round * 20..round * 20 + 10);
        phone.write(&office, round * 20 + 10..round * 20 + 20);
        bobs.fetch(&office);
    }
    other.fetch(&office);
    for device in [&bobs, &other] {
        let mut read = device.read();
        let of = |tag| move |letter: &&ReceivedLetter| letter.id.tag == tag;
        let letters = device.letters();
        let tag = letters[0].id.tag;
        let counters = letters.iter().filter(of(tag)).map(|letter| letter.id.counter);
        assert_eq!(counters.collect::<Vec<_>>(), numbers(1..101), "each device's in order");
        read.sort_unstable();
        assert_eq!(read, numbers(0..200), "nothing lost, nothing twice");
    }
    assert_eq!(bobs.ack_all(&office), 0, "the other device has not read them");
    assert_eq!(other.ack_all(&office), 200);
    assert_eq!(bobs.fetch(&office).ready + other.fetch(&office).ready, 0);
}

#[test]
fn a_device_that_nobody_heard_of_for_long_is_not_waited_for() {
    let (office, alice, bob) = three();
    let lost = Device::new(BOB, &office);
    lost.fetch(&office);
    office.clock.advance(29 * DAY_MS);
    alice.write(&office, 0..3);
    bob.fetch(&office);
    assert_eq!(bob.ack_all(&office), 0);
    office.clock.advance(2 * DAY_MS);
    alice.write(&office, 3..4);
    bob.fetch(&office);
    assert_eq!(bob.ack_all(&office), 4);
}

#[test]
fn a_new_device_gets_what_still_waits_at_once() {
    let (office, alice, bob) = three();
    alice.write(&office, 0..3);
    bob.fetch(&office);
    assert_eq!(bob.ack_all(&office), 3);
    alice.write(&office, 3..5);
    let fresh = Device::new(BOB, &office);
    let report = fresh.fetch(&office);
    assert_eq!((fresh.read(), report.missed), (vec![3, 4], 0), "what was taken away is not missed");
    // Those before have ended, nothing of them is left, and the letter after them is young.
    office.clock.advance(6 * DAY_MS);
    alice.write(&office, 5..6);
    office.clock.advance(2 * DAY_MS);
    let fresh = Device::new(BOB, &office);
    fresh.fetch(&office);
    assert_eq!(fresh.read(), [5]);
}

#[test]
fn letters_cross_the_end_of_an_epoch_in_order() {
    let (office, alice, bob) = three();
    let epoch = epoch_of(office.clock.now());
    office.clock.set(UnixMs((epoch + 1) * super::mailbox::EPOCH_MS - MINUTE_MS));
    alice.write(&office, 0..3);
    office.clock.advance(2 * MINUTE_MS);
    assert_eq!(epoch_of(office.clock.now()), epoch + 1);
    alice.write(&office, 3..6);
    bob.fetch(&office);
    assert_eq!(bob.read(), numbers(0..6));
    assert_eq!(bob.ack_all(&office), 6);
}

#[test]
fn what_few_nodes_know_of_is_found_at_a_majority() {
    let (office, alice, bob) = three();
    alice.write(&office, 0..10);
    *office.lagging.lock().unwrap() = [3, 4, 5].into();
    let report = bob.fetch(&office);
    assert_eq!((report.ready, report.awaited), (10, 0));
    assert_eq!(bob.read(), numbers(0..10));
}

#[test]
fn a_gap_is_waited_for_until_the_letter_must_have_ended() {
    let (office, alice, bob) = three();
    alice.write(&office, 0..5);
    let lost = office.records().into_iter().find(|record| {
        record.label() == &mailbox_label(&office)
            && super::mailbox::split_slot(record.slot()).1 == 3
    });
    let lost = lost.unwrap();
    office.lose(lost.id());
    let report = bob.fetch(&office);
    assert_eq!((report.ready, report.awaited), (2, 1));
    office.clock.advance(6 * DAY_MS);
    assert_eq!(bob.fetch(&office).ready, 0);
    office.store(&lost).unwrap();
    assert_eq!(bob.fetch(&office).ready, 3, "it came late");
    assert_eq!(bob.read(), numbers(0..5));

    alice.write(&office, 5..8);
    let lost = office
        .records()
        .into_iter()
        .find(|record| super::mailbox::split_slot(record.slot()).1 == 7);
    office.lose(lost.unwrap().id());
    assert_eq!(bob.fetch(&office).ready, 1);
    office.clock.advance(7 * DAY_MS + 11 * MINUTE_MS);
    let report = bob.fetch(&office);
    assert_eq!((report.ready, report.missed, report.awaited), (1, 1, 0));
    assert_eq!(bob.letters().last().unwrap().missed, 1);
    assert_eq!(bob.read(), [0, 1, 2, 3, 4, 5, 7]);
}

#[test]
fn what_waited_too_long_to_be_handed_over_lets_the_next_through_and_is_told() {
    let (office, alice, bob) = three();
    alice.write(&office, 0..1);
    office.down.store(true, Ordering::Relaxed);
    assert!(alice.accept(&office, &texts(1..3), u64::MAX));
    assert_eq!(alice.deliver(&office).failed, 2);
    office.clock.advance(4 * DAY_MS);
    assert!(alice.accept(&office, &texts(3..4), u64::MAX));
    office.clock.advance(4 * DAY_MS);
    office.down.store(false, Ordering::Relaxed);
    assert_eq!(alice.deliver(&office).stored, 1);
    assert_eq!(alice.states(), ["stored", "expired", "expired", "stored"]);
    let report = bob.fetch(&office);
    assert_eq!((report.ready, report.missed, report.awaited), (1, 3, 0));
    assert_eq!(bob.read(), [3]);
    assert_eq!(alice.settle(&office).waiting, 1);
    assert_eq!(alice.states(), ["expired", "expired", "expired", "stored"], "never read");
}

#[test]
fn as_many_letters_wait_as_may() {
    let (office, alice, bob) = three();
    assert!(alice.accept(&office, &texts(0..10), 10));
    assert!(!alice.accept(&office, &texts(10..11), 10));
    alice.deliver(&office);
    assert!(!alice.accept(&office, &texts(10..11), 10), "stored is not read");
    bob.fetch(&office);
    bob.ack_all(&office);
    alice.settle(&office);
    assert!(alice.accept(&office, &texts(10..20), 10));
    assert!(!alice.accept(&office, &texts(20..21), 10));
    assert_eq!(alice.deliver(&office).stored, 10, "all or none were accepted");
}

#[test]
fn wherever_the_sender_stops_nothing_is_lost_or_twice() {
    let (office, alice, bob) = three();
    let outbox = Outbox(&alice.profile);
    // Accepted, and nothing more.
    assert!(alice.accept(&office, &texts(0..10), u64::MAX));
    // Sealed and kept, not sent.
    office.down.store(true, Ordering::Relaxed);
    assert_eq!(alice.deliver(&office).failed, 10);
    let (_, queued) =
        outbox.queued_after(&super::office::bob(), 0, (99, 1 << 20), office.clock.now()).unwrap();
    let sealed: Vec<_> = queued.iter().map(|letter| letter.record.clone().unwrap()).collect();
    // Sent, and no answer came.
    office.down.store(false, Ordering::Relaxed);
    office.loses_answers.store(true, Ordering::Relaxed);
    assert_eq!(alice.deliver(&office).failed, 10);
    office.down.store(false, Ordering::Relaxed);
    office.loses_answers.store(false, Ordering::Relaxed);
    assert_eq!(bob.fetch(&office).ready, 10);
    // Sent again, half of it read and taken away before the answer came.
    let half: Vec<_> = bob.letters().iter().take(5).map(|letter| letter.id).collect();
    assert_eq!(bob.ack(&office, &half), 5);
    let delivery = alice.deliver(&office);
    assert_eq!((delivery.stored, delivery.failed), (10, 0));
    let bytes: Vec<_> = office.records().iter().map(|record| record.bytes().clone()).collect();
    assert_eq!(sealed.iter().filter(|record| bytes.contains(record)).count(), 5, "as sealed first");
    assert_eq!(bob.fetch(&office).ready, 0);
    assert_eq!(bob.read(), numbers(5..10));
    alice.write(&office, 10..11);
    assert_eq!(bob.fetch(&office).ready, 1, "the tag is the same, and nothing is waited for");
}

#[test]
fn two_processes_of_one_profile_do_not_seal_a_letter_twice() {
    let (office, alice, bob) = three();
    assert!(alice.accept(&office, &texts(0..300), u64::MAX));
    let (one, other) = (alice.desk(&office), alice.desk(&office));
    let to = to_bob();
    let (first, second) = run(futures_util::future::join(one.deliver(&to), other.deliver(&to)));
    assert_eq!((first.unwrap().failed, second.unwrap().failed), (0, 0));
    assert_eq!(alice.states(), ["stored"; 300]);
    bob.fetch(&office);
    assert_eq!(bob.read(), numbers(0..300));
}

#[test]
fn whoever_sits_in_a_slot_or_writes_there_changes_nothing() {
    let (office, alice, bob) = three();
    alice.write(&office, 0..3);
    let genuine: Vec<_> = office.records();
    let direction = alice_to_bob();
    let mailbox = direction.mailbox(&office.network, epoch_of(office.clock.now()));
    let tag = super::mailbox::split_slot(genuine[0].slot()).0;
    let mut draft = dht_kad::record::RecordDraft {
        space: dht_kad::record::Space::Owned,
        kind: Kind::Value,
        retention: dht_kad::record::Retention::Days7,
        label: mailbox.label,
        slot: 0,
        seq: 1,
        created_at: office.clock.now(),
        guard_until: UnixMs(0),
        work_bits: 0,
        ext: Default::default(),
        body: Default::default(),
    };
    // Eve knows the mailbox's secret. She replays a letter, cuts one short, makes one up, and sits
    // where Alice's next letters will be.
    let body = genuine[0].body().unwrap();
    let eve = crate::identity::Identity::from_root(&[9; 32]);
    let to = super::office::to_bob().outgoing.unwrap().1;
    let made_up = |slot| {
        let place =
            Place { network: &office.network, direction: &direction, mailbox: &mailbox, slot };
        let letter = Letter {
            kind: LetterKind::Data,
            sent_at: office.clock.now(),
            previous: 0,
            previous_at: UnixMs(0),
            payload: zeroize::Zeroizing::new(b"666".to_vec()),
        };
        letter.seal(&place, eve.signing_key(), &to, office.clock.now(), &Entropy::system()).unwrap()
    };
    for (slot, body) in [
        (slot_of(tag, 4), body.clone()),
        (slot_of(tag, 5), body.slice(..body.len() - 1)),
        (slot_of(77, 1), body),
        (slot_of(78, 1), made_up(slot_of(78, 1)).body().unwrap()),
        (slot_of(79, 0), "nothing".into()),
    ] {
        (draft.slot, draft.body) = (slot, body);
        office.store(&draft.sign(&mailbox.signer, &office.network).unwrap()).unwrap();
    }
    alice.write(&office, 3..8);
    let report = bob.fetch(&office);
    assert_eq!((report.ready, report.rejected, report.missed, report.awaited), (8, 5, 0, 0));
    let mut read = bob.read();
    read.sort_unstable();
    assert_eq!(read, numbers(0..8), "what could not be put there went elsewhere");
    assert_eq!(bob.fetch(&office).rejected, 0, "each is counted once");
    assert_eq!(bob.ack_all(&office), 8);
}

#[test]
fn a_letter_that_went_on_behind_a_taken_slot_is_not_held_up() {
    let (office, alice, bob) = three();
    alice.write(&office, 0..1);
    let direction = alice_to_bob();
    let mailbox = direction.mailbox(&office.network, epoch_of(office.clock.now()));
    let record = office.records().remove(0);
    let tag = super::mailbox::split_slot(record.slot()).0;
    let squat = dht_kad::record::RecordDraft {
        space: dht_kad::record::Space::Owned,
        kind: Kind::Value,
        retention: dht_kad::record::Retention::Days7,
        label: mailbox.label,
        slot: slot_of(tag, 100),
        seq: 1,
        created_at: office.clock.now(),
        guard_until: UnixMs(0),
        work_bits: 0,
        ext: Default::default(),
        body: "x".into(),
    };
    office.store(&squat.sign(&mailbox.signer, &office.network).unwrap()).unwrap();
    alice.write(&office, 1..300);
    let report = bob.fetch(&office);
    assert_eq!((report.ready, report.awaited), (300, 0));
    let mut read = bob.read();
    read.sort_unstable();
    assert_eq!(read, numbers(0..300));
}

#[test]
fn a_long_message_comes_whole_or_not_yet() {
    let (office, alice, bob) = three();
    let message: Vec<u8> = (0..MESSAGE_MAX).map(|at| (at / 1_000) as u8).collect();
    let (manifest, chunks) = cut(&message, &Entropy::system()).unwrap();
    let payload = Payload { bytes: message.len() as u64, letter: manifest.encode(), chunks };
    let tag = alice_to_bob().tag(&office.network, alice.profile.installation(), 0);
    let tag = (alice_to_bob().fingerprint(&office.network), tag);
    let outbox = Outbox(&alice.profile);
    outbox.accept(&super::office::bob(), tag, &[payload], 10, office.clock.now()).unwrap();
    assert!(alice.accept(&office, &texts(1..2), 10));
    assert_eq!(alice.deliver(&office).stored, 2);
    assert!(outbox.chunk(&super::office::bob(), 1, 0).unwrap().is_none(), "it is not kept here");
    let is_chunk =
        |record: &&dht_kad::ValidRecord| record.space() == dht_kad::record::Space::Content;
    let records = office.records();
    let letter_ends = records.iter().find(|record| !is_chunk(record)).unwrap().expires_at();
    let chunk = records.iter().find(is_chunk).unwrap();
    assert!(chunk.expires_at() >= letter_ends);
    office.lose(chunk.id());
    let report = bob.fetch(&office);
    assert_eq!((report.ready, report.awaited, report.rejected), (0, 1, 0));
    office.store(chunk).unwrap();
    assert_eq!(bob.fetch(&office).ready, 2);
    assert_eq!(bob.letters()[0].payload, message);

    // That one device has done with it is no reason for another one to go without.
    let other = Device::new(BOB, &office);
    office.lose(chunk.id());
    assert_eq!(other.fetch(&office).awaited, 1);
    assert_eq!(bob.ack_all(&office), 0);
    assert_eq!((other.fetch(&office).awaited, other.letters().len()), (1, 0));
    office.store(chunk).unwrap();
    assert_eq!(other.fetch(&office).ready, 2);
    assert_eq!(other.letters()[0].payload, message);
    assert_eq!(other.ack_all(&office), 2);
}

#[test]
fn a_message_whose_chunks_do_not_fit_is_told_of_and_passed_over() {
    let (office, alice, bob) = three();
    let (manifest, mut chunks) = cut(&vec![1; 200_000], &Entropy::system()).unwrap();
    let (_, others) = cut(&vec![2; 200_000], &Entropy::system()).unwrap();
    // What a sender's program that mixes versions up would hand over.
    chunks[1] = others[1].clone();
    let mut letter = manifest.encode();
    let hash_at = 73 + 32;
    letter[hash_at..hash_at + 32].copy_from_slice(blake3::hash(&chunks[1]).as_bytes());
    let payload = Payload { bytes: 200_000, letter, chunks };
    let tag = alice_to_bob().tag(&office.network, alice.profile.installation(), 0);
    let tag = (alice_to_bob().fingerprint(&office.network), tag);
    let accepted = Outbox(&alice.profile).accept(
        &super::office::bob(),
        tag,
        &[payload],
        10,
        office.clock.now(),
    );
    accepted.unwrap().unwrap();
    assert!(alice.accept(&office, &texts(1..2), 10));
    assert_eq!(alice.deliver(&office).stored, 2);
    let report = bob.fetch(&office);
    assert_eq!((report.ready, report.damaged), (1, 1));
    assert_eq!(bob.read(), [1]);
    assert_eq!(bob.ack_all(&office), 2);
}

#[test]
fn letters_do_the_work_that_a_full_network_asks_for() {
    let mut limits = Limits::default_for(1 << 32);
    // Some room is left of what asks for none.
    limits.classes[1].bytes = 40_000;
    let office = Office::with(limits);
    let (alice, bob) = (Device::new(ALICE, &office), Device::new(BOB, &office));
    alice.write(&office, 0..16);
    assert!(office.records().iter().any(|record| record.work_bits() >= 10));
    bob.fetch(&office);
    assert_eq!(bob.read(), numbers(0..16));
}

#[test]
fn what_the_network_never_takes_is_refused_and_not_waited_for() {
    let (office, alice, bob) = three();
    assert!(alice.accept(&office, &texts(0..2), 10));
    let reason = Attempt::Refused("no".to_owned());
    Outbox(&alice.profile).attempted(&super::office::bob(), &[(1, reason)]).unwrap();
    assert_eq!(alice.deliver(&office).stored, 1);
    assert_eq!(alice.states(), ["refused", "stored"]);
    bob.fetch(&office);
    assert_eq!(bob.read(), [1]);
}

#[test]
fn an_old_copy_of_a_profile_does_not_write_over_letters() {
    let (office, alice, bob) = three();
    alice.write(&office, 0..3);
    // The profile as it was before: the same installation, and counters that were used.
    let tag = alice_to_bob().tag(&office.network, alice.profile.installation(), 0);
    let restored = Device::new(ALICE, &office);
    let outbox = Outbox(&restored.profile);
    let payload = |text: &str| Payload {
        bytes: 2,
        letter: zeroize::Zeroizing::new(text.as_bytes().to_vec()),
        chunks: Vec::new(),
    };
    let tag = (alice_to_bob().fingerprint(&office.network), tag);
    let payloads = [payload("3"), payload("4")];
    outbox.accept(&super::office::bob(), tag, &payloads, 10, office.clock.now()).unwrap();
    assert_eq!(restored.deliver(&office).stored, 2);
    bob.fetch(&office);
    let mut read = bob.read();
    read.sort_unstable();
    assert_eq!(read, numbers(0..5));
}

#[test]
fn an_id_survives_its_text() {
    let id = LetterId { contact: bob(), tag: 0xab, counter: 7 };
    assert_eq!(id.to_string().parse::<LetterId>().unwrap(), id);
    for bad in ["", "a:b:c", &format!("{id}:1"), &id.to_string().replace("0000ab", "1000000")] {
        assert!(bad.parse::<LetterId>().is_err(), "{bad}");
    }
    assert!(!has_ended(UnixMs(5), UnixMs(5)) && from_alice().incoming.len() == 1);
}
