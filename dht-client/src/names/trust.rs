//! What a reader remembers: whom it has trusted with which name.
//!
//! The first proven answer is remembered, as is what the user says. From then on another answer is an
//! error, however well it is proven, until the user says whom he trusts: so that neither a lapse, nor
//! whoever holds most of the judges, can put another in the place of somebody known.

use dht_kad::UnixMs;
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, TableError, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::error::NameError;
use super::form::Name;
use crate::profile::{Profile, ProfileError, TableFault, from_row, to_row};

/// A trusted name, by the name.
const TRUSTED: TableDefinition<&str, &[u8]> = TableDefinition::new("names trusted");

/// The most names that are remembered: more than anybody meets, some megabytes.
const TRUSTED_MAX: u64 = 65_536;

/// Whom a name was trusted to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Trusted {
    #[serde(with = "serde_bytes")]
    identity: [u8; 32],
    since: UnixMs,
}

/// Who was trusted with a name, if anybody.
pub(super) fn trusted(profile: &Profile, name: &Name) -> Result<Option<[u8; 32]>, ProfileError> {
    profile.read(|transaction| {
        let table = match transaction.open_table(TRUSTED) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        let row = table.get(name.as_str())?;
        row.map(|row| read(row.value()).map(|trusted| trusted.identity)).transpose()
    })
}

/// Remembers the first identity that had a name, unless somebody is trusted with it already or there is
/// no more room; returns whoever is trusted.
pub(super) fn remember(
    profile: &Profile,
    name: &Name,
    identity: [u8; 32],
    now: UnixMs,
) -> Result<[u8; 32], ProfileError> {
    profile.write(|transaction| {
        let known = {
            let table = transaction.open_table(TRUSTED)?;
            let row = table.get(name.as_str())?;
            row.map(|row| read(row.value())).transpose()?
        };
        if let Some(known) = known {
            return Ok(known.identity);
        }
        set(transaction, name, Trusted { identity, since: now })?;
        Ok(identity)
    })
}

/// Trusts an identity with a name, whoever was trusted before.
pub(super) fn trust(
    profile: &Profile,
    name: &Name,
    identity: [u8; 32],
    now: UnixMs,
) -> Result<Result<(), NameError>, ProfileError> {
    let kept =
        profile.write(|transaction| set(transaction, name, Trusted { identity, since: now }))?;
    Ok(if kept { Ok(()) } else { Err(NameError::TrustFull(TRUSTED_MAX)) })
}

/// Writes a row if there is room; whether there was.
fn set(transaction: &WriteTransaction, name: &Name, trusted: Trusted) -> Result<bool, TableFault> {
    let mut table = transaction.open_table(TRUSTED)?;
    let known = table.get(name.as_str())?.is_some();
    if !known && table.len()? >= TRUSTED_MAX {
        return Ok(false);
    }
    table.insert(name.as_str(), to_row("a trusted name", &trusted)?.as_slice())?;
    Ok(true)
}

fn read(row: &[u8]) -> Result<Trusted, TableFault> {
    from_row("a trusted name", row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    #[test]
    fn the_first_one_stays_trusted_until_the_user_says_otherwise() {
        let network = "test".parse().unwrap();
        let profile = Profile::in_memory(&[9; 32], &network, &Entropy::system()).unwrap();
        let (alice, other): (Name, Name) = ("alice".parse().unwrap(), "other".parse().unwrap());
        assert_eq!(trusted(&profile, &alice).unwrap(), None);
        assert_eq!(remember(&profile, &alice, [1; 32], UnixMs(1)).unwrap(), [1; 32]);
        assert_eq!(remember(&profile, &alice, [2; 32], UnixMs(2)).unwrap(), [1; 32]);
        assert_eq!(trusted(&profile, &alice).unwrap(), Some([1; 32]));
        assert_eq!(trusted(&profile, &other).unwrap(), None);
        trust(&profile, &alice, [2; 32], UnixMs(3)).unwrap().unwrap();
        assert_eq!(trusted(&profile, &alice).unwrap(), Some([2; 32]));
    }
}
