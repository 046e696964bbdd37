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
//! A client with an identity and a profile does so by itself when it is ready, and once a day while
//! it runs. Bundles last for a year, so who comes online every eight months is never without one.

use std::sync::Arc;
use std::time::Duration;

use dht_context::PutError;
use dht_kad::UnixMs;
use dht_kad::time::DAY_MS;
use redb::TableDefinition;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::{BundleError, KeyBundle, REQUEST_WORK_DEFAULT};
use crate::client::Client;
use crate::error::ClientError;
use crate::profile::{from_row, to_row};

/// A bundle is renewed when it has less than this left, in milliseconds: a third of its life.
pub const RENEW_BELOW_MS: u64 = 120 * DAY_MS;

/// How often a client that keeps running looks: far more often than it matters.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// The pause after a renewal that failed; doubled each time.
const RETRY_FIRST: Duration = Duration::from_secs(10);
/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(3_600);

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

/// The renewal in the background of one client: all its clones have the same one.
#[derive(Clone, Default)]
pub(crate) struct Renewal {
    /// Held while the bundle is published, so that no renewal overwrites what was just asked for.
    turn: Arc<Mutex<()>>,
    task: Option<Arc<EndOnDrop>>,
}

struct EndOnDrop(AbortHandle);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Renewal {
    /// Begins, if `client` has an identity and a profile; ends with the last clone of the client.
    /// Needs a tokio runtime then.
    pub(crate) fn of(client: &Client) -> Self {
        let turn = Arc::new(Mutex::new(()));
        if client.identity().is_err() || client.profile().is_err() {
            return Renewal { turn, task: None };
        }
        // The task's own client has no task, or neither would ever be dropped.
        let own = client.with_renewal(Renewal { turn: Arc::clone(&turn), task: None });
        let task = tokio::spawn(renew_for_ever(own));
        Renewal { turn, task: Some(Arc::new(EndOnDrop(task.abort_handle()))) }
    }

    /// Waits for the turn to publish.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Lets a renewal that is under way end, and begins no other.
    pub(crate) async fn finish(&self) {
        let _turn = self.turn.lock().await;
        if let Some(task) = &self.task {
            task.0.abort();
        }
    }
}

async fn renew_for_ever(client: Client) {
    let mut retry = RETRY_FIRST;
    loop {
        client.context.ready().await;
        let renewed = async {
            client.renew_own_bundle().await?;
            client.renew_contacts().await
        };
        match renewed.await {
            Ok(()) => {
                retry = RETRY_FIRST;
                // What cannot be renewed now is due tomorrow, too.
                let _ = client.renew_due_names().await;
                sleep(LOOK_EVERY).await;
            }
            Err(_) => {
                sleep(retry).await;
                retry = (2 * retry).min(RETRY_MAX);
            }
        }
    }
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
    /// [`ClientError`]: without an identity or profile, or as a get or a put.
    pub async fn renew_own_bundle(&self) -> Result<UnixMs, ClientError> {
        let identity = self.identity()?;
        self.profile()?;
        let _turn = self.renewal().turn().await;
        let lasts = |expires_at: UnixMs| expires_at.0 >= self.now().after(RENEW_BELOW_MS).0;
        let own = self.known_own_bundle()?;
        if let Some(own) = own
            && lasts(UnixMs(own.expires_at))
        {
            return Ok(UnixMs(own.expires_at));
        }
        let mut rounds = 0..ROUNDS_MAX;
        loop {
            rounds.next();
            let fetched = self.fetch_bundle(&identity.public_key()).await?;
            if let Err(error @ BundleError::UnknownVersion(_)) = fetched.bundle {
                return Err(error.into());
            }
            let stored = fetched.bundle.ok();
            if let Some(stored) = &stored
                && lasts(stored.expires_at)
                && stored.sealing == *identity.sealing_key().public()
            {
                self.note_own_bundle(stored)?;
                return Ok(stored.expires_at);
            }
            let asked = stored.map(|stored| stored.request_work);
            let asked = asked.or(own.map(|own| own.request_work)).unwrap_or(REQUEST_WORK_DEFAULT);
            match self.publish_in_turn(asked, fetched.seq).await {
                // Another installation came first: perhaps nothing is left to do.
                Err(ClientError::Put(PutError::UnexpectedSeq { .. })) if !rounds.is_empty() => {}
                other => return other.map(|published| published.expires_at),
            }
        }
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
    pub(super) fn note_own_bundle(&self, bundle: &KeyBundle) -> Result<(), ClientError> {
        let Ok(profile) = self.profile() else { return Ok(()) };
        let own = OwnBundle { request_work: bundle.request_work, expires_at: bundle.expires_at.0 };
        Ok(profile.write(|transaction| {
            transaction.open_table(OWN_BUNDLE)?.insert((), to_row(ROW, &own)?.as_slice())?;
            Ok(())
        })?)
    }
}
