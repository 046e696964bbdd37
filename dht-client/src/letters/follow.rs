//! [`LetterStream`]: letters as they come.
//!
//! ```text
//! contacts ─▶ keys of their mailboxes ─▶ a watch ─▶ something was written ─▶ fetch that contact's ─▶ inbox ─▶ next
//!                 ▲ looked at now and then, on this machine only
//! ```
//!
//! Nodes tell of what is written, so that nobody is asked while nothing comes. Where there is no watch,
//! or not yet, all contacts' letters are asked for now and then.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use dht_kad::Key;
use dht_kad::message::watch::WatchKey;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending};
use tokio::time::{Instant, sleep};

use super::ReceivedLetter;
use super::mailbox::live_epochs;
use crate::client::Client;
use crate::contacts::{ContactState, Contacts};
use crate::error::ClientError;
use crate::watch::{Watch, owned};

/// The pause between two looks while no watch has begun, or not everywhere.
const POLL: Duration = Duration::from_secs(15);
/// How often it is seen, on this machine, whether other mailboxes are to be watched: another process
/// may have accepted a contact, and each week has mailboxes of its own.
const KEYS_EVERY: Duration = Duration::from_secs(30);
/// How often all contacts' letters are asked for though nothing seems to be amiss: often enough for this
/// device to be heard of, for which the others wait before they take away what all have read.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// The letters that wait on this device, then those that come, each once.
pub struct LetterStream {
    client: Client,
    waiting: VecDeque<ReceivedLetter>,
    /// The last one that was given.
    given: u64,
    /// Who writes into which of the mailboxes that are watched.
    mailboxes: BTreeMap<Key, [u8; 32]>,
    watch: Option<Watch>,
    /// Whether somebody who was asked has not answered: no watch tells of that.
    unanswered: bool,
    /// Ends when the watch has listed every mailbox once; none if it has. Until then something may have come
    /// that nobody told of.
    listing: Option<BoxFuture<'static, Result<(), ClientError>>>,
    /// Whether all contacts' letters are to be asked for.
    look: bool,
    looked_at: Instant,
    /// Why the last look came to nothing.
    fault: Option<ClientError>,
}

impl Client {
    /// Follows what comes: first all that is not acknowledged.
    #[must_use]
    pub fn follow_letters(&self) -> LetterStream {
        LetterStream {
            client: self.clone(),
            waiting: VecDeque::new(),
            given: 0,
            mailboxes: BTreeMap::new(),
            watch: None,
            unanswered: false,
            listing: None,
            look: true,
            looked_at: Instant::now(),
            fault: None,
        }
    }
}

impl LetterStream {
    /// The next letter, whenever it comes.
    ///
    /// # Cancel safety
    /// No letter is lost: what was returned counts as given, and nothing else does.
    ///
    /// # Errors
    /// [`ClientError`] if the profile cannot be read. That the network does not answer is no error: it
    /// is asked again, and [`fault`](Self::fault) says why it gave nothing.
    pub async fn next(&mut self) -> Result<ReceivedLetter, ClientError> {
        loop {
            if self.waiting.is_empty() {
                self.waiting = self.client.letters_after(self.given)?.into();
            }
            if let Some(letter) = self.waiting.pop_front() {
                self.given = letter.arrival;
                return Ok(letter);
            }
            if self.look {
                self.fault = self.client.fetch_letters().await.err();
                (self.look, self.looked_at) = (false, Instant::now());
                continue;
            }
            self.await_something().await?;
        }
    }

    /// Why the last look into the network came to nothing, if it did.
    #[must_use]
    pub fn fault(&self) -> Option<&ClientError> {
        self.fault.as_ref()
    }

    /// Waits for a reason to look again, and looks if only one contact has written.
    async fn await_something(&mut self) -> Result<(), ClientError> {
        self.watch_mailboxes().await?;
        let Some(watch) = &mut self.watch else {
            sleep(if self.mailboxes.is_empty() { KEYS_EVERY } else { POLL }).await;
            self.look = true;
            return Ok(());
        };
        let listing = &mut self.listing;
        let pause = if listing.is_some() { POLL } else { KEYS_EVERY };
        let listed = async {
            match listing {
                Some(listing) => listing.await,
                None => pending().await,
            }
        };
        let change = tokio::select! {
            biased;
            change = watch.next() => change,
            listed = listed => {
                self.listing = None;
                if listed.is_err() {
                    (self.watch, self.look) = (None, true);
                }
                return Ok(());
            }
            () = sleep(pause) => {
                let due = self.looked_at.elapsed() >= LOOK_EVERY;
                self.look = self.listing.is_some() || self.unanswered || due;
                return Ok(());
            }
        };
        let Ok(change) = change else {
            self.watch = None;
            self.look = true;
            return Ok(());
        };
        let mut wrote = vec![self.mailboxes.get(&change.record.id().key).copied()];
        while let Some(Ok(more)) = watch.next().now_or_never() {
            wrote.push(self.mailboxes.get(&more.record.id().key).copied());
        }
        wrote.sort_unstable();
        wrote.dedup();
        // The watch will not tell of it again: whoever drops this now has all contacts asked next time.
        self.look = true;
        let mut failed = false;
        for contact in wrote.into_iter().flatten() {
            self.fault = self.client.fetch_letters_from(&contact).await.err();
            failed |= self.fault.is_some();
        }
        self.look = failed;
        Ok(())
    }

    /// Watches the mailboxes in which something may come now, if these are not watched already.
    async fn watch_mailboxes(&mut self) -> Result<(), ClientError> {
        let (client, network) = (&self.client, self.client.network());
        let mut mailboxes = BTreeMap::new();
        let mut keys = Vec::new();
        let contacts = Contacts::of(client.profile()?).list()?;
        self.unanswered = contacts.iter().any(|known| known.state() == ContactState::Requested);
        for contact in contacts.iter().filter(|known| known.state() != ContactState::Blocked) {
            for direction in client.directions_from(contact)? {
                for epoch in live_epochs(client.now()) {
                    let mailbox = direction.mailbox(network, epoch);
                    let publisher = mailbox.signer.public_key();
                    let watched = owned(network, &publisher, &mailbox.label);
                    mailboxes.insert(watched.key, contact.identity);
                    keys.push(watched);
                }
            }
        }
        if mailboxes == self.mailboxes && self.watch.is_some() {
            return Ok(());
        }
        self.mailboxes = mailboxes;
        self.watch = self.watch_of(&keys).await;
        self.listing = self.watch.as_ref().map(|watch| watch.listed().boxed());
        Ok(())
    }

    /// The watch, over these keys; none if there is nothing to watch, or it cannot be had.
    async fn watch_of(&mut self, keys: &[WatchKey]) -> Option<Watch> {
        let watch = self.watch.take();
        if keys.is_empty() {
            return None;
        }
        let begun = match watch {
            Some(mut watch) => watch.set_keys(keys).map(|()| watch),
            None => self.client.watch(keys).await,
        };
        begun.map_err(|error| self.fault = Some(error)).ok()
    }
}
