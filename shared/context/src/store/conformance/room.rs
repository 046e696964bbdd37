//! Rules of room: quotas, the reserve, the work asked for, and how room comes back.

use bytes::Bytes;
use dht_kad::admission::{Amount, Existing, Limits};
use dht_kad::record::{Retention, Space};
use dht_kad::refusal::FullScope;
use dht_kad::time::DAY_MS;
use dht_kad::{RecordDraft, Refusal, ValidRecord};

use super::{NO_LIMITS, NOW, Opened, Subject, content, draft, sign, sign_by, tombstone};
use crate::store::RecordStore;

fn charged(record: &ValidRecord) -> u64 {
    Existing::of(record).charge.bytes
}

fn in_slot(slot: u64) -> ValidRecord {
    sign(&RecordDraft { slot, ..draft(1, "value") })
}

/// Each quota, of records or bytes, takes exactly what fits and names itself for what does not.
pub async fn a_quota_refuses_with_its_scope<S: Subject>(subject: &S) {
    let [first, second, third] = [0, 1, 2].map(in_slot);
    let by_count = Amount { records: 2, bytes: u64::MAX };
    let by_bytes = Amount { records: u64::MAX, bytes: charged(&first) + charged(&second) };
    for limit in [by_count, by_bytes] {
        // A class asks for work from three quarters of its share on, so its own is tried elsewhere.
        let quotas = [
            (Limits { publisher: limit, ..NO_LIMITS }, FullScope::Publisher),
            (Limits { key: limit, ..NO_LIMITS }, FullScope::Key),
            (Limits { total: limit, ..NO_LIMITS }, FullScope::Total),
        ];
        for (limits, scope) in quotas {
            let opened = Opened::new(subject, limits).await;
            for record in [&first, &second] {
                opened.put(record).await.expect("stored");
            }
            assert_eq!(opened.put(&third).await, Err(Refusal::Full { scope }));
            opened.put(&first).await.expect("what is stored already needs no room");
            let smaller = sign(&draft(2, "v"));
            opened.put(&smaller).await.expect("a smaller version needs no room");
            assert_eq!(opened.at(first.id().key).await.len(), 2);
        }
    }
    let elsewhere = sign_by(2, &draft(1, "value"));
    for scope in [FullScope::Publisher, FullScope::Key] {
        let (publisher, key) = match scope {
            FullScope::Publisher => (by_count, Amount::MAX),
            _ => (Amount::MAX, by_count),
        };
        let opened = Opened::new(subject, Limits { publisher, key, ..NO_LIMITS }).await;
        for record in [&first, &second, &elsewhere] {
            opened.put(record).await.expect("another publisher and key have room of their own");
        }
    }
    let zero = Amount { records: 0, bytes: 0 };
    let opened = Opened::new(subject, Limits { classes: [zero; 3], ..NO_LIMITS }).await;
    assert_eq!(opened.put(&first).await, Err(Refusal::Full { scope: FullScope::Class }));
}

/// What has ended and was swept leaves its room to others, of every scope.
pub async fn room_returns_after_expiry<S: Subject>(subject: &S) {
    let limit = Amount { records: 1, bytes: u64::MAX };
    let first = in_slot(0);
    for limits in [
        Limits { publisher: limit, ..NO_LIMITS },
        Limits { key: limit, ..NO_LIMITS },
        Limits { total: limit, ..NO_LIMITS },
    ] {
        let opened = Opened::new(subject, limits).await;
        opened.put(&first).await.expect("stored");
        assert!(matches!(opened.put(&in_slot(1)).await, Err(Refusal::Full { .. })));
        opened.clock.set(first.keep_until());
        opened.sweep(subject).await;
        assert_eq!(opened.store.usage().total, Amount::default());
        assert!(opened.store.usage().swept_to >= first.keep_until());
        let created_at = first.keep_until();
        let next = sign(&RecordDraft { slot: 1, created_at, ..draft(1, "value") });
        opened.put(&next).await.expect("there is room again");
        opened.holds(&next).await;
    }
}

