//! Who uses how much: the counters that quotas are checked against.
//!
//! The writer is the only one that changes them, so they are plain values, written whole in the
//! batch that changes them, and remembered here between batches. A batch that was not written
//! leaves wrong counters in memory: [`UsageBook::forget`] drops them, and they are read anew.

use std::collections::{BTreeSet, HashMap};

use dht_kad::admission::{Amount, Charge, Usage};
use dht_kad::record::Retention;
use rocksdb::WriteBatch;

use super::database::{Database, Fault, Reach, short_row};
use super::rows::{Scope, decode_amount, encode_amount};
use super::settings::Family;

/// Counters in memory between batches: some 4 MiB. When there are more, all are read anew.
const REMEMBERED_MAX: usize = 32_768;

/// The counters, as they are after everything that was charged and released.
#[derive(Debug, Default)]
pub(super) struct UsageBook {
    counters: HashMap<Scope, Amount>,
    changed: BTreeSet<Scope>,
}

impl UsageBook {
    /// What is used of all that a row with this charge counts against.
    pub(super) fn usage(&mut self, db: &Database, charge: &Charge) -> Result<Usage, Fault> {
        let [publisher, key, class, total] = scopes(charge);
        Ok(Usage {
            publisher: self.amount(db, publisher)?,
            key: self.amount(db, key)?,
            class: self.amount(db, class)?,
            total: self.amount(db, total)?,
        })
    }

    /// Total and classes.
    pub(super) fn summary(&mut self, db: &Database) -> Result<(Amount, [Amount; 3]), Fault> {
        let [hours8, days7, days365] = Retention::ALL.map(Scope::Class);
        let classes =
            [self.amount(db, hours8)?, self.amount(db, days7)?, self.amount(db, days365)?];
        Ok((self.amount(db, Scope::Total)?, classes))
    }

    /// One more row.
    pub(super) fn charge(&mut self, db: &Database, charge: &Charge) -> Result<(), Fault> {
        self.change(db, charge, |used| used.plus(charge.bytes))
    }

    /// One row less.
    pub(super) fn release(&mut self, db: &Database, charge: &Charge) -> Result<(), Fault> {
        self.change(db, charge, |used| used.minus(charge.bytes))
    }

    /// Adds the changed counters to the batch that changes them.
    pub(super) fn write(&mut self, db: &Database, batch: &mut WriteBatch) -> Result<(), Fault> {
        let family = db.family(Family::Usage)?;
        for scope in std::mem::take(&mut self.changed) {
            match self.counters.get(&scope) {
                Some(amount) if *amount != Amount::default() => {
                    batch.put_cf(family, scope.row_key(), encode_amount(*amount));
                }
                _ => batch.delete_cf(family, scope.row_key()),
            }
        }
        Ok(())
    }

    /// Bounds what is remembered; for between batches.
    pub(super) fn trim(&mut self) {
        if self.counters.len() > REMEMBERED_MAX {
            self.forget();
        }
    }

    /// Drops everything, so that it is read anew.
    pub(super) fn forget(&mut self) {
        self.counters.clear();
        self.changed.clear();
    }

    fn change(
        &mut self,
        db: &Database,
        charge: &Charge,
        change: impl Fn(Amount) -> Amount,
    ) -> Result<(), Fault> {
        for scope in scopes(charge) {
            let amount = change(self.amount(db, scope)?);
            self.counters.insert(scope, amount);
            self.changed.insert(scope);
        }
        Ok(())
    }

    fn amount(&mut self, db: &Database, scope: Scope) -> Result<Amount, Fault> {
        if let Some(amount) = self.counters.get(&scope) {
            return Ok(*amount);
        }
        let row = db.get(Family::Usage, &scope.row_key(), Reach::Disk)?;
        let amount = match row {
            Some(row) => decode_amount(&row).ok_or_else(|| short_row(Family::Usage))?,
            None => Amount::default(),
        };
        self.counters.insert(scope, amount);
        Ok(amount)
    }
}

fn scopes(charge: &Charge) -> [Scope; 4] {
    [
        Scope::Publisher(charge.publisher),
        Scope::Key(charge.key),
        Scope::Class(charge.class),
        Scope::Total,
    ]
}

#[cfg(test)]
mod tests {
    use dht_kad::admission::Limits;
    use dht_kad::{Key, NetworkName, UnixMs};

    use super::super::commit_plan::{CommitPlan, Grounds};
    use super::super::settings::Settings;
    use super::super::sweep::SweepMarks;
    use super::*;

    #[test]
    fn counters_that_were_only_read_do_not_add_up_over_commits() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings::new(16 << 20);
        let db = Database::create(directory.path(), &settings).unwrap();
        let network: NetworkName = "test".parse().unwrap();
        let limits = Limits::default_for(0);
        let (mut usage, mut marks) = (UsageBook::default(), SweepMarks::default());
        for number in 0..=u16::MAX {
            let mut publisher = [0; 32];
            publisher[..2].copy_from_slice(&number.to_be_bytes());
            let class = Retention::Days7;
            let charge = Charge { publisher, key: Key(publisher), class, bytes: 1 };
            usage.usage(&db, &charge).unwrap();
            let now = UnixMs(0);
            let grounds = Grounds { db: &db, network: &network, limits: &limits, now };
            assert!(CommitPlan::new(grounds, 1, &mut usage, &mut marks).is_empty());
            assert!(usage.counters.len() <= REMEMBERED_MAX);
        }
    }
}
