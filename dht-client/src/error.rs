//! [`ClientError`]: why the client did not do what it was asked for.

use std::time::Duration;

use dht_context::config::ConfigError;
use dht_context::network_file::NetworkFileError;
use dht_context::node_key::EntropyError as NodeEntropyError;
use dht_context::quic::BindError;
use dht_context::requests::AskError;
use dht_context::{GetError, ListError, PutError};
use dht_kad::ErrorNumber;
use thiserror::Error;

use crate::bundle::BundleError;
use crate::cache::CacheError;
use crate::contacts::ContactsError;
use crate::entropy::EntropyError;
use crate::identity::IdentityError;
use crate::letters::LetterError;
use crate::names::NameError;
use crate::profile::ProfileError;
use crate::sealing::SealError;
use crate::watch::WatchError;
use crate::writes::WriteError;

/// Why the client did not do what it was asked for: one sentence, which says what to do next.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The builder was given something that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The network file, or the list beside it, cannot be used.
    #[error(transparent)]
    NetworkFile(#[from] NetworkFileError),
    /// No socket could be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The operating system gave no random bytes.
    #[error(transparent)]
    Entropy(#[from] NodeEntropyError),
    /// The identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Something is to be signed, and nobody is there to sign.
    #[error("nothing can be signed without an identity; give one to the client's builder")]
    NoIdentity,
    /// Something is to be remembered, and there is no profile to remember it in.
    #[error("this needs a profile to remember it in; give one to the client's builder")]
    NoProfile,
    /// The profile cannot be used.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Something cannot be done with a contact.
    #[error(transparent)]
    Contacts(#[from] ContactsError),
    /// Something cannot be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A key bundle cannot be had or published.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Something cannot be done with letters.
    #[error(transparent)]
    Letters(#[from] LetterError),
    /// A name is not to be had, or nobody's that can be told.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] EntropyError),
    /// The cache has seen a newer version than is to be had.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The write queue does not take or know it.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// No bootstrap peer answers.
    #[error("no bootstrap peer answers; the last one tried: {last}")]
    NoPeers {
        /// What the last attempt came to, with what to do about it.
        last: AskError,
    },
    /// The bootstrap peers answer, but only ask themselves.
    #[error("the bootstrap peers are clients and store nothing; give the address of a server")]
    NoServer,
    /// The time that was given has passed.
    #[error("it was not done within {0:?}; try again, or allow more time")]
    TimedOut(Duration),
    /// A peer that was asked by name gave no answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A put or delete failed.
    #[error(transparent)]
    Put(#[from] PutError),
    /// A get failed.
    #[error(transparent)]
    Get(#[from] GetError),
    /// A listing failed.
    #[error(transparent)]
    List(#[from] ListError),
    /// Something cannot be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
}

impl ClientError {
    /// The error's number, the same as on the wire, in exit statuses and in logs.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            ClientError::Config(_) => ErrorNumber::BadConfig,
            ClientError::NetworkFile(error) => error.number(),
            ClientError::Bind(error) => error.number(),
            ClientError::Entropy(_) | ClientError::Randomness(_) | ClientError::Seal(_) => {
                ErrorNumber::Internal
            }
            ClientError::NoProfile => ErrorNumber::Usage,
            ClientError::Profile(error) => error.number(),
            ClientError::Contacts(error) => error.number(),
            ClientError::Bundle(error) => error.number(),
            ClientError::Letters(error) => error.number(),
            ClientError::Name(error) => error.number(),
            ClientError::Identity(_) | ClientError::NoIdentity => ErrorNumber::IdentityFile,
            ClientError::NoPeers { .. } => ErrorNumber::NoPeers,
            ClientError::Cache(error) => error.number(),
            ClientError::Write(error) => error.number(),
            ClientError::NoServer => ErrorNumber::NotAServer,
            ClientError::TimedOut(_) => ErrorNumber::TimedOut,
            ClientError::Ask(error) => error.number(),
            ClientError::Put(error) => error.number(),
            ClientError::Get(error) => error.number(),
            ClientError::List(error) => error.number(),
            ClientError::Watch(error) => error.number(),
        }
    }
}
