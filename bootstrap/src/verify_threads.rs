//! Checks signatures on threads kept for it, so that the network thread never does.
//!
//! A signature check costs some 30 µs, more than everything else that a request needs. Callers
//! queue batches of parsed records; each thread takes some at a wake and answers each batch at once.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dht_context::verify::Verifier;
use dht_kad::record::SignatureFault;
use dht_kad::{NetworkName, ParsedRecord, ValidRecord};
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};

use crate::work_queue::{Load, NotQueued, Taken, WorkQueue};

/// Records that a thread takes at a wake: about a millisecond of work, so that a wake costs little
/// and nobody waits long for the others of the batch.
const WAKE_RECORDS: usize = 32;
/// Records that may wait: about 60 ms of work for two threads. More would only wait longer; whoever
/// comes then waits outside, on its own connection.
const QUEUE_RECORDS: usize = 4_096;
/// How long a thread waits before it looks again; it is woken earlier by whatever comes.
const PATIENCE: Duration = Duration::from_secs(60);

type Results = Vec<Result<ValidRecord, SignatureFault>>;

/// A [`Verifier`] with threads of its own. They end, after what waits, when it is dropped.
#[derive(Debug)]
pub struct VerifyThreads {
    network: NetworkName,
    queue: Arc<WorkQueue<Job>>,
    room: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Job {
    batch: Vec<ParsedRecord>,
    answer: oneshot::Sender<Results>,
}

impl VerifyThreads {
    /// Starts `threads` threads, at least one, that check records of `network`.
    ///
    /// # Errors
    /// What the operating system says if it starts no more threads.
    pub fn start(network: &NetworkName, threads: usize) -> io::Result<Self> {
        let queue = Arc::new(WorkQueue::new(Load { items: QUEUE_RECORDS, bytes: usize::MAX }));
        let mut verifier = VerifyThreads {
            network: network.clone(),
            queue,
            room: Arc::new(Semaphore::new(QUEUE_RECORDS)),
            threads: Vec::new(),
        };
        for number in 0..threads.max(1) {
            let (queue, network) = (Arc::clone(&verifier.queue), network.clone());
            let thread = std::thread::Builder::new()
                .name(format!("verify-{number}"))
                .spawn(move || work(&queue, &network))?;
            verifier.threads.push(thread);
        }
        Ok(verifier)
    }
}

impl Verifier for VerifyThreads {
    fn verify(&self, batch: Vec<ParsedRecord>) -> BoxFuture<'static, Results> {
        let (queue, room) = (Arc::clone(&self.queue), Arc::clone(&self.room));
        let network = self.network.clone();
        Box::pin(async move {
            let needed = u32::try_from(batch.len().min(QUEUE_RECORDS)).unwrap_or(u32::MAX);
            let _room = room.acquire_many(needed).await;
            let (answer, results) = oneshot::channel();
            let load = Load { items: batch.len(), bytes: 0 };
            // Cheap beside the checks, and what makes a correct answer possible without a thread.
            let job = Job { batch: batch.clone(), answer };
            match queue.push(load, job) {
                Ok(()) => match results.await {
                    Ok(results) => results,
                    Err(_) => check(batch, &network),
                },
                Err(NotQueued::Full(job) | NotQueued::Closed(job)) => check(job.batch, &network),
            }
        })
    }
}

impl Drop for VerifyThreads {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that checks signatures failed; report this fault");
            }
        }
    }
}

fn work(queue: &WorkQueue<Job>, network: &NetworkName) {
    let wake = Load { items: WAKE_RECORDS, bytes: usize::MAX };
    loop {
        match queue.take(wake, PATIENCE) {
            Taken::Jobs(jobs) => {
                for job in jobs {
                    // Nobody waits any more if the connection ended meanwhile.
                    if !job.answer.is_closed() {
                        let _ = job.answer.send(check(job.batch, network));
                    }
                }
            }
            Taken::Idle => {}
            Taken::Closed => return,
        }
    }
}

fn check(batch: Vec<ParsedRecord>, network: &NetworkName) -> Results {
    batch.into_iter().map(|record| record.verify(network)).collect()
}
