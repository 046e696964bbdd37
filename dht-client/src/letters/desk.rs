//! [`Desk`]: one identity's letters, over its profile and a network.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use dht_kad::{NetworkName, UnixMs};

use super::LetterError;
use super::carrier::Carrier;
use super::mailbox::Direction;
use crate::client::Client;
use crate::entropy::Entropy;
use crate::error::ClientError;
use crate::identity::Identity;
use crate::profile::{Profile, ProfileError};
use crate::sealing::SealingPublic;
use crate::workers::Workers;

/// Records that are remembered as no letters, so that each is opened and counted once.
const REJECTED_MAX: usize = 4_096;

/// Where letters are written, read and done with.
pub(crate) struct Desk<'a> {
    pub(crate) carrier: &'a dyn Carrier,
    pub(crate) network: &'a NetworkName,
    pub(crate) identity: &'a Identity,
    pub(crate) profile: &'a Profile,
    pub(crate) entropy: &'a Entropy,
    pub(crate) rejected: &'a Rejected,
    pub(crate) workers: &'a Workers,
}

/// A contact as letters see it.
pub(crate) struct Correspondent {
    pub(crate) contact: [u8; 32],
    /// How to write to it.
    pub(crate) outgoing: Option<(Direction, SealingPublic)>,
    /// By which secrets it may write to us.
    pub(crate) incoming: Vec<Direction>,
}

/// The digests of records that are no letters: forgotten with the process, or when there are many.
#[derive(Debug, Default)]
pub(crate) struct Rejected(Mutex<BTreeSet<[u8; 32]>>);

impl<'a> Desk<'a> {
    /// A client's desk.
    pub(crate) fn of(client: &'a Client, rejected: &'a Rejected) -> Result<Self, ClientError> {
        Ok(Desk {
            carrier: client,
            network: client.network(),
            identity: client.identity()?,
            profile: client.profile()?,
            entropy: client.entropy(),
            rejected,
            workers: client.workers(),
        })
    }

    /// The present moment.
    pub(crate) fn now(&self) -> UnixMs {
        self.carrier.now()
    }

    /// What is said where a row is not what was written.
    pub(crate) fn damaged(&self) -> ClientError {
        let path = self.profile.path().to_owned();
        ProfileError::Damaged { path, what: "a letter" }.into()
    }
}

impl Correspondent {
    /// How to write to it.
    pub(crate) fn outgoing(&self) -> Result<&(Direction, SealingPublic), LetterError> {
        self.outgoing.as_ref().ok_or(LetterError::NoSecret(self.contact))
    }
}

impl Rejected {
    pub(crate) fn contains(&self, digest: &[u8; 32]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    pub(crate) fn note(&self, digest: [u8; 32]) {
        let mut rejected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rejected.len() >= REJECTED_MAX {
            rejected.clear();
        }
        rejected.insert(digest);
    }
}
