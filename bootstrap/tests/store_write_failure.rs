//! A disk that stops taking writes: nothing is acknowledged that is not there, reads go on, and the
//! store comes back when writing works, not before. The limit on file sizes stands in for the disk;
//! it holds for the whole process, so this program has one test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says by a panic that something does not hold"
)]

mod store_fixture;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use dht_context::store::RecordStore;
use dht_kad::{Refusal, ValidRecord};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::signal::SIGXFSZ;
use store_fixture::{Fixture, all, assert_set, network, put, set_of, value};

/// No file grows beyond so many bytes; without an argument, as it was.
fn limit_file_sizes(bytes: Option<u64>) {
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(before.maximum), ..before }).unwrap();
}

fn read_back(bytes: Bytes) -> ValidRecord {
    ValidRecord::from_own_store(bytes, &network()).unwrap()
}

#[tokio::test]
async fn after_a_failed_write_the_store_reads_on_and_takes_records_only_when_writing_works() {
    // The signal that a too large file raises would end the process; with a handler, write fails.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).unwrap();
    let fixture = Fixture::new();
    let store = fixture.open();
    let (mut acknowledged, mut versions) = (Vec::new(), Vec::new());
    limit_file_sizes(Some(200_000));
    for slot in 0..1_000 {
        let record = value(slot, 1, vec![6; 3_000]);
        match put(&store, &record).await {
            Ok(_) => {
                acknowledged.push(record.bytes().clone());
                versions.push(record);
            }
            Err(refusal) => {
                assert_eq!(refusal, Refusal::ReadOnly);
                break;
            }
        }
    }
    assert!((10..1_000).contains(&acknowledged.len()), "{}", acknowledged.len());
    assert_eq!(store.writable(), Err(Refusal::ReadOnly));
    assert_eq!(all(&store).await, acknowledged, "reads go on, and show nothing that failed");
    assert_set(&store, &set_of(&versions)).await;
    let progress = store.save_progress("halfway".into()).await;
    assert_eq!((progress, store.saved_progress()), (Err(Refusal::ReadOnly), Bytes::new()));
    // Nothing is queued now, so the writer turns only for its attempts and once a second.
    let turns = store.writer_turns();
    let attempts = async {
        while store.writer_turns() < turns + 3 {
            assert_eq!(store.writable(), Err(Refusal::ReadOnly), "writing does not work yet");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), attempts).await.unwrap();
    assert_eq!(all(&store).await, acknowledged);
    limit_file_sizes(None);
    let recovered = async {
        while store.writable().is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), recovered).await.unwrap();
    let late = value(5_000, 1, "after");
    put(&store, &late).await.unwrap();
    acknowledged.push(late.bytes().clone());
    let kept: Vec<ValidRecord> = all(&store).await.into_iter().map(read_back).collect();
    assert_set(&store, &set_of(&kept)).await;
    drop(store);
    let found = all(&fixture.open()).await;
    assert!(acknowledged.iter().all(|record| found.contains(record)));
    assert!(
        found.len() <= acknowledged.len() + 1,
        "at most the record whose write failed is there"
    );
}
