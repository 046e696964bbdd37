//! A holder in this process: the daemon's store, signature threads and transport, and no schedule of
//! its own, so that only those rounds are held that are asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dht_bootstrap::store::RocksStore;
use dht_bootstrap::verify_threads::VerifyThreads;
use dht_context::clock::SystemClock;
use dht_context::config::Timing;
use dht_context::node_key::NodeKey;
use dht_context::quic::{QuicConfig, QuicTransport, TransportLimits};
use dht_context::replication::RoundReport;
use dht_context::resolver::SystemResolver;
use dht_context::transport::Transport;
use dht_context::{ContextConfig, DhtContext, Foundations};
use dht_kad::message::{Mode, NodeInfo};
use dht_kad::reconcile::Prefix;

use super::corpus;
use crate::records::network;

/// When a holder would begin to repair by itself: later than it lives.
const NEVER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A server with its own place on loopback.
pub(super) struct Holder {
    context: DhtContext,
    store: Arc<RocksStore>,
    info: NodeInfo,
}

impl Holder {
    /// Opens the store in this folder, and answers for it.
    pub(super) async fn start(dir: &Path, number: u8) -> Self {
        let store = Arc::new(corpus::open(dir));
        let key = NodeKey::from_seed([number; 32]);
        let transport = QuicTransport::bind(QuicConfig {
            key: key.clone(),
            network: network(),
            listen: vec![([127, 0, 0, 1], 0).into()],
            limits: TransportLimits::default(),
        })
        .expect("a port of loopback");
        let info = NodeInfo { id: key.id(), addrs: transport.local_addrs() };
        let signatures = VerifyThreads::start(&network(), key, 1).expect("a thread");
        let signatures = Arc::new(signatures);
        let timing = Timing {
            repair_wait: NEVER,
            repair_soon: NEVER,
            repair_every: NEVER,
            ..Timing::default()
        };
        let config = ContextConfig::new(network(), Mode::Server, Vec::new());
        let context = DhtContext::start(
            ContextConfig { solo: true, timing, ..config },
            Foundations {
                transport,
                store: store.clone(),
                verifier: signatures.clone(),
                signer: signatures,
                clock: Arc::new(SystemClock),
                resolver: Arc::new(SystemResolver),
                seed: [number; 32],
            },
        )
        .expect("a context");
        context.ready().await;
        Holder { context, store, info }
    }

    /// Compares with another holder what lies under these prefixes, and fetches what lacks.
    pub(super) async fn round(&self, other: &Holder, range: &[Prefix]) -> RoundReport {
        let round = self.context.compare_with(&other.info, range).await;
        round.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Its store.
    pub(super) fn store(&self) -> &RocksStore {
        &self.store
    }

    /// Stops, and closes the store.
    pub(super) async fn stop(self) {
        self.context.stop().await;
    }
}
