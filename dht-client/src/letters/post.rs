//! The client's methods for letters, and their delivery in the background.
//!
//! ```text
//! send ─▶ accepted ─▶ wakes the task ─▶ delivers to all contacts ─▶ sleeps until woken
//!                           ▲                                │ not all handed over
//!                           └── 1 s, doubled up to 10 min ◀──┘
//! ```
//!
//! The task ends with the last clone of its client. What is queued then goes out with the next client
//! of the profile that sends, fetches or delivers.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, StreamExt};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::chunks::cut;
use super::desk::{Correspondent, Desk, Rejected};
use super::inbox::Inbox;
use super::letter::PAYLOAD_MAX;
use super::mailbox::Direction;
use super::outbox::{Outbox, Payload};
use super::{
    AckReport, Delivery, FetchReport, LetterError, LetterId, MESSAGE_MAX, OutboxLetter,
    ReceivedLetter, WAITING_MAX,
};
use crate::backoff::backoff;
use crate::client::Client;
use crate::contacts::{Contact, ContactState, Contacts};
use crate::error::ClientError;
use crate::sealing::SealingPublic;

/// Contacts whose letters are carried at once: enough that many are read in few round trips.
const CONTACTS_AT_ONCE: usize = 64;
/// Contacts that are written to at once: each has batches of its own under way.
const WRITTEN_AT_ONCE: usize = 8;
/// The most letters of one page.
const PAGE_LETTERS: usize = 1_000;

/// What the clones of a client share about letters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Post {
    shared: Arc<Shared>,
    task: Option<Arc<Task>>,
}

#[derive(Debug, Default)]
struct Shared {
    rejected: Rejected,
    /// Held while letters are delivered, so that nobody seals in vain.
    turn: tokio::sync::Mutex<()>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Task(Mutex<Option<AbortHandle>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.end();
    }
}

