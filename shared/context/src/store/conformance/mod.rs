//! The suite that every [`RecordStore`] passes: what a caller may rely on, whatever keeps the rows.
//!
//! A store's crate implements [`Subject`], which opens an empty store on a clock that the rules
//! set, and runs all rules from one test:
//!
//! ```
//! use std::sync::Arc;
//!
//! use dht_context::clock::ManualClock;
//! use dht_context::store::{MemoryStore, conformance};
//! use dht_kad::UnixMs;
//! use dht_kad::admission::Limits;
//!
//! struct Memory;
//!
//! impl conformance::Subject for Memory {
//!     type Store = MemoryStore;
//!
//!     async fn open(&self, clock: Arc<ManualClock>, limits: Limits) -> MemoryStore {
//!         MemoryStore::new(conformance::network(), clock, limits)
//!     }
//!
//!     async fn sweep(&self, store: &MemoryStore, _: UnixMs) {
//!         store.sweep();
//!     }
//!
//!     async fn reopen(&self, _: MemoryStore, _: Arc<ManualClock>, _: Limits) -> Option<MemoryStore> {
//!         None
//!     }
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! runtime.block_on(conformance::run_all(&Memory));
//! ```
//!
//! Each rule is one function whose name says what holds; it panics where it does not hold. This is
//! test code that lies in the library only so that other crates' tests can call it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::missing_panics_doc, reason = "to panic is how a rule says that it is broken")]

mod content;
mod lasting;
mod pages;
mod repair;
mod room;
mod sets;
mod versions;
mod written;

use std::sync::Arc;

use bytes::Bytes;
use dht_kad::admission::{Amount, Limits, Path};
use dht_kad::message::Stored;
use dht_kad::record::{Kind, Retention, Space};
use dht_kad::{Key, NetworkName, RecordDraft, Refusal, UnixMs, ValidRecord};
use ed25519_dalek::SigningKey;

pub use self::content::*;
pub use self::lasting::*;
pub use self::pages::*;
pub use self::repair::*;
pub use self::room::*;
pub use self::sets::*;
pub use self::versions::*;
pub use self::written::*;
use super::{Page, PageQuery, RecordStore, Submission};
use crate::clock::{Clock, ManualClock};

/// What the suite needs of a kind of store.
pub trait Subject: Sync {
    /// The store.
    type Store: RecordStore;

    /// Opens a store of [`network`] that holds nothing yet; each call opens another one.
    fn open(
        &self,
        clock: Arc<ManualClock>,
        limits: Limits,
    ) -> impl Future<Output = Self::Store> + Send;

    /// Removes all that has ended by `now`, which the store's clock shows, however far that was set;
    /// resolves when that is done.
    fn sweep(&self, store: &Self::Store, now: UnixMs) -> impl Future<Output = ()> + Send;

    /// Opens again what a closed store has left behind; `None` if nothing outlives such a store.
    fn reopen(
        &self,
        closed: Self::Store,
        clock: Arc<ManualClock>,
        limits: Limits,
    ) -> impl Future<Output = Option<Self::Store>> + Send;
}

/// The network whose records the rules use.
#[must_use]
pub fn network() -> NetworkName {
    "conformance".parse().expect("a network's name")
}

/// Runs every rule on a store of its own.
pub async fn run_all<S: Subject>(subject: &S) {
    a_put_is_found_bit_for_bit(subject).await;
    every_retention_class_is_kept(subject).await;
    a_value_is_served_until_its_very_millisecond(subject).await;
    a_head_is_shown_until_its_guard_ends(subject).await;
    a_tombstone_is_shown_as_a_head_and_wins(subject).await;
    no_earlier_version_returns_after_a_delete(subject).await;
    what_does_not_supersede_is_told_why(subject).await;
    the_same_content_again_is_a_success(subject).await;
    only_what_is_timely_and_whole_is_taken(subject).await;
    a_batch_may_hold_versions_of_one_slot(subject).await;
    a_slot_can_be_written_anew_after_its_end(subject).await;
    content_is_kept_until_the_latest_end(subject).await;
    content_belongs_to_no_publisher(subject).await;
    pages_go_on_where_the_last_ended(subject).await;
    a_page_is_bounded_by_bytes(subject).await;
    one_maximal_record_fits_any_page(subject).await;
    a_page_shows_only_what_was_asked_for(subject).await;
    a_page_that_cannot_be_is_empty(subject).await;
    what_has_ended_is_on_no_page(subject).await;
    a_quota_refuses_with_its_scope(subject).await;
    room_returns_after_expiry(subject).await;
    a_body_that_has_expired_gives_its_room_back(subject).await;
    the_reserve_serves_deletes_and_repair(subject).await;
    work_is_asked_for_as_a_class_fills(subject).await;
    usage_is_the_sum_of_what_is_kept(subject).await;
    any_order_of_the_same_records_ends_in_the_same_store(subject).await;
    an_expired_body_is_repaired_as_a_head(subject).await;
    repair_takes_the_greater_version_only(subject).await;
    the_set_is_what_is_kept(subject).await;
    what_has_ended_is_in_the_set_until_it_is_swept(subject).await;
    items_come_in_order_and_page_by_page(subject).await;
    parts_can_be_told_as_finely_as_was_asked_for(subject).await;
    every_commit_is_observed_before_it_is_answered(subject).await;
    what_was_written_since_a_commit_is_found(subject).await;
    commits_mean_the_same_in_a_reopened_store(subject).await;
    saved_progress_is_read_back(subject).await;
    saved_peers_are_read_back(subject).await;
    a_closed_store_takes_no_writes(subject).await;
    a_reopened_store_holds_the_same(subject).await;
}

