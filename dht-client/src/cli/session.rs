//! [`Session`]: what the options before the command come to, opened when the command needs it.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use dht_client::entropy::Entropy;
use dht_client::identity::{IdentityFile, Password};
use dht_client::profile::Profile;
use dht_client::{
    Client, ClientBuilder, ClientError, ErrorNumber, Identity, NetworkFile, NetworkName,
    PeerAddress, Sources,
};
use dht_context::config::DEFAULT_NETWORK;

use super::failure::Failure;
use super::{Globals, secret_input};

/// One run of the command line.
pub(crate) struct Session {
    globals: Globals,
    network: NetworkName,
    sources: Sources,
    client: OnceLock<Client>,
}

impl Session {
    /// What these options come to.
    ///
    /// # Errors
    /// A network file that cannot be used, or that is of another network than the one named.
    pub(crate) fn new(globals: Globals) -> Result<Self, Failure> {
        let (network, sources) = network_of(&globals)?;
        Ok(Session { globals, network, sources, client: OnceLock::new() })
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
        &self.network
    }

    /// The network, if the options name one, themselves or by a file.
    pub(crate) fn named_network(&self) -> Option<&NetworkName> {
        let named = self.globals.network.is_some() || self.globals.network_file.is_some();
        named.then_some(&self.network)
    }

    /// Whether peers to ask first were given.
    pub(crate) fn has_bootstrap_peers(&self) -> bool {
        !self.globals.bootstrap.is_empty()
    }

    /// Who is asked for hosts, if that was said.
    pub(crate) fn dns_server(&self) -> Option<SocketAddr> {
        self.globals.dns_server
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

    /// A client of somebody else than this session's, beside its own: whoever asks for it ends it.
    pub(crate) fn another(&self, identity: Identity, profile: Profile) -> Result<Client, Failure> {
        Ok(self.builder(None)?.identity(identity).profile(profile).start()?)
    }

    /// The identity in its file, and its profile in this network.
    pub(crate) fn own(&self) -> Result<(Identity, Profile), Failure> {
        let identity = self.identity()?;
        let path = profile_path(&self.identity_path()?, self.network());
        let (owner, entropy) = (identity.public_key(), Entropy::system());
        let profile = Profile::open(&path, &owner, self.network(), &entropy);
        Ok((identity, profile.map_err(ClientError::from)?))
    }

    /// A client that remembers what it reads if there is an identity to remember it for.
    pub(crate) fn reader_who_remembers(&self) -> Result<Client, Failure> {
        match self.own() {
            Ok((identity, profile)) => self.start(Some(identity), Some(profile), None),
            Err(_) if self.globals.identity.is_none() => self.reader(),
            Err(failure) => Err(failure),
        }
    }

    /// The identity in its file.
    pub(crate) fn identity(&self) -> Result<Identity, Failure> {
        opened(&self.identity_path()?, self.password_file())
    }

    /// The identity that was asked for by its file, if any.
    pub(crate) fn given_identity(&self) -> Result<Option<Identity>, Failure> {
        let path = self.globals.identity.as_deref();
        path.map(|path| opened(path, self.password_file())).transpose()
    }

    /// Where the password of the identity's file is written, if that was said.
    pub(crate) fn password_file(&self) -> Option<&Path> {
        self.globals.password_file.as_deref()
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
        let mut builder = self.builder(beside)?;
        if let Some(identity) = identity {
            builder = builder.identity(identity);
        }
        if let Some(profile) = profile {
            builder = builder.profile(profile);
        }
        let client = builder.start()?;
        Ok(self.client.get_or_init(|| client).clone())
    }

    /// What every client of this session starts from.
    fn builder(&self, beside: Option<&PeerAddress>) -> Result<ClientBuilder, Failure> {
        let globals = &self.globals;
        let mut builder = Client::builder(self.network.clone())
            .sources(self.sources.clone())
            .timeout(globals.timeout);
        let beside = beside.filter(|_| globals.bootstrap.is_empty());
        if globals.bootstrap.is_empty() && beside.is_none() && self.sources.is_empty() {
            let sentence = "nobody to ask; give at least one --bootstrap PEER, or a --network-file";
            return Err(Failure::usage(sentence));
        }
        if let Some(server) = globals.dns_server {
            builder = builder.dns_server(server);
        }
        for peer in globals.bootstrap.iter().chain(beside) {
            builder = builder.bootstrap(peer.clone());
        }
        Ok(builder)
    }
}

/// The network that is taken part in, and where its peers come from besides.
fn network_of(globals: &Globals) -> Result<(NetworkName, Sources), Failure> {
    let Some(path) = &globals.network_file else {
        let default =
            || DEFAULT_NETWORK.parse().map_err(|error| Failure::usage(&format!("{error}")));
        let network = globals.network.clone().map_or_else(default, Ok)?;
        return Ok((network, Sources::default()));
    };
    let file = NetworkFile::read(path).map_err(ClientError::from)?;
    if let Some(named) = globals.network.as_ref().filter(|named| **named != file.name) {
        let path = path.display();
        let sentence = format!(
            "--network «{named}» is not «{}», the network of {path}; give the same, or leave it out",
            file.name
        );
        return Err(Failure::usage(&sentence));
    }
    let sources = Sources::with_lists(path, &file, &[]).map_err(ClientError::from)?;
    Ok((file.name, sources))
}

/// The identity in a file; if it is encrypted, opened by the password in another file or, at a
/// terminal, by the one that is typed.
pub(crate) fn opened(path: &Path, password_file: Option<&Path>) -> Result<Identity, Failure> {
    let file = IdentityFile::read(path)?;
    let password = password_for(path, &file, password_file)?;
    Ok(file.open(password.as_ref())?)
}

/// The password for a file, if it needs one and somebody gives it.
pub(crate) fn password_for(
    path: &Path,
    file: &IdentityFile,
    password_file: Option<&Path>,
) -> Result<Option<Password>, Failure> {
    match password_file {
        _ if !file.is_encrypted() => Ok(None),
        Some(password_file) => secret_input::password_of(password_file),
        None if secret_input::at_terminal() => {
            let prompt = format!("Password of {}", path.display());
            Ok(Password::new(secret_input::asked(&prompt)?))
        }
        None => Ok(None),
    }
}

/// The profile beside an identity's file: one for each network, as contacts, letters and what waits to be
/// written belong to one, while the identity is the same in all.
fn profile_path(identity: &Path, network: &NetworkName) -> PathBuf {
    let mut path = identity.as_os_str().to_owned();
    path.push(format!(".{network}.profile"));
    PathBuf::from(path)
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
