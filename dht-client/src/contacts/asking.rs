//! Asks, accepts, blocks and renames.
//!
//! ```text
//! request_contact  the other's key bundle ─▶ secret made ─┐
//! accept                                     secret made ─┴─▶ profile + errand ─▶ self-record ─▶ request, answer
//! block, rename                                               profile + errand ─▶ self-record
//! ```
//!
//! What is asked of the network before the profile is changed is only whether the other can be asked at
//! all; if nobody answers, it is found out later. Each of these waits within the client's time limit for
//! its [errand](super::telling), and says so if that goes on by itself.

use redb::WriteTransaction;

use super::pending::{self, Pending};
use super::request::{OWN_NAME_BYTES_MAX, TEXT_BYTES_MAX};
use super::telling::working_time;
use super::{
    Contact, ContactState, Contacts, ContactsError, DirectionSecret, absorb_in, identity_of,
};
use crate::client::Client;
use crate::error::ClientError;
use crate::profile::TableFault;
use crate::writes::{Errand, Words, WriteError, WriteId};

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
    /// to; [`ContactsError`] if it is a contact already, or blocked; or as [`delivered`](Self::delivered).
    /// If it is [queued](WriteError::Queued) only, it is a contact, and is asked as soon as the network takes
    /// it.
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
        self.meet(contact, introduction, |_| Ok(())).await
    }

    /// Accepts a request, named by its id or its sender's identity in hex, and answers it.
    ///
    /// # Cancel safety
    /// The request waits until all is done. Call it again: it goes on with the same secret.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity or profile; [`ContactsError`] if there is no such request;
    /// or as [`delivered`](Self::delivered). If it is [queued](WriteError::Queued) only, it is accepted, and
    /// the answer goes out as soon as the network takes it.
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
    /// [`delivered`](Self::delivered): it is blocked on this device then, and on the others as soon as they
    /// can be told.
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
    /// the name cannot be had; or as [`delivered`](Self::delivered): it has its name on this device then.
    pub async fn rename_contact(&self, who: &str, name: &str) -> Result<Contact, ClientError> {
        let profile = Contacts::of(self.profile()?);
        let mut contact = profile.get(who)?;
        contact.name = profile.free_name(name, &contact.identity)?;
        contact.named_at = self.now().max(contact.named_at.after(1));
        self.keep_contact(contact, |_| Ok(())).await
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
        contact.blocked = blocked;
        contact.blocked_changed_at = self.now().max(contact.blocked_changed_at.after(1));
        let identity = contact.identity;
        self.keep_contact(contact, |transaction| pending::remove_in(transaction, &identity)).await
    }

    /// Changes a contact on this device, and brings that to the network.
    async fn keep_contact(
        &self,
        contact: Contact,
        also: impl FnOnce(&WriteTransaction) -> Result<(), TableFault>,
    ) -> Result<Contact, ClientError> {
        let id = self.change_contact(&contact, None, also)?;
        self.delivered(id).await?;
        self.kept(&contact)
    }

    /// Changes a contact on this device, and takes the errand that brings that to the network, and the
    /// words to the contact.
    fn change_contact(
        &self,
        contact: &Contact,
        tell: Option<Words>,
        also: impl FnOnce(&WriteTransaction) -> Result<(), TableFault>,
    ) -> Result<WriteId, ClientError> {
        self.change_and_bring(|changing| {
            also(changing.transaction)?;
            absorb_in(changing.transaction, contact)?;
            changing.take(Errand::Contact { identity: contact.identity, tell })
        })
    }

    /// What this device knows of a contact by now.
    fn kept(&self, contact: &Contact) -> Result<Contact, ClientError> {
        let kept = Contacts::of(self.profile()?).by_identity(&contact.identity)?;
        Ok(kept.unwrap_or_else(|| contact.clone()))
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
        self.meet(contact, introduction, |transaction| pending::remove_in(transaction, &sender))
            .await
    }

    /// Gives a contact a secret if it has none, keeps it, and tells the contact.
    async fn meet(
        &self,
        mut contact: Contact,
        introduction: &Introduction<'_>,
        also: impl FnOnce(&WriteTransaction) -> Result<(), TableFault>,
    ) -> Result<Contact, ClientError> {
        let (work, unreached) = match self.bundle_of(&contact.identity).await {
            Ok(bundle) => (bundle.request_work, None),
            Err(error @ (ClientError::Bundle(_) | ClientError::Profile(_))) => return Err(error),
            Err(error) => (0, Some(error)),
        };
        if contact.secret_out().is_none() {
            let secret = self.entropy().secret()?;
            contact.add_secret_out(DirectionSecret { secret, made_at: self.now() });
        }
        let (text, own_name) = (introduction.text.to_owned(), introduction.own_name.to_owned());
        let id = self.change_contact(&contact, Some(Words { text, own_name }), also)?;
        if let Some(error) = unreached {
            // It has waited for the network once.
            return Err(WriteError::Queued { id, reason: error.to_string() }.into());
        }
        let limit = self.time_limit().saturating_add(working_time(u32::from(work)));
        self.delivered_within(limit, id).await?;
        self.kept(&contact)
    }
}
