//! Asks, accepts, blocks and renames.
//!
//! ```text
//! request_contact  the other's key bundle ─▶ secret made ─▶ self-record ─▶ request
//! accept           the other's key bundle ─▶ secret made ─▶ self-record ─▶ answer
//! ```
//!
//! The self-record comes before anything is told to the other side: whoever loses everything then but
//! the words still has the secret. What fails half-way is done again by calling once more, or by the
//! next [renewal](super::sync).

use std::time::Duration;

use dht_context::{Put, Work};
use dht_kad::UnixMs;
use dht_kad::record::{Retention, Space};
use ed25519_dalek::SigningKey;
use tokio::time::timeout;

use super::pending::{self, Pending};
use super::request::{self, OWN_NAME_BYTES_MAX, Request, TEXT_BYTES_MAX};
use super::{Contact, ContactState, Contacts, ContactsError, DirectionSecret, identity_of};
use crate::bundle::KeyBundle;
use crate::client::Client;
use crate::error::ClientError;

/// What one nonce may take beyond the time limit, in microseconds: several times what it takes on a
/// slow core, and luck may need several times the average of them.
const NONCE_MICROS: u64 = 8;

/// How a user introduces itself, and what it calls the other.
#[derive(Clone, Copy, Default, Debug)]
pub struct Introduction<'a> {
    /// What the request says, at most [`TEXT_BYTES_MAX`] bytes.
    pub text: &'a str,
    /// What the user calls itself, at most [`OWN_NAME_BYTES_MAX`] bytes; a proposal to the other.
    pub own_name: &'a str,
    /// What the contact is to be called; the beginning of its identity, or what it calls itself, if not
    /// given.
    pub name: Option<&'a str>,
}

impl Introduction<'_> {
    fn check(&self) -> Result<(), ContactsError> {
        let fits = |what, text: &str, most| match text.len() {
            len if len > most => Err(ContactsError::TooLong { what, len, most }),
            _ => Ok(()),
        };
        fits("the text", self.text, TEXT_BYTES_MAX)?;
        fits("your name", self.own_name, OWN_NAME_BYTES_MAX)
    }
}

impl Client {
    /// All contacts, by name.
    ///
    /// # Errors
    /// [`ClientError`]: without a profile, or if it cannot be read.
    pub fn contacts(&self) -> Result<Vec<Contact>, ClientError> {
        Ok(Contacts::of(self.profile()?).list()?)
    }

    /// Asks an identity to become a contact. Letters can be sent to it from then on; it reads them if it
    /// accepts.
    ///
    /// # Cancel safety
    /// As [`introduce`](Self::introduce).
    ///
    /// # Errors
    /// As [`introduce`](Self::introduce).
    pub async fn request_contact(
        &self,
        identity: &[u8; 32],
        text: &str,
    ) -> Result<Contact, ClientError> {
        self.introduce(identity, &Introduction { text, ..Introduction::default() }).await
    }

    /// Asks an identity to become a contact, or asks again. If it has asked already, accepts.
    ///
    /// It takes as long as the work that the other asks for, about a second by default.
    ///
    /// # Cancel safety
    /// The contact may be kept already, and not have been asked. Call it again: it goes on with the same secret,
    /// and to be asked twice is no harm.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity or profile; [`BundleError`](crate::BundleError) if the other cannot be written
    /// to; [`ContactsError`] if it is a contact already, or blocked; or as a get or a put.
    pub async fn introduce(
        &self,
        identity: &[u8; 32],
        introduction: &Introduction<'_>,
    ) -> Result<Contact, ClientError> {
        introduction.check()?;
        if *identity == self.identity()?.public_key() {
            return Err(ContactsError::Oneself.into());
        }
        let profile = Contacts::of(self.profile()?);
        if let Ok(asked) = pending::named(self.profile()?, &hex::encode(identity), self.now()) {
            return self.agree(asked, introduction).await;
        }
        let known = profile.by_identity(identity)?;
        match known.as_ref().map(Contact::state) {
            Some(ContactState::Accepted) => {
                let name = known.map(|contact| contact.name).unwrap_or_default();
                return Err(ContactsError::AlreadyAccepted(name).into());
            }
            Some(ContactState::Blocked) => {
                let name = known.map(|contact| contact.name).unwrap_or_default();
                return Err(ContactsError::Blocked(name).into());
            }
            Some(ContactState::Requested) | None => {}
        }
        let contact = match (known, introduction.name) {
            (Some(known), _) => known,
            (None, Some(name)) => {
                Contact::new(*identity, profile.free_name(name, identity)?, self.now())
            }
            (None, None) => Contact::new(*identity, profile.name_for("", identity)?, self.now()),
        };
        self.tell_new(contact, introduction).await
    }

