//! The engine: a task of the client that delivers what is due, some writes at a time.
//!
//! It is woken by a new write, by time, and by the network: when the client becomes ready, all that
//! was put off is due at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dht_context::latest::Latest;
use dht_context::{DhtContext, PutReport};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rand_core::Rng;
use redb::WriteTransaction;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::delivery::{Delivery, Outcome};
use super::errand::Errand;
use super::queue::{Queue, take_errand};
use super::row::{End, Progress, Row};
use super::{Write, WriteError, WriteId};
use crate::backoff::{LONGEST, backoff};
use crate::client::Client;
use crate::entropy::Entropy;
use crate::error::ClientError;
use crate::identity::Identity;
use crate::profile::{Profile, ProfileError, TableFault};

/// Writes that are delivered at once: as many as keep a slow network busy.
const AT_ONCE: usize = 8;
/// The pause after the profile could not be read or written.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// How often a waiting caller looks whether another process has delivered its write.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How many reports of delivered writes are remembered: their callers take them at once.
const REPORTS_MAX: usize = 64;

/// The write queue of a client, if it has an identity and a profile.
#[derive(Clone, Default)]
pub(crate) struct Writing(Option<Result<Arc<Writer>, ProfileError>>);

/// The write queue of a running client, with the task that empties it.
pub(crate) struct Writer {
    queue: Queue,
    context: DhtContext,
    identity: Identity,
    shared: Arc<Shared>,
    task: AbortHandle,
    /// What tells this process from others that use the same queue.
    me: u64,
}

/// What the engine and its callers share.
struct Shared {
    wake: Notify,
    /// The client stops: nothing more is begun.
    ending: AtomicBool,
    /// The engine has ended by itself.
    ended: Latest<bool>,
    /// Changes whenever a write ends.
    changes: Latest<u64>,
    reports: Mutex<BTreeMap<WriteId, PutReport>>,
}

impl Writing {
    /// The queue of a client that has none yet.
    pub(crate) fn of(client: &Client) -> Self {
        let both = client.identity().ok().zip(client.profile().ok());
        Writing(both.map(|(identity, profile)| {
            Writer::start(client.without_tasks(), identity.clone(), profile.clone()).map(Arc::new)
        }))
    }

    /// The queue, or why there is none.
    pub(super) fn writer(&self, client: &Client) -> Result<&Writer, ClientError> {
        client.identity()?;
        match &self.0 {
            Some(Ok(writer)) => Ok(writer),
            Some(Err(error)) => Err(error.clone().into()),
            None => Err(ClientError::NoProfile),
        }
    }

    /// Lets what is under way end, if there is a network to end it, and begins nothing more.
    pub(crate) async fn finish(&self) {
        if let Some(Ok(writer)) = &self.0
            && writer.context.is_ready()
            && !writer.task.is_finished()
        {
            writer.shared.ending.store(true, Ordering::Relaxed);
            writer.shared.wake.notify_one();
            writer.shared.ended.wait_for(|ended| *ended).await;
        }
    }

    /// Delivers nothing more. What is under way was noted, or is merged when it is done again: it goes on
    /// in the next process.
    pub(crate) fn stop(&self) {
        if let Some(Ok(writer)) = &self.0 {
            writer.task.abort();
            if let Err(error) = writer.queue.release(writer.me) {
                tracing::warn!(%error, "other processes deliver what waits only after a while");
            }
        }
    }
}

