//! What the profile remembers of others' bundles: table `bundles`, one row an identity.

use dht_kad::UnixMs;
use dht_kad::time::DAY_MS;
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::{Deserialize, Serialize};

use super::KeyBundle;
use crate::profile::{Profile, ProfileError, TableFault, from_row, to_row};
use crate::sealing::SealingPublic;

const BUNDLES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("bundles");
/// What a row is called where it is damaged.
const ROW: &str = "a key bundle";
/// For how long a bundle is not asked for again: what it asks of requests may change.
const FRESH_MS: u64 = DAY_MS;
/// Rows that are kept, some 1.3 KB each: more than anyone has contacts. When there are so many,
/// the older half goes.
const BUNDLES_MAX: usize = 2_048;

#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(with = "serde_bytes")]
    sealing: Vec<u8>,
    request_work: u8,
    expires_at: u64,
    fetched_at: u64,
}

/// The bundle of `identity`, if it was fetched within a day and has not ended.
pub(super) fn get(
    profile: &Profile,
    identity: &[u8; 32],
    now: UnixMs,
) -> Result<Option<KeyBundle>, ProfileError> {
    let row: Option<Row> = profile.read(|transaction| {
        let table = match transaction.open_table(BUNDLES) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            other => other?,
        };
        let row = table.get(identity.as_slice())?;
        row.map(|row| from_row(ROW, row.value())).transpose()
    })?;
    let fresh = row.filter(|row| {
        let age = now.0.checked_sub(row.fetched_at);
        age.is_some_and(|age| age < FRESH_MS) && now.0 < row.expires_at
    });
    Ok(fresh.and_then(|row| {
        let sealing = SealingPublic::from_bytes(&row.sealing).ok()?;
        Some(KeyBundle {
            sealing,
            request_work: row.request_work,
            expires_at: UnixMs(row.expires_at),
        })
    }))
}

/// Remembers the bundle of `identity`.
pub(super) fn put(
    profile: &Profile,
    identity: &[u8; 32],
    bundle: &KeyBundle,
    now: UnixMs,
) -> Result<(), ProfileError> {
    let row = Row {
        sealing: bundle.sealing.to_bytes(),
        request_work: bundle.request_work,
        expires_at: bundle.expires_at.0,
        fetched_at: now.0,
    };
    let row = to_row(ROW, &row);
    profile.write(|transaction| {
        let mut table = transaction.open_table(BUNDLES)?;
        let kept = usize::try_from(table.len()?).unwrap_or(usize::MAX);
        if kept >= BUNDLES_MAX {
            forget_older_half(&mut table)?;
        }
        table.insert(identity.as_slice(), row?.as_slice())?;
        Ok(())
    })
}

fn forget_older_half(table: &mut redb::Table<'_, &[u8], &[u8]>) -> Result<(), TableFault> {
    let mut ages = Vec::new();
    for row in table.iter()? {
        let (identity, row) = row?;
        ages.push((from_row::<Row>(ROW, row.value())?.fetched_at, identity.value().to_vec()));
    }
    ages.sort_unstable();
    for (_, identity) in ages.iter().take(ages.len().div_ceil(2)) {
        table.remove(identity.as_slice())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;
    use crate::identity::Identity;

    fn bundle(expires_at: u64) -> KeyBundle {
        let sealing = Identity::from_root(&[1; 32]).sealing_key().public().clone();
        KeyBundle { sealing, request_work: 20, expires_at: UnixMs(expires_at) }
    }

    fn profile() -> Profile {
        Profile::in_memory(&[1; 32], &"main".parse().unwrap(), &Entropy::system()).unwrap()
    }

    #[test]
    fn a_bundle_is_remembered_for_a_day_and_not_past_its_end() {
        let profile = profile();
        let at = |now| get(&profile, &[2; 32], UnixMs(now)).unwrap();
        assert_eq!(at(1_000), None);
        let long = bundle(10 * DAY_MS);
        put(&profile, &[2; 32], &long, UnixMs(1_000)).unwrap();
        assert_eq!(at(1_000), Some(long.clone()));
        assert_eq!(at(1_000 + DAY_MS - 1), Some(long));
        assert_eq!(at(1_000 + DAY_MS), None);
        assert_eq!(at(999), None, "a clock that went back says nothing of age");
        put(&profile, &[2; 32], &bundle(2_000), UnixMs(1_000)).unwrap();
        assert!(at(1_999).is_some());
        assert_eq!(at(2_000), None);
    }

    #[test]
    fn when_there_are_too_many_the_older_half_is_forgotten() {
        let profile = profile();
        let name = |at: usize| *blake3::hash(&at.to_be_bytes()).as_bytes();
        let (all, long) = (BUNDLES_MAX + 1, bundle(DAY_MS));
        // In one transaction, as one each is slow.
        profile
            .write(|transaction| {
                let mut table = transaction.open_table(BUNDLES)?;
                for at in 0..BUNDLES_MAX {
                    let row = Row {
                        sealing: long.sealing.to_bytes(),
                        request_work: 20,
                        expires_at: DAY_MS,
                        fetched_at: at as u64,
                    };
                    table.insert(name(at).as_slice(), to_row(ROW, &row)?.as_slice())?;
                }
                Ok(())
            })
            .unwrap();
        let now = UnixMs(all as u64);
        put(&profile, &name(all), &long, now).unwrap();
        let known = |at| get(&profile, &name(at), now).unwrap().is_some();
        assert!(!known(0) && !known(BUNDLES_MAX / 2 - 1));
        assert!(known(BUNDLES_MAX / 2) && known(BUNDLES_MAX - 1) && known(all));
    }
}
