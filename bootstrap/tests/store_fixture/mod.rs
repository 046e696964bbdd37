//! A store in a directory of its own, under a clock that the test sets, and records to put there.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dht_bootstrap::store::{OpenError, RocksStore, StoreConfig};
use dht_context::clock::ManualClock;
use dht_context::store::{PageQuery, RecordStore, Submission};
use dht_kad::admission::{Amount, Existing, Limits, Path as AdmissionPath, row_key};
use dht_kad::message::Stored;
use dht_kad::reconcile::{Cut, Fingerprint, Group, Item, Part, Prefix};
use dht_kad::record::{Kind, RecordDraft, Retention, Space};
use dht_kad::{Key, NetworkName, Refusal, UnixMs, ValidRecord};
use ed25519_dalek::SigningKey;

/// When the clock starts: some day in 2026, and the start of one.
pub const START: UnixMs = UnixMs(20_600 * 24 * 60 * 60 * 1_000);

/// A data directory and the clock of its store. The directory goes with it.
pub struct Fixture {
    directory: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
}

impl Fixture {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Fixture { directory, clock: Arc::new(ManualClock::new(START)) }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn config(&self) -> StoreConfig {
        StoreConfig {
            dir: self.data_dir(),
            network: network(),
            clock: self.clock.clone(),
            limits: unlimited(),
            cache_bytes: 16 << 20,
            min_free_bytes: 0,
        }
    }

    pub fn open(&self) -> RocksStore {
        self.try_open().unwrap()
    }

    pub fn try_open(&self) -> Result<RocksStore, OpenError> {
        RocksStore::open(self.config())
    }
}

pub fn network() -> NetworkName {
    "test".parse().unwrap()
}

pub fn unlimited() -> Limits {
    Limits {
        publisher: Amount::MAX,
        key: Amount::MAX,
        classes: [Amount::MAX; 3],
        total: Amount::MAX,
        reserve_percent: 0,
    }
}

/// A draft of a value in the owned space.
pub fn draft(slot: u64, seq: u64, body: impl Into<Bytes>) -> RecordDraft {
    RecordDraft {
        space: Space::Owned,
        kind: Kind::Value,
        retention: Retention::Days7,
        label: [1; 32],
        slot,
        seq,
        created_at: START,
        guard_until: UnixMs(0),
        work_bits: 0,
        ext: Bytes::new(),
        body: body.into(),
    }
}

pub fn sign(draft: &RecordDraft) -> ValidRecord {
    draft.sign(&SigningKey::from_bytes(&[7; 32]), &network()).unwrap()
}

pub fn value(slot: u64, seq: u64, body: impl Into<Bytes>) -> ValidRecord {
    sign(&draft(slot, seq, body))
}

/// The key that all records of [`draft`] lie at.
pub fn key() -> Key {
    value(0, 1, "").id().key
}

pub fn submission(record: &ValidRecord) -> Submission {
    Submission { record: record.clone(), path: AdmissionPath::Store { expected_seq: None } }
}

pub async fn put(store: &RocksStore, record: &ValidRecord) -> Result<Stored, Refusal> {
    store.submit(vec![submission(record)]).await.remove(0)
}

/// All that is served at the key, as bytes.
pub async fn all(store: &RocksStore) -> Vec<Bytes> {
    let mut query = PageQuery::all(key());
    let mut records = Vec::new();
    loop {
        let page = store.find(query.clone()).wait().await.unwrap();
        records.extend(page.records);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return records,
        }
    }
}

/// What a part of the set consists of, read in pages of `limit`.
pub async fn items(store: &RocksStore, part: &Part, limit: usize) -> Vec<Item> {
    let mut all: Vec<Item> = Vec::new();
    loop {
        let after = all.last().map(|item| item.row);
        let page = store.items(part.clone(), after, limit).wait().await.unwrap();
        assert!(page.len() <= limit);
        let done = page.len() < limit;
        all.extend(page);
        if done {
            return all;
        }
    }
}

/// The set that these records make, in its order.
pub fn set_of<'a>(records: impl IntoIterator<Item = &'a ValidRecord>) -> Vec<(Group, Item)> {
    let item =
        |record: &ValidRecord| Item { row: row_key(record.id()), version: record.precedence() };
    let in_group = |record: &'a ValidRecord| (Group::of(&Existing::of(record)), item(record));
    let mut set: Vec<_> = records.into_iter().map(in_group).collect();
    set.sort();
    set
}

/// What the store's fingerprints say of everything that lies under a prefix, group by group.
pub fn groups(store: &RocksStore, prefix: &Prefix) -> Option<Vec<(Group, Fingerprint)>> {
    let mut groups = None;
    let every = Cut([0; 3]);
    store.fingerprints(&mut |all| groups = all.groups(&every, std::slice::from_ref(prefix)));
    groups
}

/// Fingerprints and items of the store are those of this set.
pub async fn assert_set(store: &RocksStore, set: &[(Group, Item)]) {
    let mut expected: BTreeMap<Group, Vec<Item>> = BTreeMap::new();
    for (group, item) in set {
        expected.entry(*group).or_default().push(*item);
    }
    let print = |items: &Vec<Item>| -> Fingerprint {
        items.iter().map(|item| Fingerprint::of(&item.version.digest)).sum()
    };
    let prints = expected.iter().map(|(group, items)| (*group, print(items))).collect();
    assert_eq!(groups(store, &Prefix::all()), Some(prints));
    for (group, held) in expected {
        for prefix in (0..16).map(|half_byte| Prefix::all().child(half_byte)) {
            let part = Part { group, prefix };
            let within = held.iter().filter(|item| part.prefix.covers_row(&item.row)).copied();
            let within: Vec<Item> = within.collect();
            store.fingerprints(&mut |all| {
                assert!(all.part(&part).is_none_or(|shown| shown == print(&within)), "{part:?}");
            });
            assert_eq!(items(store, &part, 3).await, within);
        }
    }
}

/// Every file below a directory that holds data, with its content. RocksDB's own log and the lock
/// files say nothing about records.
pub fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files.extend(contents(&path));
        } else if !name.starts_with("LOG") && name != "LOCK" {
            files.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

/// The database of a store that is not open, to look at its rows or to change them.
pub fn open_raw(data_dir: &Path) -> rocksdb::DB {
    let families = ["default", "records", "bodies", "index", "usage", "state"];
    rocksdb::DB::open_cf(&rocksdb::Options::default(), data_dir.join("db"), families).unwrap()
}

/// Copies a directory as it is, as a kill or a snapshot would leave it.
pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
