//! The store on disk and the table in memory, given the same, agree on everything: on what is taken
//! and why something is not, on what is shown, on what is charged, on the rows that are left, and on
//! the set that fingerprints are kept of.
//!
//! Records of all spaces, kinds, classes, guards and sizes come by both paths, in batches; clocks move,
//! sweeps run, and the store is closed, or dropped as a crash would, and opened again.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says by a panic that something does not hold"
)]

mod store_fixture;

use std::collections::BTreeSet;

use bytes::Bytes;
use dht_bootstrap::store::{RocksStore, StoreConfig};
use dht_context::clock::Clock;
use dht_context::store::{PageQuery, RecordStore, Rows, Submission};
use dht_kad::admission::{Amount, Limits, Path};
use dht_kad::record::{Kind, RecordDraft, Retention, Space};
use dht_kad::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use dht_kad::{Key, UnixMs, ValidRecord};
use ed25519_dalek::SigningKey;
use store_fixture::{Fixture, assert_set, network, set_of};

const SEEDS: u64 = 4;
const STEPS: u32 = 100;
/// From this many bytes on a body lies apart from its head.
const APART_BYTES: usize = 8 * 1024;

/// Small numbers by xorshift (Marsaglia, 2003): a failed run is repeated by its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }

    fn chance_of(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    fn byte(&mut self, bound: u64) -> u8 {
        u8::try_from(self.below(bound)).unwrap()
    }

    /// A record of few publishers, labels and slots, so that they meet.
    fn record(&mut self, now: UnixMs) -> ValidRecord {
        let space = self.one_of(&[Space::Owned, Space::Topic, Space::Content]);
        let plain = space == Space::Content;
        let kind = if !plain && self.chance_of(5) { Kind::Tombstone } else { Kind::Value };
        let created_at = UnixMs(now.0 + MINUTE_MS - self.below(9 * HOUR_MS));
        let length = self.one_of(&[0, 100, APART_BYTES - 1, APART_BYTES, 30_000]);
        let body = if kind == Kind::Value { vec![self.byte(3); length] } else { Vec::new() };
        let guarded = !plain && self.chance_of(2);
        let guard_until =
            if guarded { created_at.after(self.below(365 * DAY_MS)) } else { UnixMs(0) };
        let draft = RecordDraft {
            space,
            kind,
            retention: self.one_of(&Retention::ALL),
            label: if plain { [0; 32] } else { [self.byte(3); 32] },
            slot: if plain { 0 } else { self.below(6) },
            seq: if plain { 0 } else { 1 + self.below(40) },
            created_at,
            guard_until,
            work_bits: 0,
            ext: Bytes::new(),
            body: body.into(),
        };
        draft.sign(&SigningKey::from_bytes(&[1 + self.byte(4); 32]), &network()).unwrap()
    }

    fn submission(&mut self, now: UnixMs) -> Submission {
        let record = self.record(now);
        let by_repair = self.chance_of(4);
        let path = if by_repair { Path::Repair } else { Path::Store { expected_seq: None } };
        Submission { record, path }
    }
}

/// Limits that a run reaches, each of them.
fn limits() -> Limits {
    let bytes = |bytes| Amount { bytes, ..Amount::MAX };
    Limits {
        publisher: Amount { records: 30, bytes: 400_000 },
        key: Amount { records: 60, bytes: 900_000 },
        classes: [bytes(300_000), bytes(500_000), bytes(600_000)],
        total: bytes(1_000_000),
        reserve_percent: 5,
    }
}

/// The two that have to agree.
struct Pair {
    fixture: Fixture,
    store: RocksStore,
    rows: Rows,
    keys: BTreeSet<Key>,
}

impl Pair {
    fn new() -> Self {
        let fixture = Fixture::new();
        let store = open(&fixture);
        let rows = Rows::new(network(), limits());
        Pair { fixture, store, rows, keys: BTreeSet::new() }
    }

    fn now(&self) -> UnixMs {
        self.fixture.clock.now()
    }

    async fn submit(&mut self, batch: Vec<Submission>) {
        let now = self.now();
        self.keys.extend(batch.iter().map(|submission| submission.record.id().key));
        let expected: Vec<_> = batch
            .iter()
            .map(|sent| self.rows.put(&sent.record, sent.path, now, 0).map(|(stored, _)| stored))
            .collect();
        assert_eq!(self.store.submit(batch).await, expected);
        self.agree_on_amounts();
    }

    async fn pass_time(&mut self, span_ms: u64) {
        self.fixture.clock.set(self.now().after(span_ms));
        self.rows.sweep(self.now(), usize::MAX);
        self.store.note_clock(Some(true), self.now());
        self.store.sweep().await;
        self.agree_on_amounts();
        let counts = self.store.count_rows().unwrap();
        let kept: Vec<&ValidRecord> = self.rows.records().collect();
        let body = |record: &ValidRecord| record.bytes().len() - record.head_bytes().len();
        let ends_earlier =
            |record: &ValidRecord| body(record) > 0 && record.expires_at() < record.keep_until();
        let apart = kept.iter().filter(|record| body(record) >= APART_BYTES).count();
        let index = kept.len() + kept.iter().filter(|record| ends_earlier(record)).count();
        assert_eq!(
            (counts.records, counts.bodies, counts.index),
            (kept.len() as u64, apart as u64, index as u64)
        );
    }

    async fn reopen(self, in_order: bool) -> Self {
        let Pair { fixture, store, rows, keys } = self;
        if in_order {
            store.close().await;
        }
        drop(store);
        let store = open(&fixture);
        Pair { fixture, store, rows, keys }
    }

    fn agree_on_amounts(&self) {
        let usage = self.store.usage();
        assert_eq!((usage.total, usage.classes), (self.rows.total(), self.rows.classes()));
    }

    async fn agree_on_pages(&self, limit: usize) {
        for key in &self.keys {
            for heads_only in [false, true] {
                let mut query = PageQuery { heads_only, limit, ..PageQuery::all(*key) };
                loop {
                    let page = self.store.find(query.clone()).wait().await.unwrap();
                    assert_eq!(page, self.rows.find(&query, self.now()));
                    query.after = page.next;
                    if page.next.is_none() {
                        break;
                    }
                }
            }
        }
    }
}

fn open(fixture: &Fixture) -> RocksStore {
    let store = RocksStore::open(StoreConfig { limits: limits(), ..fixture.config() }).unwrap();
    store.note_clock(Some(true), fixture.clock.now());
    store
}

#[tokio::test]
async fn the_store_on_disk_and_the_table_in_memory_agree_whatever_comes() {
    for seed in 1..=SEEDS {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut pair = Pair::new();
        for step in 0..STEPS {
            // Shown by a failed test alone.
            println!("seed {seed}, step {step}");
            let count = dice.below(12);
            let batch = (0..count).map(|_| dice.submission(pair.now())).collect();
            pair.submit(batch).await;
            if dice.chance_of(3) {
                let longest = dice.one_of(&[SECOND_MS, HOUR_MS, 20 * HOUR_MS, 40 * DAY_MS]);
                pair.pass_time(1 + dice.below(longest)).await;
            }
            if dice.chance_of(8) {
                let in_order = dice.chance_of(2);
                pair = pair.reopen(in_order).await;
            }
            let limit = 1 + usize::try_from(dice.below(5)).unwrap();
            pair.agree_on_pages(limit).await;
            if dice.chance_of(8) {
                pair.store.set_resolution(usize::try_from(dice.below(3)).unwrap());
            }
            assert_set(&pair.store, &set_of(pair.rows.records())).await;
        }
    }
}