impl Task {
    fn end(&self) {
        let mut task = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

impl Post {
    /// Of a new client.
    pub(crate) fn new() -> Self {
        Post { task: Some(Arc::default()), ..Post::default() }
    }

    /// The same for the task itself, which must not keep itself alive.
    pub(crate) fn without_task(&self) -> Self {
        Post { task: None, ..self.clone() }
    }

    /// Delivers nothing more in the background.
    pub(crate) fn end(&self) {
        if let Some(task) = &self.task {
            task.end();
        }
    }

    /// Delivers what is queued, now.
    fn wake(&self, client: &Client) {
        self.shared.wake.notify_one();
        let Some(task) = &self.task else { return };
        let mut running = task.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.as_ref().is_none_or(AbortHandle::is_finished) {
            let task = tokio::spawn(deliver_whenever_woken(client.without_tasks()));
            *running = Some(task.abort_handle());
        }
    }
}

async fn deliver_whenever_woken(client: Client) {
    let wake = &client.post().shared.wake;
    let mut failures = 0;
    loop {
        wake.notified().await;
        loop {
            let through = match client.deliver_letters().await {
                Ok(delivery) => delivery.failed == 0,
                Err(error) => {
                    tracing::debug!(%error, "letters were not delivered");
                    false
                }
            };
            if through {
                failures = 0;
                break;
            }
            let _ = timeout(backoff(failures, client.entropy()), wake.notified()).await;
            failures = failures.saturating_add(1);
        }
    }
}

impl Client {
    /// Sends a message to a contact: it is on disk when this returns, and delivered in the background.
    /// Returns its number among this device's letters to that contact.
    ///
    /// # Cancel safety
    /// As [`send_all`](Self::send_all).
    ///
    /// # Errors
    /// [`ClientError`]: without a profile, or as [`LetterError`] says.
    pub async fn send(&self, to: &[u8; 32], message: &[u8]) -> Result<u64, ClientError> {
        let numbers = self.send_all(to, &[message]).await?;
        Ok(numbers.first().copied().unwrap_or_default())
    }

    /// Sends several messages to a contact, in this order: all of them, or none.
    ///
    /// # Cancel safety
    /// If it is dropped, nothing was sent: all are accepted at once, at its very end.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_all(
        &self,
        to: &[u8; 32],
        messages: &[impl AsRef<[u8]>],
    ) -> Result<Vec<u64>, ClientError> {
        let contact = self.letter_contact(to)?;
        if contact.state() == ContactState::Blocked {
            return Err(LetterError::Blocked(*to).into());
        }
        let secret = contact.secret_out().ok_or(LetterError::NoSecret(*to))?;
        let direction = self.direction_to(to, secret)?;
        let tag = direction.tag(self.network(), self.profile()?.installation(), 0);
        let tag = (direction.fingerprint(self.network()), tag);
        let payloads: Result<Vec<_>, _> =
            messages.iter().map(|message| self.payload(message.as_ref())).collect();
        let payloads = payloads?;
        let (outbox, limit) = (Outbox(self.profile()?), self.letters_waiting_max());
        let mut accepted = outbox.accept(to, tag, &payloads, limit, self.now())?;
        if accepted.is_none() {
            // Some may have been read meanwhile.
            self.refresh_outbox().await?;
            accepted = outbox.accept(to, tag, &payloads, limit, self.now())?;
        }
        let numbers = accepted.ok_or(LetterError::Full { limit })?;
        self.post().wake(self);
        Ok(numbers)
    }

    /// Hands over all that is queued, as far as it gets on, and says what came of it. The client does
    /// so by itself after each [`send`](Self::send); this waits for it.
    ///
    /// # Cancel safety
    /// What was handed over is noted; the rest stays queued, and no letter comes twice.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity or profile. What the network says about letters is in the
    /// report, and they stay queued.
    pub async fn deliver_letters(&self) -> Result<Delivery, ClientError> {
        let _turn = self.post().shared.turn.lock().await;
        let desk = Desk::of(self, &self.post().shared.rejected)?;
        let writers = Outbox(desk.profile).writers()?;
        let queued = writers.into_iter().filter(|(_, writer)| writer.has_queued());
        let desk = &desk;
        let deliveries = queued.map(|(contact, _)| async move {
            let to = self.correspondent(&self.letter_contact(&contact)?).await?;
            desk.deliver(&to).await
        });
        let deliveries: Vec<_> = deliveries.collect();
        let mut deliveries = stream::iter(deliveries).buffer_unordered(WRITTEN_AT_ONCE);
        let mut all = Delivery::default();
        while let Some(delivery) = deliveries.next().await {
            match delivery {
                Ok(delivery) => {
                    all.stored += delivery.stored;
                    all.refused += delivery.refused;
                    all.failed += delivery.failed;
                    all.last_error = delivery.last_error.or(all.last_error);
                }
                Err(error) => {
                    all.failed += 1;
                    all.last_error = Some(error.to_string());
                }
            }
        }
        Ok(all)
    }

    /// Fetches what all contacts wrote, and delivers what is queued. What is
    /// [ready](Self::letters) then stays so until it is [acknowledged](Self::ack). While somebody who
    /// was asked has not answered, his answer is looked for first.
    ///
    /// # Cancel safety
    /// What was fetched so far is kept, each letter once; the next call goes on from there.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity or profile, or if no contact's letters could be fetched.
    pub async fn fetch_letters(&self) -> Result<FetchReport, ClientError> {
        self.post().wake(self);
        let unheard = self.read_answers().await.err();
        let contacts = Contacts::of(self.profile()?).list()?;
        let reading = contacts.into_iter().filter(|contact| {
            contact.state() != ContactState::Blocked && contact.secret_in().is_some()
        });
        let fetches: Vec<_> =
            reading.map(|contact| async move { self.fetch_letters_of(&contact).await }).collect();
        let mut fetches = stream::iter(fetches).buffer_unordered(CONTACTS_AT_ONCE);
        let (mut all, mut fetched, mut failed) = (FetchReport::default(), false, None);
        if let Some(error) = unheard {
            all.failed += 1;
            all.last_error = Some(error.to_string());
            failed = Some(error);
        }
        while let Some(fetch) = fetches.next().await {
            match fetch {
                Ok(report) => {
                    fetched = true;
                    all.add(&report);
                }
                Err(error) => {
                    all.failed += 1;
                    all.last_error = Some(error.to_string());
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if !fetched => Err(error),
            _ => Ok(all),
        }
    }

    /// Fetches what one contact wrote.
    pub(super) async fn fetch_letters_from(&self, contact: &[u8; 32]) -> Result<(), ClientError> {
        self.fetch_letters_of(&self.letter_contact(contact)?).await.map(drop)
    }

    async fn fetch_letters_of(&self, contact: &Contact) -> Result<FetchReport, ClientError> {
        let desk = Desk::of(self, &self.post().shared.rejected)?;
        let report = desk.fetch(&self.reader_of(contact)?).await?;
        if report.ready > 0 && contact.heard_at.0 == 0 {
            let now = self.now();
            Contacts::of(desk.profile).heard_from(&contact.identity, now)?;
        }
        Ok(report)
    }

    /// The letters that came and are not acknowledged, oldest first: the first thousand of them, or as
    /// many as have 64 MiB.
    ///
    /// # Errors
    /// [`ClientError`]: without a profile.
    pub fn letters(&self) -> Result<Vec<ReceivedLetter>, ClientError> {
        self.letters_after(0)
    }

    /// As [`letters`](Self::letters), those that [arrived](ReceivedLetter::arrival) later than this.
    ///
    /// # Errors
    /// [`ClientError`]: without a profile.
    pub fn letters_after(&self, arrival: u64) -> Result<Vec<ReceivedLetter>, ClientError> {
        Ok(Inbox(self.profile()?).ready(arrival, PAGE_LETTERS)?)
    }

    /// Is done with letters: they are not shown again, their senders are told, and once all devices of
    /// this identity have done so they are taken away from the network. Again is no harm.
    ///
    /// # Cancel safety
    /// The letters are done with on this device from the first moment; who could not be told is told with the
    /// next fetch.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity or profile, or if one of these never came here; the others
    /// are acknowledged then. That the network could not be told is none.
    pub async fn ack(&self, ids: &[LetterId]) -> Result<AckReport, ClientError> {
        let desk = Desk::of(self, &self.post().shared.rejected)?;
        let unknown = Inbox(desk.profile).acknowledge(ids)?;
        let mut report =
            AckReport { acknowledged: (ids.len() - unknown.len()) as u64, ..AckReport::default() };
        let mut contacts: Vec<[u8; 32]> = ids.iter().map(|id| id.contact).collect();
        contacts.sort_unstable();
        contacts.dedup();
        let desk = &desk;
        let told = contacts.into_iter().map(|contact| async move {
            let from = self.reader_of(&self.letter_contact(&contact)?)?;
            desk.publish(&from).await?;
            desk.prune(&from).await
        });
        let told: Vec<_> = told.collect();
        let mut told = stream::iter(told).buffer_unordered(CONTACTS_AT_ONCE);
        while let Some(pruned) = told.next().await {
            match pruned {
                Ok(pruned) => report.pruned += pruned,
                Err(error) => report.untold = Some(error.to_string()),
            }
        }
        match unknown.first() {
            Some(id) => Err(LetterError::Unknown(*id).into()),
            None => Ok(report),
        }
    }

    /// What this device sent, and what became of it as far as is known here: by contact and number.
    ///
    /// # Errors
    /// [`ClientError`]: without a profile.
    pub fn outbox(&self) -> Result<Vec<OutboxLetter>, ClientError> {
        Ok(Outbox(self.profile()?).list()?)
    }

    /// Asks which letters were read.
    ///
    /// # Cancel safety
    /// What was learned so far is kept.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity or profile, or if the network does not answer.
    pub async fn refresh_outbox(&self) -> Result<(), ClientError> {
        let desk = Desk::of(self, &self.post().shared.rejected)?;
        let writers = Outbox(desk.profile).writers()?;
        let unsettled = writers.into_iter().filter(|(_, writer)| writer.has_unsettled());
        let desk = &desk;
        let asked = unsettled.map(|(contact, _)| async move {
            let to = self.correspondent(&self.letter_contact(&contact)?).await?;
            let marks = desk.marks_of_any_device(&to).await?;
            Outbox(desk.profile).settle(&contact, &marks, desk.now())?;
            Ok(())
        });
        let asked: Vec<_> = asked.collect();
        let mut asked = stream::iter(asked).buffer_unordered(CONTACTS_AT_ONCE);
        let mut result = Ok(());
        while let Some(settled) = asked.next().await {
            result = result.and(settled);
        }
        result
    }

    fn letter_contact(&self, identity: &[u8; 32]) -> Result<Contact, ClientError> {
        let contact = Contacts::of(self.profile()?).by_identity(identity)?;
        Ok(contact.ok_or(LetterError::NotAContact(*identity))?)
    }

    fn direction_to(&self, to: &[u8; 32], secret: &[u8; 32]) -> Result<Direction, ClientError> {
        let (secret, sender) = (Zeroizing::new(*secret), self.identity()?.public_key());
        Ok(Direction { secret, sender, recipient: *to })
    }

    /// A contact whose letters are read.
    fn reader_of(&self, contact: &Contact) -> Result<Correspondent, ClientError> {
        let incoming = self.directions_from(contact)?;
        Ok(Correspondent { contact: contact.identity, outgoing: None, incoming })
    }

    /// The directions in which a contact writes, one for each secret that it told.
    pub(super) fn directions_from(&self, contact: &Contact) -> Result<Vec<Direction>, ClientError> {
        let recipient = self.identity()?.public_key();
        let incoming = contact.every_secret_in().map(|secret| Direction {
            secret: Zeroizing::new(*secret),
            sender: contact.identity,
            recipient,
        });
        Ok(incoming.collect())
    }

    /// A contact who is written to.
    async fn correspondent(&self, contact: &Contact) -> Result<Correspondent, ClientError> {
        let secret = contact.secret_out().ok_or(LetterError::NoSecret(contact.identity))?;
        let direction = self.direction_to(&contact.identity, secret)?;
        let sealing = match contact.sealing.is_empty() {
            true => self.bundle_of(&contact.identity).await?.sealing,
            false => SealingPublic::from_bytes(&contact.sealing)?,
        };
        let reader = self.reader_of(contact)?;
        Ok(Correspondent { outgoing: Some((direction, sealing)), ..reader })
    }

    fn payload(&self, message: &[u8]) -> Result<Payload, ClientError> {
        let bytes = message.len() as u64;
        if message.len() > MESSAGE_MAX {
            return Err(LetterError::TooLong(message.len()).into());
        }
        if message.len() <= PAYLOAD_MAX {
            let letter = Zeroizing::new(message.to_vec());
            return Ok(Payload { bytes, letter, chunks: Vec::new() });
        }
        let (manifest, chunks) = cut(message, self.entropy())?;
        Ok(Payload { bytes, letter: manifest.encode(), chunks })
    }

    fn letters_waiting_max(&self) -> u64 {
        self.letters_limit().unwrap_or(WAITING_MAX)
    }
}

impl FetchReport {
    fn add(&mut self, other: &FetchReport) {
        self.ready += other.ready;
        self.missed += other.missed;
        self.damaged += other.damaged;
        self.rejected += other.rejected;
        self.awaited += other.awaited;
        self.left |= other.left;
    }
}
