//! Tells a contact our secret: what an errand does with it.
//!
//! ```text
//! the other's key bundle ─▶ our own, so that it can answer ─▶ self-record ─▶ request, with the work it asks for
//! ```
//!
//! The self-record comes before anything is told to the other side: whoever loses everything then but
//! the words still has the secret. What fails half-way is done again from the beginning. The request is
//! made anew then, under a new key: the other side merges what comes from one sender, so that two are no
//! more than one.

use std::time::Duration;

use dht_context::{Put, PutReport, Work};
use dht_kad::UnixMs;
use dht_kad::record::{Retention, Space};
use ed25519_dalek::SigningKey;
use tokio::time::timeout;

use super::request::{self, Request};
use super::{Contact, ContactState, Contacts};
use crate::bundle::KeyBundle;
use crate::client::Client;
use crate::error::ClientError;
use crate::writes::Words;

/// What one nonce may take beyond the time limit, in microseconds: several times what it takes on a
/// slow core, and luck may need several times the average of them.
const NONCE_MICROS: u64 = 8;

impl Client {
    /// Brings what the profile knows of a contact to its self-record and, where there are words for it,
    /// tells the contact our secret. `given_at` is when that was wished for.
    pub(crate) async fn bring_contact(
        &self,
        identity: &[u8; 32],
        tell: Option<&Words>,
        given_at: UnixMs,
    ) -> Result<Option<PutReport>, ClientError> {
        let contacts = Contacts::of(self.profile()?);
        let known = contacts.by_identity(identity)?;
        let to_tell = known.filter(|contact| contact.state() != ContactState::Blocked);
        let (Some(_), Some(words)) = (to_tell, tell) else { return self.save(identity).await };
        let bundle = self.bundle_of(identity).await?;
        // Who is told can answer only if it can seal to us.
        self.bring_own_bundle(None).await?;
        let (sealing, now) = (bundle.sealing.to_bytes(), self.now());
        contacts.change(identity, |contact| {
            if contact.sealing != sealing {
                (contact.sealing, contact.sealing_at) = (sealing, now);
            }
            // However often it has to be tried.
            if contact.told_at < given_at || contact.told == 0 {
                contact.told_at = now.max(given_at);
                contact.told = contact.told.saturating_add(1);
            }
        })?;
        let saved = self.save(identity).await?;
        if let Some(contact) = contacts.by_identity(identity)? {
            self.send_request(&contact, &bundle, words).await?;
        }
        Ok(saved)
    }

    async fn send_request(
        &self,
        contact: &Contact,
        bundle: &KeyBundle,
        words: &Words,
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
            name: words.own_name.clone(),
            text: words.text.clone(),
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
pub(super) fn working_time(bits: u32) -> Duration {
    Duration::from_micros(NONCE_MICROS.checked_shl(bits).unwrap_or(u64::MAX))
}