    /// Accepts a request, named by its id or its sender's identity in hex, and answers it.
    ///
    /// # Cancel safety
    /// The request waits until all is done. Call it again: it goes on with the same secret.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity or profile; [`ContactsError`] if there is no such request;
    /// or as a get or a put.
    pub async fn accept(&self, request: &str, name: Option<&str>) -> Result<Contact, ClientError> {
        let asked = pending::named(self.profile()?, request, self.now())?;
        self.agree(asked, &Introduction { name, ..Introduction::default() }).await
    }

    /// Ignores, from now on, whatever comes from a contact, from who sent a request, or from an
    /// identity that was never heard of. It is not told.
    ///
    /// # Cancel safety
    /// It is blocked on this device from the first moment; the others learn it at the next renewal.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity or profile; [`ContactsError`] if nobody is called so; or as
    /// a put: then it is blocked on this device, and the others learn it at the next renewal.
    pub async fn block(&self, who: &str) -> Result<Contact, ClientError> {
        let profile = Contacts::of(self.profile()?);
        let contact = match profile.get(who) {
            Ok(contact) => contact,
            Err(ContactsError::Unknown(_)) => self.stranger(&profile, who)?,
            Err(other) => return Err(other.into()),
        };
        self.set_blocked(contact, true).await
    }

    /// Takes a [`block`](Self::block) back: the contact is what it was before.
    ///
    /// # Cancel safety
    /// As [`block`](Self::block).
    ///
    /// # Errors
    /// As [`block`](Self::block).
    pub async fn unblock(&self, who: &str) -> Result<Contact, ClientError> {
        let contact = Contacts::of(self.profile()?).get(who)?;
        self.set_blocked(contact, false).await
    }

    /// Calls a contact otherwise.
    ///
    /// # Cancel safety
    /// It has its name on this device from the first moment; the others learn it at the next renewal.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity or profile; [`ContactsError`] if nobody is called so, or
    /// the name cannot be had; or as a put.
    pub async fn rename_contact(&self, who: &str, name: &str) -> Result<Contact, ClientError> {
        let profile = Contacts::of(self.profile()?);
        let mut contact = profile.get(who)?;
        contact.name = profile.free_name(name, &contact.identity)?;
        contact.named_at = self.now().max(contact.named_at.after(1));
        self.save(&profile.absorb(&contact)?).await
    }

    /// Somebody who is no contact: who sent a request, or an identity.
    fn stranger(&self, profile: &Contacts, who: &str) -> Result<Contact, ContactsError> {
        let now = self.now();
        let asked = self.profile().ok().and_then(|own| pending::named(own, who, now).ok());
        let (identity, hint) = match (asked, identity_of(who)) {
            (Some(Pending { request, .. }), _) => (request.sender, request.name),
            (None, Some(identity)) => (identity, String::new()),
            (None, None) => return Err(ContactsError::Unknown(who.to_owned())),
        };
        Ok(Contact::new(identity, profile.name_for(&hint, &identity)?, now))
    }

    async fn set_blocked(
        &self,
        mut contact: Contact,
        blocked: bool,
    ) -> Result<Contact, ClientError> {
        let profile = self.profile()?;
        contact.blocked = blocked;
        contact.blocked_changed_at = self.now().max(contact.blocked_changed_at.after(1));
        let contact = Contacts::of(profile).absorb(&contact)?;
        profile.write(|transaction| pending::remove_in(transaction, &contact.identity))?;
        self.save(&contact).await
    }

