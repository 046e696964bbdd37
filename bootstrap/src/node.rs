//! The assembly: opens what a node stands on, starts it, and stops it in order.
//!
//! ```text
//! start:  store (locks the data directory) ─▶ key ─▶ UDP ─▶ admin TCP ─▶ verify threads ─▶ context
//! stop:   handed over ─▶ peers saved ─▶ store refuses, finishes, flushes ─▶ connections closed ─▶ admin closed
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dht_context::clock::{Clock, SystemClock};
use dht_context::config::ConfigError as ContextConfigError;
use dht_context::node_key::{EntropyError, NodeKey};
use dht_context::quic::{BindError, QuicConfig, QuicTransport, TransportLimits};
use dht_context::replication::LeaveReport;
use dht_context::resolver::SystemResolver;
use dht_context::{ContextConfig, DhtContext, Foundations};
use dht_kad::admission::Limits;
use dht_kad::message::Mode;
use dht_kad::{ErrorNumber, NodeId};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::admin::{self, ReadNode};
use crate::config::{Config, RunMode};
use crate::node_identity::{self, IdentityError};
use crate::reading::NodeReader;
use crate::store::{OpenError, RocksStore, StoreConfig};
use crate::verify_threads::VerifyThreads;

/// What a pong says of this program.
pub const VERSION: &str = concat!("dht-bootstrap ", env!("CARGO_PKG_VERSION"));

/// A stop waits so long for who is asking the admin address: a request that never ends must not hold
/// up the node's own end until systemd kills it.
const ADMIN_LONGEST: Duration = Duration::from_secs(1);

/// A node cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The node's key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The UDP address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin address.
    #[error(
        "the admin address {addr} cannot be used ({reason}); free the port or choose another with --admin"
    )]
    Admin {
        /// Which.
        addr: SocketAddr,
        /// What the operating system said.
        reason: io::Error,
    },
    /// The threads that check signatures.
    #[error("the threads that check signatures cannot start ({0}); raise the limit on tasks")]
    Threads(io::Error),
    /// The context.
    #[error(transparent)]
    Context(#[from] ContextConfigError),
    /// No chance.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl StartError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            StartError::Store(error) => error.number(),
            StartError::Identity(error) => error.number(),
            StartError::Bind(error) => error.number(),
            StartError::Admin { .. } => ErrorNumber::AddressInUse,
            StartError::Context(_) => ErrorNumber::BadConfig,
            StartError::Threads(_) | StartError::Entropy(_) => ErrorNumber::Internal,
        }
    }
}

/// A running node.
pub struct Node {
    context: DhtContext,
    stop_admin: oneshot::Sender<()>,
    admin: JoinHandle<()>,
}

impl Node {
    /// Starts a node. It answers at once; [`Node::ready`] says when it is usable.
    ///
    /// # Errors
    /// [`StartError`]; nothing that was there is changed then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Arc::new(RocksStore::open(StoreConfig {
            dir: config.data_dir.clone(),
            network: config.network.clone(),
            clock: Arc::clone(&clock),
            limits: Limits::default_for(config.store.max_bytes),
            cache_bytes: config.store.cache_bytes,
            min_free_bytes: config.store.min_free_bytes,
        })?);
        let key = node_identity::load_or_create(&config.data_dir)?;
        let transport = QuicTransport::bind(QuicConfig {
            key: key.clone(),
            network: config.network.clone(),
            listen: config.listen.clone(),
            limits: TransportLimits::default(),
        })?;
        let admin = TcpListener::bind(config.admin)
            .await
            .map_err(|reason| StartError::Admin { addr: config.admin, reason })?;
        let signatures = VerifyThreads::start(&config.network, key, config.verify_threads)
            .map_err(StartError::Threads)?;
        let signatures = Arc::new(signatures);
        let mode = match config.mode {
            RunMode::Client => Mode::Client,
            RunMode::Server | RunMode::Auto => Mode::Server,
        };
        let context = DhtContext::start(
            ContextConfig {
                solo: config.solo,
                repair_bytes_per_sec: config.repair_bytes_per_sec,
                version: VERSION.to_owned(),
                ..ContextConfig::new(config.network, mode, config.bootstrap)
            },
            Foundations {
                transport,
                store: store.clone(),
                verifier: signatures.clone(),
                signer: signatures,
                clock,
                resolver: Arc::new(SystemResolver),
                seed: *NodeKey::generate()?.to_seed_bytes(),
            },
        )?;
        let (stop_admin, stopped) = oneshot::channel();
        let reader = NodeReader::new(context.clone(), store, config.store);
        let read: ReadNode = Arc::new(move || reader.read());
        let admin = tokio::spawn(admin::serve(admin, read, async {
            // Either it was told to stop, or the node is gone.
            let _ = stopped.await;
        }));
        Ok(Node { context, stop_admin, admin })
    }

    /// Waits until the node is usable.
    pub async fn ready(&self) {
        self.context.ready().await;
    }

    /// The node's name.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.context.node_id()
    }

    /// The UDP addresses that it is bound to.
    #[must_use]
    pub fn listen(&self) -> &[SocketAddr] {
        self.context.local_addrs()
    }

    /// Hands over all that the node holds, and tells the network that it leaves for good. It still
    /// is to be [stopped](Self::stop).
    pub async fn leave(&self, progress: impl FnMut(&LeaveReport)) -> LeaveReport {
        self.context.leave(progress).await
    }

    /// Refuses puts from now on, as a node does that stops.
    pub fn refuse_puts(&self) {
        self.context.refuse_puts();
    }

    /// Stops in order. Everything acknowledged is on disk before and after.
    pub async fn stop(self) {
        self.context.stop().await;
        // The admin task may be gone already; either way nothing is left to stop.
        let _ = self.stop_admin.send(());
        let closer = self.admin.abort_handle();
        if tokio::time::timeout(ADMIN_LONGEST, self.admin).await.is_err() {
            closer.abort();
        }
    }
}
