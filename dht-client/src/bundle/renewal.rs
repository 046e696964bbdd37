//! Renewal: an identity that is used stays reachable.
//!
//! ```text
//! own row: when the bundle ends ── 120 days left ─▶ nothing to do, nobody is asked
//!            │ no row, or less
//!            ▼
//! what the network has ── 120 days left ─▶ noted     (another installation renewed it)
//!            │ nothing, or less, or another key
//!            ▼
//! publish, asking for the same work as before ─▶ noted
//! ```
//!
//! A client with an identity and a profile does so by itself ([`upkeep`](crate::upkeep)). Bundles last for a
//! year, so who comes online every eight months is never without one. What is published is an errand of
//! the [write queue](crate::writes), be it a renewal or somebody's wish: it is tried until it is there, one
//! after the other, so that no renewal overwrites what was asked for meanwhile.

use dht_context::PutReport;
use dht_kad::UnixMs;
use dht_kad::time::DAY_MS;
use redb::TableDefinition;
use serde::{Deserialize, Serialize};

use super::{BundleError, REQUEST_WORK_DEFAULT};
use crate::client::Client;
use crate::error::ClientError;
use crate::profile::{from_row, to_row};
use crate::writes::{Errand, is_overtaken};

/// A bundle is renewed when it has less than this left, in milliseconds: a third of its life.
pub const RENEW_BELOW_MS: u64 = 120 * DAY_MS;

/// How often a renewal looks again because another installation came first: who renews at the same
/// time does so once.
const ROUNDS_MAX: u32 = 3;

const OWN_BUNDLE: TableDefinition<(), &[u8]> = TableDefinition::new("own bundle");
/// What the row is called where it is damaged.
const ROW: &str = "its own key bundle";

/// What is known of the bundle that this identity published last.
#[derive(Serialize, Deserialize, Clone, Copy)]
pub(super) struct OwnBundle {
    pub(super) request_work: u8,
    pub(super) expires_at: u64,
}

impl Client {
    /// Publishes this identity's key bundle if it has less than [`RENEW_BELOW_MS`] left, and says when
    /// it ends. Asks nobody if the profile knows that it lasts. A client with an identity and a
    /// profile does this by itself when it is ready; who must be reachable before going on waits for it here.
    ///
    /// # Cancel safety
    /// As [`publish_bundle`](Self::publish_bundle); the next call finds what was published.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity or profile, or as [`delivered`](Self::delivered).
    pub async fn renew_own_bundle(&self) -> Result<UnixMs, ClientError> {
        self.identity()?;
        self.profile()?;
        match self.lasting_own_bundle()? {
            Some(expires_at) => Ok(expires_at),
            None => self.bundle_brought(None).await,
        }
    }

    /// Leaves the renewal to the write queue if it is due.
    pub(crate) fn want_own_bundle(&self) -> Result<(), ClientError> {
        if self.lasting_own_bundle()?.is_none() {
            self.bring(Errand::Bundle { asking: None })?;
        }
        Ok(())
    }

    /// Waits until the write queue has brought the bundle, and says when that ends.
    pub(super) async fn bundle_brought(&self, asking: Option<u8>) -> Result<UnixMs, ClientError> {
        let id = self.bring(Errand::Bundle { asking })?;
        self.delivered(id).await?;
        let own = self.known_own_bundle()?;
        let ends = own.map(|own| UnixMs(own.expires_at));
        Ok(ends.ok_or(BundleError::Missing(self.identity()?.public_key()))?)
    }

    /// Sees that the network has a bundle that lasts, and asks for so many bits if that was said; by the
    /// write queue, or by who has none. Nothing is reported if there was nothing to do.
    pub(crate) async fn bring_own_bundle(
        &self,
        asking: Option<u8>,
    ) -> Result<Option<PutReport>, ClientError> {
        if asking.is_none() && self.lasting_own_bundle()?.is_some() {
            return Ok(None);
        }
        let (identity, own) = (self.identity()?, self.known_own_bundle()?);
        let mut rounds = 0..ROUNDS_MAX;
        loop {
            rounds.next();
            let fetched = self.fetch_bundle(&identity.public_key()).await?;
            if let Err(error @ BundleError::UnknownVersion(_)) = fetched.bundle {
                return Err(error.into());
            }
            let stored = fetched.bundle.ok();
            if let Some(stored) = &stored
                && self.lasts(stored.expires_at)
                && stored.sealing == *identity.sealing_key().public()
                && asking.is_none_or(|bits| bits == stored.request_work)
            {
                self.note_own_bundle(stored.request_work, stored.expires_at)?;
                return Ok(None);
            }
            let before = stored.map(|stored| stored.request_work);
            let before = before.or(own.map(|own| own.request_work));
            let asked = asking.or(before).unwrap_or(REQUEST_WORK_DEFAULT);
            match self.put_own_bundle(asked, fetched.seq).await {
                // Another installation came first: perhaps nothing is left to do.
                Err(ClientError::Put(error)) if is_overtaken(&error) && !rounds.is_empty() => {}
                other => return other.map(Some),
            }
        }
    }

    fn lasts(&self, expires_at: UnixMs) -> bool {
        expires_at >= self.now().after(RENEW_BELOW_MS)
    }

    /// When the bundle ends, if the profile knows one that lasts.
    fn lasting_own_bundle(&self) -> Result<Option<UnixMs>, ClientError> {
        let own = self.known_own_bundle()?.map(|own| UnixMs(own.expires_at));
        Ok(own.filter(|expires_at| self.lasts(*expires_at)))
    }

    /// The bits of work that this identity asks of contact requests, as far as the profile knows.
    pub(crate) fn own_request_work(&self) -> Result<u8, ClientError> {
        let own = self.known_own_bundle()?;
        Ok(own.map_or(REQUEST_WORK_DEFAULT, |own| own.request_work))
    }

    /// What the profile, if there is one, knows of the bundle that was published last.
    pub(super) fn known_own_bundle(&self) -> Result<Option<OwnBundle>, ClientError> {
        let Ok(profile) = self.profile() else { return Ok(None) };
        Ok(profile.read(|transaction| {
            let table = match transaction.open_table(OWN_BUNDLE) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                other => other?,
            };
            table.get(())?.map(|row| from_row(ROW, row.value())).transpose()
        })?)
    }

    /// Remembers what was published, if there is a profile.
    pub(super) fn note_own_bundle(
        &self,
        request_work: u8,
        expires_at: UnixMs,
    ) -> Result<(), ClientError> {
        let Ok(profile) = self.profile() else { return Ok(()) };
        let own = OwnBundle { request_work, expires_at: expires_at.0 };
        Ok(profile.write(|transaction| {
            transaction.open_table(OWN_BUNDLE)?.insert((), to_row(ROW, &own)?.as_slice())?;
            Ok(())
        })?)
    }
}
