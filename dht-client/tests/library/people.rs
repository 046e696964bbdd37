//! Somebody with an identity, a profile and a client of their own.

use std::pin::Pin;

use dht_client::entropy::Entropy;
use dht_client::profile::Profile;
use dht_client::{Client, ClientBuilder, Identity, NameRules};
use tokio::runtime::Builder;

use crate::servers::{NETWORK, servers};

/// Lives through a story, on a runtime as applications should have it: one thread. It is boxed, since the
/// runtime's part of waiting would be compiled again for each story.
pub(crate) fn live<T>(story: impl Future<Output = T>) -> T {
    let story: Pin<Box<dyn Future<Output = T> + '_>> = Box::pin(story);
    Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

/// A client of the shared servers for this identity, with a profile that is forgotten with it.
pub(crate) fn client_of(identity: &Identity) -> Client {
    client_by_rules(identity, NameRules::default())
}

/// Likewise, with rules of its own for names.
pub(crate) fn client_by_rules(identity: &Identity, rules: NameRules) -> Client {
    let network = NETWORK.parse().unwrap();
    let entropy = Entropy::system();
    let profile = Profile::in_memory(&identity.public_key(), &network, &entropy).unwrap();
    let builder =
        Client::builder(network).identity(identity.clone()).profile(profile).name_rules(rules);
    started(builder)
}

/// A client of the shared servers for this identity, with this profile.
pub(crate) fn client_with(identity: &Identity, profile: Profile) -> Client {
    started(Client::builder(NETWORK.parse().unwrap()).identity(identity.clone()).profile(profile))
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
