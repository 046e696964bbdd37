//! [`Forgetful`]: a node that answers like any other, gives receipts, and keeps nothing.
//!
//! It is the real context over a store that says `Stored` and drops what it was given: what a monitor
//! that only pings takes for a healthy node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;

use bytes::Bytes;
use dht_context::clock::SystemClock;
use dht_context::node_key::NodeKey;
use dht_context::quic::{QuicConfig, QuicTransport, TransportLimits};
use dht_context::registry::SavedPeer;
use dht_context::resolver::SystemResolver;
use dht_context::store::{
    CommitObserver, Fetch, MemoryStore, Page, PageQuery, RecordStore, StoreUsage, Submission,
};
use dht_context::verify::{InlineSigner, InlineVerifier};
use dht_context::{ContextConfig, DhtContext, Foundations, PeerAddress};
use dht_kad::admission::Limits;
use dht_kad::message::{Mode, Stored};
use dht_kad::reconcile::{Fingerprints, Item, Part, RowKey};
use dht_kad::{Refusal, UnixMs};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::records::network;

/// A node that keeps nothing. It ends when this is dropped.
#[derive(Debug)]
pub struct Forgetful {
    addr: SocketAddr,
    /// Dropped, it ends the node's thread.
    _end: oneshot::Sender<()>,
}

impl Forgetful {
    /// Starts one that joins by these peers, and waits until it is ready.
    #[must_use]
    pub fn start(peers: &[String]) -> Self {
        let peers = peers.iter().map(|peer| peer.parse().expect("a peer")).collect();
        let (report, started) = channel();
        let (end, ended) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let node = start(peers);
                node.ready().await;
                let _ = report.send(node.local_addrs()[0]);
                let _ = ended.await;
                node.stop().await;
            });
        });
        Forgetful { addr: started.recv().expect("it starts"), _end: end }
    }

    /// How others are told of it: `host:port`.
    #[must_use]
    pub fn peer(&self) -> String {
        self.addr.to_string()
    }
}

fn start(bootstrap: Vec<PeerAddress>) -> DhtContext {
    let key = NodeKey::generate().expect("entropy");
    let transport = QuicTransport::bind(QuicConfig {
        key: key.clone(),
        network: network(),
        listen: vec![([127, 0, 0, 1], 0).into()],
        limits: TransportLimits::default(),
    })
    .expect("a port of loopback");
    let clock = Arc::new(SystemClock);
    let kept = MemoryStore::new(network(), clock.clone(), Limits::default_for(1 << 30));
    DhtContext::start(
        ContextConfig::new(network(), Mode::Server, bootstrap),
        Foundations {
            transport,
            store: Arc::new(Dropping(kept)),
            verifier: Arc::new(InlineVerifier::new(network())),
            signer: Arc::new(InlineSigner::new(key)),
            clock,
            resolver: Arc::new(SystemResolver),
            seed: *NodeKey::generate().expect("entropy").to_seed_bytes(),
        },
    )
    .expect("a context")
}

/// Says that it has stored what it drops. All else is that of a store in which nothing is.
struct Dropping(MemoryStore);

impl RecordStore for Dropping {
    fn submit(&self, batch: Vec<Submission>) -> BoxFuture<'static, Vec<Result<Stored, Refusal>>> {
        let expires_at = |submission: &Submission| submission.record.expires_at();
        let stored = batch.iter().map(|one| Ok(Stored { expires_at: expires_at(one) })).collect();
        Box::pin(std::future::ready(stored))
    }

    fn find(&self, query: PageQuery) -> Fetch<Result<Page, Refusal>> {
        self.0.find(query)
    }

    fn writable(&self) -> Result<(), Refusal> {
        self.0.writable()
    }

    fn fingerprints(&self, look: &mut dyn FnMut(&Fingerprints)) {
        self.0.fingerprints(look);
    }

    fn set_resolution(&self, half_bytes: usize) {
        self.0.set_resolution(half_bytes);
    }

    fn items(
        &self,
        part: Part,
        after: Option<RowKey>,
        limit: usize,
    ) -> Fetch<Result<Vec<Item>, Refusal>> {
        self.0.items(part, after, limit)
    }

    fn saved_progress(&self) -> Bytes {
        self.0.saved_progress()
    }

    fn save_progress(&self, progress: Bytes) -> BoxFuture<'static, Result<(), Refusal>> {
        self.0.save_progress(progress)
    }

    fn usage(&self) -> StoreUsage {
        self.0.usage()
    }

    fn saved_peers(&self) -> Vec<SavedPeer> {
        self.0.saved_peers()
    }

    fn save_peers(&self, peers: Vec<SavedPeer>) -> BoxFuture<'static, Result<(), Refusal>> {
        self.0.save_peers(peers)
    }

    fn note_clock(&self, agrees: Option<bool>, wall: UnixMs) {
        self.0.note_clock(agrees, wall);
    }

    fn incarnation(&self) -> Option<u64> {
        self.0.incarnation()
    }

    fn observe(&self, observer: Arc<dyn CommitObserver>) -> u64 {
        self.0.observe(observer)
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.0.close()
    }
}