impl Writer {
    /// Opens the queue and starts to deliver what waits in it.
    fn start(client: Client, identity: Identity, profile: Profile) -> Result<Self, ProfileError> {
        let queue = Queue::open(profile)?;
        let (context, entropy) = (client.context.clone(), client.entropy().clone());
        let shared = Arc::new(Shared {
            wake: Notify::new(),
            ending: AtomicBool::new(false),
            ended: Latest::new(false),
            changes: Latest::new(0),
            reports: Mutex::default(),
        });
        let delivery = Delivery {
            context: context.clone(),
            identity: identity.clone(),
            queue: queue.clone(),
            client,
        };
        // 0 is nobody. Without entropy two processes may take each other for one, and no harm is done.
        let me = entropy.generator().map_or(1, |mut generator| generator.next_u64().max(1));
        let engine = Engine { delivery, shared: Arc::clone(&shared), entropy, me };
        let task = tokio::spawn(engine.run()).abort_handle();
        Ok(Writer { queue, context, identity, shared, task, me })
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(super) fn enqueue(
        &self,
        write: Write,
    ) -> Result<Result<WriteId, WriteError>, ProfileError> {
        let network = self.context.network();
        let publisher = write.author.signer(&self.identity, network).publisher();
        let (row, progress) = Row::new(write, &publisher, network, self.context.now());
        let progress = Progress { owner: self.me, ..progress };
        let id = self.queue.enqueue(&row, progress)?;
        self.shared.wake.notify_one();
        Ok(id)
    }

    /// Takes an errand in, within the caller's transaction; [`wake`](Self::wake) begins it.
    pub(super) fn take_errand(
        &self,
        tables: &WriteTransaction,
        errand: Errand,
    ) -> Result<WriteId, TableFault> {
        take_errand(tables, errand, self.context.now(), self.me)
    }

    /// Has the engine look at the queue.
    pub(super) fn wake(&self) {
        self.shared.wake.notify_one();
    }

    pub(super) fn hurry(&self) -> Result<(), ProfileError> {
        self.queue.hurry(self.context.now())?;
        self.shared.wake.notify_one();
        Ok(())
    }

    pub(super) fn drop_write(&self, id: WriteId) -> Result<(), ProfileError> {
        self.queue.finish(id.0, End::Dropped, self.context.now())?;
        self.shared.tell();
        self.shared.wake.notify_one();
        Ok(())
    }

    pub(super) fn report(&self, id: WriteId) -> Option<PutReport> {
        self.shared.reports.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// How often a write has ended here.
    pub(super) fn changes(&self) -> u64 {
        self.shared.changes.get()
    }

    /// Waits until a write may have ended since there were so many changes, here or in another process.
    pub(super) async fn changed_since(&self, changes: u64) {
        let _ = timeout(LOOK_AGAIN, self.shared.changes.wait_for(|count| *count != changes)).await;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn tell(&self) {
        self.changes.set(self.changes.get().wrapping_add(1));
    }

    fn keep_report(&self, id: u64, report: PutReport) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.insert(WriteId(id), report);
        while reports.len() > REPORTS_MAX {
            reports.pop_first();
        }
    }
}

struct Engine {
    delivery: Delivery,
    shared: Arc<Shared>,
    entropy: Entropy,
    me: u64,
}

impl Engine {
    async fn run(self) {
        let mut under_way = FuturesUnordered::new();
        let mut busy: Vec<u64> = Vec::new();
        let mut joined = false;
        loop {
            let ending = self.shared.ending.load(Ordering::Relaxed);
            if ending && (busy.is_empty() || !self.delivery.context.is_ready()) {
                self.shared.ended.set(true);
                return;
            }
            let now = self.delivery.context.now();
            let room = if ending { 0 } else { AT_ONCE.saturating_sub(busy.len()) };
            let (due, next) = match self.delivery.queue.due(now, &busy, room, self.me) {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(%error, "the write queue cannot be read");
                    (Vec::new(), Some(now.after(millis(READ_AGAIN))))
                }
            };
            for id in due {
                busy.push(id);
                under_way.push(self.deliver(id));
            }
            // At the limit only the end of a delivery makes room.
            let full = ending || busy.len() >= AT_ONCE;
            let wait = next.map(|next| Duration::from_millis(next.since(now).max(1)));
            tokio::select! {
                biased;
                Some(id) = under_way.next(), if !under_way.is_empty() => {
                    busy.retain(|busy| *busy != id);
                }
                () = self.delivery.context.ready(), if !joined => {
                    joined = true;
                    if let Err(error) = self.delivery.queue.hurry(self.delivery.context.now()) {
                        tracing::warn!(%error, "the write queue cannot be written");
                    }
                }
                () = self.shared.wake.notified() => {}
                // Other processes may have put something in the queue.
                () = sleep(wait.unwrap_or(LONGEST)), if !full => {}
            }
            joined = joined && self.delivery.context.is_ready();
        }
    }

    /// Delivers one write, and notes what came of it.
    async fn deliver(&self, id: u64) -> u64 {
        let outcome = self.delivery.deliver_in_time(id).await;
        let noted = outcome.and_then(|outcome| self.note(id, outcome));
        if let Err(error) = noted {
            tracing::warn!(%error, "a write's progress cannot be noted");
            // It stays due: what cannot be written now must not be tried in a circle.
            sleep(READ_AGAIN).await;
        }
        id
    }

    fn note(&self, id: u64, outcome: Outcome) -> Result<(), ProfileError> {
        let Delivery { queue, context, .. } = &self.delivery;
        match outcome {
            Outcome::Ended(end, report) => {
                if let Some(report) = report {
                    self.shared.keep_report(id, *report);
                }
                queue.finish(id, end, context.now())?;
                self.shared.tell();
            }
            Outcome::Later(reason) => {
                let attempts = queue.waiting(id)?.map_or(0, |waiting| waiting.progress.attempts);
                let wait = backoff(attempts, &self.entropy);
                queue.put_off(id, &reason, context.now().after(millis(wait)), self.me)?;
            }
            Outcome::Gone => self.shared.tell(),
        }
        Ok(())
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
