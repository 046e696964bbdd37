//! Reads the requests that lie in the network, and acts on those that need no word of the user.
//!
//! ```text
//! the topic, by work ─▶ record seen? ─▶ open, check ─▶ sender known?
//!                                                        ├ blocked: ignored, counted
//!                                                        ├ we asked it: both agree, accepted
//!                                                        ├ accepted: its secret, if it is another one
//!                                                        └ unknown: waits for the user's word
//! ```

use dht_kad::ValidRecord;

use super::pending::{self, PENDING_MAX, Pending};
use super::request::{self, Request, RequestFault};
use super::{Contact, ContactRequest, ContactState, Contacts, DirectionSecret, get_in, put_in};
use crate::client::Client;
use crate::error::ClientError;
use crate::writes::{Errand, WriteError, WriteId};

/// What was found in the inbox of requests.
#[derive(Clone, Debug)]
pub struct RequestsReport {
    /// Who waits for the user's word, those that show the most work first.
    pub requests: Vec<ContactRequest>,
    /// Whose requests were accepted at once, because this identity had asked them.
    pub accepted: Vec<Contact>,
    /// What was left out, and why.
    pub ignored: IgnoredRequests,
    /// Whether there was more than is read at once: those that show the least work are left out.
    pub truncated: bool,
}

/// How many records of the inbox were left out, and why.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct IgnoredRequests {
    /// Not what their senders signed for this place; among them such as were copied.
    pub forged: usize,
    /// Sealed to somebody else, or no requests at all.
    pub foreign: usize,
    /// Too old, or of the future.
    pub stale: usize,
    /// Of those who are blocked.
    pub blocked: usize,
    /// Read before.
    pub seen: usize,
}

/// What became of one record.
enum Taken {
    Seen,
    Fault(RequestFault),
    Blocked,
    /// It waits, or said nothing new.
    Noted,
    /// Its sender is a contact now, or has told another secret; an errand keeps that on the network.
    Changed([u8; 32], WriteId),
}

impl Client {
    /// Reads this identity's inbox of requests. Those that answer a request of its own are accepted at
    /// once; the others wait, and are returned every time until they are accepted or blocked, or end.
    ///
    /// # Cancel safety
    /// What was read so far is kept, and returned the next time. Who was accepted by then stays so, and is
    /// not named in a later report.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity or profile, or as a listing or
    /// [`delivered`](Self::delivered); what is only queued is none.
    pub async fn contact_requests(&self) -> Result<RequestsReport, ClientError> {
        let own = self.identity()?.public_key();
        let profile = self.profile()?;
        let label = request::label(self.network(), &own);
        let min_work = u32::from(self.own_request_work()?);
        let listed = self
            .limited(async {
                Ok(self.context.list_topic_by_work(&label, min_work, PENDING_MAX).await?)
            })
            .await?;
        let mut ignored = IgnoredRequests::default();
        let mut changed = Vec::new();
        for record in &listed.records {
            match self.take_in(record)? {
                Taken::Seen => ignored.seen += 1,
                Taken::Fault(RequestFault::Forged) => ignored.forged += 1,
                Taken::Fault(RequestFault::Foreign) => ignored.foreign += 1,
                Taken::Fault(RequestFault::Stale) => ignored.stale += 1,
                Taken::Blocked => ignored.blocked += 1,
                Taken::Noted => {}
                Taken::Changed(identity, errand) => changed.push((identity, errand)),
            }
            // To open a thousand takes a noticeable time.
            tokio::task::yield_now().await;
        }
        let mut accepted = Vec::with_capacity(changed.len());
        for (identity, errand) in changed {
            match self.delivered(errand).await {
                // It is a contact, and the errand goes on by itself.
                Ok(()) | Err(ClientError::Write(WriteError::Queued { .. })) => {}
                Err(error) => return Err(error),
            }
            accepted.extend(Contacts::of(profile).by_identity(&identity)?);
        }
        let waiting = pending::list(profile, self.now())?;
        Ok(RequestsReport {
            requests: waiting.into_iter().map(|pending| pending.request).collect(),
            accepted,
            ignored,
            truncated: listed.truncated,
        })
    }

    /// Reads the inbox of requests if somebody whom this identity asked has not answered yet: only the
    /// answer brings what it takes to read his letters. Asks nobody otherwise.
    pub(crate) async fn read_answers(&self) -> Result<(), ClientError> {
        let waits = |contact: &Contact| contact.state() == ContactState::Requested;
        if self.contacts()?.iter().any(waits) {
            // Rarely done, and large: whoever waits for it should not carry its room around.
            Box::pin(self.contact_requests()).await?;
        }
        Ok(())
    }

    /// Acts on one record: what it changes in the profile, it changes in one transaction.
    fn take_in(&self, record: &ValidRecord) -> Result<Taken, ClientError> {
        let (identity, profile, now) = (self.identity()?, self.profile()?, self.now());
        if pending::is_seen(profile, record.digest())? {
            return Ok(Taken::Seen);
        }
        let body = record.body().unwrap_or_default();
        let opened = request::open(&body, self.network(), identity, record.publisher(), now);
        let opened = match opened {
            // One's own would make oneself a contact.
            Ok(request) if request.sender == identity.public_key() => Err(RequestFault::Forged),
            other => other,
        };
        self.change_and_bring(|changing| {
            let transaction = changing.transaction;
            let taken = match opened {
                Err(fault) => Taken::Fault(fault),
                Ok(request) => match get_in(transaction, &request.sender)? {
                    // Not seen: it counts again once its sender is unblocked.
                    Some(contact) if contact.state() == ContactState::Blocked => {
                        return Ok(Taken::Blocked);
                    }
                    Some(mut contact) if contact.secret_out().is_some() => {
                        if apply(&mut contact, &request, now) {
                            put_in(transaction, &contact)?;
                            let identity = contact.identity;
                            let errand = Errand::Contact { identity, tell: None };
                            Taken::Changed(identity, changing.take(errand)?)
                        } else {
                            Taken::Noted
                        }
                    }
                    _ => {
                        let (work, ends) = (record.work_bits(), record.expires_at());
                        let waiting = Pending::of(request, work, ends);
                        pending::put_in(transaction, waiting, now)?;
                        Taken::Noted
                    }
                },
            };
            pending::see_in(transaction, record.digest(), record.expires_at(), now)?;
            Ok(taken)
        })
    }
}

/// What a request changes in a contact that was asked; whether that is anything.
fn apply(contact: &mut Contact, request: &Request, now: dht_kad::UnixMs) -> bool {
    let before = contact.clone();
    contact.add_secret_in(DirectionSecret {
        secret: request.secret.clone(),
        made_at: request.made_at,
    });
    if contact.accepted_at.0 == 0 {
        contact.accepted_at = now;
    }
    if request.answers && contact.heard_at.0 == 0 {
        contact.heard_at = now;
    }
    *contact != before
}
