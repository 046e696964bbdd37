//! The entries: what was got, for how long it is served, and what makes room.

use std::collections::BTreeMap;
use std::time::Duration;

use dht_kad::{RecordId, UnixMs, ValidRecord};
use tokio::time::Instant;

/// How long a version is served without asking again.
pub const SERVED_FOR: Duration = Duration::from_secs(5 * 60);
/// How long it is believed that nothing is there: shorter, since somebody may wait for it.
pub const MISSING_FOR: Duration = Duration::from_secs(30);
/// The most entries: what a program shows in a few screens, and then some.
pub const ENTRIES_MAX: usize = 4_096;
/// The most bytes of records.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;
/// What an entry takes besides its record.
const ENTRY_BYTES: usize = 256;

/// What the cache has counted, and what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheStats {
    /// Entries at present.
    pub entries: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Versions served from memory.
    pub hits: u64,
    /// That nothing is there, told from memory.
    pub hits_missing: u64,
    /// Questions that went to the network.
    pub misses: u64,
    /// Entries that made room for others.
    pub evicted: u64,
    /// Answers of the network that were older than what was seen, and not served.
    pub older: u64,
}

/// What is known of a slot.
pub(super) enum Found {
    Record(Box<ValidRecord>),
    Nothing,
    /// Ask the network; what it says counts if nothing was invalidated since this moment.
    Unknown(u64),
}

struct Entry {
    /// Nothing if nothing is there.
    record: Option<ValidRecord>,
    until: Instant,
    /// Its place in the order of use.
    used: u64,
}

/// The entries, and the order in which they were used.
#[derive(Default)]
pub(super) struct Entries {
    entries: BTreeMap<RecordId, Entry>,
    order: BTreeMap<u64, RecordId>,
    /// Counts uses.
    uses: u64,
    /// Counts invalidations.
    invalidations: u64,
    stats: CacheStats,
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.record.as_ref().map_or(0, |record| record.bytes().len())
    }
}

impl Entries {
    pub(super) fn find(&mut self, id: &RecordId, now: Instant, wall: UnixMs) -> Found {
        let fresh = self.entries.get(id).is_some_and(|entry| {
            let expired = entry.record.as_ref().is_some_and(|record| record.expires_at() <= wall);
            entry.until > now && !expired
        });
        if !fresh {
            self.remove(id);
            self.stats.misses += 1;
            return Found::Unknown(self.invalidations);
        }
        self.uses += 1;
        let Some(entry) = self.entries.get_mut(id) else {
            return Found::Unknown(self.invalidations);
        };
        self.order.remove(&entry.used);
        entry.used = self.uses;
        self.order.insert(self.uses, *id);
        match &entry.record {
            Some(record) => {
                self.stats.hits += 1;
                Found::Record(Box::new(record.clone()))
            }
            None => {
                self.stats.hits_missing += 1;
                Found::Nothing
            }
        }
    }

    /// Whether anything is known of a slot.
    pub(super) fn has(&self, id: &RecordId) -> bool {
        self.entries.contains_key(id)
    }

    /// Keeps a version that was asked for at `since`, or has come by itself, unless a newer one is
    /// here.
    pub(super) fn keep(
        &mut self,
        id: RecordId,
        record: ValidRecord,
        now: Instant,
        since: Option<u64>,
    ) {
        let here = self.entries.get(&id).and_then(|entry| entry.record.as_ref());
        let newer = here.is_some_and(|here| here.precedence() > record.precedence());
        if !newer && since.is_none_or(|since| since == self.invalidations) {
            self.insert(id, Some(record), now + SERVED_FOR);
        }
    }

    /// Keeps that nothing is there.
    pub(super) fn note_missing(&mut self, id: RecordId, now: Instant, since: u64) {
        if since == self.invalidations {
            self.insert(id, None, now + MISSING_FOR);
        }
    }

    /// Forgets an entry, and does not keep what is being asked for; gives back the moment.
    pub(super) fn invalidate(&mut self, id: &RecordId) -> u64 {
        self.remove(id);
        self.invalidations += 1;
        self.invalidations
    }

    pub(super) fn note_older(&mut self) {
        self.stats.older += 1;
    }

    pub(super) fn stats(&self) -> CacheStats {
        CacheStats { entries: self.entries.len(), ..self.stats }
    }

    fn insert(&mut self, id: RecordId, record: Option<ValidRecord>, until: Instant) {
        self.remove(&id);
        self.uses += 1;
        let entry = Entry { record, until, used: self.uses };
        self.stats.bytes += entry.bytes();
        self.order.insert(self.uses, id);
        self.entries.insert(id, entry);
        while self.entries.len() > ENTRIES_MAX || self.stats.bytes > BYTES_MAX {
            let Some((_, oldest)) = self.order.first_key_value() else { return };
            let oldest = *oldest;
            self.remove(&oldest);
            self.stats.evicted += 1;
        }
    }

