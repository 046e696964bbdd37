//! What was acknowledged is on disk, whatever becomes of the process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says by a panic that something does not hold"
)]

mod store_fixture;

use dht_context::registry::SavedPeer;
use dht_context::store::{PageQuery, RecordStore};
use dht_kad::record::Retention;
use dht_kad::{NodeId, Refusal};
use store_fixture::{Fixture, all, copy_tree, draft, key, put, sign, submission, value};

#[tokio::test]
async fn a_copy_of_the_directory_taken_after_the_answer_holds_what_was_answered() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let mut records = Vec::new();
    for slot in 0..20 {
        let record = value(slot, 1, vec![u8::try_from(slot).unwrap(); 3_000 * slot as usize]);
        put(&store, &record).await.unwrap();
        records.push(record.bytes().clone());
    }
    let copy = Fixture::new();
    copy_tree(&fixture.data_dir(), &copy.data_dir());
    assert_eq!(all(&copy.open()).await, records);
}

#[tokio::test]
async fn a_store_that_was_never_closed_opens_with_everything_acknowledged() {
    let fixture = Fixture::new();
    let store = fixture.open();
    for retention in Retention::ALL {
        let slot = retention as u64;
        let mut draft = draft(slot, 5, vec![9; 20_000]);
        draft.retention = retention;
        put(&store, &sign(&draft)).await.unwrap();
    }
    let (before, usage) = (all(&store).await, store.usage());
    drop(store);
    let store = fixture.open();
    assert_eq!(before.len(), 3);
    assert_eq!(all(&store).await, before);
    assert_eq!(store.usage().total, usage.total);
    assert_eq!(store.usage().classes, usage.classes);
    assert!(store.usage().commit_no >= usage.commit_no);
    assert_eq!(
        put(&store, &value(1, 4, "older")).await,
        Err(Refusal::SeqTooLow { stored: 5 }),
        "the stored version is known after the restart"
    );
}

#[tokio::test]
async fn a_closed_store_refuses_writes_and_opens_again_at_once() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let record = value(1, 1, "kept");
    put(&store, &record).await.unwrap();
    let incarnation = store.incarnation();
    let under_way = store.submit((2..200).map(|slot| submission(&value(slot, 1, "x"))).collect());
    store.close().await;
    assert!(under_way.await.iter().all(Result::is_ok), "what was queued before is finished");
    assert_eq!(put(&store, &value(500, 1, "late")).await, Err(Refusal::Restarting));
    assert_eq!(store.writable(), Err(Refusal::Restarting));
    store.close().await;
    let reopened = fixture.open();
    assert_eq!(reopened.incarnation(), incarnation);
    assert_eq!(all(&reopened).await.len(), 199);
}

#[tokio::test]
async fn several_versions_of_a_slot_in_one_batch_leave_the_last_one() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let versions = [value(1, 1, vec![1; 10]), value(1, 2, vec![2; 30_000]), value(1, 3, "three")];
    let batch = versions.iter().map(submission).collect();
    assert!(store.submit(batch).await.iter().all(Result::is_ok));
    assert_eq!(all(&store).await, [versions[2].bytes().clone()]);
    let counts = store.count_rows().unwrap();
    assert_eq!((counts.records, counts.bodies, counts.index), (1, 0, 1));
    assert_eq!(store.usage().total.records, 1);
}

#[tokio::test]
async fn heads_of_large_records_come_without_their_bodies() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let record = value(1, 1, vec![3; 64 * 1024]);
    put(&store, &record).await.unwrap();
    store.close().await;
    let store = fixture.open();
    let heads = PageQuery { heads_only: true, ..PageQuery::all(key()) };
    assert_eq!(store.find(heads).wait().await.unwrap().records, [record.head_bytes()]);
    assert_eq!(all(&store).await, [record.bytes().clone()]);
    assert_eq!(store.count_rows().unwrap().bodies, 1);
}

#[tokio::test]
async fn saved_peers_are_there_after_a_restart() {
    let fixture = Fixture::new();
    let store = fixture.open();
    assert!(store.saved_peers().is_empty());
    let peers: Vec<SavedPeer> = (0..3)
        .map(|n| SavedPeer {
            id: NodeId::from_bytes([n; 32]),
            addrs: vec!["192.0.2.1:4000".parse().unwrap(), "[2001:db8::1]:4000".parse().unwrap()],
        })
        .collect();
    store.save_peers(peers.clone()).await.unwrap();
    drop(store);
    assert_eq!(fixture.open().saved_peers(), peers);
}

#[tokio::test]
async fn a_disk_with_too_little_room_refuses_records_as_full_and_serves_what_is_there() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let record = value(1, 1, "kept");
    put(&store, &record).await.unwrap();
    store.close().await;
    let config = dht_bootstrap::store::StoreConfig { min_free_bytes: u64::MAX, ..fixture.config() };
    let store = dht_bootstrap::store::RocksStore::open(config).unwrap();
    let full = Refusal::Full { scope: dht_kad::refusal::FullScope::Total };
    assert_eq!(put(&store, &value(2, 1, "new")).await, Err(full));
    assert!(put(&store, &value(1, 2, "less")).await.is_ok(), "what needs no more room is taken");
    assert_eq!(all(&store).await.len(), 1);
}
