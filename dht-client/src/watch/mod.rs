//! Watching: being told of every change at some keys, by three of their holders.
//!
//! ```text
//! Watch ─ keys ─▶ Driver ─▶ holders of each key ─▶ one subscription a node, for all keys there
//!   ▲               │ ◀──── news ──────────────────────────┘
//!   │               ├─▶ a listing (quorum) where news may have been missed
//!   │               └─▶ the cache, first
//!   └── records ── shown before, or older? ──▶ Change
//! ```
//!
//! One [`Driver`](driver) serves all watches of a client, since a node takes one subscription from
//! each peer. It begins with a listing of what is there, made after the subscriptions stand, so that
//! nothing falls in between. A node that fails is asked to go on from its cursor when it is back, and
//! another holder takes its place meanwhile; wherever something may have been missed the key is listed
//! anew. So every change comes out, from whichever of the holders tells of it first.
//!
//! A [`Watch`] remembers which version of each slot it has shown, and shows newer ones only. With a
//! name it remembers that in the profile: then it goes on where it was after a restart, too. Between
//! two looks only the newest version of a slot counts; a delete is shown where what it deletes was.
//!
//! ```no_run
#![doc = include_str!("example.rs")]
//! ```

mod driver;
mod known;
mod shown;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dht_kad::message::PublisherKey;
use dht_kad::message::watch::{WATCH_KEYS_MAX, WatchKey};
use dht_kad::record::Kind;
use dht_kad::{ErrorNumber, Key, NetworkName, ValidRecord, domain};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::client::Client;
use crate::error::ClientError;
use driver::{Command, Driver, Running};
use shown::Shown;

/// Batches of records that wait for one watch. Whoever takes them more slowly than they come is shown
/// the newest versions later.
const WAITING_MAX: usize = 256;
/// Changes that a named watch may show before it notes that it has: what may be shown twice if the
/// process is killed.
const UNSAVED_MAX: usize = 256;
/// The longest name of a watch, in bytes.
const NAME_MAX: usize = 64;

/// A version that was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The record; of a delete, the head that deletes.
    pub record: ValidRecord,
}

/// Something cannot be watched.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchError {
    /// Nodes take no more keys.
    #[error("{0} keys are watched, at most 1024 can be; watch fewer, or from another client")]
    TooManyKeys(usize),
    /// The name cannot be kept.
    #[error("a watch's name has 1 to 64 bytes, this one has {0}; give another")]
    BadName(usize),
    /// The client is gone.
    #[error("the client has stopped; start it again")]
    Stopped,
}

impl WatchError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            WatchError::TooManyKeys(_) => ErrorNumber::TooLarge,
            WatchError::BadName(_) => ErrorNumber::Usage,
            WatchError::Stopped => ErrorNumber::NoPeers,
        }
    }
}

impl Change {
    /// Whether it deletes what was in its slot.
    #[must_use]
    pub fn is_delete(&self) -> bool {
        self.record.kind() == Kind::Tombstone
    }
}

/// What a publisher keeps under a label of its own.
#[must_use]
pub fn owned(network: &NetworkName, publisher: &[u8; 32], label: &[u8; 32]) -> WatchKey {
    let key = domain::owned_key(network, publisher, label);
    WatchKey { key, publisher: Some(PublisherKey(*publisher)) }
}

/// What everyone keeps under a topic.
#[must_use]
pub fn topic(network: &NetworkName, label: &[u8; 32]) -> WatchKey {
    WatchKey { key: domain::topic_key(network, label), publisher: None }
}

/// All that lies at a key.
#[must_use]
pub fn all_at(key: Key) -> WatchKey {
    WatchKey { key, publisher: None }
}

/// A watch: what was there when it began comes first, then every change. Dropping it ends it.
pub struct Watch {
    client: Client,
    lease: Lease,
    changes: mpsc::Receiver<Vec<ValidRecord>>,
    ready: VecDeque<ValidRecord>,
    shown: Shown,
}

/// A watch's place with the driver; given back when dropped.
struct Lease {
    id: u64,
    commands: mpsc::UnboundedSender<Command>,
    keys: Arc<Counted>,
    /// The driver had no room to tell it something.
    behind: Arc<AtomicBool>,
}

/// The keys of all watches of a client.
#[derive(Debug, Default)]
struct Counted(Mutex<BTreeMap<u64, BTreeSet<WatchKey>>>);

/// What a client knows of its watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watching {
    keys: Arc<Counted>,
    next_id: Arc<AtomicU64>,
    running: Running,
}

impl Client {
    /// Watches keys, such as [`owned`] and [`topic`] give. What is there comes first.
    ///
    /// # Cancel safety
    /// Nothing is watched then.
    ///
    /// # Errors
    /// [`ClientError`]: if the network cannot be joined, or [`WatchError::TooManyKeys`].
    pub async fn watch(&self, keys: &[WatchKey]) -> Result<Watch, ClientError> {
        self.ready().await?;
        self.begin_watch(keys, Shown::forgetful(keys))
    }

