//! Letters: messages to somebody who is away.
//!
//! Two people who are never online at the same time write to each other through nodes that can
//! neither read, forge, lose nor reorder what they carry, and cannot tell who writes to whom.
//!
//! ```text
//! client.send ─▶ outbox (on disk) ─▶ delivery: sealed, signed, put ─▶ a mailbox on the network
//!                    ▲                                                    │
//!                 fetched ◀─ watermarks ◀─ client.ack ◀─ application ◀─ inbox ◀─ client.fetch_letters
//! ```
//!
//! A letter is accepted once it is on disk; it is delivered in the background, again and again until
//! enough nodes have it or 7 days have passed. Each device of the recipient gets it exactly once, in the
//! order in which each device of the sender wrote. It stays in the network for 7 days, or until all
//! devices that were heard of in the last 30 days have acknowledged it.
//!
//! ```no_run
#![doc = include_str!("example.rs")]
//! ```
//!
//! | file | what it has |
//! |---|---|
//! | [`mailbox`] | where letters and acknowledgements lie |
//! | [`letter`] | what is sealed into a record |
//! | [`chunks`] | payloads that do not fit one letter |
//! | [`watermark`] | what a device says that it has |
//! | [`tags`] | in which order letters come |
//! | [`outbox`], [`inbox`], [`rows`] | the profile's tables |
//! | [`delivery`], [`fetch`], [`acknowledgement`] | the engines, over a [`carrier`] |
//! | [`envelopes`] | what they compute of many letters at once |
//! | [`desk`], [`post`], [`follow`] | what they share; the client's methods; letters as they come |

mod acknowledgement;
mod carrier;
mod chunks;
mod delivery;
mod desk;
mod envelopes;
mod fetch;
mod follow;
mod inbox;
mod letter;
mod mailbox;
#[cfg(test)]
mod office;
mod outbox;
mod post;
mod rows;
mod tags;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
mod watermark;

use std::fmt;
use std::str::FromStr;

use dht_kad::{ErrorNumber, UnixMs};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use chunks::MESSAGE_MAX;
pub use delivery::Delivery;
pub use fetch::FetchReport;
pub use follow::LetterStream;
pub(crate) use post::Post;

/// Letters to one contact that may wait to be acknowledged, unless the client's builder says
/// otherwise: a week of a letter a minute, and half of what one key of the network may hold.
pub const WAITING_MAX: u64 = 10_000;

/// What names a received letter, on every device alike: `CONTACT:TAG:COUNTER`, all but the last in hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LetterId {
    /// Who wrote it.
    pub contact: [u8; 32],
    /// On which of its installations: 24 bits, which mean nothing elsewhere.
    pub tag: u32,
    /// Which of that installation's letters, from 1.
    pub counter: u64,
}

/// A letter that came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceivedLetter {
    /// What names it.
    pub id: LetterId,
    /// Its place in the order in which letters became ready on this device, from 1.
    pub arrival: u64,
    /// When its sender handed it over, by the sender's clock.
    pub sent_at: UnixMs,
    /// How many letters of the same installation before it never came.
    pub missed: u64,
    /// What was sent.
    pub payload: Vec<u8>,
}

/// A letter that was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxLetter {
    /// To whom.
    pub contact: [u8; 32],
    /// Which of this device's letters to that contact, from 1.
    pub number: u64,
    /// When it was accepted.
    pub accepted_at: UnixMs,
    /// Its payload's length.
    pub bytes: u64,
    /// What became of it.
    pub state: OutboxState,
}

/// What became of a letter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OutboxState {
    /// It waits to be handed over.
    Queued {
        /// How often that was tried.
        attempts: u32,
        /// Why it did not succeed the last time.
        last_error: Option<String>,
    },
    /// Enough nodes have it on stable storage.
    Stored {
        /// How many had said so then; 0 if it was read before we knew.
        nodes: u64,
    },
    /// A device of the recipient has acknowledged it.
    Fetched,
    /// It was not handed over, or not read, for 7 days.
    Expired,
    /// The network does not take it.
    Refused {
        /// Why.
        reason: String,
    },
}

/// What became of acknowledgements.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AckReport {
    /// Letters that are done with now, or were already.
    pub acknowledged: u64,
    /// Letters that were taken away from the network.
    pub pruned: u64,
    /// Why the senders could not be told yet; it is tried again with every fetch.
    pub untold: Option<String>,
}

impl AckReport {
    /// Takes in what became of more acknowledgements: of both together, the sums, and what was said last
    /// of those who could not be told.
    pub fn add(&mut self, other: AckReport) {
        self.acknowledged += other.acknowledged;
        self.pruned += other.pruned;
        self.untold = other.untold.or(self.untold.take());
    }
}

/// Something cannot be done with letters.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LetterError {
    /// There is no such contact.
    #[error("{} is no contact; ask it first, with `dht-client contacts request`", hex::encode(.0))]
    NotAContact([u8; 32]),
    /// Nothing is written to whoever is blocked.
    #[error("{} is blocked; unblock the contact before you write to it", hex::encode(.0))]
    Blocked([u8; 32]),
    /// There is no mailbox to write to yet.
    #[error("{} was not asked and not accepted yet; request or accept the contact first", hex::encode(.0))]
    NoSecret([u8; 32]),
    /// Too much waits already.
    #[error("{limit} letters to this contact wait to be fetched already; try again when some are")]
    Full {
        /// How many may wait.
        limit: u64,
    },
    /// It is longer than a letter can be.
    #[error("the message has {0} bytes, at most {MESSAGE_MAX} can be sent; send it in parts")]
    TooLong(usize),
    /// No such letter is here.
    #[error("there is no letter {0} here; see `dht-client inbox`")]
    Unknown(LetterId),
    /// The text names no letter.
    #[error("«{0}» names no letter; give one as `dht-client inbox` shows it: CONTACT:TAG:COUNTER")]
    NotAnId(String),
}

impl LetterError {
    /// The error's number.
    #[must_use]
    pub const fn number(&self) -> ErrorNumber {
        match self {
            LetterError::NotAContact(_) | LetterError::Unknown(_) => ErrorNumber::NotFound,
            LetterError::Full { .. } => ErrorNumber::Full,
            LetterError::TooLong(_) => ErrorNumber::TooLarge,
            LetterError::Blocked(_) | LetterError::NoSecret(_) | LetterError::NotAnId(_) => {
                ErrorNumber::Usage
            }
        }
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:06x}:{}", hex::encode(self.contact), self.tag, self.counter)
    }
}

impl FromStr for LetterId {
    type Err = LetterError;

    fn from_str(text: &str) -> Result<Self, LetterError> {
        let parse = || {
            let mut parts = text.split(':');
            let (who, tag, counter) = (parts.next()?, parts.next()?, parts.next()?);
            let mut contact = [0; 32];
            hex::decode_to_slice(who, &mut contact).ok()?;
            let tag = u32::from_str_radix(tag, 16).ok()?;
            let counter = counter.parse().ok()?;
            let fits = parts.next().is_none() && tag <= 0xff_ffff;
            fits.then_some(LetterId { contact, tag, counter })
        };
        parse().ok_or_else(|| LetterError::NotAnId(text.chars().take(100).collect()))
    }
}

impl OutboxState {
    /// The word for it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            OutboxState::Queued { .. } => "queued",
            OutboxState::Stored { .. } => "stored",
            OutboxState::Fetched => "fetched",
            OutboxState::Expired => "expired",
            OutboxState::Refused { .. } => "refused",
        }
    }
}
