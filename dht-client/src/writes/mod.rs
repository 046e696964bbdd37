//! The write queue: what is put or deleted is kept in the profile until the network has it.
//!
//! ```text
//! enqueue ─▶ queue (profile: durable, in order per slot) ─▶ engine (a task of the client: due rows)
//!                 ▲                                            │
//!                 │   signed version, before it is sent        ▼
//!                 └──────────────────────────────────────── delivery ─▶ read, sign, note, send
//!                     waiting ─▶ done │ conflict │ refused │ expired │ dropped
//! ```
//!
//! A write is signed when it is delivered, and based on the version that its writer had seen
//! ([`Put::expected_seq`]): if another one is there by then, the write ends as a
//! [`Conflict`](WriteState::Conflict) and nothing is overwritten. Without such a base it supersedes
//! what it finds. A write to a slot for which another is waiting waits behind it, and is based on
//! what that becomes, unless its writer has named a base.
//!
//! Each version is noted, signed, before anything of it is sent. A process that ends in between
//! leaves it to the next, which sends the same bytes: what had arrived already takes them for what
//! they are, and no second version comes about. If another device has written meanwhile, that is
//! seen as a conflict, whether or not the own version had arrived before it.
//!
//! Several processes may share the queue. They deliver the same bytes, so that it is no harm if two
//! deliver one write.
//!
//! What merges goes through the same queue as an [errand](errand): the identity's key bundle, and what it
//! knows of its contacts. There a newer edit from elsewhere is no conflict, but read, merged and written
//! over. So there is one rule for all that is made offline: it is in the profile when the call returns,
//! [`Client::delivered`] says within the client's time limit whether the network has it, and if not,
//! [`WriteError::Queued`] names the row that goes on by itself.
//!
//! Two things have queues of their own or none, for a reason each. Letters are many at one key, in the
//! order of their sender: their outbox sends them in batches, which this queue would tear apart
//! ([`letters`](crate::letters)). Names are not queued: a claim is worth what its receipts say of *when*
//! it came, and to be told later that somebody else was first is no delivery ([`names`](crate::names)).
//!
//! ```no_run
#![doc = include_str!("example.rs")]
//! ```

mod delivery;
mod engine;
mod errand;
mod queue;
mod row;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use dht_context::{Delete, Put, PutError, PutReport};
use dht_kad::record::RecordSigner;
use dht_kad::record::layout::BODY_MAX;
use dht_kad::{ErrorNumber, NetworkName, UnixMs};
use ed25519_dalek::SigningKey;
use redb::WriteTransaction;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use delivery::{is_lasting_refusal, is_overtaken};
pub(crate) use engine::Writing;
pub(crate) use errand::{Errand, Words};
pub use queue::{WAITING_BYTES_MAX, WAITING_MAX};

use crate::client::Client;
use crate::derivation::{Purpose, derive};
use crate::error::ClientError;
use crate::identity::Identity;
use crate::profile::TableFault;

/// A write's number in its profile, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WriteId(pub u64);

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who signs a write: named, so that the queue keeps no secret. Kept in profiles: what is added
/// goes to the end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Author {
    /// The identity itself.
    Identity,
    /// The pseudonym under which the identity keeps what it knows of its contacts.
    Contacts,
    /// The [blinded key](crate::identity::blinding) for what this word names.
    Blinded(String),
}

impl Author {
    /// The key pair that signs.
    pub(crate) fn signer(
        &self,
        identity: &Identity,
        network: &NetworkName,
    ) -> Box<dyn RecordSigner> {
        match self {
            Author::Identity => Box::new(identity.signing_key().clone()),
            Author::Blinded(word) => Box::new(identity.blinded(network, word)),
            Author::Contacts => {
                let secret =
                    derive(Purpose::ContactPublisher, Some(network), &[identity.self_secret()]);
                Box::new(SigningKey::from_bytes(&secret))
            }
        }
    }
}

/// What is to be written.
#[derive(Clone, Debug)]
pub enum Change {
    /// A value. [`Put::expected_seq`] is the version that it is based on.
    Put(Put),
    /// The end of one. [`Delete::expected_seq`] is the version that is meant.
    Delete(Delete),
}

/// A write for the queue.
#[derive(Clone, Debug)]
pub struct Write {
    /// Who signs it.
    pub author: Author,
    /// What is to be written.
    pub change: Change,
}

impl From<Put> for Write {
    fn from(put: Put) -> Self {
        Write { author: Author::Identity, change: Change::Put(put) }
    }
}

impl From<Delete> for Write {
    fn from(delete: Delete) -> Self {
        Write { author: Author::Identity, change: Change::Delete(delete) }
    }
}

