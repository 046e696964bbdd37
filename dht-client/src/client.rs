//! [`Client`]: a node that only asks, with an identity to sign with and a limit on every wait.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dht_context::clock::{Clock, SystemClock};
use dht_context::registry::PeerSummary;
use dht_context::requests::AskError;
use dht_context::stats::StatsSnapshot;
use dht_context::transport::DialError;
use dht_context::{
    Delete, DhtContext, GetError, GetOptions, GetReport, ListReport, NetworkFile, PeerAddress, Put,
    PutReport, Slot, Sources,
};
use dht_kad::domain;
use dht_kad::message::{Mode, NodeInfo, Pong};
use dht_kad::record::RecordSigner;
use dht_kad::{Key, NetworkName, NodeId, UnixMs};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::builder::{ClientBuilder, Parts};
use crate::cache::Cache;
use crate::entropy::Entropy;
use crate::error::ClientError;
use crate::identity::Identity;
use crate::letters::Post;
use crate::names::NameRules;
use crate::profile::Profile;
use crate::upkeep::Upkeep;
use crate::watch::Watching;
use crate::workers::Workers;
use crate::writes::Writing;

/// When a client is not ready after so long, it finds out why: longer than joining takes over a
/// slow path, since asking costs a second connection to each bootstrap peer.
const DIAGNOSE_AFTER: Duration = Duration::from_secs(1);
/// The wait between two attempts to find out why the client is not ready.
const DIAGNOSE_EVERY: Duration = Duration::from_secs(2);
/// A stop is given up after so long; what is lost then is only the word to the peers.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// A running client: cheap to clone, all clones are the same one.
#[derive(Clone)]
pub struct Client {
    pub(crate) context: DhtContext,
    bootstrap: Arc<[PeerAddress]>,
    parts: Parts,
    upkeep: Upkeep,
    post: Post,
    writer: Writing,
    cache: Cache,
    pub(crate) watching: Watching,
}

/// A peer that was pinged.
#[derive(Clone, PartialEq, Debug)]
pub struct PingReport {
    /// Who answered, and where.
    pub node: NodeInfo,
    /// What it answered.
    pub pong: Pong,
    /// How long the answer took.
    pub rtt: Option<Duration>,
    /// The peer's clock minus this machine's, in milliseconds, give or take half of `rtt`.
    pub clock_difference_ms: i64,
}

impl Client {
    /// Begins to make a client of the network that a file defines, with the seeds, names in the DNS and
    /// registry that the file gives it, and the signed list of bootstrap nodes that lies beside the file.
    /// It needs no bootstrap peer besides.
    ///
    /// # Errors
    /// [`ClientError::NetworkFile`] if the file, or the list, cannot be read.
    pub fn builder_of(network_file: &Path) -> Result<ClientBuilder, ClientError> {
        let file = NetworkFile::read(network_file)?;
        let sources = Sources::with_lists(network_file, &file, &[])?;
        Ok(Client::builder(file.name).sources(sources))
    }

    /// Begins to make a client of this network. It needs at least one bootstrap peer.
    #[must_use]
    pub fn builder(network: NetworkName) -> ClientBuilder {
        ClientBuilder::of(network)
    }

    /// The label of the application's own name for something.
    #[must_use]
    pub fn label(&self, name: &str) -> [u8; 32] {
        domain::label(self.network(), name)
    }

    /// The network that it belongs to.
    #[must_use]
    pub fn network(&self) -> &NetworkName {
        self.context.network()
    }

