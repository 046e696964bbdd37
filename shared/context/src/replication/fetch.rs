//! Fetching records from another holder: asked for, checked like any other, stored, read back.
//!
//! ```text
//! wanted ─▶ a page of records ─▶ signature ─▶ one of those asked for? ─▶ store ─▶ read back
//!   ▲                                                                                │
//!   └────────────── what did not come, as long as something new does ◀───────────────┘
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dht_kad::admission::{Existing, FUTURE_TOLERANCE_MS, Path, row_key};
use dht_kad::message::reconcile::Wanted;
use dht_kad::message::{NodeInfo, Reconcile, Reconciled, RecordBytes};
use dht_kad::reconcile::descent::batches;
use dht_kad::reconcile::{Group, short};
use dht_kad::refusal::FullScope;
use dht_kad::time::HOUR_MS;
use dht_kad::{ParsedRecord, Refusal, UnixMs, ValidRecord};
use tokio::time::Instant;

use super::figures::count;
use super::round::RoundError;
use crate::context::Inner;
use crate::store::Submission;

/// So many false records, and nothing more is fetched from whoever sends them: damage to a few must
/// not keep the others away.
const LIES_MAX: u64 = 8;
/// The longest that one holder may keep repair busy at a time: one that answers a little at a time, each
/// time just soon enough, must not keep it from all others for a day.
pub(super) const TURN_LONGEST: Duration = Duration::from_secs(60);
/// So many signatures are checked at once, about a millisecond's work for one thread: a put that comes
/// meanwhile waits no longer for its own check.
const CHECK_AT_ONCE: usize = 32;
/// So many records are handed to the store at once: a put that comes meanwhile shares the next commit
/// with no more than these.
const STORE_AT_ONCE: usize = 32;
/// After so many records that are read back others get their turn: some tenths of a millisecond.
const TURN_RECORDS: usize = 16;
/// So many records for which there is no room, and the rest is not fetched now: a full store still
/// hears of deletes, and does not fetch in vain for ever.
const WITHOUT_ROOM_MAX: u64 = 2_048;
/// So many records of one fetch may meet a damaged row here, some blocks of the disk; with more it is the
/// store that fails, and nothing more is fetched.
const DAMAGED_MAX: u64 = 64;
/// The most versions remembered as unwanted, at some 30 bytes each.
const UNWANTED_MAX: usize = 65_536;
/// So long a version is not fetched again that exceeded a quota: many rounds; then room may have come back.
const NO_ROOM_FOR_MS: u64 = HOUR_MS;

/// What fetching some records came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct FetchReport {
    /// How many were wanted.
    pub(crate) asked: u64,
    /// How many of them this node holds now.
    pub(crate) stored: u64,
    /// How many came and are not wanted: something newer is here, they have ended or not begun, or
    /// they exceed a quota.
    pub(crate) useless: u64,
    /// How many cannot be had, however often they are asked for: the holder does not have them any
    /// more, or the row here whose place they would take is damaged.
    pub(crate) gone: u64,
    /// How many of these came, and the row here is damaged.
    pub(crate) damaged: u64,
    /// How many came for which this node has no room, or which exceed a quota.
    pub(crate) without_room: u64,
    /// How many false records came.
    pub(crate) lies: u64,
    /// Bytes asked and answered.
    pub(crate) bytes: u64,
    /// Why the rest was not fetched.
    pub(crate) stopped: Option<RoundError>,
}

/// Versions that other holders have and this node does not want for now, by the first bytes of their
/// digests, and until when: so that they are not fetched again in every round with a holder that has
/// them.
///
/// - What came and had been replaced here: superseded once is superseded for good.
/// - What exceeded a quota: for [`NO_ROOM_FOR_MS`].
/// - What was made in the future: until it may have been made.
#[derive(Debug, Default)]
pub(crate) struct Unwanted {
    versions: Mutex<BTreeMap<u64, UnixMs>>,
    /// The operator was told of a damaged row, for which a version is wanted and cannot be taken.
    told_of_damage: AtomicBool,
}

impl Unwanted {
    /// Whether this version is not wanted now.
    pub(crate) fn knows(&self, short: u64, now: UnixMs) -> bool {
        let mut versions = self.versions();
        let until = versions.get(&short).copied();
        if until.is_some_and(|until| until <= now) {
            versions.remove(&short);
        }
        until.is_some_and(|until| until > now)
    }

