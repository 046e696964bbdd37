//! The cache: what was got a short time ago is not asked for again, and never is an older version
//! served than one that was seen.
//!
//! ```text
//! get_cached ─▶ entries (memory: LRU, bounded) ──fresh──▶ served
//!                   │ else                          ▲
//!                   ▼                               │ not older than the floor
//!                the network ──────────────▶ floors (profile: the newest version seen of each slot)
//!                   ▲                               ▲
//!   invalidate ─────┘      note (a watch, a put) ───┘
//! ```
//!
//! A floor outlives the entry, and the process if there is a profile. Where the usual holders show
//! less than the floor, a majority is asked; if that shows no more, it is an error and not served.
//!
//! What any [watch](crate::watch) of the client is told of comes here before it is shown ([`Keeper`]): what
//! was got before is then served in its new version, without asking. A slot that nobody got is not taken
//! in, since a mailbox that is watched would else push out what is read again and again.
//!
//! ```no_run
#![doc = include_str!("example.rs")]
//! ```

mod entries;
mod floors;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dht_context::{GetError, GetOptions, Slot};
use dht_kad::lookup::Consistency;
use dht_kad::record::Kind;
use dht_kad::{ErrorNumber, UnixMs, ValidRecord};
use thiserror::Error;
use tokio::time::Instant;

use crate::client::Client;
use crate::error::ClientError;
use crate::profile::{Profile, ProfileError};
use entries::{Entries, Found};
use floors::Floors;

pub use entries::{BYTES_MAX, CacheStats, ENTRIES_MAX, MISSING_FOR, SERVED_FOR};
pub use floors::FLOORS_MAX;

/// What the network shows cannot be served.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheError {
    /// A newer version was seen than those that are to be had.
    #[error("only older versions than one seen before are to be had at present; try again")]
    OnlyOlder,
}

impl CacheError {
    /// The error's number.
    #[must_use]
    pub const fn number(&self) -> ErrorNumber {
        ErrorNumber::QuorumNotReached
    }
}

/// What the clones of a client share.
#[derive(Clone, Default)]
pub(crate) struct Cache {
    entries: Arc<Mutex<Entries>>,
    floors: Floors,
}

/// Hands what comes by a watch to the cache.
pub(crate) struct Keeper {
    cache: Cache,
    profile: Option<Profile>,
}

impl Keeper {
    /// Takes these versions, in place of older ones that were got.
    pub(crate) fn take(&self, records: &[ValidRecord], now: UnixMs) {
        for record in records {
            if let Err(error) = self.take_one(record, now) {
                // Asked for anew, it comes from the network.
                self.cache.lock().invalidate(record.id());
                tracing::warn!(%error, "what a watch has shown cannot be noted for the cache");
            }
        }
    }

    fn take_one(&self, record: &ValidRecord, now: UnixMs) -> Result<(), ProfileError> {
        let (cache, profile, id) = (&self.cache, self.profile.as_ref(), record.id());
        let got = cache.lock().has(id) || cache.floors.has(profile, id)?;
        match got {
            true => cache.keep(profile, record.clone(), None, now).map(drop),
            // It may be asked for at this moment, and the answer be the older one.
            false => {
                cache.lock().invalidate(id);
                Ok(())
            }
        }
    }
}

impl Cache {
    /// Keeps a version unless a newer one was seen; whether it may be served. `since` is the moment at
    /// which it was asked for, if it was.
    fn keep(
        &self,
        profile: Option<&Profile>,
        record: ValidRecord,
        since: Option<u64>,
        wall: UnixMs,
    ) -> Result<bool, ProfileError> {
        let id = *record.id();
        if !self.floors.raise(profile, &id, record.precedence(), wall)? {
            return Ok(false);
        }
        let now = Instant::now();
        let mut entries = self.lock();
        match record.kind() {
            Kind::Tombstone => {
                let since = since.unwrap_or_else(|| entries.invalidate(&id));
                entries.note_missing(id, now, since);
            }
            // Its body is elsewhere: it has to be asked for.
            Kind::Value if !record.has_body() => {
                entries.invalidate(&id);
            }
            Kind::Value => entries.keep(id, record, now, since),
        }
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Gets a slot's newest version, from memory if it was got a short time ago.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// [`ClientError`], as [`get`](Self::get) says, remembered for a shorter time if nothing is
    /// there; or that only older versions are to be had than one seen before.
    pub async fn get_cached(&self, slot: &Slot) -> Result<ValidRecord, ClientError> {
        let id = slot.id(self.network());
        let since = match self.cache().lock().find(&id, Instant::now(), self.now()) {
            Found::Record(record) => return Ok(*record),
            Found::Nothing => return Err(GetError::NotFound.into()),
            Found::Unknown(since) => since,
        };
        for consistency in [Consistency::Default, Consistency::Quorum] {
            let options = GetOptions { consistency, ..GetOptions::default() };
            match self.get(slot, options).await {
                Ok(report) => {
                    if self.keep(report.record.clone(), Some(since))? {
                        return Ok(report.record);
                    }
                }
                Err(error @ ClientError::Get(GetError::NotFound | GetError::Deleted)) => {
                    self.cache().lock().note_missing(id, Instant::now(), since);
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
            // What came meanwhile by another way is newer.
            if let Found::Record(record) = self.cache().lock().find(&id, Instant::now(), self.now())
            {
                return Ok(*record);
            }
            self.cache().lock().note_older();
        }
        Err(CacheError::OnlyOlder.into())
    }

    /// Asks the network anew for this slot the next time.
    pub fn invalidate(&self, slot: &Slot) {
        let id = slot.id(self.network());
        self.cache().lock().invalidate(&id);
    }

    /// Takes a version that has come by another way, such as a watch; an older one than was seen
    /// changes nothing.
    ///
    /// # Errors
    /// [`ClientError`] if the profile cannot be used.
    pub fn note(&self, record: &ValidRecord) -> Result<(), ClientError> {
        self.keep(record.clone(), None).map(drop)
    }

    /// What the cache has counted.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.cache().lock().stats()
    }

    /// What hands the news of watches to the cache.
    pub(crate) fn cache_keeper(&self) -> Keeper {
        Keeper { cache: self.cache().clone(), profile: self.profile().ok().cloned() }
    }

    fn keep(&self, record: ValidRecord, since: Option<u64>) -> Result<bool, ClientError> {
        Ok(self.cache().keep(self.profile().ok(), record, since, self.now())?)
    }
}