    /// The same, and remembers in the profile under this name what it has shown: a later watch of the
    /// same name shows only what is new since, and misses nothing of it.
    ///
    /// # Cancel safety
    /// Nothing is watched then.
    ///
    /// # Errors
    /// [`ClientError`]: without a profile, too.
    pub async fn watch_as(&self, name: &str, keys: &[WatchKey]) -> Result<Watch, ClientError> {
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(WatchError::BadName(name.len()).into());
        }
        let shown = Shown::load(self.profile()?, name, keys)?;
        self.ready().await?;
        self.begin_watch(keys, shown)
    }

    fn begin_watch(&self, keys: &[WatchKey], shown: Shown) -> Result<Watch, ClientError> {
        let watching = &self.watching;
        let id = watching.next_id.fetch_add(1, Ordering::Relaxed);
        watching.keys.set(id, keys)?;
        let behind = Arc::new(AtomicBool::new(false));
        let (out, changes) = mpsc::channel(WAITING_MAX);
        let keys = keys.iter().copied().collect();
        let begin = Command::Begin { id, keys, out, behind: Arc::clone(&behind) };
        let commands = watching.begin(self, begin)?;
        let lease = Lease { id, commands, keys: Arc::clone(&watching.keys), behind };
        Ok(Watch { client: self.clone(), lease, changes, ready: VecDeque::new(), shown })
    }
}

impl Watching {
    /// Tells the running driver, or a new one, that a watch begins.
    fn begin(
        &self,
        client: &Client,
        begin: Command,
    ) -> Result<mpsc::UnboundedSender<Command>, WatchError> {
        // The driver ends under this lock, so that it does not miss what begins.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let commands = running.get_or_insert_with(|| {
            // Each watch sends few commands, and waits for none.
            let (commands, received) = mpsc::unbounded_channel();
            let (context, cache) = (client.context.clone(), client.cache_keeper());
            let driver = Driver::new(context, cache, received, Arc::clone(&self.running));
            tokio::spawn(driver.run());
            commands
        });
        commands.send(begin).map_err(|_| WatchError::Stopped)?;
        Ok(commands.clone())
    }
}

impl Counted {
    /// Takes these keys for a watch, in place of those that it had.
    fn set(&self, id: u64, keys: &[WatchKey]) -> Result<(), WatchError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = held.iter().filter(|(other, _)| **other != id).flat_map(|(_, keys)| keys);
        let all: BTreeSet<_> = others.chain(keys).collect();
        if all.len() > WATCH_KEYS_MAX {
            return Err(WatchError::TooManyKeys(all.len()));
        }
        held.insert(id, keys.iter().copied().collect());
        Ok(())
    }

    fn forget(&self, id: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

impl Lease {
    fn tell(&self, command: Command) -> Result<(), WatchError> {
        self.commands.send(command).map_err(|_| WatchError::Stopped)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keys.forget(self.id);
        // A driver that is gone has nothing to forget.
        let _ = self.tell(Command::End { id: self.id });
    }
}

impl Watch {
    /// Waits for the next change, however long that takes. What was returned before counts as seen from
    /// then on.
    ///
    /// # Cancel safety
    /// No change is lost: what was not returned comes out of the next call.
    ///
    /// # Errors
    /// [`ClientError`] if what was shown cannot be noted in the profile, or the client has stopped.
    /// What goes wrong in the network is tried again for ever.
    pub async fn next(&mut self) -> Result<Change, ClientError> {
        if self.shown.unsaved() >= UNSAVED_MAX {
            self.shown.save(self.client.now())?;
        }
        loop {
            while let Some(record) = self.ready.pop_front() {
                if self.shown.note(&record, self.client.now()) {
                    return Ok(Change { record });
                }
            }
            if let Ok(records) = self.changes.try_recv() {
                self.ready.extend(records);
                continue;
            }
            self.shown.save(self.client.now())?;
            if self.lease.behind.swap(false, Ordering::Relaxed) {
                self.lease.tell(Command::Catch { id: self.lease.id })?;
            }
            let records = self.changes.recv().await.ok_or(WatchError::Stopped)?;
            self.ready.extend(records);
        }
    }

    /// Has the profile remember what was shown until now, if the watch has a name; otherwise it does
    /// so when [`next`](Self::next) has nothing more to show.
    ///
    /// # Errors
    /// [`ClientError`] if the profile cannot be written.
    pub fn save(&mut self) -> Result<(), ClientError> {
        Ok(self.shown.save(self.client.now())?)
    }

    /// Watches these keys from now on, in place of those before. Of keys that are new, what is there
    /// comes first.
    ///
    /// # Errors
    /// [`WatchError::TooManyKeys`]; then nothing has changed.
    pub fn set_keys(&mut self, keys: &[WatchKey]) -> Result<(), ClientError> {
        self.lease.keys.set(self.lease.id, keys)?;
        self.shown.keep_only(keys);
        let keys = keys.iter().copied().collect();
        Ok(self.lease.tell(Command::SetKeys { id: self.lease.id, keys })?)
    }

    /// Waits until every key that is watched now was listed once: everything that was there has come out of
    /// [`next`](Self::next) then, or is about to. It can be waited for while `next` is.
    ///
    /// # Cancel safety
    /// It may be asked again at any time.
    ///
    /// # Errors
    /// [`WatchError::Stopped`].
    pub fn listed(&self) -> impl Future<Output = Result<(), ClientError>> + Send + use<> {
        let (answer, listed) = oneshot::channel();
        let told = self.lease.tell(Command::Complete { id: self.lease.id, answer });
        async move {
            told?;
            Ok(listed.await.map_err(|_| WatchError::Stopped)?)
        }
    }
}