    /// Remembers a version until some moment; all others are forgotten when there are too many,
    /// which costs one more fetch of each.
    fn note(&self, short: u64, until: UnixMs) {
        let mut versions = self.versions();
        if versions.len() >= UNWANTED_MAX {
            versions.clear();
        }
        versions.insert(short, until);
    }

    fn versions(&self) -> MutexGuard<'_, BTreeMap<u64, UnixMs>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Fetches records from a holder and stores them, until some moment. What it does not have any more
    /// is left out.
    pub(crate) async fn fetch_from(
        self: &Arc<Self>,
        peer: &NodeInfo,
        wanted: Vec<Wanted>,
        path: Path,
        until: Instant,
    ) -> FetchReport {
        let mut report = FetchReport { asked: items(&wanted), ..FetchReport::default() };
        for batch in batches(wanted) {
            if let Err(error) = self.fetch_batch(peer, batch, (path, until), &mut report).await {
                report.stopped = Some(error);
                break;
            }
        }
        let figures = &self.replication.figures;
        figures.fetched.fetch_add(report.stored, Ordering::Relaxed);
        report
    }

    /// Asks for one batch until all of it has come or nothing new does.
    async fn fetch_batch(
        self: &Arc<Self>,
        peer: &NodeInfo,
        mut missing: Vec<Wanted>,
        (path, until): (Path, Instant),
        report: &mut FetchReport,
    ) -> Result<(), RoundError> {
        while !missing.is_empty() && Instant::now() < until {
            self.store.writable().map_err(RoundError::Store)?;
            let question = Reconcile::Records(missing.clone());
            let (answer, bytes) = self.ask_holder(peer, question).await?;
            report.bytes += bytes as u64;
            let Reconciled::Records(records) = answer else {
                self.stats.note_lie();
                return Err(RoundError::WrongAnswer(peer.id));
            };
            let before = items(&missing);
            let (records, lies) = self.checked_records(records, &mut missing).await;
            report.lies += lies;
            self.keep(records, path, report).await?;
            if report.lies >= LIES_MAX {
                return Err(RoundError::WrongAnswer(peer.id));
            }
            if items(&missing) == before {
                // An answer without any of them: they were replaced there, or have ended.
                report.gone += if lies == 0 { before } else { 0 };
                return Ok(());
            }
        }
        Ok(())
    }

