//! A data directory that is not this store's, or not whole, is refused and left as it is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says by a panic that something does not hold"
)]

mod store_fixture;

use std::path::{Path, PathBuf};

use dht_bootstrap::store::{OpenError, RocksStore, StoreConfig};
use dht_context::store::RecordStore;
use dht_kad::ErrorNumber;
use store_fixture::{Fixture, all, contents, put, value};

/// A directory with some records, flushed to tables and closed.
async fn filled() -> Fixture {
    let fixture = Fixture::new();
    let store = fixture.open();
    for slot in 0..500 {
        put(&store, &value(slot, 1, vec![5; 1_000])).await.unwrap();
    }
    store.close().await;
    fixture
}

fn file_with(dir: &Path, wanted: impl Fn(&str) -> bool) -> PathBuf {
    let files = contents(dir).into_iter().map(|(path, _)| path);
    let fitting = files.filter(|path| wanted(&path.file_name().unwrap().to_string_lossy()));
    fitting.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn assert_refused_as_damaged(fixture: &Fixture) {
    let before = contents(&fixture.data_dir());
    let error = fixture.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert_eq!(error.number(), ErrorNumber::DatabaseDamaged);
    assert!(!error.to_string().contains('\n'));
    let after = contents(&fixture.data_dir());
    assert!(before.iter().all(|file| after.contains(file)), "nothing is removed or overwritten");
}

#[tokio::test]
async fn a_damaged_manifest_is_refused_and_nothing_is_overwritten() {
    let fixture = filled().await;
    let manifest = file_with(&fixture.data_dir(), |name| name.starts_with("MANIFEST"));
    change(&manifest, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
    });
    assert_refused_as_damaged(&fixture);
}

#[tokio::test]
async fn a_truncated_or_missing_current_file_is_refused_and_nothing_is_overwritten() {
    let fixture = filled().await;
    let current = file_with(&fixture.data_dir(), |name| name == "CURRENT");
    change(&current, |bytes| bytes.truncate(3));
    assert_refused_as_damaged(&fixture);
    std::fs::remove_file(current).unwrap();
    assert_refused_as_damaged(&fixture);
}

#[tokio::test]
async fn a_missing_table_is_refused_and_nothing_is_overwritten() {
    let fixture = filled().await;
    std::fs::remove_file(file_with(&fixture.data_dir(), |name| name.ends_with(".sst"))).unwrap();
    assert_refused_as_damaged(&fixture);
}

#[tokio::test]
async fn a_table_with_a_damaged_end_is_refused_and_nothing_is_overwritten() {
    let fixture = filled().await;
    let table = file_with(&fixture.data_dir(), |name| name.ends_with(".sst"));
    change(&table, |bytes| bytes.truncate(bytes.len() - 20));
    assert_refused_as_damaged(&fixture);
}

#[tokio::test]
async fn a_table_that_is_damaged_in_the_middle_never_yields_wrong_records() {
    let fixture = filled().await;
    let whole = all(&fixture.open()).await;
    let table = file_with(&fixture.data_dir(), |name| name.ends_with(".sst"));
    change(&table, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle..middle + 8].fill(0xee);
    });
    match fixture.try_open() {
        Err(error) => assert_eq!(error.number(), ErrorNumber::DatabaseDamaged),
        Ok(store) => {
            let query = dht_context::store::PageQuery::all(store_fixture::key());
            let mut after = None;
            let mut seen = 0;
            loop {
                let query = dht_context::store::PageQuery { after, ..query.clone() };
                match store.find(query).wait().await {
                    Err(refusal) => break assert_eq!(refusal.number(), ErrorNumber::Internal),
                    Ok(page) => {
                        assert!(page.records.iter().all(|record| whole.contains(record)));
                        seen += page.records.len();
                        after = page.next;
                        assert!(after.is_some() && seen < whole.len(), "the damage goes unnoticed");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_log_damaged_in_the_middle_is_refused_and_a_torn_end_is_not() {
    let fixture = Fixture::new();
    let store = fixture.open();
    for slot in 0..200 {
        put(&store, &value(slot, 1, vec![5; 1_000])).await.unwrap();
    }
    drop(store);
    let log = file_with(&fixture.data_dir(), |name| name.ends_with(".log"));
    let torn = Fixture::new();
    store_fixture::copy_tree(&fixture.data_dir(), &torn.data_dir());
    change(&file_with(&torn.data_dir(), |name| name.ends_with(".log")), |bytes| {
        bytes.truncate(bytes.len() - 100);
    });
    assert_eq!(all(&torn.open()).await.len(), 199, "only what the torn end held is missing");
    change(&log, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle..middle + 8].fill(0xee);
    });
    assert_refused_as_damaged(&fixture);
}

#[tokio::test]
async fn a_second_store_on_one_directory_is_refused_until_the_first_is_closed() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let error = fixture.try_open().unwrap_err();
    assert_eq!(error.number(), ErrorNumber::DataDirInUse);
    put(&store, &value(1, 1, "still working")).await.unwrap();
    store.close().await;
    assert_eq!(all(&fixture.open()).await.len(), 1);
}

#[tokio::test]
async fn the_directory_of_another_network_is_refused() {
    let fixture = filled().await;
    let before = contents(&fixture.data_dir());
    let config = StoreConfig { network: "other".parse().unwrap(), ..fixture.config() };
    let error = RocksStore::open(config).unwrap_err();
    assert_eq!(error.number(), ErrorNumber::BadConfig);
    assert!(error.to_string().contains("belongs to network test, not other"), "{error}");
    let tables = |files: Vec<(PathBuf, Vec<u8>)>| {
        files
            .into_iter()
            .filter(|(path, _)| path.extension().is_some_and(|ext| ext == "sst"))
            .collect::<Vec<_>>()
    };
    assert_eq!(tables(before), tables(contents(&fixture.data_dir())));
    assert_eq!(all(&fixture.open()).await.len(), 500);
}

#[tokio::test]
async fn a_newer_or_an_older_schema_is_refused_by_its_number_and_left_as_it_is() {
    let fixture = filled().await;
    for (schema, number) in [(99, ErrorNumber::SchemaTooNew), (1, ErrorNumber::SchemaTooOld)] {
        let database = store_fixture::open_raw(&fixture.data_dir());
        let state = database.cf_handle("state").unwrap();
        database.put_cf(state, "schema", u32::to_be_bytes(schema)).unwrap();
        drop(database);
        let error = fixture.try_open().unwrap_err();
        assert_eq!(error.number(), number);
        assert!(error.to_string().contains(&format!("schema {schema},")), "{error}");
    }
    let database = store_fixture::open_raw(&fixture.data_dir());
    let records = database.cf_handle("records").unwrap();
    assert_eq!(database.iterator_cf(records, rocksdb::IteratorMode::Start).count(), 500);
}

#[tokio::test]
async fn a_database_whose_making_was_interrupted_is_made_anew() {
    let fixture = Fixture::new();
    let unfinished = fixture.data_dir().join("db.creating");
    std::fs::create_dir_all(&unfinished).unwrap();
    std::fs::write(unfinished.join("CURRENT"), "half").unwrap();
    let store = fixture.open();
    put(&store, &value(1, 1, "first")).await.unwrap();
    assert!(!unfinished.exists());
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let fixture = Fixture::new();
    std::fs::write(fixture.data_dir(), "a file").unwrap();
    let error = fixture.try_open().unwrap_err();
    assert_eq!(error.number(), ErrorNumber::FileAccess);
    assert!(error.to_string().contains(&fixture.data_dir().display().to_string()), "{error}");
}
