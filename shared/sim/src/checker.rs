//! [`Checker`]: knows every acknowledged record, and whether the promise is kept.
//!
//! The promise: *a put that was acknowledged stays readable, unforged and unresurrected until the
//! expiry that its publisher signed.* Whoever puts says so before ([`Checker::tries`]) and, if it
//! succeeded, after ([`Attempt::acknowledged`]). Whoever gets asks the checker first
//! ([`Checker::asks`]), which notes what must be found at least, and shows it the answer
//! ([`Question::answered`]).
//!
//! A version that was tried and not acknowledged may be found or not, and what it replaced may be
//! gone with it once it has ended. A delete that was tried and not acknowledged may have deleted or
//! not; nobody may say that nothing was ever there. A version that came while the get was under way
//! may be found or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dht_context::operations::{GetError, GetReport, Slot};
use dht_kad::domain;
use dht_kad::record::{Kind, Precedence, Retention};
use dht_kad::{NetworkName, ParsedRecord, RecordId, UnixMs, ValidRecord};
use thiserror::Error;

/// By so much the clock of a node that takes puts may be wrong, and the end of what it signs with it.
const CLOCK_OFF_MAX_MS: u64 = 10 * 60 * 1_000;

/// A broken promise. Says of which slot.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokenRule {
    /// What was acknowledged cannot be found.
    #[error("an acknowledged record is lost: {} slot {} is answered with «{answer}»", slot.key, slot.slot)]
    Lost {
        /// Where.
        slot: RecordId,
        /// What the get said.
        answer: String,
    },
    /// An earlier version came back.
    #[error("a stale version is served: {} slot {} shows seq {found}, seq {acknowledged} was acknowledged", slot.key, slot.slot)]
    Stale {
        /// Where.
        slot: RecordId,
        /// The seq that was found.
        found: u64,
        /// The least seq that should have been.
        acknowledged: u64,
    },
    /// What was deleted came back.
    #[error("a deleted record came back: {} slot {} shows seq {found}", slot.key, slot.slot)]
    CameBack {
        /// Where.
        slot: RecordId,
        /// The seq that was found.
        found: u64,
    },
    /// Not the bytes that were acknowledged, or nobody's.
    #[error("a record was changed or forged: {} slot {}, seq {found}", slot.key, slot.slot)]
    Forged {
        /// Where.
        slot: RecordId,
        /// The seq that was found.
        found: u64,
    },
    /// It should have ended.
    #[error("an expired record is served: {} slot {} ended {late_ms} ms ago", slot.key, slot.slot)]
    ServedExpired {
        /// Where.
        slot: RecordId,
        /// How long ago it ended.
        late_ms: u64,
    },
    /// It was acknowledged, and is not what somebody asked to have put.
    #[error("not what was asked for is acknowledged: {} slot {}, seq {seq}", slot.key, slot.slot)]
    NotAsAsked {
        /// Where.
        slot: RecordId,
        /// The seq that was acknowledged.
        seq: u64,
    },
    /// Too few of those who should hold it do.
    #[error("a record lacks copies: {} slot {} is held by {held} of its closest nodes, {needed} should", slot.key, slot.slot)]
    TooFewCopies {
        /// Where.
        slot: RecordId,
        /// How many of the closest hold it.
        held: usize,
        /// How many should.
        needed: usize,
    },
}

impl BrokenRule {
    /// How bad it is: what faults may bring about for a while is less than what nobody may ever see.
    fn gravity(&self) -> u8 {
        match self {
            BrokenRule::TooFewCopies { .. } => 0,
            BrokenRule::Lost { .. } => 1,
            BrokenRule::Stale { .. } => 2,
            BrokenRule::CameBack { .. } => 3,
            BrokenRule::ServedExpired { .. } => 4,
            BrokenRule::NotAsAsked { .. } => 5,
            BrokenRule::Forged { .. } => 6,
        }
    }

    /// The worse of two; the first of two that are as bad.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if other.gravity() > self.gravity() { other } else { self }
    }
}