    /// The records of an answer that are signed and were asked for; these are missing no more. Says
    /// how many others there were.
    async fn checked_records(
        &self,
        answered: Vec<RecordBytes>,
        missing: &mut Vec<Wanted>,
    ) -> (Vec<ValidRecord>, u64) {
        let came = answered.len();
        let bytes: usize = answered.iter().map(|record| record.0.len()).sum();
        self.replication.figures.fetched_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        // More than were asked for are lies that need no look.
        let most = usize::try_from(items(missing)).unwrap_or(usize::MAX);
        let mut answered = answered.into_iter().take(most);
        let mut records = Vec::new();
        loop {
            let some: Vec<RecordBytes> = answered.by_ref().take(CHECK_AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            let parsed = some.into_iter().filter_map(|record| ParsedRecord::parse(record.0).ok());
            let verified = self.verifier.verify(parsed.collect()).await.into_iter().flatten();
            records.extend(verified.filter(|record| take_one(missing, record)));
        }
        let lies = came.saturating_sub(records.len());
        (0..lies).for_each(|_| self.stats.note_lie());
        (records, lies as u64)
    }

    /// Stores records, and counts those that are there afterwards.
    async fn keep(
        &self,
        records: Vec<ValidRecord>,
        path: Path,
        report: &mut FetchReport,
    ) -> Result<(), RoundError> {
        let submission = |record: &ValidRecord| Submission { record: record.clone(), path };
        let mut results = Vec::with_capacity(records.len());
        for some in records.chunks(STORE_AT_ONCE) {
            results.extend(self.store.submit(some.iter().map(submission).collect()).await);
        }
        let mut refused = None;
        for (place, (record, result)) in records.iter().zip(results).enumerate() {
            if place % TURN_RECORDS == TURN_RECORDS - 1 {
                tokio::task::yield_now().await;
            }
            if let Err(refusal) = result {
                if let Err(refusal) = self.note_refused(record, refusal, path, report) {
                    refused = Some(refusal);
                }
                continue;
            }
            let held = match self.server.held(record.id()).await {
                Err(Refusal::Internal) => {
                    self.note_damaged(record, report).map_err(RoundError::Store)?;
                    continue;
                }
                held => held.map_err(RoundError::Store)?,
            };
            match held {
                Some(held) if held == record.precedence() => report.stored += 1,
                Some(held) if held > record.precedence() => {
                    self.replication.unwanted.note(short(record.digest()), UnixMs(u64::MAX));
                    report.useless += 1;
                }
                _ => tracing::warn!("a record that the store took cannot be read back"),
            }
        }
        refused.map_or(Ok(()), |refusal| Err(RoundError::Store(refusal)))
    }

    /// Counts a record that the store refused, and remembers it where it would be refused again.
    ///
    /// # Errors
    /// The refusal, if nothing more is to be fetched now.
    fn note_refused(
        &self,
        record: &ValidRecord,
        refusal: Refusal,
        path: Path,
        report: &mut FetchReport,
    ) -> Result<(), Refusal> {
        let unwanted = |until| self.replication.unwanted.note(short(record.digest()), until);
        match refusal {
            // Others may be smaller than what they replace, or delete it.
            Refusal::Full { scope } if report.without_room < WITHOUT_ROOM_MAX => {
                report.without_room += 1;
                count(&self.replication.figures.without_room);
                // A store that is full lacks what it has no room for; what exceeds the quotas of
                // repair was promised by nobody. What was only offered may still come by repair.
                if path == Path::Repair && scope != FullScope::Total {
                    unwanted(self.clock.now().after(NO_ROOM_FOR_MS));
                    report.useless += 1;
                }
            }
            Refusal::WorkTooLow { .. } if report.without_room < WITHOUT_ROOM_MAX => {
                report.without_room += 1;
                count(&self.replication.figures.without_room);
            }
            refusal if is_of_the_record(&refusal) => {
                tracing::debug!(%refusal, "a record that another holder keeps is of no use");
                if matches!(refusal, Refusal::FromTheFuture { .. }) {
                    unwanted(UnixMs(record.created_at().since(UnixMs(FUTURE_TOLERANCE_MS))));
                }
                report.useless += 1;
            }
            Refusal::Internal => return self.note_damaged(record, report),
            refusal => return Err(refusal),
        }
        Ok(())
    }

    /// Leaves out a record whose row here is damaged, so that nothing can take its place.
    ///
    /// It counts as lacking, and as one that nobody can give: the round comes to its end, its figures go
    /// on saying that something lacks here, each later round tries again, and all else is taken. The
    /// node is whole without it, as it would not be for as long as the row lies there, up to a year; and
    /// nobody is misled: who asks for that slot is refused, and told neither that nothing is there nor
    /// what was there before.
    ///
    /// # Errors
    /// The refusal, if it is the store that fails and not a row.
    fn note_damaged(&self, record: &ValidRecord, report: &mut FetchReport) -> Result<(), Refusal> {
        if report.damaged >= DAMAGED_MAX {
            return Err(Refusal::Internal);
        }
        report.damaged += 1;
        report.gone += 1;
        if !self.replication.unwanted.told_of_damage.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                key = %record.id().key,
                "a row of this node's database is damaged, and what other holders have of it cannot be \
                 stored: readers are refused it here; stop the node, check the disk, and restore the \
                 data directory from a backup or move it away to start empty: the neighbours fill it again"
            );
        }
        Ok(())
    }
}

/// Takes a record off the list of those wanted; false if it is not on it.
fn take_one(missing: &mut Vec<Wanted>, record: &ValidRecord) -> bool {
    let row = row_key(record.id());
    let group = Group::of(&Existing::of(record));
    let short = short(record.digest());
    let found = missing.iter_mut().enumerate().find_map(|(place, wanted)| {
        let here = wanted.part.group == group && wanted.part.prefix.covers_row(&row);
        let at = wanted.shorts.iter().position(|wanted| here && *wanted == short)?;
        wanted.shorts.remove(at);
        Some((place, wanted.shorts.is_empty()))
    });
    if let Some((place, true)) = found {
        missing.remove(place);
    }
    found.is_some()
}

/// Whether a store refused because of the record and not because of itself.
fn is_of_the_record(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Expired { .. }
            | Refusal::FromTheFuture { .. }
            | Refusal::BodyMissing
            | Refusal::BadSignature
            | Refusal::Blocked
    )
}

fn items(wanted: &[Wanted]) -> u64 {
    wanted.iter().map(|wanted| wanted.shorts.len() as u64).sum()
}
