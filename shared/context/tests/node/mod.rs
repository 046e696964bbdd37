//! One context on a real socket, for tests.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot start its node has failed"
)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dht_context::clock::{Clock, SystemClock};
use dht_context::node_key::NodeKey;
use dht_context::quic::{QuicConfig, QuicTransport, TransportLimits};
use dht_context::registry::SavedPeer;
use dht_context::resolver::SystemResolver;
use dht_context::store::{
    CommitObserver, Fetch, MemoryStore, Page, PageQuery, RecordStore, StoreUsage, Submission,
};
use dht_context::verify::{InlineSigner, InlineVerifier, Signer, Verifier};
use dht_context::watch::WatchLimits;
use dht_context::{ContextConfig, DhtContext, Foundations, PeerAddress, Timing};
use dht_kad::admission::Limits;
use dht_kad::message::{Mode, Position, Stored};
use dht_kad::reconcile::{Fingerprints, Item, Part, RowKey};
use dht_kad::record::SignatureFault;
use dht_kad::{NetworkName, ParsedRecord, Refusal, UnixMs, ValidRecord};
use futures_util::future::BoxFuture;

/// The most that anything here may take: generous, since the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

static NEXT_SEED: AtomicU64 = AtomicU64::new(1);

/// The network of these tests.
pub(crate) fn network() -> NetworkName {
    "test".parse().unwrap()
}

/// Waits for something that has to come.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it should have come within a minute")
}

/// How a node starts.
pub(crate) struct NodeOptions {
    pub(crate) mode: Mode,
    pub(crate) listen: SocketAddr,
    pub(crate) bootstrap: Vec<PeerAddress>,
    pub(crate) solo: bool,
    pub(crate) timing: Timing,
    /// What it is known by; chosen by chance if absent.
    pub(crate) key: Option<NodeKey>,
    /// Whether its receipts are signed by a key that is not its own.
    pub(crate) forges_receipts: bool,
    /// What those who watch it may cost it.
    pub(crate) watch: WatchLimits,
}

impl NodeOptions {
    pub(crate) fn server() -> Self {
        NodeOptions {
            mode: Mode::Server,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            bootstrap: Vec::new(),
            solo: false,
            timing: Timing::default(),
            key: None,
            forges_receipts: false,
            watch: WatchLimits::default(),
        }
    }

    pub(crate) fn client(bootstrap: Vec<PeerAddress>) -> Self {
        NodeOptions { mode: Mode::Client, bootstrap, ..NodeOptions::server() }
    }
}

/// A running context.
pub(crate) struct Node {
    pub(crate) context: DhtContext,
    pub(crate) store: Arc<LyingStore>,
    /// Signatures that it has checked so far.
    pub(crate) verified: Arc<AtomicU64>,
}

/// Counts what it checks.
struct CountingVerifier {
    verified: Arc<AtomicU64>,
    checks: InlineVerifier,
}

impl Verifier for CountingVerifier {
    fn verify(
        &self,
        batch: Vec<ParsedRecord>,
    ) -> BoxFuture<'static, Vec<Result<ValidRecord, SignatureFault>>> {
        self.verified.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.checks.verify(batch)
    }
}

/// A store that also lies: it claims versions of which it only ever shows the heads, to have more on
/// the next page for ever, or that what it is given lives too short.
pub(crate) struct LyingStore {
    kept: MemoryStore,
    withheld: Mutex<Vec<ValidRecord>>,
    endless: AtomicBool,
    refuse: AtomicBool,
    mirrored: Mutex<Option<Arc<LyingStore>>>,
}

/// Signs in the name of one key with another, or honestly if they are the same.
struct Forger {
    named: [u8; 32],
    signs: InlineSigner,
}

impl Signer for Forger {
    fn sign(&self, messages: Vec<Vec<u8>>) -> BoxFuture<'static, Vec<[u8; 64]>> {
        self.signs.sign(messages)
    }

    fn public_key(&self) -> [u8; 32] {
        self.named
    }
}

impl LyingStore {
    /// Shows another store's fingerprints as its own from now on.
    pub(crate) fn mirror(&self, other: &Arc<LyingStore>) {
        *self.mirrored.lock().unwrap() = Some(Arc::clone(other));
    }

    /// Whether a record is here, in this version or another.
    pub(crate) async fn holds(&self, record: &ValidRecord) -> bool {
        let id = record.id();
        let slots = Some((id.slot, id.slot));
        let query = PageQuery { publisher: Some(id.publisher), slots, ..PageQuery::all(id.key) };
        !self.kept.find(query).wait().await.unwrap().records.is_empty()
    }

