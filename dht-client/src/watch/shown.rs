//! [`Shown`]: which version of each slot a watch has shown, and perhaps remembers in the profile.

use std::collections::{BTreeMap, BTreeSet};

use dht_kad::admission::row_key;
use dht_kad::message::PublisherKey;
use dht_kad::message::watch::WatchKey;
use dht_kad::record::Kind;
use dht_kad::{Precedence, RecordId, UnixMs, ValidRecord};
use redb::{ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::profile::{Profile, ProfileError, from_row, to_row};

/// The name of a watch, a zero byte and the slot's place; the version that was shown.
const WATCHED: TableDefinition<&[u8], &[u8]> = TableDefinition::new("watched");

/// Slots that are remembered: what five full keys hold, at some 200 bytes each. Of more, those that
/// end first are forgotten, and may be shown again.
const SLOTS_MAX: usize = 100_000;

/// What a watch has shown.
pub(super) struct Shown {
    /// What is watched; of anything else nothing is shown.
    keys: BTreeSet<WatchKey>,
    slots: BTreeMap<RecordId, Precedence>,
    /// Slots that are on disk in another version, or not at all, or no longer here.
    unsaved: BTreeSet<RecordId>,
    kept: Option<(Profile, Vec<u8>)>,
}

/// A row's value.
#[derive(Serialize, Deserialize)]
struct Row {
    key: [u8; 32],
    publisher: [u8; 32],
    slot: u64,
    keep_until: u64,
    seq: u64,
    digest: [u8; 32],
}

impl Shown {
    /// Nothing of these keys, and it is forgotten with the watch.
    pub(super) fn forgetful(keys: &[WatchKey]) -> Self {
        let keys = keys.iter().copied().collect();
        Shown { keys, slots: BTreeMap::new(), unsaved: BTreeSet::new(), kept: None }
    }

    /// What the watch of this name has shown of these keys.
    pub(super) fn load(
        profile: &Profile,
        name: &str,
        keys: &[WatchKey],
    ) -> Result<Self, ProfileError> {
        let prefix = [name.as_bytes(), &[0]].concat();
        let slots = profile.write(|transaction| {
            // Opened for writing, so that it is there from now on.
            let table = transaction.open_table(WATCHED)?;
            let mut slots = BTreeMap::new();
            for row in table.range(prefix.as_slice()..)? {
                let (key, value) = row?;
                if !key.value().starts_with(&prefix) {
                    break;
                }
                let row: Row = from_row("what a watch has shown", value.value())?;
                let id = RecordId {
                    key: dht_kad::Key(row.key),
                    publisher: row.publisher,
                    slot: row.slot,
                };
                let keep_until = UnixMs(row.keep_until);
                slots.insert(id, Precedence { keep_until, seq: row.seq, digest: row.digest });
            }
            Ok(slots)
        })?;
        let mut shown = Shown { slots, ..Shown::forgetful(keys) };
        shown.kept = Some((profile.clone(), prefix));
        shown.keep_only(keys);
        Ok(shown)
    }

    /// Notes a version, and says whether it is to be shown: it is watched, newer than what was shown of its
    /// slot, and either live and whole, or the end of something that was shown.
    pub(super) fn note(&mut self, record: &ValidRecord, now: UnixMs) -> bool {
        let id = *record.id();
        let before = self.slots.get(&id).copied();
        let newer = before.is_none_or(|before| record.precedence() > before);
        let live = record.kind() == Kind::Value && record.has_body() && record.expires_at() > now;
        let ends = record.kind() == Kind::Tombstone;
        if !newer || !(live || ends) || !is_watched(&self.keys, &id) {
            return false;
        }
        self.slots.insert(id, record.precedence());
        self.unsaved.insert(id);
        live || before.is_some()
    }

    /// Watches these keys from now on, and forgets what is not watched any more.
    pub(super) fn keep_only(&mut self, keys: &[WatchKey]) {
        self.keys = keys.iter().copied().collect();
        let (unsaved, keys) = (&mut self.unsaved, &self.keys);
        self.slots.retain(|id, _| {
            let watched = is_watched(keys, id);
            if !watched {
                unsaved.insert(*id);
            }
            watched
        });
    }

    /// How many slots have changed since it was saved; none if nothing is remembered.
    pub(super) fn unsaved(&self) -> usize {
        if self.kept.is_some() { self.unsaved.len() } else { 0 }
    }

    /// Has the profile remember what was shown, and forgets what has ended.
    pub(super) fn save(&mut self, now: UnixMs) -> Result<(), ProfileError> {
        if self.unsaved.is_empty() {
            return Ok(());
        }
        self.forget_ended(now);
        if let Some((profile, prefix)) = &self.kept {
            profile.write(|transaction| {
                let mut table = transaction.open_table(WATCHED)?;
                for id in &self.unsaved {
                    let key = [prefix.as_slice(), &row_key(id)].concat();
                    match self.slots.get(id) {
                        None => drop(table.remove(key.as_slice())?),
                        Some(version) => {
                            let row = to_row("what a watch has shown", &row_of(id, version))?;
                            table.insert(key.as_slice(), row.as_slice())?;
                        }
                    }
                }
                Ok(())
            })?;
        }
        self.unsaved.clear();
        Ok(())
    }

    fn forget_ended(&mut self, now: UnixMs) {
        let mut from = now;
        if self.slots.len() > SLOTS_MAX {
            let mut ends: Vec<_> = self.slots.values().map(|version| version.keep_until).collect();
            ends.sort_unstable();
            let surplus = self.slots.len() - SLOTS_MAX;
            from = ends.get(surplus).copied().map_or(now, |end| end.max(now));
        }
        let unsaved = &mut self.unsaved;
        self.slots.retain(|id, version| {
            let alive = version.keep_until > from;
            if !alive {
                unsaved.insert(*id);
            }
            alive
        });
    }
}

/// Whether a record of this slot is watched by one of the keys.
pub(super) fn is_watched(keys: &BTreeSet<WatchKey>, id: &RecordId) -> bool {
    let of = |publisher| keys.contains(&WatchKey { key: id.key, publisher });
    of(None) || of(Some(PublisherKey(id.publisher)))
}

fn row_of(id: &RecordId, version: &Precedence) -> Row {
    Row {
        key: id.key.0,
        publisher: id.publisher,
        slot: id.slot,
        keep_until: version.keep_until.0,
        seq: version.seq,
        digest: version.digest,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dht_kad::record::{RecordDraft, Retention, Space};
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::entropy::Entropy;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn version(kind: Kind, slot: u64, seq: u64) -> ValidRecord {
        let draft = RecordDraft {
            space: Space::Topic,
            kind,
            retention: Retention::Days7,
            label: [1; 32],
            slot,
            seq,
            created_at: UnixMs(NOW.0 + seq),
            guard_until: UnixMs(0),
            work_bits: 0,
            ext: Bytes::new(),
            body: if kind == Kind::Value { Bytes::from_static(b"x") } else { Bytes::new() },
        };
        draft.sign(&SigningKey::from_bytes(&[1; 32]), &"main".parse().unwrap()).unwrap()
    }

    fn watched() -> WatchKey {
        let network = "main".parse().unwrap();
        WatchKey { key: dht_kad::domain::topic_key(&network, &[1; 32]), publisher: None }
    }

    #[test]
    fn only_what_is_newer_is_shown_and_a_delete_only_of_what_was() {
        let mut shown = Shown::forgetful(&[watched()]);
        let value = |seq| version(Kind::Value, 0, seq);
        assert!(shown.note(&value(2), NOW));
        assert!(!shown.note(&value(2), NOW) && !shown.note(&value(1), NOW));
        assert!(!shown.note(&value(3).head_only(), NOW), "not without its body");
        assert!(shown.note(&value(3), NOW));
        assert!(shown.note(&version(Kind::Tombstone, 0, 4), NOW));
        assert!(!shown.note(&version(Kind::Tombstone, 1, 4), NOW), "nothing was shown there");
        assert!(!shown.note(&version(Kind::Value, 1, 3), NOW), "it was deleted before it came");
    }

    #[test]
    fn a_named_watch_remembers_and_forgets_what_has_ended() {
        let network = "main".parse().unwrap();
        let profile = Profile::in_memory(&[1; 32], &network, &Entropy::system()).unwrap();
        let (first, second) = (version(Kind::Value, 0, 1), version(Kind::Value, 1, 1));
        let mut shown = Shown::load(&profile, "one", &[watched()]).unwrap();
        assert!(shown.note(&first, NOW) && shown.note(&second, NOW));
        assert_eq!(shown.unsaved(), 2);
        shown.save(NOW).unwrap();
        let mut again = Shown::load(&profile, "one", &[watched()]).unwrap();
        assert!(!again.note(&first, NOW));
        assert!(
            Shown::load(&profile, "on", &[watched()]).unwrap().note(&first, NOW),
            "another name"
        );
        assert!(again.note(&version(Kind::Value, 2, 9), NOW));
        again.save(first.keep_until()).unwrap();
        let slots = Shown::load(&profile, "one", &[watched()]).unwrap().slots;
        assert_eq!(
            slots.keys().map(|id| id.slot).collect::<Vec<_>>(),
            [2],
            "the others have ended"
        );
        again.keep_only(&[]);
        assert!(!again.note(&version(Kind::Value, 2, 10), NOW), "it is not watched any more");
        again.save(NOW).unwrap();
        assert!(Shown::load(&profile, "one", &[watched()]).unwrap().slots.is_empty());
    }
}
