//! What reconciliation asks of the store: fingerprints, items, resolution, and how far it had come.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says by a panic that something does not hold"
)]

mod store_fixture;

use std::time::Duration;

use bytes::Bytes;
use dht_context::clock::Clock;
use dht_context::store::RecordStore;
use dht_kad::reconcile::{Fingerprint, Group, Item, Part, Prefix};
use dht_kad::record::{RecordDraft, Retention};
use dht_kad::time::{DAY_MS, HOUR_MS};
use dht_kad::{Refusal, ValidRecord};
use store_fixture::{
    Fixture, START, assert_set, draft, groups, items, put, set_of, sign, submission, value,
};

/// Four slots lie at one key.
fn label(slot: u64) -> [u8; 32] {
    let mut label = [0; 32];
    label[..8].copy_from_slice(&(slot / 4).to_be_bytes());
    label
}

/// Records of all spans, at many keys; more than a leaf takes.
fn many() -> Vec<ValidRecord> {
    let record = |number: u64| {
        let retention = Retention::ALL[number as usize % 3];
        let created_at = START.after(number % 2 * HOUR_MS);
        let guard_until =
            if number.is_multiple_of(5) { created_at.after(30 * DAY_MS) } else { created_at };
        let label = label(number);
        sign(&RecordDraft { label, retention, created_at, guard_until, ..draft(number, 1, "") })
    };
    (0..900).map(record).collect()
}

async fn put_all(store: &impl RecordStore, records: &[ValidRecord]) {
    for result in store.submit(records.iter().map(submission).collect()).await {
        result.unwrap();
    }
}

#[tokio::test]
async fn a_part_is_shown_in_pages_in_the_order_of_rows() {
    let fixture = Fixture::new();
    fixture.clock.set(START.after(HOUR_MS));
    let store = fixture.open();
    let records = many();
    put_all(&store, &records).await;
    let set = set_of(&records);
    let group = set[set.len() / 2].0;
    let held: Vec<Item> =
        set.iter().filter(|(of, _)| *of == group).map(|(_, item)| *item).collect();
    assert!(held.len() > 50);
    let whole = Part { group, prefix: Prefix::all() };
    for limit in [1, 7, held.len(), 10_000] {
        assert_eq!(items(&store, &whole, limit).await, held);
    }
    let row = held[20].row;
    let slot = Part { group, prefix: Prefix::of(&row, 144) };
    assert_eq!(items(&store, &slot, 5).await, [held[20]]);
    let after = async |part: &Part, row, limit| {
        store.items(part.clone(), Some(row), limit).wait().await.unwrap()
    };
    assert_eq!(after(&whole, row, 2).await, held[21..23]);
    assert_eq!(after(&whole, [0xff; 72], 2).await, []);
    assert_eq!(
        after(&slot, [0; 72], 2).await,
        [held[20]],
        "a row before the part cuts nothing off"
    );
    assert_eq!(after(&slot, row, 2).await, []);
    assert_eq!(after(&whole, [0; 72], 0).await, []);
    let other = Group { period: group.period + 1_000, ..group };
    assert_eq!(items(&store, &Part { group: other, prefix: Prefix::all() }, 5).await, []);
}

#[tokio::test]
async fn what_has_ended_is_in_the_set_until_it_is_swept() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let record = value(1, 1, "ends");
    put(&store, &record).await.unwrap();
    fixture.clock.set(record.keep_until().after(1));
    assert_set(&store, &set_of([&record])).await;
    store.note_clock(Some(true), fixture.clock.now());
    store.sweep().await;
    assert_set(&store, &[]).await;
}

#[tokio::test]
async fn the_set_is_the_same_after_a_restart_in_order_and_without() {
    let fixture = Fixture::new();
    fixture.clock.set(START.after(HOUR_MS));
    let mut store = fixture.open();
    let mut records = many();
    put_all(&store, &records).await;
    for (in_order, moved) in [(true, 0..300), (false, 300..600)] {
        if in_order {
            store.close().await;
        }
        drop(store);
        store = fixture.open();
        assert_set(&store, &set_of(&records)).await;
        // What is replaced by something that is kept longer moves to another group.
        let created_at = fixture.clock.now();
        let lasting = |record: &ValidRecord| {
            let guard_until = created_at.after(365 * DAY_MS);
            let slot = record.id().slot;
            sign(&RecordDraft { label: label(slot), created_at, guard_until, ..draft(slot, 2, "") })
        };
        let replaced: Vec<ValidRecord> = records[moved.clone()].iter().map(lasting).collect();
        put_all(&store, &replaced).await;
        records.splice(moved, replaced);
        assert_set(&store, &set_of(&records)).await;
    }
}

#[tokio::test]
async fn slots_are_told_apart_as_finely_as_was_asked_for() {
    let fixture = Fixture::new();
    fixture.clock.set(START.after(HOUR_MS));
    let store = fixture.open();
    let records = many();
    put_all(&store, &records).await;
    store.set_resolution(2);
    let set = set_of(&records);
    for row in records.iter().map(|record| dht_kad::admission::row_key(record.id())).step_by(50) {
        let prefix = Prefix::of(&row, 2);
        let told_apart = async {
            loop {
                if let Some(groups) = groups(&store, &prefix) {
                    break groups;
                }
                tokio::task::yield_now().await;
            }
        };
        let shown = tokio::time::timeout(Duration::from_secs(60), told_apart).await.unwrap();
        let within = set.iter().filter(|(_, item)| prefix.covers_row(&item.row));
        let expected: Fingerprint =
            within.map(|(_, item)| Fingerprint::of(&item.version.digest)).sum();
        assert_eq!(shown.into_iter().map(|(_, print)| print).sum::<Fingerprint>(), expected);
    }
    assert_set(&store, &set).await;
}

#[tokio::test]
async fn how_far_replication_had_come_survives_a_restart_in_order_and_without() {
    let fixture = Fixture::new();
    let mut store = fixture.open();
    assert!(store.saved_progress().is_empty());
    for (in_order, progress) in [(true, vec![1; 1 << 20]), (false, vec![2; 3]), (true, Vec::new())]
    {
        let progress = Bytes::from(progress);
        store.save_progress(progress.clone()).await.unwrap();
        assert_eq!(store.saved_progress(), progress);
        if in_order {
            store.close().await;
        }
        drop(store);
        store = fixture.open();
        assert_eq!(store.saved_progress(), progress);
    }
    assert_eq!(store.saved_peers(), []);
}

#[tokio::test]
async fn too_much_progress_is_refused_and_the_last_one_kept() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.save_progress("halfway".into()).await.unwrap();
    let refused = store.save_progress(vec![0; (1 << 20) + 1].into()).await;
    assert_eq!((refused, store.saved_progress()), (Err(Refusal::TooLarge), "halfway".into()));
}

#[tokio::test]
async fn a_closed_store_shows_no_items_and_saves_no_progress() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let record = value(1, 1, "there");
    put(&store, &record).await.unwrap();
    store.close().await;
    let part = Part { group: set_of([&record])[0].0, prefix: Prefix::all() };
    assert_eq!(store.items(part, None, 1).wait().await, Err(Refusal::Restarting));
    assert_eq!(store.save_progress("late".into()).await, Err(Refusal::Restarting));
}