    fn remove(&mut self, id: &RecordId) {
        if let Some(entry) = self.entries.remove(id) {
            self.order.remove(&entry.used);
            self.stats.bytes -= entry.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dht_kad::record::{Kind, RecordDraft, Retention, Space};
    use ed25519_dalek::SigningKey;

    use super::*;

    const WALL: UnixMs = UnixMs(1_000);

    fn record(slot: u64, seq: u64, size: usize) -> ValidRecord {
        let draft = RecordDraft {
            space: Space::Owned,
            kind: Kind::Value,
            retention: Retention::Hours8,
            label: [1; 32],
            slot,
            seq,
            created_at: WALL,
            guard_until: UnixMs(0),
            work_bits: 0,
            ext: Bytes::new(),
            body: Bytes::from(vec![0; size]),
        };
        draft.sign(&SigningKey::from_bytes(&[1; 32]), &"main".parse().unwrap()).unwrap()
    }

    fn seq_of(found: &Found) -> Option<u64> {
        match found {
            Found::Record(record) => Some(record.seq()),
            Found::Nothing | Found::Unknown(_) => None,
        }
    }

    #[test]
    fn an_entry_is_served_for_its_time_and_not_past_its_expiry() {
        let (mut entries, record, now) = (Entries::default(), record(0, 5, 10), Instant::now());
        let id = *record.id();
        entries.keep(id, record.clone(), now, None);
        let last = now + SERVED_FOR - Duration::from_millis(1);
        assert_eq!(seq_of(&entries.find(&id, last, WALL)), Some(5));
        assert_eq!(seq_of(&entries.find(&id, now + SERVED_FOR, WALL)), None);
        entries.keep(id, record.clone(), now, None);
        assert_eq!(seq_of(&entries.find(&id, now, record.expires_at())), None);
        entries.note_missing(id, now, 0);
        let last = now + MISSING_FOR - Duration::from_millis(1);
        assert!(matches!(entries.find(&id, last, WALL), Found::Nothing));
        assert!(matches!(entries.find(&id, now + MISSING_FOR, WALL), Found::Unknown(0)));
        let stats = entries.stats();
        assert_eq!((stats.hits, stats.hits_missing, stats.misses), (1, 1, 3));
        assert_eq!((stats.entries, stats.bytes), (0, 0));
    }

    #[test]
    fn what_was_asked_for_before_an_invalidation_is_not_kept_after_it() {
        let (mut entries, record, now) = (Entries::default(), record(0, 5, 10), Instant::now());
        let id = *record.id();
        let Found::Unknown(since) = entries.find(&id, now, WALL) else { panic!("it is empty") };
        entries.invalidate(&id);
        entries.keep(id, record.clone(), now, Some(since));
        entries.note_missing(id, now, since);
        assert_eq!(entries.stats().entries, 0);
        entries.keep(id, record, now, Some(since + 1));
        assert_eq!(entries.stats().entries, 1);
    }

    #[test]
    fn an_older_version_does_not_take_a_newer_ones_place() {
        let (mut entries, now) = (Entries::default(), Instant::now());
        let id = *record(0, 5, 10).id();
        for seq in [5, 9, 7] {
            entries.keep(id, record(0, seq, 10), now, None);
        }
        assert_eq!(seq_of(&entries.find(&id, now, WALL)), Some(9));
    }

    #[test]
    fn entries_and_bytes_are_bounded_and_the_least_used_goes_first() {
        let (mut entries, now) = (Entries::default(), Instant::now());
        let first = record(0, 5, 10);
        entries.keep(*first.id(), first.clone(), now, None);
        for slot in 1..=ENTRIES_MAX as u64 {
            let id = RecordId { slot, ..*first.id() };
            entries.note_missing(id, now, 0);
            // Used again and again, the first one stays.
            assert_eq!(seq_of(&entries.find(first.id(), now, WALL)), Some(5));
        }
        let stats = entries.stats();
        assert_eq!((stats.entries, stats.evicted), (ENTRIES_MAX, 1));
        let large = record(1 << 40, 1, 64 * 1024);
        for slot in 0..400 {
            let id = RecordId { slot: (1 << 40) + slot, ..*large.id() };
            entries.keep(id, large.clone(), now, None);
            assert!(entries.stats().bytes <= BYTES_MAX);
        }
        assert!(entries.stats().entries < 256);
    }
}
