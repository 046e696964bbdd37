//! Rules of one slot: what is served, and which version wins.

use bytes::Bytes;
use dht_kad::admission::{FUTURE_TOLERANCE_MS, Path};
use dht_kad::record::{Kind, Retention, Space};
use dht_kad::time::DAY_MS;
use dht_kad::{RecordDraft, Refusal, UnixMs};

use super::{NO_LIMITS, NOW, Opened, STORE, Subject, Submission, content, draft, sign, tombstone};
use crate::store::RecordStore;

/// What is found is what was put, with every field that a record has.
pub async fn a_put_is_found_bit_for_bit<S: Subject>(subject: &S) {
    let full = RecordDraft {
        ext: Bytes::from(vec![7; 1024]),
        body: Bytes::from(vec![8; 65_536]),
        guard_until: NOW.after(100 * DAY_MS),
        work_bits: 6,
        slot: u64::MAX,
        seq: u64::MAX,
        ..draft(0, "")
    };
    let topic = RecordDraft { space: Space::Topic, ..draft(1, "topic") };
    for draft in [draft(1, "owned"), draft(0, ""), topic, content("content"), full] {
        let opened = Opened::new(subject, NO_LIMITS).await;
        let record = sign(&draft);
        let stored = opened.put(&record).await.expect("stored");
        assert_eq!(stored.expires_at, record.expires_at());
        opened.holds(&record).await;
    }
}

/// 8 hours, 7 days and 365 days are kept alike, each until its end.
pub async fn every_retention_class_is_kept<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let records = Retention::ALL.map(|retention| {
        sign(&RecordDraft { retention, label: [retention as u8; 32], ..draft(1, retention.name()) })
    });
    for record in &records {
        opened.put(record).await.expect("stored");
    }
    for record in &records {
        opened.holds(record).await;
    }
    for record in &records {
        opened.clock.set(UnixMs(record.expires_at().0 - 1));
        opened.holds(record).await;
        opened.clock.set(record.expires_at());
        assert!(opened.at(record.id().key).await.is_empty());
    }
}

/// A value is whole one millisecond before its end, and gone from that very one on, swept or not.
pub async fn a_value_is_served_until_its_very_millisecond<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let record = sign(&draft(1, "value"));
    opened.put(&record).await.expect("stored");
    opened.clock.set(UnixMs(record.expires_at().0 - 1));
    opened.holds(&record).await;
    opened.clock.set(record.expires_at());
    assert!(opened.at(record.id().key).await.is_empty());
    opened.sweep(subject).await;
    assert!(opened.at(record.id().key).await.is_empty());
}

/// After the body's end the head goes on being shown, and goes with its guard's very millisecond.
pub async fn a_head_is_shown_until_its_guard_ends<S: Subject>(subject: &S) {
    for swept in [false, true] {
        let opened = Opened::new(subject, NO_LIMITS).await;
        let guard_until = NOW.after(30 * DAY_MS);
        let record = sign(&RecordDraft { guard_until, ..draft(1, "value") });
        opened.put(&record).await.expect("stored");
        for moment in [record.expires_at(), UnixMs(guard_until.0 - 1)] {
            opened.clock.set(moment);
            if swept {
                opened.sweep(subject).await;
            }
            opened.shows_head(&record).await;
        }
        opened.clock.set(guard_until);
        assert!(opened.at(record.id().key).await.is_empty());
    }
}

/// A delete leaves its tombstone to see, in place of the value, for as long as it guards.
pub async fn a_tombstone_is_shown_as_a_head_and_wins<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let value = sign(&draft(1, "value"));
    let deletion = sign(&tombstone(2, NOW.after(30 * DAY_MS)));
    opened.put(&value).await.expect("stored");
    let stored = opened.put(&deletion).await.expect("stored");
    assert_eq!(stored.expires_at, deletion.keep_until(), "a tombstone is served while it is kept");
    opened.shows_head(&deletion).await;
    opened.clock.set(UnixMs(deletion.keep_until().0 - 1));
    opened.shows_head(&deletion).await;
    opened.clock.set(deletion.keep_until());
    assert!(opened.at(deletion.id().key).await.is_empty());
}

/// Neither a publisher nor a holder brings back what was deleted, at any time.
pub async fn no_earlier_version_returns_after_a_delete<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let first = sign(&RecordDraft { retention: Retention::Days365, ..draft(1, "first") });
    let second = sign(&draft(2, "second"));
    let deletion = sign(&tombstone(3, first.keep_until()));
    opened.put(&first).await.expect("stored");
    opened.put(&deletion).await.expect("stored");
    for days in [0, 6, 7, 8, 364] {
        opened.clock.set(NOW.after(days * DAY_MS));
        opened.sweep(subject).await;
        for earlier in [&first, &second] {
            let told = opened.put(earlier).await;
            let expired = earlier.expires_at() <= NOW.after(days * DAY_MS);
            match told {
                Err(Refusal::SeqTooLow { stored: 3 }) if !expired => {}
                Err(Refusal::Expired { .. }) if expired => {}
                other => panic!("an earlier version got {other:?} after {days} days"),
            }
            let _kept_or_expired = opened.repair(earlier).await;
            opened.shows_head(&deletion).await;
        }
    }
    opened.clock.set(first.keep_until());
    for earlier in [&first, &second] {
        assert!(matches!(opened.repair(earlier).await, Err(Refusal::Expired { .. })));
    }
    assert!(opened.at(first.id().key).await.is_empty());
}