/// What became of reads while there were faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reads {
    /// They found what was acknowledged.
    pub found: u64,
    /// They did not, or got no answer that they could rely on.
    pub missed: u64,
}

/// Knows what was promised. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Checker {
    network: NetworkName,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    slots: BTreeMap<RecordId, History>,
    attempts: u64,
    acknowledged: usize,
    answers: usize,
    reads: Reads,
    /// The first thing that was seen and that nobody may ever see.
    seen_broken: Option<BrokenRule>,
}

/// What happened to one slot.
#[derive(Debug)]
struct History {
    place: Slot,
    /// The greatest acknowledged version.
    greatest: Option<ValidRecord>,
    /// The canonical bytes of every acknowledged version, by digest.
    bytes: BTreeMap<[u8; 32], Bytes>,
    /// The hashes of the bodies that somebody tried to put; `None` stands for a delete.
    tried: BTreeSet<Option<[u8; 32]>>,
    /// What was tried and is not acknowledged, or not yet.
    open: BTreeMap<u64, Wish>,
    /// The greatest acknowledged delete.
    deleted: Option<Precedence>,
}

/// What somebody wants to have done to a slot.
#[derive(Clone, Copy, Debug)]
enum Wish {
    /// A body of this hash is to be there until then.
    Put([u8; 32], UnixMs),
    Delete,
}

/// A put or delete that is about to begin.
#[derive(Debug)]
pub struct Attempt {
    checker: Checker,
    slot: RecordId,
    number: u64,
    wish: Wish,
    began: UnixMs,
}

/// A get that is about to begin.
#[derive(Debug)]
pub struct Question {
    checker: Checker,
    place: Slot,
    slot: RecordId,
    at_least: Option<ValidRecord>,
}

impl Checker {
    /// One that knows of nothing yet.
    #[must_use]
    pub fn new(network: NetworkName) -> Self {
        Checker { network, state: Arc::default() }
    }

    /// Somebody is about to put this body, which is to be there for so long, at the true time `now`.
    pub fn tries(&self, place: &Slot, body: &[u8], retention: Retention, now: UnixMs) -> Attempt {
        let ends_at = now.after(retention.lifetime_ms());
        self.begins(place, Wish::Put(domain::body_hash(body), ends_at), now)
    }

    /// Somebody is about to delete what is there, at the true time `now`.
    pub fn tries_to_delete(&self, place: &Slot, now: UnixMs) -> Attempt {
        self.begins(place, Wish::Delete, now)
    }

    fn begins(&self, place: &Slot, wish: Wish, began: UnixMs) -> Attempt {
        let slot = place.id(&self.network);
        let mut state = self.state();
        state.attempts += 1;
        let number = state.attempts;
        let history = state.slots.entry(slot).or_insert_with(|| History::new(*place));
        history.tried.insert(wish.body_hash());
        history.open.insert(number, wish);
        Attempt { checker: self.clone(), slot, number, wish, began }
    }

    /// A get of this slot begins.
    #[must_use]
    pub fn asks(&self, place: &Slot) -> Question {
        let slot = place.id(&self.network);
        let at_least = self.state().slots.get(&slot).and_then(|slot| slot.greatest.clone());
        Question { checker: self.clone(), place: *place, slot, at_least }
    }

    /// The slots in which something was acknowledged.
    #[must_use]
    pub fn places(&self) -> Vec<Slot> {
        let state = self.state();
        let promised = state.slots.values().filter(|history| history.greatest.is_some());
        promised.map(|history| history.place).collect()
    }

    /// The greatest acknowledged version of each slot, of those that have not ended by `now`.
    #[must_use]
    pub fn promised(&self, now: UnixMs) -> Vec<ValidRecord> {
        let state = self.state();
        let greatest = state.slots.values().filter_map(|history| history.greatest.as_ref());
        greatest.filter(|record| record.keep_until() > now).cloned().collect()
    }

    /// The greatest acknowledged version of a slot.
    #[must_use]
    pub fn greatest(&self, slot: &RecordId) -> Option<ValidRecord> {
        self.state().slots.get(slot)?.greatest.clone()
    }

