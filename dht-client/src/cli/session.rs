//! [`Session`]: what the options before the command come to, opened when the command needs it.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use dht_client::entropy::Entropy;
use dht_client::profile::Profile;
use dht_client::{Client, ClientError, ErrorNumber, Identity, NetworkName, PeerAddress};

use super::Globals;
use super::failure::Failure;

/// One run of the command line.
pub(crate) struct Session {
    globals: Globals,
    client: OnceLock<Client>,
}

impl Session {
    pub(crate) fn new(globals: Globals) -> Self {
        Session { globals, client: OnceLock::new() }
    }

    /// Whether to print JSON.
    pub(crate) fn json(&self) -> bool {
        self.globals.json
    }

    /// How long the command may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.globals.timeout
    }

    /// The network that is taken part in.
    pub(crate) fn network(&self) -> &NetworkName {
        &self.globals.network
    }

    /// A client that only reads, or pings.
    pub(crate) fn reader(&self) -> Result<Client, Failure> {
        self.start(None, None, None)
    }

    /// A client that asks `peer` first if it is told of nobody else.
    pub(crate) fn reader_beside(&self, peer: &PeerAddress) -> Result<Client, Failure> {
        self.start(None, None, Some(peer))
    }

    /// A client that signs with this identity.
    pub(crate) fn writer(&self, identity: Identity) -> Result<Client, Failure> {
        self.start(Some(identity), None, None)
    }

    /// A client that signs with the identity in its file, and remembers in the profile beside that
    /// what has to outlast the process.
    pub(crate) fn person(&self) -> Result<Client, Failure> {
        let (identity, profile) = self.own()?;
        self.start(Some(identity), Some(profile), None)
    }

    /// The identity in its file, and the profile beside that.
    pub(crate) fn own(&self) -> Result<(Identity, Profile), Failure> {
        let (identity, mut path) = (self.identity()?, self.identity_path()?.into_os_string());
        path.push(".profile");
        let (owner, entropy) = (identity.public_key(), Entropy::system());
        let profile = Profile::open(path.as_ref(), &owner, self.network(), &entropy);
        Ok((identity, profile.map_err(ClientError::from)?))
    }

    /// The identity in its file.
    pub(crate) fn identity(&self) -> Result<Identity, Failure> {
        Ok(Identity::load(&self.identity_path()?)?)
    }

    /// The identity that was asked for by its file, if any.
    pub(crate) fn given_identity(&self) -> Result<Option<Identity>, Failure> {
        let path = self.globals.identity.as_deref();
        Ok(path.map(Identity::load).transpose()?)
    }

    /// Where the identity is kept.
    pub(crate) fn identity_path(&self) -> Result<PathBuf, Failure> {
        let given = self.globals.identity.clone();
        given.or_else(default_identity_path).ok_or_else(|| {
            let sentence = "no home folder is known; give the identity's file with --identity";
            Failure::new(ErrorNumber::IdentityFile, sentence.to_owned())
        })
    }

    /// Takes leave of the peers, if there are any.
    pub(crate) async fn end(&self) {
        if let Some(client) = self.client.get() {
            client.stop().await;
        }
    }

    fn start(
        &self,
        identity: Option<Identity>,
        profile: Option<Profile>,
        beside: Option<&PeerAddress>,
    ) -> Result<Client, Failure> {
        let globals = &self.globals;
        let mut builder = Client::builder(globals.network.clone()).timeout(globals.timeout);
        let beside = beside.filter(|_| globals.bootstrap.is_empty());
        if globals.bootstrap.is_empty() && beside.is_none() {
            return Err(Failure::usage("nobody to ask; give at least one --bootstrap PEER"));
        }
        for peer in globals.bootstrap.iter().chain(beside) {
            builder = builder.bootstrap(peer.clone());
        }
        if let Some(identity) = identity {
            builder = builder.identity(identity);
        }
        if let Some(profile) = profile {
            builder = builder.profile(profile);
        }
        let client = builder.start()?;
        Ok(self.client.get_or_init(|| client).clone())
    }
}

/// `$XDG_DATA_HOME/dht/identity`, or `~/.local/share/dht/identity` (XDG Base Directory
/// Specification: a relative path is ignored).
fn default_identity_path() -> Option<PathBuf> {
    let absolute =
        |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| Path::is_absolute(path));
    let data = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))?;
    Some(data.join("dht/identity"))
}
