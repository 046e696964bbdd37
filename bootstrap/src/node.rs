//! The assembly: opens what a node stands on, starts it, and stops it in order.
//!
//! ```text
//! start:  store (locks the data directory; on a thread of its own) ─▶ key ─▶ UDP ─▶ admin TCP ─▶ verify threads ─▶ context
//! stop:   handed over ─▶ peers saved ─▶ store refuses, finishes, flushes ─▶ connections closed ─▶ admin closed
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dht_context::clock::{Clock, SystemClock};
use dht_context::config::ConfigError as ContextConfigError;
use dht_context::network_file::NetworkFileError;
use dht_context::node_key::{EntropyError, NodeKey};
use dht_context::quic::{BindError, QuicConfig, QuicTransport, TransportLimits};
use dht_context::replication::LeaveReport;
use dht_context::resolver::{Resolver, ServerResolver, SystemResolver};
use dht_context::sources::Sources;
use dht_context::{ContextConfig, DhtContext, Foundations};
use dht_kad::admission::Limits;
use dht_kad::message::Mode;
use dht_kad::{ErrorNumber, NodeId};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

use crate::admin::{self, ReadNode};
use crate::config::{Config, RunMode};
use crate::kept_list;
use crate::machine::NodeMachine;
use crate::node_identity::{self, IdentityError};
use crate::reading::NodeReader;
use crate::status::NodeStatus;
use crate::store::{OpenError, RocksStore, StoreConfig};
use crate::verify_threads::VerifyThreads;
use crate::watchdog::Watched;

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
    /// A signed list of bootstrap nodes that is there and cannot be read.
    #[error(transparent)]
    List(#[from] NetworkFileError),
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
    /// The thread that opens the store failed.
    #[error("the store could not be opened ({0}); report this fault")]
    Opening(JoinError),
}

impl StartError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            StartError::Store(error) => error.number(),
            StartError::List(_) => ErrorNumber::FileAccess,
            StartError::Identity(error) => error.number(),
            StartError::Bind(error) => error.number(),
            StartError::Admin { .. } => ErrorNumber::AddressInUse,
            StartError::Context(_) => ErrorNumber::BadConfig,
            StartError::Threads(_) | StartError::Entropy(_) | StartError::Opening(_) => {
                ErrorNumber::Internal
            }
        }
    }
}

/// A running node.
pub struct Node {
    context: DhtContext,
    store: Arc<RocksStore>,
    read: ReadNode,
    stop_admin: oneshot::Sender<()>,
    admin: JoinHandle<()>,
    keep_list: JoinHandle<()>,
}

impl Node {
    /// Starts a node. It answers at once; [`Node::ready`] says when it is usable.
    ///
    /// # Errors
    /// [`StartError`]; nothing that was there is changed then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store_config = StoreConfig {
            dir: config.data_dir.clone(),
            network: config.network.clone(),
            clock: Arc::clone(&clock),
            limits: Limits::default_for(config.store.max_bytes),
            cache_bytes: config.store.cache_bytes,
            min_free_bytes: config.store.min_free_bytes,
        };
        // A large store takes long to open, and signals are to be seen meanwhile.
        let opening = tokio::task::spawn_blocking(move || RocksStore::open(store_config));
        let store = Arc::new(opening.await.map_err(StartError::Opening)??);
        let sources = match &config.network_file {
            Some((path, file)) => {
                Sources::with_lists(path, file, &[kept_list::path(&config.data_dir)])?
            }
            None => Sources::default(),
        };
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
                sources,
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
                resolver: resolver(config.dns_server),
                seed: *NodeKey::generate()?.to_seed_bytes(),
            },
        )?;
        context.tell_of(Arc::new(NodeMachine::new(Arc::clone(&store), config.store.max_bytes)));
        let keep_list = tokio::spawn(keep_list(context.clone(), config.data_dir));
        let (stop_admin, stopped) = oneshot::channel();
        let reader = NodeReader::new(context.clone(), Arc::clone(&store), config.store);
        let read: ReadNode = Arc::new(move || reader.read());
        let admin = tokio::spawn(admin::serve(admin, Arc::clone(&read), async {
            // Either it was told to stop, or the node is gone.
            let _ = stopped.await;
        }));
        Ok(Node { context, store, read, stop_admin, admin, keep_list })
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

    /// The node's state now.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        (self.read)().status
    }

    /// The node as its network sees it.
    #[must_use]
    pub fn context(&self) -> &DhtContext {
        &self.context
    }

    /// What a [`watchdog`](crate::watchdog) has to ask.
    #[must_use]
    pub fn watched(&self) -> Watched {
        let store = Arc::clone(&self.store);
        Watched {
            node: self.id(),
            network: self.context.network().clone(),
            sockets: self.listen().to_vec(),
            ask_writer: Box::new(move || store.writer_answers()),
        }
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
        self.keep_list.abort();
        self.context.stop().await;
        // The admin task may be gone already; either way nothing is left to stop.
        let _ = self.stop_admin.send(());
        let closer = self.admin.abort_handle();
        if tokio::time::timeout(ADMIN_LONGEST, self.admin).await.is_err() {
            closer.abort();
        }
    }
}

/// Who finds hosts and names: this name server, or the system.
pub(crate) fn resolver(server: Option<SocketAddr>) -> Arc<dyn Resolver> {
    match server {
        Some(server) => Arc::new(ServerResolver::new(server)),
        None => Arc::new(SystemResolver),
    }
}

/// Keeps each newer list of the network's registry for the next start.
async fn keep_list(context: DhtContext, data_dir: PathBuf) {
    let mut kept = 0;
    loop {
        let (seq, bytes) = context.newer_registry_list(kept).await;
        if let Err(error) = kept_list::save(&data_dir, &bytes) {
            tracing::warn!(%error, "the registry's list could not be kept; it is asked for again after a restart");
        }
        kept = seq;
    }
}
