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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dht_kad::record::{Kind, RecordDraft, Retention, Space};
    use dht_kad::{NetworkName, UnixMs};
    use ed25519_dalek::SigningKey;

    use super::*;

    fn record(slot: u64, network: &NetworkName) -> ValidRecord {
        let draft = RecordDraft {
            space: Space::Owned,
            kind: Kind::Value,
            retention: Retention::Days7,
            label: [1; 32],
            slot,
            seq: 1,
            created_at: UnixMs(1_800_000_000_000),
            guard_until: UnixMs(0),
            work_bits: 0,
            ext: Bytes::new(),
            body: Bytes::from_static(b"value"),
        };
        draft.sign(&SigningKey::from_bytes(&[3; 32]), network).unwrap()
    }

    fn parsed(record: &ValidRecord) -> ParsedRecord {
        ParsedRecord::parse(record.bytes().clone()).unwrap()
    }

    #[tokio::test]
    async fn every_batch_gets_its_own_results_in_its_order() {
        let (network, foreign) = ("here".parse().unwrap(), "elsewhere".parse().unwrap());
        let verifier = VerifyThreads::start(&network, 2).unwrap();
        let batches = (0..200_u64).map(|batch| {
            let records = (0..batch % 40).map(|n| {
                let signed_in = if n % 3 == 0 { &foreign } else { &network };
                parsed(&record(batch * 100 + n, signed_in))
            });
            verifier.verify(records.collect())
        });
        let results = futures_util::future::join_all(batches).await;
        for (batch, results) in results.iter().enumerate() {
            assert_eq!(results.len(), batch % 40);
            for (n, result) in results.iter().enumerate() {
                let slot = (batch * 100 + n) as u64;
                match result {
                    Ok(record) => assert_eq!((record.slot(), n % 3 == 0), (slot, false)),
                    Err(fault) => {
                        assert_eq!((*fault, n % 3), (SignatureFault::WrongSignature, 0));
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn more_than_the_queue_holds_waits_its_turn() {
        let network = "here".parse().unwrap();
        let verifier = VerifyThreads::start(&network, 2).unwrap();
        let one = parsed(&record(1, &network));
        let large = verifier.verify(vec![one.clone(); QUEUE_RECORDS + 1]);
        let others = (0..100).map(|_| verifier.verify(vec![one.clone(); 50]));
        let (large, others) =
            futures_util::future::join(large, futures_util::future::join_all(others)).await;
        assert_eq!(large.len(), QUEUE_RECORDS + 1);
        assert!(large.iter().chain(others.iter().flatten()).all(Result::is_ok));
    }

    #[tokio::test]
    async fn what_waits_when_it_is_dropped_is_still_checked() {
        let network = "here".parse().unwrap();
        let verifier = VerifyThreads::start(&network, 1).unwrap();
        let checks = verifier.verify(vec![parsed(&record(1, &network)); 10]);
        drop(verifier);
        assert!(checks.await.iter().all(Result::is_ok));
    }
}