    /// Accepts what was asked, and answers.
    async fn agree(
        &self,
        asked: Pending,
        introduction: &Introduction<'_>,
    ) -> Result<Contact, ClientError> {
        introduction.check()?;
        let profile = Contacts::of(self.profile()?);
        let now = self.now();
        let sender = asked.request.sender;
        let mut contact = match profile.by_identity(&sender)? {
            Some(known) => known,
            None => Contact::new(sender, profile.name_for(&asked.request.name, &sender)?, now),
        };
        if let Some(name) = introduction.name {
            contact.name = profile.free_name(name, &sender)?;
            contact.named_at = now.max(contact.named_at.after(1));
        }
        for secret in asked.secrets {
            contact.add_secret_in(secret);
        }
        if contact.accepted_at.0 == 0 {
            contact.accepted_at = now;
        }
        let contact = self.tell_new(contact, introduction).await?;
        // Only now: what failed before can be done again.
        self.profile()?.write(|transaction| pending::remove_in(transaction, &sender))?;
        Ok(contact)
    }

    /// Gives a contact a secret if it has none, keeps it, and tells the contact.
    async fn tell_new(
        &self,
        mut contact: Contact,
        introduction: &Introduction<'_>,
    ) -> Result<Contact, ClientError> {
        let bundle = self.bundle_of(&contact.identity).await?;
        // Who is told can answer only if it can seal to us.
        self.renew_own_bundle().await?;
        let now = self.now();
        if contact.secret_out().is_none() {
            let secret = self.entropy().secret()?;
            contact.add_secret_out(DirectionSecret { secret, made_at: now });
        }
        contact.sealing = bundle.sealing.to_bytes();
        contact.sealing_at = now;
        self.tell(contact, &bundle, introduction).await
    }

    /// Tells a contact our secret, after the network has it; notes when.
    pub(super) async fn tell(
        &self,
        mut contact: Contact,
        bundle: &KeyBundle,
        introduction: &Introduction<'_>,
    ) -> Result<Contact, ClientError> {
        let profile = Contacts::of(self.profile()?);
        contact.told_at = self.now();
        contact.told = contact.told.saturating_add(1);
        let contact = profile.absorb(&contact)?;
        let told = async {
            let contact = self.save(&contact).await?;
            self.send_request(&contact, bundle, introduction).await?;
            Ok(contact)
        };
        let told = told.await;
        if told.is_err() {
            // The next renewal tells it then, instead of waiting for half a life.
            profile.change(&contact.identity, |contact| contact.told_at = UnixMs(0))?;
        }
        told
    }

    async fn send_request(
        &self,
        contact: &Contact,
        bundle: &KeyBundle,
        introduction: &Introduction<'_>,
    ) -> Result<(), ClientError> {
        let own = self.identity()?;
        let Some(current) = contact.secrets_out.first() else { return Ok(()) };
        let publisher = SigningKey::from_bytes(&*self.entropy().secret()?);
        let request = Request {
            sender: own.public_key(),
            secret: current.secret.clone(),
            made_at: current.made_at,
            created_at: self.now().max(current.made_at),
            answers: contact.state() == ContactState::Accepted,
            name: introduction.own_name.to_owned(),
            text: introduction.text.to_owned(),
        };
        let to = (&contact.identity, &bundle.sealing);
        let public = publisher.verifying_key().to_bytes();
        let body = request::seal(&request, self.network(), own, to, &public, self.entropy())?;
        let put = Put {
            space: Space::Topic,
            label: request::label(self.network(), &contact.identity),
            slot: 0,
            retention: Retention::Days7,
            body: body.into(),
            expected_seq: None,
            quorum: None,
            // Nobody else has this key.
            first_version: true,
        };
        let work = Work { bits: u32::from(bundle.request_work), progress: None };
        self.ready().await?;
        let limit = self.time_limit() + working_time(work.bits);
        timeout(limit, self.context.put_working(&publisher, put, work))
            .await
            .map_err(|_| ClientError::TimedOut(limit))??;
        Ok(())
    }
}

/// How long so much work may take.
fn working_time(bits: u32) -> Duration {
    Duration::from_micros(NONCE_MICROS.checked_shl(bits).unwrap_or(u64::MAX))
}
