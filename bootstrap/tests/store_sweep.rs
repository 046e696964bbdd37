//! What has ended gives its room back, and nothing is destroyed by a clock that may be wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says by a panic that something does not hold"
)]

mod store_fixture;

use std::time::Duration;

use dht_bootstrap::store::{BACKWARD_TOLERANCE_MS, RocksStore, RowCounts, StoreConfig};
use dht_context::clock::Clock;
use dht_context::store::RecordStore;
use dht_kad::admission::{Amount, Existing, Limits};
use dht_kad::reconcile::{Group, period_of};
use dht_kad::record::{RecordDraft, Retention};
use dht_kad::refusal::FullScope;
use dht_kad::time::{DAY_MS, MINUTE_MS};
use dht_kad::{Refusal, UnixMs};
use store_fixture::{
    Fixture, START, all, assert_set, draft, put, set_of, sign, submission, unlimited, value,
};

const NOTHING: RowCounts = RowCounts { records: 0, bodies: 0, index: 0, usage: 0 };

#[tokio::test]
async fn expired_records_leave_no_row_behind() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.note_clock(Some(true), fixture.clock.now());
    // More than one step of the sweep, bodies apart among them, and one that outlives the others.
    let bodies = [vec![1; 100], vec![2; 9_000]];
    let batch = (0..600).map(|slot| submission(&value(slot, 1, bodies[slot as usize % 2].clone())));
    for result in store.submit(batch.collect()).await {
        result.unwrap();
    }
    let lasting =
        sign(&RecordDraft { retention: Retention::Days365, ..draft(1_000, 1, "lasting") });
    put(&store, &lasting).await.unwrap();
    assert_eq!(store.count_rows().unwrap().bodies, 300);
    fixture.clock.set(value(0, 1, "").expires_at());
    store.note_clock(Some(true), fixture.clock.now());
    assert_eq!(all(&store).await, [lasting.bytes().clone()], "hidden from the very millisecond");
    store.sweep().await;
    let counts = store.count_rows().unwrap();
    assert_eq!((counts.records, counts.bodies, counts.index), (1, 0, 1));
    assert_eq!(store.usage().total.records, 1);
    fixture.clock.set(lasting.expires_at());
    store.note_clock(Some(true), fixture.clock.now());
    store.sweep().await;
    assert_eq!(store.count_rows().unwrap(), NOTHING);
    assert_eq!(store.usage().total, Amount::default());
    store.close().await;
    drop(store);
    assert_eq!(fixture.open().count_rows().unwrap(), NOTHING);
}

#[tokio::test]
async fn a_full_store_gives_room_back_as_soon_as_something_in_it_has_ended() {
    let fixture = Fixture::new();
    let limits = Limits { total: Amount { records: 4, ..Amount::MAX }, ..unlimited() };
    let store = RocksStore::open(StoreConfig { limits, ..fixture.config() }).unwrap();
    store.note_clock(Some(true), fixture.clock.now());
    let announcement = |slot| {
        sign(&RecordDraft { retention: Retention::Hours8, ..draft(slot, 1, "announcement") })
    };
    for slot in 0..4 {
        put(&store, &announcement(slot)).await.unwrap();
    }
    // One millisecond after the end: the period that they end in is far from over.
    fixture.clock.set(announcement(0).expires_at().after(1));
    store.note_clock(Some(true), fixture.clock.now());
    let lasting =
        sign(&RecordDraft { created_at: fixture.clock.now(), ..draft(9, 1, "a message") });
    let full = Err(Refusal::Full { scope: FullScope::Total });
    assert_eq!(put(&store, &lasting).await, full, "nothing was swept yet");
    let taken = async {
        while put(&store, &lasting).await == full {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), taken).await.expect("room should come back");
    assert_eq!(all(&store).await, [lasting.bytes().clone()]);
}

#[tokio::test]
async fn a_body_that_ends_before_its_head_leaves_the_head() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.note_clock(Some(true), fixture.clock.now());
    let guard_until = START.after(100 * DAY_MS);
    let guarded = sign(&RecordDraft { guard_until, ..draft(1, 1, vec![4; 50_000]) });
    put(&store, &guarded).await.unwrap();
    assert_eq!(store.count_rows().unwrap().index, 2);
    fixture.clock.set(guarded.expires_at());
    store.note_clock(Some(true), fixture.clock.now());
    store.sweep().await;
    assert_eq!(all(&store).await, [guarded.head_bytes()]);
    let counts = store.count_rows().unwrap();
    assert_eq!((counts.records, counts.bodies, counts.index), (1, 0, 1));
    let head_bytes = Existing::of(&guarded.head_only()).charge.bytes;
    assert_eq!(store.usage().total, Amount { records: 1, bytes: head_bytes });
    fixture.clock.set(guard_until);
    store.note_clock(Some(true), fixture.clock.now());
    store.sweep().await;
    assert_eq!(store.count_rows().unwrap(), NOTHING);
}

