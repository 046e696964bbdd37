//! What the network and this profile know, brought together: recovery from the words alone, news of
//! the other devices, and renewal.
//!
//! ```text
//! recover  self-records ─▶ merged into the profile ─▶ errands for those that lack something, or end soon
//! renewal  once a day: recover; answers to what we asked; errands for those who may not have heard
//! ```

use std::collections::BTreeMap;

use dht_kad::UnixMs;
use dht_kad::time::DAY_MS;
use redb::{TableDefinition, TableError};

use super::{Contact, ContactState, absorb_in, get_in};
use crate::client::Client;
use crate::error::ClientError;
use crate::writes::{Errand, Words, WriteError, WriteId};

/// When everything was brought together last.
const SYNCED: TableDefinition<(), u64> = TableDefinition::new("contacts synced");

/// How often the network is asked for news of the other devices.
const SYNC_EVERY_MS: u64 = DAY_MS;
/// A request lives for seven days; it is sent again after half of that.
const TELL_AGAIN_MS: u64 = 7 * DAY_MS / 2;
/// How often somebody is asked who does not answer: for four weeks.
const ASKED_MAX: u8 = 8;
/// How often somebody who asked us is answered, from whom nothing comes: for a year, since he waits.
const ANSWERED_MAX: u8 = 104;

/// What a recovery brought.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RecoverReport {
    /// Contacts that the network keeps.
    pub found: usize,
    /// Contacts that this profile did not know.
    pub new: usize,
    /// Contacts that were written to the network, because it knew less, or not for long enough.
    pub written: usize,
    /// Such that wait in the write queue to be written.
    pub queued: usize,
    /// Records that cannot be read: a later version wrote them.
    pub unreadable: usize,
}

impl Client {
    /// Brings back the contacts that this identity has on the network, with everything that is needed
    /// to write to them and to read them; and writes there what only this profile knows.
    ///
    /// # Cancel safety
    /// What was brought together so far stays; call it again for the rest.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity or profile, or as a listing or
    /// [`delivered`](Self::delivered); what is only queued is none.
    pub async fn recover(&self) -> Result<RecoverReport, ClientError> {
        let records = self.self_records()?;
        let profile = self.profile()?;
        let mut report = RecoverReport::default();
        let mut stored = BTreeMap::new();
        for record in &self.list_self_records().await?.records {
            match records.open(record) {
                Some(found) => {
                    stored.insert(found.contact.identity, found);
                }
                None => report.unreadable += 1,
            }
        }
        report.found = stored.len();
        report.new = profile.write(|transaction| {
            let mut new = 0;
            for found in stored.values() {
                new += usize::from(get_in(transaction, &found.contact.identity)?.is_none());
                absorb_in(transaction, &found.contact)?;
            }
            Ok(new)
        })?;
        let mut lacking = Vec::new();
        for contact in self.contacts()? {
            let stored = stored.get(&contact.identity);
            if !stored.is_some_and(|stored| stored.says(&contact, self.now())) {
                let errand = Errand::Contact { identity: contact.identity, tell: None };
                lacking.push(self.bring(errand)?);
            }
        }
        (report.written, report.queued) = self.all_delivered(&lacking).await?;
        let now = self.now().0;
        profile.write(|transaction| {
            transaction.open_table(SYNCED)?.insert((), now)?;
            Ok(())
        })?;
        Ok(report)
    }

    /// Does what is due: news of the other devices once a day, answers to what was asked, and whom to
    /// tell again, which it leaves to the write queue. A client with an identity and a profile does this
    /// by itself, as it renews its key bundle. Asks nobody if nothing is due.
    ///
    /// # Cancel safety
    /// As [`recover`](Self::recover).
    ///
    /// # Errors
    /// As [`recover`](Self::recover) and [`contact_requests`](Self::contact_requests).
    pub async fn renew_contacts(&self) -> Result<(), ClientError> {
        let synced = self.synced_at()?;
        if synced.is_none_or(|at| self.now().since(at) >= SYNC_EVERY_MS) {
            self.recover().await?;
            self.read_answers().await?;
        }
        for contact in self.contacts()? {
            if is_due(&contact, self.now()) {
                let tell = Some(Words::default());
                self.bring(Errand::Contact { identity: contact.identity, tell })?;
            }
        }
        Ok(())
    }

    /// Waits for errands: how many are done, and how many wait for a network that does not answer in time.
    async fn all_delivered(&self, errands: &[WriteId]) -> Result<(usize, usize), ClientError> {
        let (mut done, mut queued) = (0, 0);
        for id in errands {
            // Once nobody answers, the others are not waited for.
            if queued > 0 && self.write_state(*id)?.is_waiting() {
                queued += 1;
                continue;
            }
            match self.delivered(*id).await {
                Ok(()) => done += 1,
                Err(ClientError::Write(WriteError::Queued { .. })) => queued += 1,
                Err(error) => return Err(error),
            }
        }
        Ok((done, queued))
    }

    fn synced_at(&self) -> Result<Option<UnixMs>, ClientError> {
        Ok(self.profile()?.read(|transaction| match transaction.open_table(SYNCED) {
            Ok(table) => Ok(table.get(())?.map(|at| UnixMs(at.value()))),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })?)
    }
}

/// Whether a contact is to be told our secret again: nothing came that shows that it has it.
fn is_due(contact: &Contact, now: UnixMs) -> bool {
    let most = match contact.state() {
        ContactState::Requested => ASKED_MAX,
        ContactState::Accepted => ANSWERED_MAX,
        ContactState::Blocked => return false,
    };
    // Who was never told is not one of ours to tell: a device that told it will.
    let told = contact.told > 0 && contact.told < most;
    let heard = contact.heard_at.0 > 0;
    told && !heard && now.since(contact.told_at) >= TELL_AGAIN_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_have_heard_is_told_again_after_half_the_life_of_a_request() {
        let now = UnixMs(100 * DAY_MS);
        let mut contact = Contact::new([1; 32], "bob".to_owned(), now);
        assert!(!is_due(&contact, now), "never told");
        (contact.told, contact.told_at) = (1, now);
        assert!(!is_due(&contact, now.after(TELL_AGAIN_MS - 1)));
        let later = now.after(TELL_AGAIN_MS);
        assert!(is_due(&contact, later));
        contact.told = ASKED_MAX;
        assert!(!is_due(&contact, later), "asked for four weeks");
        contact.accepted_at = now;
        assert!(is_due(&contact, later), "who asked us waits for the answer");
        contact.heard_at = now;
        assert!(!is_due(&contact, later));
        (contact.heard_at, contact.blocked) = (UnixMs(0), true);
        assert!(!is_due(&contact, later));
    }
}
