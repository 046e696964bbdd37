//! Errands: what the client itself has to bring to the network as soon as it can.
//!
//! ```text
//! profile changed + errand, in one transaction ─▶ queue ─▶ engine ─▶ what the profile says by now
//!                                                                      │ merged with what is there
//!                                  done ◀── nothing is lacking ◀───────┴─▶ written, over what was read
//! ```
//!
//! A queued value is written as it was given, and what somebody else has written meanwhile is a conflict
//! that its writer has to hear of. An errand is for what *merges*: it says only of what the profile has
//! to be brought. What is written is made when it is delivered, from the profile as it is then, together
//! with what lies in the network; if another device comes in between, that is read, merged and written
//! again. So nothing is noted before it is sent: an errand that is run twice finds nothing to do the
//! second time. Two errands of one thing are never run at one time, and of those behind the first there
//! is one at most, so that errands are bounded by what they are about.

use dht_kad::UnixMs;
use serde::{Deserialize, Serialize};

use super::WriteKind;
use super::delivery::{Delivery, Outcome, done, is_lasting, refused};
use super::row::End;
use crate::bundle::BundleError;
use crate::error::ClientError;
use crate::profile::ProfileError;

/// Something to be brought. Kept in profiles: what is added goes to the end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Errand {
    /// The key bundle: published unless the network has one that lasts, and asks for so many bits.
    Bundle {
        /// The bits of work to ask of requests; those that were asked before if not given.
        asking: Option<u8>,
    },
    /// What the profile knows of a contact, to its self-record.
    Contact {
        /// Whose contact it is.
        identity: [u8; 32],
        /// What to tell the contact then, together with our secret.
        tell: Option<Words>,
    },
}

/// What a request says besides what it is for.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Words {
    pub(crate) text: String,
    pub(crate) own_name: String,
}

impl Errand {
    pub(super) fn kind(&self) -> WriteKind {
        match self {
            Errand::Bundle { .. } => WriteKind::Bundle,
            Errand::Contact { identity, .. } => WriteKind::Contact(*identity),
        }
    }

    /// What it is about, in the form of a slot's place: errands of one place follow one another. No
    /// slot has it, since this publisher's key is nobody's.
    pub(super) fn place(&self) -> Vec<u8> {
        let (subject, word) = match self {
            Errand::Bundle { .. } => ([0; 32], b"errand: the identity's own bundle"),
            Errand::Contact { identity, .. } => (*identity, b"errand: a contact's self-record. "),
        };
        let mut place = [&subject[..], word].concat();
        place.resize(super::row::PLACE_LEN, 0);
        place
    }

    /// Takes in a later errand of the same place, so that running this one is running both.
    pub(super) fn join(&mut self, later: Errand) {
        match (self, later) {
            (Errand::Bundle { asking }, Errand::Bundle { asking: later }) => {
                *asking = later.or(*asking);
            }
            (Errand::Contact { tell, .. }, Errand::Contact { tell: later, .. }) => {
                let silent = later.as_ref().is_none_or(|later| *later == Words::default());
                if tell.is_none() || !silent {
                    *tell = later.or(tell.take());
                }
            }
            // Places differ.
            (Errand::Bundle { .. }, _) | (Errand::Contact { .. }, _) => {}
        }
    }
}

impl Delivery {
    /// Runs an errand that was given at this moment.
    pub(super) async fn run(
        &self,
        errand: &Errand,
        given_at: UnixMs,
    ) -> Result<Outcome, ProfileError> {
        let client = &self.client;
        let run = match errand {
            Errand::Bundle { asking } => Box::pin(client.bring_own_bundle(*asking)).await,
            Errand::Contact { identity, tell } => {
                Box::pin(client.bring_contact(identity, tell.as_ref(), given_at)).await
            }
        };
        Ok(match run {
            Ok(Some(report)) => Outcome::Ended(done(&report), Some(Box::new(report))),
            Ok(None) => Outcome::Ended(nothing_to_do(), None),
            Err(ClientError::Profile(error)) => return Err(error),
            Err(error) if lasts(errand, &error) => {
                Outcome::Ended(refused(error.number(), &error), None)
            }
            Err(error) => Outcome::Later(error.to_string()),
        })
    }
}

/// The network had all of it.
fn nothing_to_do() -> End {
    End::Done { seq: 0, stored: 0, targets: 0 }
}

/// Whether to try an errand again does not help.
fn lasts(errand: &Errand, error: &ClientError) -> bool {
    match (errand, error) {
        (_, ClientError::Put(error)) => is_lasting(error),
        (_, ClientError::Bundle(BundleError::NotAnIdentity(_) | BundleError::TooMuchWork(_))) => {
            true
        }
        // A later version of this program renews it.
        (Errand::Bundle { .. }, ClientError::Bundle(BundleError::UnknownVersion(_))) => true,
        (_, ClientError::Seal(_) | ClientError::Identity(_)) => true,
        // The network may answer, a contact publish a bundle, this program be upgraded to read what a later
        // one wrote.
        _ => false,
    }
}