    /// The name of this client's node, which is made anew for each.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.context.node_id()
    }

    /// Who signs.
    ///
    /// # Errors
    /// [`ClientError::NoIdentity`] if nobody does.
    pub fn identity(&self) -> Result<&Identity, ClientError> {
        self.parts.identity.as_ref().ok_or(ClientError::NoIdentity)
    }

    /// What outlasts the process.
    ///
    /// # Errors
    /// [`ClientError::NoProfile`] if nothing does.
    pub fn profile(&self) -> Result<&Profile, ClientError> {
        self.parts.profile.as_ref().ok_or(ClientError::NoProfile)
    }

    /// A client over this node, with all that works in the background of it.
    pub(crate) fn of(context: DhtContext, bootstrap: Arc<[PeerAddress]>, parts: Parts) -> Self {
        let bare = Client {
            context,
            bootstrap,
            parts,
            upkeep: Upkeep::default(),
            post: Post::new(),
            writer: Writing::default(),
            cache: Cache::default(),
            watching: Watching::default(),
        };
        let client = Client { writer: Writing::of(&bare), ..bare };
        Client { upkeep: Upkeep::of(&client), ..client }
    }

    /// What its clones share about letters.
    pub(crate) fn post(&self) -> &Post {
        &self.post
    }

    /// The same client without what ends with its last clone: for the tasks that do.
    pub(crate) fn without_tasks(&self) -> Self {
        let (upkeep, post) = (Upkeep::default(), self.post.without_task());
        Client { upkeep, post, ..self.clone() }
    }

    /// How many letters to one contact may wait to be acknowledged, if the builder said so.
    pub(crate) fn letters_limit(&self) -> Option<u64> {
        self.parts.letters_limit
    }

    /// What it has got a short time ago.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What delivers its queued writes.
    pub(crate) fn writing(&self) -> &Writing {
        &self.writer
    }

    /// Where secrets are drawn from.
    pub(crate) fn entropy(&self) -> &Entropy {
        &self.parts.entropy
    }

    /// Who computes what takes long.
    pub(crate) fn workers(&self) -> &Workers {
        &self.parts.workers
    }

    /// By which rules names are claimed and read.
    pub(crate) fn name_rules(&self) -> &NameRules {
        &self.parts.names
    }

    /// Whose turn it is to change names of one's own: one operation at a time.
    pub(crate) fn name_turn(&self) -> &Mutex<()> {
        &self.parts.name_turn
    }

    /// The present moment.
    pub(crate) fn now(&self) -> UnixMs {
        self.context.now()
    }

    /// How long one operation may take.
    pub(crate) fn time_limit(&self) -> Duration {
        self.parts.timeout
    }

    /// Waits until a put can succeed. Every operation but a ping does this by itself.
    ///
    /// # Cancel safety
    /// Joining goes on in the background.
    ///
    /// # Errors
    /// [`ClientError`] says why the network cannot be joined: nobody answers, or somebody else than
    /// the pinned node does.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.limited(async { Ok(()) }).await
    }

    /// Signs a value and puts it.
    ///
    /// # Cancel safety
    /// Nodes that were sent the value may keep it, and it may be found from then on. To put again supersedes
    /// it; [`enqueue`](Self::enqueue) is for what has to arrive.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity, or as [`PutError`](crate::PutError) says.
    pub async fn put(&self, put: Put) -> Result<PutReport, ClientError> {
        self.put_by(self.identity()?.signing_key(), put).await
    }

    /// Puts a value that `signer` signs, such as a [blinded key](crate::identity::blinding).
    ///
    /// # Cancel safety
    /// As [`put`](Self::put).
    ///
    /// # Errors
    /// [`ClientError`], as [`PutError`](crate::PutError) says.
    pub async fn put_by(
        &self,
        signer: &dyn RecordSigner,
        put: Put,
    ) -> Result<PutReport, ClientError> {
        self.limited(async { Ok(self.context.put(signer, put).await?) }).await
    }

    /// Deletes what this client's identity keeps in a slot.
    ///
    /// # Cancel safety
    /// As [`put`](Self::put): some nodes may have deleted it already.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity, or as [`PutError`](crate::PutError) says; that nothing
    /// is there is an error, too.
    pub async fn delete(&self, delete: Delete) -> Result<PutReport, ClientError> {
        let identity = self.identity()?;
        self.limited(async { Ok(self.context.delete(identity.signing_key(), delete).await?) }).await
    }

    /// Gets the newest version of a slot.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// [`ClientError`], as [`GetError`](crate::GetError) says; that nothing is there is one.
    pub async fn get(&self, slot: &Slot, options: GetOptions) -> Result<GetReport, ClientError> {
        self.limited(async { Ok(self.context.get(slot, options).await?) }).await
    }

    /// Gets the immutable content at a key.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_content(
        &self,
        key: Key,
        options: GetOptions,
    ) -> Result<GetReport, ClientError> {
        self.get(&Slot::Content { key }, options).await
    }

    /// Lists what a publisher keeps under a label of its own.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// [`ClientError`], as [`ListError`](crate::ListError) says; an empty list is none.
    pub async fn list(
        &self,
        publisher: &[u8; 32],
        label: &[u8; 32],
    ) -> Result<ListReport, ClientError> {
        self.limited(async { Ok(self.context.list_owned(publisher, label).await?) }).await
    }

    /// Lists what everyone keeps under a topic.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn list_topic(&self, label: &[u8; 32]) -> Result<ListReport, ClientError> {
        self.limited(async { Ok(self.context.list_topic(label).await?) }).await
    }

    /// Looks up the servers closest to a key, closest first; at least one.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// [`ClientError`] if nobody answers.
    pub async fn lookup(&self, key: &Key) -> Result<Vec<NodeInfo>, ClientError> {
        let found = self.limited(async { Ok(self.context.lookup(key).await) }).await?;
        match found.is_empty() {
            true => Err(GetError::NoPeers.into()),
            false => Ok(found),
        }
    }

    /// Asks one peer how it is, be it part of the network or not.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// [`ClientError`] if it does not answer, or is not the node that was named.
    pub async fn ping(&self, peer: &PeerAddress) -> Result<PingReport, ClientError> {
        let (node, pong) = timeout(self.parts.timeout, self.context.ping(peer))
            .await
            .map_err(|_| ClientError::TimedOut(self.parts.timeout))??;
        let known = self.context.peers().into_iter().find(|known| known.id == node.id);
        let rtt = known.and_then(|known| known.rtt);
        let one_way_ms = rtt.map_or(0, |rtt| u64::try_from(rtt.as_millis() / 2).unwrap_or(0));
        let theirs = pong.clock.after(one_way_ms).0;
        let clock_difference_ms = theirs.wrapping_sub(SystemClock.now().0).cast_signed();
        Ok(PingReport { node, pong, rtt, clock_difference_ms })
    }

    /// What is known of each peer.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerSummary> {
        self.context.peers()
    }

    /// What this client counted.
    #[must_use]
    pub fn stats(&self) -> StatsSnapshot {
        self.context.stats()
    }

    /// Finishes what is under way and takes leave of the peers.
    ///
    /// # Cancel safety
    /// Whatever was not told to the peers by then, they find out; call it again to go on.
    pub async fn stop(&self) {
        self.post.end();
        self.upkeep.end();
        // A peer that went silent is not waited for.
        let _ = timeout(STOP_LIMIT, self.writer.finish()).await;
        self.writer.stop();
        let _ = timeout(STOP_LIMIT, self.context.stop()).await;
    }

    /// Does `operation` once the client is ready, both within the time limit.
    pub(crate) fn limited<T>(
        &self,
        operation: impl Future<Output = Result<T, ClientError>>,
    ) -> impl Future<Output = Result<T, ClientError>> {
        // Not a future around a future: each would hold the operation's own.
        self.limited_to(self.parts.timeout, operation)
    }

    /// Does `operation` once the client is ready, both within this limit.
    pub(crate) async fn limited_to<T>(
        &self,
        limit: Duration,
        operation: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let mut unready = None;
        let done = timeout(limit, async {
            if !self.context.is_ready() {
                self.join(&mut unready).await?;
            }
            operation.await
        });
        match done.await {
            Ok(result) => result,
            Err(_) if self.context.is_ready() => Err(ClientError::TimedOut(limit)),
            Err(_) => Err(unready.unwrap_or(GetError::NoPeers.into())),
        }
    }

    /// Waits until the client is ready, and meanwhile finds out why it is not: into `unready`, or
    /// as an error if waiting will not help.
    async fn join(&self, unready: &mut Option<ClientError>) -> Result<(), ClientError> {
        let hopeless = async {
            sleep(DIAGNOSE_AFTER.min(self.parts.timeout / 2)).await;
            loop {
                let error = self.diagnose().await;
                if let Some(ClientError::Ask(error)) = error {
                    return ClientError::Ask(error);
                }
                *unready = error.or(unready.take());
                sleep(DIAGNOSE_EVERY).await;
            }
        };
        tokio::select! {
            biased;
            () = self.context.ready() => Ok(()),
            error = hopeless => Err(error),
        }
    }

    /// Asks the bootstrap peers one by one why the network cannot be joined; nothing if one of them
    /// answers as it should.
    async fn diagnose(&self) -> Option<ClientError> {
        let mut last = None;
        let (mut refused, mut clients) = (None, false);
        for peer in self.bootstrap.iter() {
            match self.context.ping(peer).await {
                Ok((_, pong)) if pong.mode == Mode::Server => return None,
                Ok(_) => clients = true,
                Err(error) if is_lasting(&error) => refused = refused.or(Some(error)),
                Err(error) => last = Some(error),
            }
        }
        match (refused, last) {
            // Somebody answers, and not as he should: that will not change by waiting, unless
            // another peer, which is silent now, comes back.
            (Some(error), None) if !clients => Some(ClientError::Ask(error)),
            (Some(last), _) | (None, Some(last)) => Some(ClientError::NoPeers { last }),
            (None, None) => clients.then_some(ClientError::NoServer),
        }
    }
}

/// Whether a peer answered in a way that waiting will not change.
fn is_lasting(error: &AskError) -> bool {
    matches!(error, AskError::Dial(DialError::WrongNode { .. } | DialError::Refused { .. }))
}