    /// What became of reads while there were faults.
    #[must_use]
    pub fn reads(&self) -> Reads {
        self.state().reads
    }

    /// The first thing that was seen and that nobody may ever see.
    #[must_use]
    pub fn seen_broken(&self) -> Option<BrokenRule> {
        self.state().seen_broken.clone()
    }

    /// Checks what one node shows of a slot when it is asked directly at the true time `asked`: bytes
    /// that somebody tried to put there, and a body that had not ended then.
    ///
    /// # Errors
    /// [`BrokenRule::Forged`] or [`BrokenRule::ServedExpired`].
    pub fn shown_directly(
        &self,
        slot: &RecordId,
        bytes: &Bytes,
        asked: UnixMs,
    ) -> Result<(), BrokenRule> {
        let mut state = self.state();
        state.answers += 1;
        let forged = |found| Err(BrokenRule::Forged { slot: *slot, found });
        let Ok(record) = ParsedRecord::parse(bytes.clone()) else { return forged(0) };
        let found = record.seq();
        let Ok(record) = record.verify(&self.network) else { return forged(found) };
        let known = state.slots.get(slot).is_some_and(|history| history.knows(&record));
        if record.id() != slot || !known {
            return forged(found);
        }
        let shows_body = record.kind() == Kind::Value && record.has_body();
        if shows_body && record.expires_at() <= asked {
            let late_ms = asked.since(record.expires_at());
            return Err(BrokenRule::ServedExpired { slot: *slot, late_ms });
        }
        Ok(())
    }

    /// How many puts and deletes were acknowledged.
    #[must_use]
    pub fn acknowledgements(&self) -> usize {
        self.state().acknowledged
    }

    /// How many answers were checked.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.state().answers
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl History {
    fn new(place: Slot) -> Self {
        let (bytes, tried, open) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        History { place, greatest: None, bytes, tried, open, deleted: None }
    }

    /// Whether a delete may have taken effect that counts more than this version.
    fn may_have_deleted(&self, version: &ValidRecord) -> bool {
        let is_open = self.open.values().any(|wish| matches!(wish, Wish::Delete));
        is_open || self.deleted.is_some_and(|deleted| deleted > version.precedence())
    }

    /// Whether a put that was not acknowledged may have replaced what was there, and have ended.
    fn may_have_ended(&self, now: UnixMs) -> bool {
        self.open.values().any(|wish| matches!(wish, Wish::Put(_, ends_at) if *ends_at <= now))
    }

    /// Whether these bytes, or this head, are what somebody tried to write here.
    fn knows(&self, record: &ValidRecord) -> bool {
        match self.bytes.get(record.digest()) {
            Some(bytes) if record.has_body() => bytes == record.bytes(),
            Some(_) => true,
            None if record.kind() == Kind::Tombstone => self.tried.contains(&None),
            None => self.tried.contains(&Some(*record.body_hash())),
        }
    }
}

impl Wish {
    fn body_hash(self) -> Option<[u8; 32]> {
        match self {
            Wish::Put(hash, _) => Some(hash),
            Wish::Delete => None,
        }
    }

