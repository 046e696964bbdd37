//! Contacts: whom an identity knows, by which name, and by which secrets the two can write to each
//! other.
//!
//! ```text
//! client.request_contact ─▶ self-record on the network ─▶ request ─▶ the other's inbox of requests
//!                                                                          │ client.contact_requests
//!        Accepted ◀─ answer, a request the other way ◀─ self-record ◀─ client.accept
//! ```
//!
//! Every change is made in the profile first, together with an errand of the [write queue](crate::writes)
//! that brings it to the network: what is accepted, blocked or renamed offline is so on this device at
//! once, and elsewhere as soon as the network answers.
//!
//! Each direction of a pair has a secret of its own, which its sender makes and tells the recipient in
//! a [`request`]. So two who ask each other at the same time do not conflict: each tells the
//! other one half. A contact is [`Accepted`](ContactState::Accepted) once both are known.
//!
//! Every contact is also kept on the network, sealed to the identity itself in a
//! [record of its own](self_record), before anything is told to the other side. So the words alone
//! bring all of them back, and two devices that add different contacts write different slots. The same
//! contact changed on two devices is [merged](merge), in whatever order the two come together.
//!
//! ```no_run
#![doc = include_str!("example.rs")]
//! ```
//!
//! | file | what it has |
//! |---|---|
//! | [`merge`] | which of two states of one contact wins, field by field |
//! | [`encoding`] | a contact as bytes: a row of the profile, the inside of a self-record |
//! | [`table`] | [`Contacts`]: the contacts of a profile |
//! | [`self_record`] | contacts as the network keeps them |
//! | [`sync`] | what the network and this profile know, brought together: recovery, renewal |
//! | [`request`] | a request as bytes, sealed and opened |
//! | [`pending`] | requests that wait for the user's word, and which records were read already |
//! | [`inbox`] | reads the requests that lie in the network |
//! | [`asking`] | asks, accepts, blocks, renames: changes the profile, and takes the errand |
//! | [`telling`] | what the errand does: the self-record, then the request |

mod asking;
mod encoding;
mod inbox;
mod merge;
mod pending;
mod request;
mod self_record;
mod sync;
mod table;
mod telling;
#[cfg(test)]
mod vectors;

use std::fmt;

use dht_kad::{ErrorNumber, NetworkName, UnixMs};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::derivation::{Purpose, derive};
use crate::profile::ProfileError;

pub use asking::Introduction;
pub use inbox::{IgnoredRequests, RequestsReport};
pub use pending::ContactRequest;
pub use request::{OWN_NAME_BYTES_MAX, TEXT_BYTES_MAX};
pub use sync::RecoverReport;
pub use table::Contacts;
pub(crate) use table::{absorb_in, get_in, put_in};

/// Characters of a contact's name at most: one line of a terminal.
pub const NAME_CHARS_MAX: usize = 64;

/// Contacts of one identity at most: what one key of the network holds is 20,000 records, and half of
/// that leaves room for what is superseded.
pub const CONTACTS_MAX: usize = 10_000;

/// Secrets that are kept of one direction: the current one, and those of devices that asked at the same
/// moment. More come only from a contact that plays tricks.
pub(crate) const SECRETS_MAX: usize = 4;

/// Somebody whom the identity knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Contact {
    /// Whose contact it is: the Ed25519 public key.
    pub identity: [u8; 32],
    /// What the user calls it: 1 to [`NAME_CHARS_MAX`] characters, printable, not 64 hex digits.
    pub name: String,
    /// Since when it is known.
    pub since: UnixMs,
    /// When it got its name.
    pub(crate) named_at: UnixMs,
    /// Whether it is blocked, since or until when.
    pub(crate) blocked: bool,
    pub(crate) blocked_changed_at: UnixMs,
    /// When both sides had agreed; zero before.
    pub(crate) accepted_at: UnixMs,
    /// The secrets of the direction from us to the contact, current one first.
    pub(crate) secrets_out: Vec<DirectionSecret>,
    /// The secrets of the direction from the contact to us, current one first.
    pub(crate) secrets_in: Vec<DirectionSecret>,
    /// The contact's public sealing key, from its bundle; empty if it was not fetched yet.
    pub(crate) sealing: Vec<u8>,
    /// When it was fetched.
    pub(crate) sealing_at: UnixMs,
    /// When our request, or our answer to the contact's, was sent last; zero if never.
    pub(crate) told_at: UnixMs,
    /// How often it was sent.
    pub(crate) told: u8,
    /// When something came from the contact that shows that it has our secret; zero before.
    pub(crate) heard_at: UnixMs,
}

/// The secret of one direction of a pair.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DirectionSecret {
    pub(crate) secret: Zeroizing<[u8; 32]>,
    pub(crate) made_at: UnixMs,
}

/// How far the acquaintance is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ContactState {
    /// We asked, and nothing came back yet.
    Requested,
    /// Both have agreed.
    Accepted,
    /// What comes from it is ignored.
    Blocked,
}

impl ContactState {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ContactState::Requested => "requested",
            ContactState::Accepted => "accepted",
            ContactState::Blocked => "blocked",
        }
    }
}

impl fmt::Display for ContactState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Contact {
    /// Somebody new, of whom nothing but the name is known.
    pub(crate) fn new(identity: [u8; 32], name: String, now: UnixMs) -> Self {
        Contact {
            identity,
            name,
            since: now,
            named_at: now,
            blocked: false,
            blocked_changed_at: UnixMs(0),
            accepted_at: UnixMs(0),
            secrets_out: Vec::new(),
            secrets_in: Vec::new(),
            sealing: Vec::new(),
            sealing_at: UnixMs(0),
            told_at: UnixMs(0),
            told: 0,
            heard_at: UnixMs(0),
        }
    }

