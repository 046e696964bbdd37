//! [`ClientBuilder`]: what a [`Client`] is made of, and how it gets a node of its own.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dht_context::clock::SystemClock;
use dht_context::config::ContextConfig;
use dht_context::node_key::NodeKey;
use dht_context::quic::{BindError, QuicConfig, QuicTransport, TransportLimits};
use dht_context::resolver::{Resolver, ServerResolver, SystemResolver};
use dht_context::store::MemoryStore;
use dht_context::verify::InlineSigner;
use dht_context::{DhtContext, Foundations, PeerAddress, Sources};
use dht_kad::NetworkName;
use dht_kad::admission::Limits;
use dht_kad::message::Mode;
use tokio::sync::Mutex;

use crate::client::Client;
use crate::entropy::Entropy;
use crate::error::ClientError;
use crate::identity::Identity;
use crate::names::NameRules;
use crate::profile::Profile;
use crate::workers::{Workers, WorkersVerifier};

/// How long an operation may take unless the builder says otherwise, joining the network included.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a [`Client`].
#[derive(Debug)]
pub struct ClientBuilder {
    network: NetworkName,
    bootstrap: Vec<PeerAddress>,
    sources: Sources,
    dns_server: Option<SocketAddr>,
    parts: Parts,
}

/// What a client has besides its node.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) identity: Option<Identity>,
    pub(crate) profile: Option<Profile>,
    pub(crate) entropy: Entropy,
    pub(crate) timeout: Duration,
    pub(crate) letters_limit: Option<u64>,
    pub(crate) names: Arc<NameRules>,
    /// Held while a name of one's own is changed.
    pub(crate) name_turn: Arc<Mutex<()>>,
    /// Who computes what takes long.
    pub(crate) workers: Workers,
}

impl ClientBuilder {
    /// Begins to make a client of this network. It needs at least one bootstrap peer.
    pub(crate) fn of(network: NetworkName) -> Self {
        let parts = Parts {
            identity: None,
            profile: None,
            entropy: Entropy::system(),
            timeout: DEFAULT_TIMEOUT,
            letters_limit: None,
            names: Arc::default(),
            name_turn: Arc::default(),
            workers: Workers::none(),
        };
        ClientBuilder {
            network,
            bootstrap: Vec::new(),
            sources: Sources::default(),
            dns_server: None,
            parts,
        }
    }

    /// Adds a peer to ask first; give several, so that one may be away.
    #[must_use]
    pub fn bootstrap(mut self, peer: PeerAddress) -> Self {
        self.bootstrap.push(peer);
        self
    }

    /// Asks these sources for peers besides; see [`Client::builder_of`] for those of a network file.
    #[must_use]
    pub fn sources(mut self, sources: Sources) -> Self {
        self.sources = sources;
        self
    }

    /// Asks this name server for hosts and TXT records; those that the system is configured with if not
    /// given.
    #[must_use]
    pub fn dns_server(mut self, server: SocketAddr) -> Self {
        self.dns_server = Some(server);
        self
    }

    /// Signs what is put and deleted. Without one the client only reads.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.parts.identity = Some(identity);
        self
    }

    /// Remembers in this profile what has to outlast the process. Without one, what needs it fails
    /// with [`ClientError::NoProfile`].
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.parts.profile = Some(profile);
        self
    }

    /// Draws secrets from here; from the operating system if not given.
    #[must_use]
    pub fn entropy(mut self, entropy: Entropy) -> Self {
        self.parts.entropy = entropy;
        self
    }

    /// How long each operation may take, joining the network included; [`DEFAULT_TIMEOUT`] if not
    /// given.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.parts.timeout = timeout;
        self
    }

    /// How many letters to one contact may wait to be acknowledged;
    /// [`WAITING_MAX`](crate::letters::WAITING_MAX) if not given.
    #[must_use]
    pub fn letters_waiting_max(mut self, letters: u64) -> Self {
        self.parts.letters_limit = Some(letters);
        self
    }

    /// By which rules names are claimed and read; all of a network use the same, and the standard ones
    /// if not given.
    #[must_use]
    pub fn name_rules(mut self, rules: NameRules) -> Self {
        self.parts.names = Arc::new(rules);
        self
    }

    /// Starts the client: it joins the network in the background, under a node key of its own that
    /// is forgotten with it. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// [`ClientError`] if the configuration cannot be used, or no socket or entropy is to be had.
    pub fn start(mut self) -> Result<Client, ClientError> {
        self.parts.workers = Workers::start();
        let network = self.network.clone();
        let mut config = ContextConfig::new(network.clone(), Mode::Client, self.bootstrap.clone());
        config.sources = self.sources;
        config.version = concat!("dht-client ", env!("CARGO_PKG_VERSION")).to_owned();
        config.check()?;
        // Chance has to differ between clients, and nothing more.
        let seed = *NodeKey::generate()?.to_seed_bytes();
        let clock = Arc::new(SystemClock);
        let key = NodeKey::generate()?;
        let foundations = Foundations {
            transport: bind(&key, &network)?,
            // A client stores nothing: there is no room in this store.
            store: Arc::new(MemoryStore::new(
                network.clone(),
                clock.clone(),
                Limits::default_for(0),
            )),
            verifier: Arc::new(WorkersVerifier::new(network, self.parts.workers.clone())),
            signer: Arc::new(InlineSigner::new(key)),
            clock,
            resolver: match self.dns_server {
                Some(server) => Arc::new(ServerResolver::new(server)) as Arc<dyn Resolver>,
                None => Arc::new(SystemResolver),
            },
            seed,
        };
        let context = DhtContext::start(config, foundations)?;
        Ok(Client::of(context, self.bootstrap.into(), self.parts))
    }

    /// Uses a node that runs already, such as one of a simulation; its bootstrap peers are its own.
    /// Needs a tokio runtime with time. All is computed on the thread that asks for it, so that a
    /// simulation repeats itself.
    #[must_use]
    pub fn over(self, context: DhtContext) -> Client {
        Client::of(context, self.bootstrap.into(), self.parts)
    }
}

/// A socket on any port for both IPv6 and IPv4, or for IPv4 alone where there is no IPv6.
fn bind(key: &NodeKey, network: &NetworkName) -> Result<Arc<QuicTransport>, BindError> {
    let config = |listen| QuicConfig {
        key: key.clone(),
        network: network.clone(),
        listen: vec![listen],
        limits: TransportLimits::default(),
    };
    QuicTransport::bind(config(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))))
        .or_else(|_| QuicTransport::bind(config(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))))
}
