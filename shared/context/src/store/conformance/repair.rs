//! Rules of repair: holders that have seen the same records keep the same, whatever the order.

use bytes::Bytes;
use dht_kad::admission::Path;
use dht_kad::record::{Kind, Retention, Space};
use dht_kad::time::{DAY_MS, HOUR_MS};
use dht_kad::{Key, RecordDraft, Refusal, UnixMs, ValidRecord};

use super::{
    NO_LIMITS, NOW, Opened, Subject, Submission, content, draft, shuffled, sign, sign_by, tombstone,
};
use crate::store::RecordStore;

/// Orders that are tried; each one opens a store.
const ORDERS: u64 = 12;

/// Records that meet in few slots: versions, equivocations, deletes, shared content.
fn meeting_records() -> Vec<ValidRecord> {
    let mut records = Vec::new();
    for slot in 0..3 {
        for seq in 1..4 {
            for (retention, body) in [(Retention::Hours8, "a"), (Retention::Days7, "b")] {
                let created_at = UnixMs(NOW.0 - seq * HOUR_MS);
                let space = Space::Topic;
                let version =
                    RecordDraft { space, retention, slot, created_at, ..draft(seq, body) };
                records.push(sign(&version));
                records.push(sign(&RecordDraft {
                    kind: Kind::Tombstone,
                    body: Bytes::new(),
                    ..version
                }));
            }
        }
    }
    let guarded =
        RecordDraft { slot: 1, space: Space::Topic, ..tombstone(1, NOW.after(9 * DAY_MS)) };
    records.push(sign(&guarded));
    let created_at = UnixMs(NOW.0 - 8 * DAY_MS);
    let guard_until = NOW.after(8 * DAY_MS);
    let past =
        RecordDraft { space: Space::Topic, slot: 2, created_at, guard_until, ..draft(2, "past") };
    records.push(sign(&past));
    for publisher in 1..4 {
        let created_at = UnixMs(NOW.0 - u64::from(publisher) * HOUR_MS);
        records.push(sign_by(publisher, &RecordDraft { created_at, ..content("shared") }));
    }
    records
}

/// The same valid records, handed on in any order and in batches of any size, leave every store
/// with the same to show, now and later.
pub async fn any_order_of_the_same_records_ends_in_the_same_store<S: Subject>(subject: &S) {
    let records = meeting_records();
    let mut keys: Vec<Key> = records.iter().map(|record| record.id().key).collect();
    keys.sort();
    keys.dedup();
    let mut first_shown: Option<Vec<Vec<Bytes>>> = None;
    for seed in 0..ORDERS {
        let opened = Opened::new(subject, NO_LIMITS).await;
        let batch_len = usize::try_from(seed % 5).expect("a small number") + 1;
        for chunk in shuffled(&records, seed).chunks(batch_len) {
            let submission =
                |record: &ValidRecord| Submission { record: record.clone(), path: Path::Repair };
            for result in opened.store.submit(chunk.iter().map(submission).collect()).await {
                result.expect("repair takes what is valid and unexpired");
            }
        }
        let mut shown = Vec::new();
        for days in [0, 1, 7, 8] {
            opened.clock.set(NOW.after(days * DAY_MS));
            for key in &keys {
                shown.push(opened.at(*key).await);
            }
        }
        assert!(shown.iter().any(|page| !page.is_empty()));
        match &first_shown {
            Some(first) => assert_eq!(first, &shown, "order {seed}"),
            None => first_shown = Some(shown),
        }
    }
}

/// A guarded version whose body has expired is kept as a head, sent whole or as its head alone.
pub async fn an_expired_body_is_repaired_as_a_head<S: Subject>(subject: &S) {
    let created_at = UnixMs(NOW.0 - 8 * DAY_MS);
    let guard_until = NOW.after(DAY_MS);
    let record = sign(&RecordDraft { created_at, guard_until, ..draft(2, "value") });
    for sent in [record.clone(), record.head_only()] {
        let opened = Opened::new(subject, NO_LIMITS).await;
        assert!(matches!(opened.put(&sent).await, Err(Refusal::Expired { .. })));
        opened.repair(&sent).await.expect("an unexpired guard is taken");
        opened.shows_head(&record).await;
        let kept = opened.store.usage().total.bytes;
        let room_of_head = dht_kad::admission::Existing::of(&record.head_only()).charge.bytes;
        assert_eq!(kept, room_of_head, "the body takes no room");
        let older = sign(&draft(1, "older"));
        assert!(matches!(opened.put(&older).await, Err(Refusal::SeqTooLow { stored: 2 })));
        opened.clock.set(guard_until);
        assert!(opened.at(record.id().key).await.is_empty());
    }
}

/// Repair answers success for what loses as for what wins, and keeps the greater one.
pub async fn repair_takes_the_greater_version_only<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let lesser = sign(&draft(1, "lesser"));
    let greater = sign(&draft(2, "greater"));
    opened.repair(&greater).await.expect("taken");
    let told = opened.repair(&lesser).await.expect("a holder is told of no conflict");
    assert_eq!(told.expires_at, greater.expires_at());
    opened.holds(&greater).await;
    let longer = sign(&RecordDraft { retention: Retention::Days365, ..draft(1, "longer") });
    opened.repair(&longer).await.expect("what is kept longest is the greatest");
    opened.holds(&longer).await;
}