    /// How far the acquaintance is.
    #[must_use]
    pub fn state(&self) -> ContactState {
        match (self.blocked, self.accepted_at.0) {
            (true, _) => ContactState::Blocked,
            (false, 0) => ContactState::Requested,
            (false, _) => ContactState::Accepted,
        }
    }

    /// The secret under which we write to the contact, if one was made.
    pub(crate) fn secret_out(&self) -> Option<&[u8; 32]> {
        self.secrets_out.first().map(|secret| &*secret.secret)
    }

    /// The secret under which the contact writes to us, if it told one.
    pub(crate) fn secret_in(&self) -> Option<&[u8; 32]> {
        self.secrets_in.first().map(|secret| &*secret.secret)
    }

    /// A word that both sides of a pair see alike, and nobody else: who compares it by another way, such
    /// as a telephone, knows that nobody stands between the two. `own` is the identity whose contact
    /// this is. None before both have agreed.
    #[must_use]
    pub fn pair_code(&self, own: &[u8; 32], network: &NetworkName) -> Option<String> {
        let mut sides = [(*own, self.secret_out()?), (self.identity, self.secret_in()?)];
        sides.sort_unstable();
        let [(one, from_one), (other, from_other)] = sides;
        let parts: [&[u8]; 4] = [&one, &other, from_one, from_other];
        let [a, b, c, d, e, f, g, h, ..] = *derive(Purpose::PairCode, Some(network), &parts);
        Some(hex::encode([a, b, c, d, e, f, g, h]))
    }

    /// Every secret under which the contact may write to us, the current one first: a contact whose
    /// devices asked at the same moment may use each of these.
    pub(crate) fn every_secret_in(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.secrets_in.iter().map(|secret| &*secret.secret)
    }
}

impl fmt::Debug for Contact {
    /// Without its secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact")
            .field("identity", &hex::encode(self.identity))
            .field("name", &self.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Something cannot be done with a contact.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContactsError {
    /// The profile cannot be used.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Nobody is called so.
    #[error("no contact is called «{0}»; see `dht-client contacts`")]
    Unknown(String),
    /// Several are: two devices gave the same name to different contacts.
    #[error("several contacts are called «{0}»; give the identity instead, or rename one")]
    Ambiguous(String),
    /// Another one is.
    #[error("another contact is called «{0}» already; choose another name")]
    NameTaken(String),
    /// It cannot be a name.
    #[error(
        "«{0}» cannot be a contact's name; give 1 to 64 printable characters that are no identity"
    )]
    BadName(String),
    /// The network has something of it that cannot be read.
    #[error(
        "what the network keeps of contact {} cannot be read; a later version wrote it: upgrade dht-client", hex::encode(.0)
    )]
    Unreadable([u8; 32]),
    /// It is known already.
    #[error("«{0}» is a contact already; write to it")]
    AlreadyAccepted(String),
    /// It is blocked.
    #[error("«{0}» is blocked; unblock it first")]
    Blocked(String),
    /// It is the identity itself.
    #[error("this is your own identity; give somebody else's")]
    Oneself,
    /// Nobody who asked is called so.
    #[error("no request is called «{0}»; see `dht-client requests`")]
    UnknownRequest(String),
    /// It does not fit a request.
    #[error("{what} has {len} bytes and at most {most} fit a request; make it shorter")]
    TooLong {
        /// What does not fit.
        what: &'static str,
        /// Its bytes.
        len: usize,
        /// How many fit.
        most: usize,
    },
    /// There is no room for another one.
    #[error(
        "there are {CONTACTS_MAX} contacts, as many as one identity can have; use another identity for more"
    )]
    Full,
}

impl ContactsError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            ContactsError::Profile(error) => error.number(),
            ContactsError::Unknown(_) | ContactsError::UnknownRequest(_) => ErrorNumber::NotFound,
            ContactsError::Ambiguous(_)
            | ContactsError::NameTaken(_)
            | ContactsError::AlreadyAccepted(_)
            | ContactsError::Blocked(_)
            | ContactsError::Oneself
            | ContactsError::BadName(_) => ErrorNumber::Usage,
            ContactsError::Unreadable(_) => ErrorNumber::UnknownRecordVersion,
            ContactsError::TooLong { .. } => ErrorNumber::TooLarge,
            ContactsError::Full => ErrorNumber::Full,
        }
    }
}

/// A name as it is kept: without white space around it.
///
/// # Errors
/// [`ContactsError::BadName`].
pub fn checked_name(name: &str) -> Result<String, ContactsError> {
    let trimmed = name.trim();
    let count = trimmed.chars().count();
    // What would be escaped when printed is no control character only, but also what turns the
    // direction of the text or has no width. Quotes are harmless.
    let bare = trimmed.replace(['\'', '"', '\\'], "");
    let printable = !bare.escape_debug().any(|escaped| escaped == '\\');
    let identity = identity_of(trimmed).is_some();
    match (1..=NAME_CHARS_MAX).contains(&count) && printable && !identity {
        true => Ok(trimmed.to_owned()),
        false => {
            let start: String = name.chars().take(NAME_CHARS_MAX).collect();
            Err(ContactsError::BadName(start.escape_debug().to_string()))
        }
    }
}

/// The identity that is written as 64 hex digits.
#[must_use]
pub fn identity_of(text: &str) -> Option<[u8; 32]> {
    let mut identity = [0; 32];
    hex::decode_to_slice(text, &mut identity).ok().map(|()| identity)
}
