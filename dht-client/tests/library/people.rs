//! Somebody with an identity, a profile and a client of their own.

use dht_client::entropy::Entropy;
use dht_client::profile::Profile;
use dht_client::{Client, ClientBuilder, Identity};
use tokio::runtime::{Builder, Runtime};

use crate::servers::{NETWORK, servers};

/// A runtime as applications should have it: one thread.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A client of the shared servers for this identity, with a profile that is forgotten with it.
pub(crate) fn client_of(identity: &Identity) -> Client {
    let network = NETWORK.parse().unwrap();
    let entropy = Entropy::system();
    let profile = Profile::in_memory(&identity.public_key(), &network, &entropy).unwrap();
    started(Client::builder(network).identity(identity.clone()).profile(profile))
}

/// A client of the shared servers for this identity, which remembers nothing.
pub(crate) fn client_without_profile(identity: &Identity) -> Client {
    started(Client::builder(NETWORK.parse().unwrap()).identity(identity.clone()))
}

fn started(builder: ClientBuilder) -> Client {
    servers()
        .iter()
        .fold(builder, |builder, server| builder.bootstrap(server.addr.into()))
        .start()
        .unwrap()
}