/// The present of every rule's start.
const NOW: UnixMs = UnixMs(1_800_000_000_000);

/// Limits that never bind.
const NO_LIMITS: Limits = Limits {
    publisher: Amount::MAX,
    key: Amount::MAX,
    classes: [Amount::MAX; 3],
    total: Amount::MAX,
    reserve_percent: 0,
};

/// A publisher's own put.
const STORE: Path = Path::Store { expected_seq: None };

/// One store under a rule, and its clock.
struct Opened<S: Subject> {
    store: S::Store,
    clock: Arc<ManualClock>,
}

impl<S: Subject> Opened<S> {
    async fn new(subject: &S, limits: Limits) -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        Opened { store: subject.open(Arc::clone(&clock), limits).await, clock }
    }

    async fn sweep(&self, subject: &S) {
        subject.sweep(&self.store, self.clock.now()).await;
    }

    async fn submit(&self, record: &ValidRecord, path: Path) -> Result<Stored, Refusal> {
        let batch = vec![Submission { record: record.clone(), path }];
        let mut results = self.store.submit(batch).await;
        assert_eq!(results.len(), 1, "one result a record");
        results.remove(0)
    }

    async fn put(&self, record: &ValidRecord) -> Result<Stored, Refusal> {
        self.submit(record, STORE).await
    }

    async fn repair(&self, record: &ValidRecord) -> Result<Stored, Refusal> {
        self.submit(record, Path::Repair).await
    }

    async fn page(&self, query: PageQuery) -> Page {
        self.store.find(query).wait().await.expect("a page")
    }

    /// Everything that a query finds, page after page.
    async fn all(&self, mut query: PageQuery) -> Vec<Bytes> {
        let mut found = Vec::new();
        loop {
            let page = self.page(query.clone()).await;
            assert!(page.next.is_none() || !page.records.is_empty(), "a page gets on");
            found.extend(page.records);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return found,
            }
        }
    }

    /// Everything at a key.
    async fn at(&self, key: Key) -> Vec<Bytes> {
        self.all(PageQuery::all(key)).await
    }

    /// Asserts that this record, whole, is all there is at its key.
    async fn holds(&self, record: &ValidRecord) {
        assert_eq!(self.at(record.id().key).await, [record.bytes().clone()]);
    }

    /// Asserts that this record's head is all there is at its key.
    async fn shows_head(&self, record: &ValidRecord) {
        assert_eq!(self.at(record.id().key).await, [record.head_bytes()]);
    }
}

fn identity(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// A value of seven days in slot 0, made now.
fn draft(seq: u64, body: &str) -> RecordDraft {
    RecordDraft {
        space: Space::Owned,
        kind: Kind::Value,
        retention: Retention::Days7,
        label: [1; 32],
        slot: 0,
        seq,
        created_at: NOW,
        guard_until: UnixMs(0),
        work_bits: 0,
        ext: Bytes::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// A delete of slot 0 that nothing of what was there before `guard_until` outlives.
fn tombstone(seq: u64, guard_until: UnixMs) -> RecordDraft {
    RecordDraft { kind: Kind::Tombstone, guard_until, ..draft(seq, "") }
}

/// Content of seven days, made now.
fn content(body: &str) -> RecordDraft {
    RecordDraft { space: Space::Content, label: [0; 32], ..draft(0, body) }
}

fn sign(draft: &RecordDraft) -> ValidRecord {
    sign_by(1, draft)
}

fn sign_by(number: u8, draft: &RecordDraft) -> ValidRecord {
    draft.sign(&identity(number), &network()).expect("a record")
}

/// The same items in an order that the seed decides.
fn shuffled<T: Clone>(items: &[T], seed: u64) -> Vec<T> {
    let rank = |index: usize| *blake3::hash(format!("{seed} {index}").as_bytes()).as_bytes();
    let mut ranked: Vec<_> = items.iter().enumerate().map(|(i, item)| (rank(i), item)).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, item)| item.clone()).collect()
}