/// What has become of a write so far.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WriteState {
    /// It is yet to be delivered.
    Waiting {
        /// How often that was tried in vain.
        attempts: u32,
        /// When it is tried next, unless the network comes back before; nothing if another write of
        /// the same slot comes first.
        next_at: Option<UnixMs>,
        /// What came of the last attempt.
        last_error: Option<String>,
    },
    /// Enough nodes have it on stable storage.
    Done {
        /// Its version; zero, as all here, if the network had all of it.
        seq: u64,
        /// How many nodes had acknowledged when enough had.
        stored: u32,
        /// How many it was sent to.
        targets: u32,
    },
    /// Another version was there than the one that the write was based on; nothing was overwritten.
    Conflict {
        /// The version that is there.
        stored: u64,
    },
    /// It cannot be written, and to try again does not help.
    Refused {
        /// The reason's number.
        number: ErrorNumber,
        /// The reason.
        reason: String,
    },
    /// It could not be delivered for as long as it would have been kept.
    Expired,
    /// It was taken out of the queue. Some nodes may have it if its delivery had begun.
    Dropped,
}

impl WriteState {
    /// Whether it is yet to be delivered.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self, WriteState::Waiting { .. })
    }

    /// The state's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            WriteState::Waiting { .. } => "waiting",
            WriteState::Done { .. } => "done",
            WriteState::Conflict { .. } => "conflict",
            WriteState::Refused { .. } => "refused",
            WriteState::Expired => "expired",
            WriteState::Dropped => "dropped",
        }
    }
}

/// What a queued write is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WriteKind {
    /// A value.
    Put,
    /// The end of one.
    Delete,
    /// The identity's key bundle.
    Bundle,
    /// What the identity knows of this contact, and perhaps what the contact is to be told.
    Contact([u8; 32]),
}

impl WriteKind {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            WriteKind::Put => "put",
            WriteKind::Delete => "delete",
            WriteKind::Bundle => "bundle",
            WriteKind::Contact(_) => "contact",
        }
    }
}

/// A write as the queue lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueuedWrite {
    /// Its number.
    pub id: WriteId,
    /// What it is.
    pub kind: WriteKind,
    /// Under which label; zeros for content, and for what is made when it is delivered.
    pub label: [u8; 32],
    /// In which slot.
    pub slot: u64,
    /// The value's bytes.
    pub bytes: u64,
    /// Since when it is in the queue.
    pub enqueued_at: UnixMs,
    /// What has become of it.
    pub state: WriteState,
}

/// A write that the queue does not take, or does not know.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// Too much waits already.
    #[error(
        "the write queue is full ({waiting} writes wait); let the network take some, or drop some with `dht-client queue --drop ID`"
    )]
    Full {
        /// How many wait.
        waiting: u64,
    },
    /// The value does not fit a record.
    #[error("the value has {0} bytes, at most 65536 fit one record; put it in parts")]
    TooLarge(usize),
    /// No such write, or it ended so long ago that it is forgotten.
    #[error("there is no write {0} in the queue; see `dht-client queue`")]
    Unknown(WriteId),
    /// It could not be delivered in time, and is tried again.
    #[error(
        "it is queued as {id} and goes out when the network takes it ({reason}); see `dht-client queue`"
    )]
    Queued {
        /// Its number in the queue.
        id: WriteId,
        /// Why it could not be delivered yet.
        reason: String,
    },
    /// It cannot be delivered.
    #[error("{reason}")]
    Refused {
        /// The reason's number.
        number: ErrorNumber,
        /// The reason, and what to do about it.
        reason: String,
    },
    /// It has left the queue undelivered.
    #[error("write {id} was not delivered ({state}); give it again")]
    Lost {
        /// Its number in the queue.
        id: WriteId,
        /// The name of what became of it.
        state: &'static str,
    },
    /// It is no longer waiting.
    #[error("write {0} is no longer waiting; see `dht-client queue`")]
    Ended(WriteId),
}

impl WriteError {
    /// The error's number.
    #[must_use]
    pub const fn number(&self) -> ErrorNumber {
        match self {
            WriteError::Full { .. } => ErrorNumber::Full,
            WriteError::TooLarge(_) => ErrorNumber::TooLarge,
            WriteError::Unknown(_) | WriteError::Ended(_) => ErrorNumber::Usage,
            WriteError::Queued { .. } => ErrorNumber::Queued,
            WriteError::Refused { number, .. } => *number,
            WriteError::Lost { .. } => ErrorNumber::TimedOut,
        }
    }
}

/// A change of the profile that is to be brought to the network.
pub(crate) struct Changing<'a> {
    writer: &'a engine::Writer,
    /// In which everything is changed.
    pub(crate) transaction: &'a WriteTransaction,
}

impl Changing<'_> {
    /// Takes an errand; it begins when the profile has changed.
    pub(crate) fn take(&self, errand: Errand) -> Result<WriteId, TableFault> {
        self.writer.take_errand(self.transaction, errand)
    }
}