/// When a guarded value's body has expired, only its head is charged.
pub async fn a_body_that_has_expired_gives_its_room_back<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let guard_until = NOW.after(30 * DAY_MS);
    let body = Bytes::from(vec![3; 10_000]);
    let record = sign(&RecordDraft { guard_until, body, ..draft(1, "") });
    opened.put(&record).await.expect("stored");
    assert_eq!(opened.store.usage().total, Amount { records: 1, bytes: charged(&record) });
    opened.clock.set(record.expires_at());
    opened.sweep(subject).await;
    let head = Amount { records: 1, bytes: charged(&record.head_only()) };
    assert_eq!(opened.store.usage().total, head);
    assert_eq!(opened.store.usage().classes[Retention::Days7 as usize], head);
    opened.clock.set(guard_until);
    opened.sweep(subject).await;
    assert_eq!(opened.store.usage().total, Amount::default());
}

/// A store that is full for new values still deletes, and still takes what holders hand on.
pub async fn the_reserve_serves_deletes_and_repair<S: Subject>(subject: &S) {
    let [first, second] = [0, 1].map(in_slot);
    let total = Amount { records: u64::MAX, bytes: 2 * charged(&first) + 100 };
    let opened = Opened::new(subject, Limits { total, reserve_percent: 50, ..NO_LIMITS }).await;
    opened.put(&first).await.expect("stored");
    let full = Err(Refusal::Full { scope: FullScope::Total });
    assert_eq!(opened.put(&second).await, full);
    let of_nothing = sign(&RecordDraft { slot: 1, ..tombstone(1, NOW) });
    assert_eq!(opened.put(&of_nothing).await, full, "a delete of nothing is charged as a value");
    let ext = Bytes::from_static(b"longer than the value was");
    let deletion = sign(&RecordDraft { ext, ..tombstone(2, first.keep_until()) });
    assert!(charged(&deletion) > charged(&first));
    opened.put(&deletion).await.expect("a delete finds room");
    opened.shows_head(&deletion).await;
    let small = sign(&RecordDraft { slot: 1, ..draft(1, "") });
    opened.repair(&small).await.expect("repair finds room");
    assert_eq!(opened.repair(&in_slot(2)).await, full, "the reserve has an end, too");
}

/// From three quarters of a class's share on, a put shows work.
pub async fn work_is_asked_for_as_a_class_fills<S: Subject>(subject: &S) {
    let four = Amount { records: 4, bytes: u64::MAX };
    let opened = Opened::new(subject, Limits { classes: [four; 3], ..NO_LIMITS }).await;
    for slot in 0..3 {
        opened.put(&in_slot(slot)).await.expect("no work is asked for while there is room");
    }
    let Err(Refusal::WorkTooLow { needed }) = opened.put(&in_slot(3)).await else {
        panic!("a nearly full class asks for work");
    };
    let worked = sign(&RecordDraft { slot: 3, work_bits: needed, ..draft(1, "value") });
    opened.put(&worked).await.expect("work is honoured");
    let more = sign(&RecordDraft { slot: 4, work_bits: needed, ..draft(1, "value") });
    assert_eq!(opened.put(&more).await, Err(Refusal::Full { scope: FullScope::Class }));
    let retention = Retention::Days365;
    let other = sign(&RecordDraft { slot: 4, retention, ..draft(1, "value") });
    opened.put(&other).await.expect("another class has its own share");
}

/// Usage is exact through puts, replacements of another class, deletes and expiry.
pub async fn usage_is_the_sum_of_what_is_kept<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let owned = sign(&draft(1, "value"));
    let longer = sign(&RecordDraft { retention: Retention::Days365, ..draft(2, "longer value") });
    let topic = sign_by(2, &RecordDraft { space: Space::Topic, ..draft(1, "topic") });
    let shared = sign_by(3, &content("content"));
    let retention = Retention::Days365;
    let shared_longer = sign_by(4, &RecordDraft { retention, ..content("content") });
    let deleted = sign_by(2, &RecordDraft { space: Space::Topic, ..tombstone(2, NOW) });
    for record in [&owned, &longer, &topic, &shared, &shared_longer, &deleted] {
        opened.put(record).await.expect("stored");
    }
    let kept = [&longer, &shared_longer, &deleted];
    let usage = opened.store.usage();
    let sum = |class: Option<Retention>| {
        kept.iter()
            .filter(|record| class.is_none_or(|class| record.retention() == class))
            .fold(Amount::default(), |sum, record| sum.plus(charged(record)))
    };
    assert_eq!(usage.total, sum(None));
    assert_eq!(usage.classes, Retention::ALL.map(|class| sum(Some(class))));
    opened.clock.set(NOW.after(400 * DAY_MS));
    opened.sweep(subject).await;
    let swept = opened.store.usage();
    assert_eq!((swept.total, swept.classes), (Amount::default(), [Amount::default(); 3]));
}
