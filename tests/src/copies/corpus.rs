//! Many records of all classes, at keys of their own, made at moments all over their lifetimes.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dht_bootstrap::store::{CACHE_BYTES, MIN_FREE_BYTES, RocksStore, StoreConfig};
use dht_client::Slot;
use dht_context::clock::SystemClock;
use dht_context::store::{RecordStore, Submission};
use dht_kad::admission::{Limits, Path as Way};
use dht_kad::record::{RecordDraft, Retention};
use dht_kad::{UnixMs, ValidRecord};
use ed25519_dalek::SigningKey;

use crate::records::{draft, network, now, sign};

/// Publishers that take turns, so that none reaches its share of a store.
const PUBLISHERS: u64 = 256;
/// The part of its lifetime that a record is old at most, in eighths: none ends while it is measured.
const OLDEST_EIGHTHS: u64 = 7;
/// Records that are handed to a store at once: one commit.
const TOGETHER: u64 = 4_096;
/// What a store may keep: more than there is.
const STORE_BYTES: u64 = 1 << 40;

/// Records by their numbers: the same number, the same record.
#[derive(Clone, Debug)]
pub struct Corpus {
    began: UnixMs,
    body: Bytes,
    publishers: Arc<[SigningKey]>,
}

impl Corpus {
    /// Records with bodies of this many bytes, as of now.
    #[must_use]
    pub fn new(body_bytes: usize) -> Self {
        let publisher = |number: u64| {
            let mut secret = [7; 32];
            secret[..8].copy_from_slice(&number.to_be_bytes());
            SigningKey::from_bytes(&secret)
        };
        Corpus {
            began: now(),
            body: Bytes::from(vec![b'v'; body_bytes]),
            publishers: (0..PUBLISHERS).map(publisher).collect(),
        }
    }

    /// The record of this number.
    #[must_use]
    pub fn record(&self, number: u64) -> ValidRecord {
        let retention = Retention::ALL[(number % 3) as usize];
        let oldest_ms = retention.lifetime_ms() / 8 * OLDEST_EIGHTHS;
        let created_at = UnixMs(self.began.0 - spread(number) % oldest_ms);
        let draft =
            RecordDraft { retention, created_at, ..draft(label(number), 0, self.body.clone()) };
        sign(&draft, self.publisher(number))
    }

    /// Where the record of this number is found.
    #[must_use]
    pub fn slot(&self, number: u64) -> Slot {
        let publisher = self.publisher(number).verifying_key().to_bytes();
        Slot::Owned { publisher, label: label(number), slot: 0 }
    }

    /// A body as its records have.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Makes a store in this folder of the records of the first numbers, and closes it.
    pub async fn fill(&self, dir: &Path, count: u64) {
        let store = open(dir);
        let mut before = None;
        for first in (0..count).step_by(TOGETHER as usize) {
            let submitted = self.submit(&store, first..count.min(first + TOGETHER));
            // While the disk has the last ones the next ones are signed.
            if let Some(before) = before.replace(submitted) {
                before.await;
            }
        }
        if let Some(last) = before {
            last.await;
        }
        store.close().await;
    }

    /// Hands records to a store at once; resolves when they are on disk.
    pub fn submit(
        &self,
        store: &RocksStore,
        numbers: std::ops::Range<u64>,
    ) -> impl Future<Output = ()> + use<> {
        let records = numbers.map(|number| self.record(number));
        let batch = records.map(|record| Submission { record, path: Way::Repair }).collect();
        let stored = store.submit(batch);
        async move {
            stored.await.into_iter().for_each(|result| {
                result.expect("taken");
            })
        }
    }

    fn publisher(&self, number: u64) -> &SigningKey {
        &self.publishers[(number % PUBLISHERS) as usize]
    }
}

/// Opens the daemon's own store in a folder, which is made if need be.
#[must_use]
pub fn open(dir: &Path) -> RocksStore {
    RocksStore::open(StoreConfig {
        dir: dir.to_owned(),
        network: network(),
        clock: Arc::new(SystemClock),
        limits: Limits::default_for(STORE_BYTES),
        cache_bytes: CACHE_BYTES,
        min_free_bytes: MIN_FREE_BYTES,
    })
    .unwrap_or_else(|error| panic!("{error}"))
}

fn label(number: u64) -> [u8; 32] {
    let mut label = [0; 32];
    label[..8].copy_from_slice(&number.to_be_bytes());
    label
}

/// A number that is anywhere, and elsewhere for the next one (the mixing of SplitMix64).
fn spread(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