impl Client {
    /// Keeps a write, durably, until the network has it; it is delivered in the background while a
    /// client with this profile runs. Nothing is asked of the network before this returns.
    ///
    /// # Errors
    /// [`ClientError`]: without identity or profile, or as [`WriteError`] says.
    pub fn enqueue(&self, write: impl Into<Write>) -> Result<WriteId, ClientError> {
        let write = write.into();
        if let Change::Put(put) = &write.change
            && put.body.len() > BODY_MAX
        {
            return Err(WriteError::TooLarge(put.body.len()).into());
        }
        let id = self.writing().writer(self)?.enqueue(write)?;
        Ok(id?)
    }

    /// What has become of a write.
    ///
    /// # Errors
    /// [`ClientError`]: without identity or profile, or an unknown write.
    pub fn write_state(&self, id: WriteId) -> Result<WriteState, ClientError> {
        let state = self.writing().writer(self)?.queue().state(id)?;
        Ok(state.ok_or(WriteError::Unknown(id))?)
    }

    /// Waits until a write is no longer waiting, however long that takes.
    ///
    /// # Cancel safety
    /// It only waits; the write goes on.
    ///
    /// # Errors
    /// As [`write_state`](Self::write_state).
    pub async fn settled(&self, id: WriteId) -> Result<WriteState, ClientError> {
        let writer = self.writing().writer(self)?;
        loop {
            let changes = writer.changes();
            let state = self.write_state(id)?;
            if !state.is_waiting() {
                return Ok(state);
            }
            writer.changed_since(changes).await;
        }
    }

    /// Waits within the client's time limit until a write is delivered.
    ///
    /// # Errors
    /// [`ClientError`]: [`PutError::UnexpectedSeq`] for a conflict; [`WriteError::Queued`] if it still
    /// waits, which is no reason to give it again; or why it is lost.
    pub async fn delivered(&self, id: WriteId) -> Result<(), ClientError> {
        self.delivered_within(self.time_limit(), id).await
    }

    /// Waits within this limit until a write is delivered.
    pub(crate) async fn delivered_within(
        &self,
        limit: Duration,
        id: WriteId,
    ) -> Result<(), ClientError> {
        let waited = self.limited_to(limit, self.settled(id)).await;
        match self.write_state(id)? {
            WriteState::Done { .. } => Ok(()),
            WriteState::Conflict { stored } => Err(PutError::UnexpectedSeq { stored }.into()),
            WriteState::Refused { number, reason } => {
                Err(WriteError::Refused { number, reason }.into())
            }
            WriteState::Waiting { last_error, .. } => {
                let why = waited.err().map(|error| error.to_string());
                let reason = last_error.or(why).unwrap_or_default();
                Err(WriteError::Queued { id, reason }.into())
            }
            state @ (WriteState::Expired | WriteState::Dropped) => {
                Err(WriteError::Lost { id, state: state.name() }.into())
            }
        }
    }

    /// Changes the profile and takes errands for it, both or neither.
    pub(crate) fn change_and_bring<T>(
        &self,
        change: impl FnOnce(&Changing<'_>) -> Result<T, TableFault>,
    ) -> Result<T, ClientError> {
        let writer = self.writing().writer(self)?;
        let done =
            self.profile()?.write(|transaction| change(&Changing { writer, transaction }))?;
        writer.wake();
        Ok(done)
    }

    /// Takes an errand.
    pub(crate) fn bring(&self, errand: Errand) -> Result<WriteId, ClientError> {
        self.change_and_bring(|changing| changing.take(errand))
    }

    /// The report of a write that this very process has delivered, as long as it is remembered.
    ///
    /// # Errors
    /// [`ClientError`] without identity or profile.
    pub fn write_report(&self, id: WriteId) -> Result<Option<PutReport>, ClientError> {
        Ok(self.writing().writer(self)?.report(id))
    }

    /// All writes that wait, and the last that ended, in the order in which they came.
    ///
    /// # Errors
    /// [`ClientError`] without identity or profile.
    pub fn writes(&self) -> Result<Vec<QueuedWrite>, ClientError> {
        Ok(self.writing().writer(self)?.queue().list()?)
    }

    /// Tries all that wait now, however long the next attempt was to be put off.
    ///
    /// # Errors
    /// [`ClientError`] without identity or profile.
    pub fn hurry_writes(&self) -> Result<(), ClientError> {
        self.writing().writer(self)?.hurry()?;
        Ok(())
    }

    /// Takes a write out of the queue.
    ///
    /// # Errors
    /// [`ClientError`]: without identity or profile, or a write that is unknown or not waiting.
    pub fn drop_write(&self, id: WriteId) -> Result<(), ClientError> {
        match self.write_state(id)? {
            state if !state.is_waiting() => Err(WriteError::Ended(id).into()),
            _ => Ok(self.writing().writer(self)?.drop_write(id)?),
        }
    }
}