/// A publisher learns which rule its version breaks, and what is stored stays.
pub async fn what_does_not_supersede_is_told_why<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let held = sign(&RecordDraft { retention: Retention::Days365, ..draft(5, "held") });
    let absent = Path::Store { expected_seq: Some(4) };
    assert_eq!(opened.submit(&held, absent).await, Err(Refusal::UnexpectedSeq { stored: 0 }));
    let none = Path::Store { expected_seq: Some(0) };
    opened.submit(&held, none).await.expect("stored");
    let refused = [
        (draft(4, "lower"), STORE, Refusal::SeqTooLow { stored: 5 }),
        (draft(5, "other"), STORE, Refusal::SeqConflict),
        (draft(6, "short"), STORE, Refusal::GuardTooShort { needed: held.keep_until() }),
        (draft(6, "new"), none, Refusal::UnexpectedSeq { stored: 5 }),
        (draft(6, "newer"), absent, Refusal::UnexpectedSeq { stored: 5 }),
    ];
    for (draft, path, refusal) in refused {
        assert_eq!(opened.submit(&sign(&draft), path).await, Err(refusal));
        opened.holds(&held).await;
    }
    let next = sign(&RecordDraft { guard_until: held.keep_until(), ..draft(6, "next") });
    let expected = Path::Store { expected_seq: Some(5) };
    opened.submit(&next, expected).await.expect("stored");
    opened.holds(&next).await;
}

/// Who repeats a put, not knowing whether it arrived, is told that it did.
pub async fn the_same_content_again_is_a_success<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let record = sign(&draft(1, "value"));
    let paths = [Path::Store { expected_seq: Some(0) }, STORE, Path::Repair];
    let first = opened.submit(&record, paths[0]).await;
    let usage = opened.store.usage();
    for path in paths {
        assert_eq!(opened.submit(&record, path).await, first);
    }
    let now = opened.store.usage();
    assert_eq!((now.total, now.classes), (usage.total, usage.classes));
    opened.holds(&record).await;
}

/// The future, the past, and a head where its body is still due are refused.
pub async fn only_what_is_timely_and_whole_is_taken<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let at = |created_at| sign(&RecordDraft { created_at, ..draft(1, "value") });
    let future = at(NOW.after(FUTURE_TOLERANCE_MS + 1));
    let expired = at(UnixMs(NOW.0 - Retention::Days7.lifetime_ms()));
    let head = at(NOW).head_only();
    for path in [STORE, Path::Repair] {
        let clock = NOW;
        assert_eq!(
            opened.submit(&future, path).await,
            Err(Refusal::FromTheFuture { clock }),
            "{path:?}"
        );
        assert_eq!(opened.submit(&expired, path).await, Err(Refusal::Expired { clock }));
        assert_eq!(opened.submit(&head, path).await, Err(Refusal::BodyMissing));
    }
    assert!(opened.at(head.id().key).await.is_empty());
    let fast = at(NOW.after(FUTURE_TOLERANCE_MS));
    opened.put(&fast).await.expect("within what clocks differ by");
}

/// Versions within one batch meet in its order, as if they had come one by one.
pub async fn a_batch_may_hold_versions_of_one_slot<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let versions: Vec<_> = [1, 2, 2, 1].iter().map(|seq| sign(&draft(*seq, "value"))).collect();
    let other = sign(&RecordDraft { slot: 1, ..draft(1, "other") });
    let batch: Vec<_> = versions
        .iter()
        .chain([&other])
        .map(|record| Submission { record: record.clone(), path: STORE })
        .collect();
    let results = opened.store.submit(batch).await;
    let told: Vec<_> = results.iter().map(|result| result.as_ref().err()).collect();
    assert_eq!(told, [None, None, None, Some(&Refusal::SeqTooLow { stored: 2 }), None]);
    let found = opened.at(other.id().key).await;
    assert_eq!(found, [versions[1].bytes().clone(), other.bytes().clone()]);
    assert_eq!(opened.store.usage().total.records, 2);
}

/// When a slot's last version has ended, its publisher starts anew with any seq, swept or not.
pub async fn a_slot_can_be_written_anew_after_its_end<S: Subject>(subject: &S) {
    for kind in [Kind::Value, Kind::Tombstone] {
        for swept in [false, true] {
            let opened = Opened::new(subject, NO_LIMITS).await;
            let first = sign(&RecordDraft { kind, ..draft(9, "") });
            opened.put(&first).await.expect("stored");
            opened.clock.set(first.keep_until());
            if swept {
                opened.sweep(subject).await;
            }
            let created_at = first.keep_until();
            let anew = sign(&RecordDraft { created_at, ..draft(1, "anew") });
            let none = Path::Store { expected_seq: Some(0) };
            opened.submit(&anew, none).await.expect("stored");
            opened.holds(&anew).await;
            assert_eq!(opened.store.usage().total.records, 1);
        }
    }
}