#[tokio::test]
async fn body_and_head_that_ended_before_one_sweep_both_go() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.note_clock(Some(true), fixture.clock.now());
    let guard_until = START.after(8 * DAY_MS);
    let guarded = sign(&RecordDraft { guard_until, ..draft(1, 1, vec![4; 50_000]) });
    put(&store, &guarded).await.unwrap();
    fixture.clock.set(guard_until);
    store.note_clock(Some(true), fixture.clock.now());
    store.sweep().await;
    assert_eq!(store.count_rows().unwrap(), NOTHING);
    assert_eq!(store.usage().total, Amount::default());
}

/// Such a row is there only if something went wrong; it must not make things worse.
#[tokio::test]
async fn an_index_row_of_another_span_goes_and_takes_nothing_with_it() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let created_at = START.after(5 * MINUTE_MS);
    let record = sign(&RecordDraft { created_at, ..draft(1, 1, "kept") });
    fixture.clock.set(created_at);
    put(&store, &record).await.unwrap();
    store.close().await;
    drop(store);
    let set = set_of([&record]);
    let (group, item) = set[0];
    assert_eq!(group.span, Retention::Days7);
    let database = store_fixture::open_raw(&fixture.data_dir());
    let index = database.cf_handle("index").unwrap();
    let head_row = |group: Group| {
        [&[group.span as u8, 0], group.period.to_be_bytes().as_slice(), &item.row].concat()
    };
    let value = database.get_cf(index, head_row(group)).unwrap().unwrap();
    // Where the same end would lie if the record were kept for hours.
    let span = Retention::Hours8;
    let stray = Group { span, period: period_of(span, record.keep_until()) };
    database.put_cf(index, head_row(stray), value).unwrap();
    drop(database);
    fixture.clock.set(UnixMs(record.keep_until().0 - 1));
    let store = fixture.open();
    store.note_clock(Some(true), fixture.clock.now());
    assert_set(&store, &[(stray, item), (group, item)]).await;
    store.sweep().await;
    assert_eq!(store.count_rows().unwrap().index, 1);
    assert_eq!(all(&store).await, [record.bytes().clone()]);
    assert_set(&store, &set).await;
    fixture.clock.set(record.keep_until());
    store.note_clock(Some(true), fixture.clock.now());
    store.sweep().await;
    assert_eq!(store.count_rows().unwrap(), NOTHING);
    assert_set(&store, &[]).await;
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_hides_but_destroys_nothing() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let record = value(1, 1, "kept");
    put(&store, &record).await.unwrap();
    fixture.clock.set(START.after(300 * DAY_MS));
    store.sweep().await;
    assert!(all(&store).await.is_empty());
    assert_eq!(store.count_rows().unwrap().records, 1);
    fixture.clock.set(START.after(1));
    assert_eq!(all(&store).await, [record.bytes().clone()], "it is served again");
    assert_eq!(store.writable(), Ok(()));
}

#[tokio::test]
async fn a_clock_behind_the_last_known_time_refuses_puts_also_after_a_restart() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let record = value(1, 1, "kept");
    put(&store, &record).await.unwrap();
    let expired = sign(&RecordDraft { retention: Retention::Hours8, ..draft(2, 1, "short") });
    put(&store, &expired).await.unwrap();
    store.note_clock(Some(true), fixture.clock.now());
    fixture.clock.set(expired.expires_at());
    store.note_clock(Some(true), fixture.clock.now());
    store.sweep().await;
    store.close().await;
    drop(store);
    fixture.clock.set(UnixMs(expired.expires_at().0 - BACKWARD_TOLERANCE_MS - 60_001));
    let store = fixture.open();
    // The time last known goes on with the machine's uptime.
    let Err(Refusal::ClockUnsure { clock }) = store.writable() else { panic!("puts are taken") };
    assert!(
        clock >= expired.expires_at() && clock.since(expired.expires_at()) < 60_000,
        "{clock:?}"
    );
    assert_eq!(all(&store).await, [record.bytes().clone()], "what had expired stays hidden");
    assert!(store.save_peers(Vec::new()).await.is_ok(), "what the clock does not matter for works");
    fixture.clock.set(expired.expires_at());
    assert_eq!(store.writable(), Ok(()));
}

#[tokio::test]
async fn the_store_sweeps_by_itself() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let short = sign(&RecordDraft { retention: Retention::Hours8, ..draft(1, 1, "short") });
    put(&store, &short).await.unwrap();
    fixture.clock.set(short.expires_at().after(DAY_MS / 2));
    store.close().await;
    drop(store);
    let store = fixture.open();
    // Nothing is destroyed by a clock that ran on for hours while nobody watched, until peers agree.
    store.note_clock(Some(true), fixture.clock.now());
    let swept = async {
        while store.usage().total.records > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), swept).await.unwrap();
    assert_eq!(store.count_rows().unwrap(), NOTHING);
}
