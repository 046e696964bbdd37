//! The engine: a task of the client that delivers what is due, some writes at a time.
//!
//! It is woken by a new write, by time, and by the network: when the client becomes ready, all that
//! was put off is due at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dht_context::{DhtContext, PutReport};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rand_core::Rng;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::delivery::{Delivery, Outcome};
use super::queue::Queue;
use super::row::{End, Progress, Row};
use super::{Write, WriteError, WriteId};
use crate::client::Client;
use crate::entropy::Entropy;
use crate::error::ClientError;
use crate::identity::Identity;
use crate::profile::{Profile, ProfileError};

/// Writes that are delivered at once: as many as keep a slow network busy.
const AT_ONCE: usize = 8;
/// One delivery is given up after so long, joining the network included: longer than the waits for
/// silent nodes in a lookup, a read and a put.
const DELIVERY_LIMIT: Duration = Duration::from_secs(15);
/// The first wait after a delivery that failed; it doubles, with jitter.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest wait between two deliveries of one write.
const BACKOFF_LONGEST: Duration = Duration::from_secs(10 * 60);
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
    /// Changes whenever a write ends.
    changes: watch::Sender<u64>,
    reports: Mutex<BTreeMap<WriteId, PutReport>>,
}

impl Writing {
    /// The queue of a client that has these.
    pub(crate) fn of(
        context: &DhtContext,
        identity: Option<&Identity>,
        profile: Option<&Profile>,
        entropy: &Entropy,
    ) -> Self {
        let both = identity.cloned().zip(profile.cloned());
        Writing(both.map(|(identity, profile)| {
            Writer::start(context.clone(), identity, profile, entropy.clone()).map(Arc::new)
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

    /// Delivers nothing more. What is under way was noted, and goes on in the next process.
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
    fn start(
        context: DhtContext,
        identity: Identity,
        profile: Profile,
        entropy: Entropy,
    ) -> Result<Self, ProfileError> {
        let queue = Queue::open(profile)?;
        let shared = Arc::new(Shared {
            wake: Notify::new(),
            changes: watch::Sender::new(0),
            reports: Mutex::default(),
        });
        let delivery =
            Delivery { context: context.clone(), identity: identity.clone(), queue: queue.clone() };
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

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until a write may have ended, here or in another process.
pub(super) async fn changed(changes: &mut watch::Receiver<u64>) {
    // An engine that has gone changes nothing any more, and another process may.
    if let Ok(Err(_)) = timeout(LOOK_AGAIN, changes.changed()).await {
        sleep(LOOK_AGAIN).await;
    }
}

impl Shared {
    fn tell(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
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
            let now = self.delivery.context.now();
            let room = AT_ONCE.saturating_sub(busy.len());
            let (due, next) = match self.delivery.queue.due(now, &busy, room, self.me) {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(%error, "the write queue cannot be read");
                    (Vec::new(), Some(now.after(millis(BACKOFF_FIRST))))
                }
            };
            for id in due {
                busy.push(id);
                under_way.push(self.deliver(id));
            }
            // At the limit only the end of a delivery makes room.
            let full = busy.len() >= AT_ONCE;
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
                () = sleep(wait.unwrap_or(BACKOFF_LONGEST)), if !full => {}
            }
            joined = joined && self.delivery.context.is_ready();
        }
    }

    /// Delivers one write, and notes what came of it.
    async fn deliver(&self, id: u64) -> u64 {
        let delivery = &self.delivery;
        let limited = timeout(DELIVERY_LIMIT, delivery.deliver(id));
        let late = || match delivery.context.is_ready() {
            true => Outcome::Later(format!("it was not done within {DELIVERY_LIMIT:?}")),
            false => Outcome::Later("no node answers".to_owned()),
        };
        let outcome = limited.await.unwrap_or_else(|_| Ok(late()));
        let noted = outcome.and_then(|outcome| self.note(id, outcome));
        if let Err(error) = noted {
            tracing::warn!(%error, "a write's progress cannot be noted");
            // It stays due: what cannot be written now must not be tried in a circle.
            sleep(BACKOFF_FIRST).await;
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
                let wait = backoff(attempts, self.chance());
                queue.put_off(id, &reason, context.now().after(millis(wait)), self.me)?;
            }
            Outcome::Gone => self.shared.tell(),
        }
        Ok(())
    }

    /// A number by chance; without entropy there is no jitter, and no harm.
    fn chance(&self) -> u64 {
        self.entropy.generator().map_or(0, |mut generator| generator.next_u64())
    }
}

/// The wait after so many failed deliveries: doubled each time, between half of it and all of it.
fn backoff(attempts: u32, chance: u64) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(1 << attempts.min(16)).min(BACKOFF_LONGEST);
    let half = millis(doubled / 2);
    Duration::from_millis(half + chance % (half + 1))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_a_second_to_ten_minutes() {
        for (attempts, longest_ms) in [(0, 1_000), (1, 2_000), (5, 32_000), (30, 600_000)] {
            assert_eq!(backoff(attempts, 0), Duration::from_millis(longest_ms / 2));
            assert_eq!(backoff(attempts, longest_ms / 2), Duration::from_millis(longest_ms));
        }
    }
}
