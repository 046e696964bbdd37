//! Floors: the newest version that was seen of each slot, below which nothing is served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use dht_kad::record::Precedence;
use dht_kad::{Key, RecordId, UnixMs};
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};

use crate::profile::{Profile, ProfileError, TableFault, from_row, to_row};

/// The most slots whose newest version is remembered; of more, those that were raised the longest
/// time ago are forgotten. About 200 bytes each on disk.
pub const FLOORS_MAX: u64 = 10_000;

/// Slot → floor, and when it was raised.
const FLOORS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("cache floors");
/// When a floor was raised → slot.
const ORDER: TableDefinition<u64, &[u8]> = TableDefinition::new("cache floors order");
const WHAT: &str = "the cache's floors";

/// keep_until, seq, digest, and the place in the order.
type Row = (u64, u64, [u8; 32], u64);

/// Floors in the profile, or in memory where there is none.
#[derive(Clone, Default)]
pub(super) struct Floors {
    memory: Arc<Mutex<BTreeMap<RecordId, Precedence>>>,
}

impl Floors {
    /// Raises a slot's floor to a version that was seen; whether it is not below the floor.
    pub(super) fn raise(
        &self,
        profile: Option<&Profile>,
        id: &RecordId,
        seen: Precedence,
        now: UnixMs,
    ) -> Result<bool, ProfileError> {
        let Some(profile) = profile else { return Ok(self.raise_in_memory(id, seen, now)) };
        let slot = name(id);
        match floor_in(profile, &slot)? {
            Some(floor) if floor == seen => Ok(true),
            Some(floor) if floor > seen && floor.keep_until > now => Ok(false),
            _ => raise_in(profile, &slot, seen, now),
        }
    }

    /// Whether a version of this slot was seen.
    pub(super) fn has(
        &self,
        profile: Option<&Profile>,
        id: &RecordId,
    ) -> Result<bool, ProfileError> {
        match profile {
            Some(profile) => Ok(floor_in(profile, &name(id))?.is_some()),
            None => {
                let floors = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(floors.contains_key(id))
            }
        }
    }

    fn raise_in_memory(&self, id: &RecordId, seen: Precedence, now: UnixMs) -> bool {
        let mut floors = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if floors.get(id).is_some_and(|floor| *floor > seen && floor.keep_until > now) {
            return false;
        }
        if !floors.contains_key(id) && floors.len() as u64 >= FLOORS_MAX {
            // The one that ends first has the least left to protect.
            let first = floors.iter().min_by_key(|(_, floor)| floor.keep_until).map(|(id, _)| *id);
            first.map(|first| floors.remove(&first));
        }
        floors.insert(*id, seen);
        true
    }
}

fn name(id: &RecordId) -> Vec<u8> {
    let Key(key) = id.key;
    [&key[..], &id.publisher, &id.slot.to_be_bytes()].concat()
}

fn of_row((keep_until, seq, digest, _): Row) -> Precedence {
    Precedence { keep_until: UnixMs(keep_until), seq, digest }
}

fn floor_in(profile: &Profile, slot: &[u8]) -> Result<Option<Precedence>, ProfileError> {
    profile.read(|tables| {
        let table = match tables.open_table(FLOORS) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let row = table.get(slot)?;
        row.map(|row| from_row(WHAT, row.value()).map(of_row)).transpose()
    })
}

fn raise_in(
    profile: &Profile,
    slot: &[u8],
    seen: Precedence,
    now: UnixMs,
) -> Result<bool, ProfileError> {
    profile.write(|tables| {
        let mut floors = tables.open_table(FLOORS)?;
        let mut order = tables.open_table(ORDER)?;
        let known: Option<Row> =
            floors.get(slot)?.map(|row| from_row(WHAT, row.value())).transpose()?;
        if let Some(known) = known {
            // Another process may have seen a newer one meanwhile.
            let floor = of_row(known);
            if floor > seen && floor.keep_until > now {
                return Ok(false);
            }
            order.remove(known.3)?;
        }
        let place = order.last()?.map_or(0, |(place, _)| place.value()).saturating_add(1);
        let row: Row = (seen.keep_until.0, seen.seq, seen.digest, place);
        floors.insert(slot, to_row(WHAT, &row)?.as_slice())?;
        order.insert(place, slot)?;
        while floors.len()? > FLOORS_MAX {
            let oldest = order.pop_first()?.map(|(_, slot)| slot.value().to_vec());
            floors.remove(oldest.ok_or(TableFault::Damaged(WHAT))?.as_slice())?;
        }
        Ok(true)
    })
}

#[cfg(test)]
mod tests {
    use dht_kad::NetworkName;

    use super::*;
    use crate::entropy::Entropy;

    fn id(slot: u64) -> RecordId {
        RecordId { key: Key([1; 32]), publisher: [2; 32], slot }
    }

    fn version(keep_until: u64, seq: u64) -> Precedence {
        Precedence { keep_until: UnixMs(keep_until), seq, digest: [3; 32] }
    }

    #[test]
    fn a_floor_is_never_lowered_while_what_was_seen_may_be_kept() {
        let network: NetworkName = "main".parse().unwrap();
        let profile = Profile::in_memory(&[1; 32], &network, &Entropy::system()).unwrap();
        for profile in [Some(&profile), None] {
            let floors = Floors::default();
            let raise = |seen, now| floors.raise(profile, &id(0), seen, UnixMs(now)).unwrap();
            assert!(raise(version(900, 5), 1));
            assert!(!raise(version(900, 4), 1), "an older seq");
            assert!(!raise(version(800, 9), 1), "a shorter life is older, whatever its seq");
            assert!(raise(version(900, 5), 1), "the same again");
            assert!(raise(version(900, 6), 1));
            assert!(!raise(version(900, 5), 899));
            assert!(raise(version(850, 1), 900), "nothing protects what has ended");
        }
        // Another process with the same profile knows what this one has seen.
        let floors = Floors::default();
        assert!(floors.raise(Some(&profile), &id(7), version(900, 5), UnixMs(1)).unwrap());
        let other = Floors::default();
        assert!(!other.raise(Some(&profile), &id(7), version(900, 4), UnixMs(1)).unwrap());
    }

    #[test]
    fn floors_in_memory_are_bounded_and_those_that_end_first_go_first() {
        let floors = Floors::default();
        for slot in 0..=FLOORS_MAX {
            assert!(floors.raise(None, &id(slot), version(1_000 + slot, 5), UnixMs(1)).unwrap());
        }
        assert_eq!(floors.memory.lock().unwrap().len() as u64, FLOORS_MAX);
        assert!(floors.raise(None, &id(0), version(1_000, 1), UnixMs(1)).unwrap(), "forgotten");
        assert!(!floors.raise(None, &id(9), version(1_000, 1), UnixMs(1)).unwrap());
    }
}