    /// Whether it is this record that was wanted. A put is signed within `took_ms` of its begin.
    fn is_fulfilled_by(self, record: &ValidRecord, took_ms: u64) -> bool {
        match self {
            Wish::Put(hash, ends_at) => {
                let end = record.expires_at();
                let off_ms = end.since(ends_at.after(took_ms)).max(ends_at.since(end));
                let is_body = record.kind() == Kind::Value && *record.body_hash() == hash;
                is_body && off_ms <= CLOCK_OFF_MAX_MS
            }
            Wish::Delete => record.kind() == Kind::Tombstone,
        }
    }
}

impl Attempt {
    /// It succeeded, with this record, by the true time `now`; if that is not what was wanted, that is
    /// noted as broken.
    pub fn acknowledged(self, record: &ValidRecord, now: UnixMs) {
        let mut state = self.checker.state();
        state.acknowledged += 1;
        let is_wanted = self.wish.is_fulfilled_by(record, now.since(self.began));
        if *record.id() != self.slot || !is_wanted {
            let broken = BrokenRule::NotAsAsked { slot: self.slot, seq: record.seq() };
            state.seen_broken.get_or_insert(broken);
        }
        let Some(history) = state.slots.get_mut(&self.slot) else { return };
        if record.kind() == Kind::Tombstone {
            history.deleted = history.deleted.max(Some(record.precedence()));
        }
        history.open.remove(&self.number);
        history.bytes.insert(*record.digest(), record.bytes().clone());
        let greater = |known: &ValidRecord| known.precedence() < record.precedence();
        if history.greatest.as_ref().is_none_or(greater) {
            history.greatest = Some(record.clone());
        }
    }
}

impl Question {
    /// What to get.
    #[must_use]
    pub fn place(&self) -> &Slot {
        &self.place
    }

    /// Checks what a get came to, in a network that is whole, at the true time `now`.
    ///
    /// # Errors
    /// The [`BrokenRule`].
    pub fn answered(
        self,
        answer: &Result<GetReport, GetError>,
        now: UnixMs,
    ) -> Result<(), BrokenRule> {
        let mut state = self.checker.state();
        state.answers += 1;
        let empty = History::new(self.place);
        let history = state.slots.get(&self.slot).unwrap_or(&empty);
        match answer {
            Ok(report) => self.shown(&report.record, history, now),
            Err(error) => self.not_shown(error, history, now),
        }
    }

    /// Counts what a get came to while there are faults: none if nothing came in time. What was
    /// forged or had expired is noted as broken; that somebody cannot be found is what faults do.
    pub fn answered_in_trouble(self, answer: Option<&Result<GetReport, GetError>>, now: UnixMs) {
        let mut state = self.checker.state();
        let empty = History::new(self.place);
        let history = state.slots.get(&self.slot).unwrap_or(&empty);
        let verdict = match answer {
            Some(Ok(report)) => Some(self.shown(&report.record, history, now)),
            Some(Err(error)) => Some(self.not_shown(error, history, now)),
            None => None,
        };
        match verdict {
            Some(Ok(())) => state.reads.found += 1,
            Some(Err(broken @ (BrokenRule::Forged { .. } | BrokenRule::ServedExpired { .. }))) => {
                state.reads.missed += 1;
                state.seen_broken.get_or_insert(broken);
            }
            Some(Err(_)) | None => state.reads.missed += 1,
        }
    }

    fn shown(
        &self,
        record: &ValidRecord,
        history: &History,
        now: UnixMs,
    ) -> Result<(), BrokenRule> {
        let (slot, found) = (self.slot, record.seq());
        if *record.id() != slot || record.kind() == Kind::Tombstone || !history.knows(record) {
            return Err(BrokenRule::Forged { slot, found });
        }
        if record.expires_at() <= now {
            let late_ms = now.since(record.expires_at());
            return Err(BrokenRule::ServedExpired { slot, late_ms });
        }
        match &self.at_least {
            Some(least) if record.precedence() >= least.precedence() => Ok(()),
            Some(least) if least.kind() == Kind::Tombstone && least.keep_until() > now => {
                Err(BrokenRule::CameBack { slot, found })
            }
            Some(least) if least.keep_until() > now => {
                Err(BrokenRule::Stale { slot, found, acknowledged: least.seq() })
            }
            _ => Ok(()),
        }
    }

    fn not_shown(
        &self,
        error: &GetError,
        history: &History,
        now: UnixMs,
    ) -> Result<(), BrokenRule> {
        let Some(least) = &self.at_least else { return Ok(()) };
        let ended = least.kind() == Kind::Tombstone || least.expires_at() <= now;
        let deleted = *error == GetError::Deleted && history.may_have_deleted(least);
        if ended || deleted || history.may_have_ended(now) {
            return Ok(());
        }
        Err(BrokenRule::Lost { slot: self.slot, answer: error.to_string() })
    }
}

#[cfg(test)]
mod tests;
