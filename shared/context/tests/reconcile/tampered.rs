//! A store that lies or dawdles when a test says so.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dht_context::registry::SavedPeer;
use dht_context::store::{
    CommitObserver, Fetch, MemoryStore, Page, PageQuery, RecordStore, StoreUsage, Submission,
};
use dht_kad::message::Stored;
use dht_kad::reconcile::{Fingerprints, Item, Part, RowKey};
use dht_kad::{RecordId, Refusal, UnixMs};
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

/// What a test may change about its store.
pub(crate) struct Tampering {
    /// Acknowledges what it does not keep.
    pub(crate) forget: AtomicBool,
    /// Closed: items are shown at once. Else each look at items takes one permit.
    pub(crate) looks: Semaphore,
    /// The slots whose rows cannot be read, nor replaced; their items are shown all the same.
    pub(crate) damaged: Mutex<BTreeSet<RecordId>>,
}

impl Default for Tampering {
    fn default() -> Self {
        let looks = Semaphore::new(0);
        looks.close();
        Tampering { forget: AtomicBool::new(false), looks, damaged: Mutex::default() }
    }
}

impl Tampering {
    /// Items are shown only as permits are added.
    pub(crate) fn slow() -> Self {
        Tampering { looks: Semaphore::new(0), ..Tampering::default() }
    }
}

/// See the [module](self).
pub(crate) struct TamperedStore {
    kept: Arc<MemoryStore>,
    tampering: Arc<Tampering>,
}

impl TamperedStore {
    pub(crate) fn wrap(kept: MemoryStore, tampering: &Arc<Tampering>) -> Arc<dyn RecordStore> {
        Arc::new(TamperedStore { kept: Arc::new(kept), tampering: tampering.clone() })
    }
}

impl TamperedStore {
    /// Takes all but what belongs into damaged rows.
    fn submit_undamaged(
        &self,
        batch: Vec<Submission>,
    ) -> BoxFuture<'static, Vec<Result<Stored, Refusal>>> {
        let (kept, tampering) = (self.kept.clone(), self.tampering.clone());
        Box::pin(async move {
            let mut results = Vec::new();
            for submission in batch {
                let id = *submission.record.id();
                if tampering.damaged.lock().unwrap().contains(&id) {
                    results.push(Err(Refusal::Internal));
                } else {
                    results.extend(kept.submit(vec![submission]).await);
                }
            }
            results
        })
    }
}

impl RecordStore for TamperedStore {
    fn find(&self, query: PageQuery) -> Fetch<Result<Page, Refusal>> {
        let damaged = self.tampering.damaged.lock().unwrap();
        if damaged.iter().any(|id| id.key == query.key) {
            return Fetch::Ready(Err(Refusal::Internal));
        }
        self.kept.find(query)
    }

    fn submit(&self, batch: Vec<Submission>) -> BoxFuture<'static, Vec<Result<Stored, Refusal>>> {
        if !self.tampering.forget.load(Ordering::Relaxed) {
            return self.submit_undamaged(batch);
        }
        let stored =
            |submission: &Submission| Ok(Stored { expires_at: submission.record.expires_at() });
        Box::pin(std::future::ready(batch.iter().map(stored).collect()))
    }

    fn writable(&self) -> Result<(), Refusal> {
        self.kept.writable()
    }

    fn fingerprints(&self, look: &mut dyn FnMut(&Fingerprints)) {
        self.kept.fingerprints(look);
    }

    fn items(
        &self,
        part: Part,
        after: Option<RowKey>,
        limit: usize,
    ) -> Fetch<Result<Vec<Item>, Refusal>> {
        let (kept, tampering) = (self.kept.clone(), self.tampering.clone());
        Fetch::Pending(Box::pin(async move {
            if let Ok(permit) = tampering.looks.acquire().await {
                permit.forget();
            }
            kept.items(part, after, limit).wait().await
        }))
    }

    fn set_resolution(&self, half_bytes: usize) {
        self.kept.set_resolution(half_bytes);
    }

    fn saved_progress(&self) -> Bytes {
        self.kept.saved_progress()
    }

    fn save_progress(&self, progress: Bytes) -> BoxFuture<'static, Result<(), Refusal>> {
        self.kept.save_progress(progress)
    }

    fn usage(&self) -> StoreUsage {
        self.kept.usage()
    }

    fn saved_peers(&self) -> Vec<SavedPeer> {
        self.kept.saved_peers()
    }

    fn save_peers(&self, peers: Vec<SavedPeer>) -> BoxFuture<'static, Result<(), Refusal>> {
        self.kept.save_peers(peers)
    }

    fn note_clock(&self, agrees: Option<bool>, wall: UnixMs) {
        self.kept.note_clock(agrees, wall);
    }

    fn incarnation(&self) -> Option<u64> {
        self.kept.incarnation()
    }

    fn observe(&self, observer: Arc<dyn CommitObserver>) -> u64 {
        self.kept.observe(observer)
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.kept.close()
    }
}
