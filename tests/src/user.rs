//! [`User`]: the client library in this process, with an identity, for thousands of operations.

use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use dht_client::{
    Client, ClientError, Consistency, GetOptions, GetReport, Identity, Put, PutReport, Slot,
};
use dht_kad::ErrorNumber;
use tokio::runtime::{Builder, Runtime};

use crate::records::network;

/// How long one operation may take: longer than anything it waits for.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A user of the network. Stops when dropped.
pub struct User {
    client: Client,
    publisher: [u8; 32],
}

/// Runs the sockets of all clients of this process, while tests wait on their own threads.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().expect("a runtime")
    })
}

/// Does something asynchronous to its end. It is boxed, since the runtime's part of waiting would be
/// compiled again for each future.
pub fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let future: Pin<Box<dyn Future<Output = T> + '_>> = Box::pin(future);
    runtime().block_on(future)
}

impl User {
    /// A user with an identity made from a number, who asks these peers first.
    #[must_use]
    pub fn new(identity: u8, peers: &[String]) -> Self {
        Self::with_identity(&Identity::from_root(&[identity; 32]), peers)
    }

    /// A user with this identity.
    #[must_use]
    pub fn with_identity(identity: &Identity, peers: &[String]) -> Self {
        let publisher = identity.public_key();
        let mut builder = Client::builder(network()).identity(identity.clone()).timeout(TIMEOUT);
        for peer in peers {
            builder = builder.bootstrap(peer.parse().expect("a peer"));
        }
        let client = {
            let _inside = runtime().enter();
            builder.start().expect("a client")
        };
        User { client, publisher }
    }

    /// The client itself.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whom the network knows the user as.
    #[must_use]
    pub fn publisher(&self) -> [u8; 32] {
        self.publisher
    }

    /// A slot under a label of the user's own.
    #[must_use]
    pub fn slot(&self, label: &str, slot: u64) -> Slot {
        Slot::Owned { publisher: self.publisher, label: self.client.label(label), slot }
    }

    /// A put of the first version under a label of the user's own.
    #[must_use]
    pub fn first(&self, label: &str, slot: u64, body: impl Into<Bytes>) -> Put {
        let label = self.client.label(label);
        Put { slot, first_version: true, ..Put::owned(label, body.into()) }
    }

    /// Puts a value that has to be taken.
    #[must_use]
    pub fn put(&self, put: Put) -> PutReport {
        self.try_put(put).expect("a put that succeeds")
    }

    /// Puts a value.
    ///
    /// # Errors
    /// As the client says.
    pub fn try_put(&self, put: Put) -> Result<PutReport, ClientError> {
        wait_for(self.client.put(put))
    }

    /// Reads a slot by the word of a majority.
    ///
    /// # Errors
    /// The number of what the client says.
    pub fn get(&self, slot: &Slot) -> Result<GetReport, ErrorNumber> {
        self.get_by(slot, Consistency::Quorum)
    }

    /// Reads a slot.
    ///
    /// # Errors
    /// The number of what the client says.
    pub fn get_by(&self, slot: &Slot, consistency: Consistency) -> Result<GetReport, ErrorNumber> {
        let options = GetOptions { consistency, verify: true };
        wait_for(self.client.get(slot, options)).map_err(|error| error.number())
    }
}

impl Drop for User {
    fn drop(&mut self) {
        wait_for(self.client.stop());
    }
}
