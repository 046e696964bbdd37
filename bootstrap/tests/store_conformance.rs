//! The suite that every store passes, on this one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says by a panic that something does not hold"
)]

use std::sync::Arc;

use dht_bootstrap::store::{RocksStore, StoreConfig};
use dht_context::clock::ManualClock;
use dht_context::store::{RecordStore, conformance};
use dht_kad::UnixMs;
use dht_kad::admission::Limits;
use tempfile::TempDir;

/// Stores in directories below one that goes with the test.
struct Rocks {
    directory: TempDir,
}

impl Rocks {
    fn open_in(dir: std::path::PathBuf, clock: Arc<ManualClock>, limits: Limits) -> RocksStore {
        let network = conformance::network();
        let config =
            StoreConfig { dir, network, clock, limits, cache_bytes: 16 << 20, min_free_bytes: 0 };
        RocksStore::open(config).unwrap()
    }
}

impl conformance::Subject for Rocks {
    type Store = RocksStore;

    async fn open(&self, clock: Arc<ManualClock>, limits: Limits) -> RocksStore {
        let dir = tempfile::tempdir_in(self.directory.path()).unwrap().keep();
        Rocks::open_in(dir, clock, limits)
    }

    async fn sweep(&self, store: &RocksStore, now: UnixMs) {
        // The rules set the clock by weeks, which a store does not believe by itself.
        store.note_clock(Some(true), now);
        store.sweep().await;
    }

    async fn reopen(
        &self,
        closed: RocksStore,
        clock: Arc<ManualClock>,
        limits: Limits,
    ) -> Option<RocksStore> {
        closed.close().await;
        let dir = closed.data_dir().to_owned();
        drop(closed);
        Some(Rocks::open_in(dir, clock, limits))
    }
}

#[tokio::test]
async fn rocks_store_keeps_every_rule() {
    let directory = tempfile::tempdir().unwrap();
    conformance::run_all(&Rocks { directory }).await;
}