    /// Shows empty pages from now on, each with a next one.
    pub(crate) fn never_end(&self) {
        self.endless.store(true, Ordering::Relaxed);
    }

    /// Refuses the next batch.
    pub(crate) fn refuse_once(&self) {
        self.refuse.store(true, Ordering::Relaxed);
    }

    /// Shows this head from now on in place of what is in its slot.
    pub(crate) fn withhold(&self, head: ValidRecord) {
        self.withheld.lock().unwrap().push(head);
    }
}

impl RecordStore for LyingStore {
    fn find(&self, query: PageQuery) -> Fetch<Result<Page, Refusal>> {
        if self.endless.load(Ordering::Relaxed) {
            let slot = query.after.map_or(0, |after| after.slot + 1);
            let next = Some(Position { publisher: [0; 32], slot });
            return Fetch::Ready(Ok(Page { records: Vec::new(), next }));
        }
        let withheld = self.withheld.lock().unwrap();
        match withheld.iter().find(|head| head.id().key == query.key) {
            None => self.kept.find(query),
            Some(head) => {
                let records = vec![head.bytes().clone()];
                Fetch::Ready(Ok(Page { records, next: None }))
            }
        }
    }

    fn submit(&self, batch: Vec<Submission>) -> BoxFuture<'static, Vec<Result<Stored, Refusal>>> {
        if self.refuse.swap(false, Ordering::Relaxed) {
            let refused = Refusal::GuardTooShort { needed: UnixMs(0) };
            return Box::pin(std::future::ready(vec![Err(refused); batch.len()]));
        }
        self.kept.submit(batch)
    }

    fn writable(&self) -> Result<(), Refusal> {
        self.kept.writable()
    }

    fn fingerprints(&self, look: &mut dyn FnMut(&Fingerprints)) {
        let mirrored = self.mirrored.lock().unwrap().clone();
        mirrored.as_ref().map_or(&self.kept, |other| &other.kept).fingerprints(look);
    }

    fn set_resolution(&self, half_bytes: usize) {
        self.kept.set_resolution(half_bytes);
    }

    fn items(
        &self,
        part: Part,
        after: Option<RowKey>,
        limit: usize,
    ) -> Fetch<Result<Vec<Item>, Refusal>> {
        self.kept.items(part, after, limit)
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

impl Node {
    pub(crate) async fn start(options: NodeOptions) -> Self {
        let key = options.key.unwrap_or_else(|| NodeKey::generate().unwrap());
        let transport = QuicTransport::bind(QuicConfig {
            key: key.clone(),
            network: network(),
            listen: vec![options.listen],
            limits: TransportLimits::default(),
        })
        .unwrap();
        let signs =
            if options.forges_receipts { NodeKey::generate().unwrap() } else { key.clone() };
        let signer = Forger { named: key.public_key(), signs: InlineSigner::new(signs) };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let limits = Limits::default_for(1 << 30);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&NEXT_SEED.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let config = ContextConfig {
            solo: options.solo,
            timing: options.timing,
            watch: options.watch,
            ..ContextConfig::new(network(), options.mode, options.bootstrap)
        };
        let kept = MemoryStore::new(network(), clock.clone(), limits);
        let store = Arc::new(LyingStore {
            kept,
            withheld: Mutex::default(),
            endless: AtomicBool::default(),
            refuse: AtomicBool::default(),
            mirrored: Mutex::default(),
        });
        let verified = Arc::<AtomicU64>::default();
        let checks = InlineVerifier::new(network());
        let verifier = CountingVerifier { verified: Arc::clone(&verified), checks };
        let context = DhtContext::start(
            config,
            Foundations {
                transport,
                store: store.clone(),
                verifier: Arc::new(verifier),
                signer: Arc::new(signer),
                clock,
                resolver: Arc::new(SystemResolver),
                seed,
            },
        )
        .unwrap();
        Node { context, store, verified }
    }

    /// Waits until the node holds what its neighbours hold, and so counts in every put.
    pub(crate) async fn whole(&self) {
        while !self.context.is_whole() {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn address(&self) -> PeerAddress {
        let addr = self.context.local_addrs()[0];
        PeerAddress { id: Some(self.context.node_id()), ..PeerAddress::from(addr) }
    }

    pub(crate) fn open_connections(&self) -> usize {
        self.context.stats().connections
    }
}
