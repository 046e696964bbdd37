//! Renewal of one's own names, once a day, by a client that has an identity and a profile.
//!
//! ```text
//! looked less than a day ago ─▶ nothing, nobody is asked
//! else: own reverse entries ─▶ each that ends soon, or was not shown to new holders for a week ─▶ renew
//! ```
//!
//! The reverse entries are signed anew with their claims, so they tell which names there are, whatever
//! installation claimed them, and how long each lasts. They are asked for by their key alone, so that an identity
//! without names does not show itself to nodes by looking for some.

use dht_kad::UnixMs;
use dht_kad::time::DAY_MS;
use redb::{TableDefinition, TableError};

use super::form::Name;
use super::reverse;
use crate::client::Client;
use crate::error::ClientError;

/// When each name, and all of them under the empty one, were last seen to.
const SEEN_TO: TableDefinition<&str, u64> = TableDefinition::new("names seen to");

/// How often a client looks which of its names are due.
const LOOK_EVERY_MS: u64 = DAY_MS;
/// How often the holders of a claim are asked for receipts: a majority of them does not change
/// within this.
const ATTEST_EVERY_MS: u64 = 7 * DAY_MS;

impl Client {
    /// Renews those of this identity's names that have less than 120 days left, and shows the claims of
    /// the others to servers that came since, each once a week. Asks nobody if it did so less than
    /// a day ago. A client with an identity and a profile does this by itself.
    ///
    /// Returns the names that it saw to.
    ///
    /// # Cancel safety
    /// The names that were seen to are noted; the next call goes on with the others.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity or profile, or if the entries cannot be listed. What goes
    /// wrong with one name is tried again a day later.
    pub async fn renew_due_names(&self) -> Result<Vec<Name>, ClientError> {
        let own = self.identity()?.public_key();
        if self.seen_to("")?.is_some_and(|then| self.now() < then.after(LOOK_EVERY_MS)) {
            return Ok(Vec::new());
        }
        let label = reverse::names_label(self.network(), &own);
        let listed = self.list(&own, &label).await?;
        let mut renewed = Vec::new();
        for record in &listed.records {
            let name = record
                .body()
                .and_then(|body| reverse::decode(self.network(), record.slot(), &body));
            let Some(name) = name else { continue };
            let left = record.expires_at().since(self.now());
            let attested = self.seen_to(name.as_str())?;
            let lasts = left >= self.name_rules().renew_before_ms
                && attested.is_some_and(|then| self.now() < then.after(ATTEST_EVERY_MS));
            if lasts {
                continue;
            }
            if Box::pin(self.renew_name(name.as_str(), |_| ())).await.is_ok() {
                self.note_seen_to(name.as_str())?;
                renewed.push(name);
            }
        }
        self.note_seen_to("")?;
        Ok(renewed)
    }

    fn seen_to(&self, name: &str) -> Result<Option<UnixMs>, ClientError> {
        Ok(self.profile()?.read(|transaction| {
            let table = match transaction.open_table(SEEN_TO) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            Ok(table.get(name)?.map(|row| UnixMs(row.value())))
        })?)
    }

    /// There is one row a name that this identity has had: it is the one who made them.
    fn note_seen_to(&self, name: &str) -> Result<(), ClientError> {
        let now = self.now().0;
        Ok(self.profile()?.write(|transaction| {
            transaction.open_table(SEEN_TO)?.insert(name, now)?;
            Ok(())
        })?)
    }
}

#[cfg(test)]
mod tests;
