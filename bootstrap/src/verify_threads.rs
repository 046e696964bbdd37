//! Checks and makes signatures on threads kept for it, so that the network thread never does.
//!
//! A signature check costs some 30 µs and a signature half of that, more than everything else that a
//! request needs. Callers queue batches, of parsed records to check or of receipts to sign; each
//! thread takes some at a wake and answers each batch at once.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dht_context::node_key::NodeKey;
use dht_context::verify::{Signer, Verifier};
use dht_kad::record::SignatureFault;
use dht_kad::signature::SignatureCheck;
use dht_kad::{NetworkName, ParsedRecord, ValidRecord};
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};

use crate::work_queue::{Load, Taken, WorkQueue};

/// Signatures that a thread takes at a wake: about a millisecond of work, so that a wake costs little
/// and nobody waits long for the others of the batch.
const WAKE_SIGNATURES: usize = 32;
/// Signatures that may wait: about 60 ms of work for two threads. More would only wait longer; whoever
/// comes then waits outside, on its own connection.
const QUEUE_SIGNATURES: usize = 4_096;
/// How long a thread waits before it looks again; it is woken earlier by whatever comes.
const PATIENCE: Duration = Duration::from_secs(60);

type Results = Vec<Result<ValidRecord, SignatureFault>>;

/// A [`Verifier`] and [`Signer`] with threads of its own. They end, after what waits, when it is
/// dropped.
#[derive(Debug)]
pub struct VerifyThreads {
    hand: Arc<Hand>,
    queue: Arc<WorkQueue<Job>>,
    room: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
}

/// What the work is done with: in which network, and by whose key.
#[derive(Debug)]
struct Hand {
    network: NetworkName,
    key: NodeKey,
}

#[derive(Debug)]
enum Job {
    Check(Vec<ParsedRecord>, oneshot::Sender<Results>),
    Sign(Vec<Vec<u8>>, oneshot::Sender<Vec<[u8; 64]>>),
}

impl VerifyThreads {
    /// Starts `threads` threads, at least one, that check records of `network` and sign with `key`.
    ///
    /// # Errors
    /// What the operating system says if it starts no more threads.
    pub fn start(network: &NetworkName, key: NodeKey, threads: usize) -> io::Result<Self> {
        let queue = Arc::new(WorkQueue::new(Load { items: QUEUE_SIGNATURES, bytes: usize::MAX }));
        let mut verifier = VerifyThreads {
            hand: Arc::new(Hand { network: network.clone(), key }),
            queue,
            room: Arc::new(Semaphore::new(QUEUE_SIGNATURES)),
            threads: Vec::new(),
        };
        for number in 0..threads.max(1) {
            let (queue, hand) = (Arc::clone(&verifier.queue), Arc::clone(&verifier.hand));
            let thread = std::thread::Builder::new()
                .name(format!("verify-{number}"))
                .spawn(move || work(&queue, &hand))?;
            verifier.threads.push(thread);
        }
        Ok(verifier)
    }
}

impl Verifier for VerifyThreads {
    fn verify(&self, batch: Vec<ParsedRecord>) -> BoxFuture<'static, Results> {
        let (queue, room, hand) = self.parts();
        Box::pin(async move {
            let _room = room.acquire_many(permits(batch.len())).await;
            let (answer, results) = oneshot::channel();
            // Cheap beside the checks, and what makes a correct answer possible without a thread.
            let job = Job::Check(batch.clone(), answer);
            match push(&queue, batch.len(), job) {
                true => results.await.unwrap_or_else(|_| hand.check(batch)),
                false => hand.check(batch),
            }
        })
    }
}

impl Signer for VerifyThreads {
    fn sign(&self, messages: Vec<Vec<u8>>) -> BoxFuture<'static, Vec<[u8; 64]>> {
        let (queue, room, hand) = self.parts();
        Box::pin(async move {
            let _room = room.acquire_many(permits(messages.len())).await;
            let (answer, signatures) = oneshot::channel();
            let job = Job::Sign(messages.clone(), answer);
            match push(&queue, messages.len(), job) {
                true => signatures.await.unwrap_or_else(|_| hand.sign(&messages)),
                false => hand.sign(&messages),
            }
        })
    }

    fn public_key(&self) -> [u8; 32] {
        self.hand.key.public_key()
    }
}

impl VerifyThreads {
    fn parts(&self) -> (Arc<WorkQueue<Job>>, Arc<Semaphore>, Arc<Hand>) {
        (Arc::clone(&self.queue), Arc::clone(&self.room), Arc::clone(&self.hand))
    }
}

/// The room that so many signatures take up; a batch larger than the queue takes all of it.
fn permits(signatures: usize) -> u32 {
    u32::try_from(signatures.min(QUEUE_SIGNATURES)).unwrap_or(u32::MAX)
}

/// Queues a job; false if no thread will take it.
fn push(queue: &WorkQueue<Job>, items: usize, job: Job) -> bool {
    queue.push(Load { items, bytes: 0 }, job).is_ok()
}

impl Drop for VerifyThreads {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread for signatures failed; report this fault");
            }
        }
    }
}

fn work(queue: &WorkQueue<Job>, hand: &Hand) {
    let wake = Load { items: WAKE_SIGNATURES, bytes: usize::MAX };
    loop {
        match queue.take(wake, PATIENCE) {
            Taken::Jobs(jobs) => jobs.into_iter().for_each(|job| hand.finish(job)),
            Taken::Idle => {}
            Taken::Closed => return,
        }
    }
}

impl Hand {
    /// Does a job, unless nobody waits for it any more since the connection ended.
    fn finish(&self, job: Job) {
        match job {
            Job::Check(batch, answer) if !answer.is_closed() => {
                let _ = answer.send(self.check(batch));
            }
            Job::Sign(messages, answer) if !answer.is_closed() => {
                let _ = answer.send(self.sign(&messages));
            }
            Job::Check(..) | Job::Sign(..) => {}
        }
    }

    fn check(&self, batch: Vec<ParsedRecord>) -> Results {
        let mut check = SignatureCheck::default();
        batch.into_iter().map(|record| record.verify_next(&self.network, &mut check)).collect()
    }

    fn sign(&self, messages: &[Vec<u8>]) -> Vec<[u8; 64]> {
        messages.iter().map(|message| self.key.sign(message)).collect()
    }
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

    fn key() -> NodeKey {
        NodeKey::from_seed([5; 32])
    }

    fn started(network: &NetworkName, threads: usize) -> VerifyThreads {
        VerifyThreads::start(network, key(), threads).unwrap()
    }

    fn parsed(record: &ValidRecord) -> ParsedRecord {
        ParsedRecord::parse(record.bytes().clone()).unwrap()
    }

    #[tokio::test]
    async fn every_batch_gets_its_own_results_in_its_order() {
        let (network, foreign) = ("here".parse().unwrap(), "elsewhere".parse().unwrap());
        let verifier = started(&network, 2);
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
    async fn signatures_are_the_nodes_own_in_the_order_of_the_messages() {
        let network = "here".parse().unwrap();
        let threads = started(&network, 2);
        assert_eq!(threads.public_key(), key().public_key());
        let one = parsed(&record(1, &network));
        let batches = (0..100_u8).map(|batch| {
            let messages = (0..batch % 40).map(|number| vec![batch, number]).collect();
            // Checks go through the same queue.
            let check = threads.verify(vec![one.clone(); usize::from(batch % 3)]);
            futures_util::future::join(threads.sign(messages), check)
        });
        let results = futures_util::future::join_all(batches).await;
        for (batch, (signatures, checked)) in (0_u8..).zip(results) {
            let expected: Vec<_> =
                (0..batch % 40).map(|number| key().sign(&[batch, number])).collect();
            assert_eq!(signatures, expected);
            assert!(checked.iter().all(Result::is_ok));
        }
        let signing = threads.sign(vec![vec![1]; QUEUE_SIGNATURES + 1]);
        drop(threads);
        assert_eq!(signing.await, vec![key().sign(&[1]); QUEUE_SIGNATURES + 1], "also at the end");
    }

    #[tokio::test]
    async fn more_than_the_queue_holds_waits_its_turn() {
        let network = "here".parse().unwrap();
        let verifier = started(&network, 2);
        let one = parsed(&record(1, &network));
        let large = verifier.verify(vec![one.clone(); QUEUE_SIGNATURES + 1]);
        let others = (0..100).map(|_| verifier.verify(vec![one.clone(); 50]));
        let (large, others) =
            futures_util::future::join(large, futures_util::future::join_all(others)).await;
        assert_eq!(large.len(), QUEUE_SIGNATURES + 1);
        assert!(large.iter().chain(others.iter().flatten()).all(Result::is_ok));
    }

    #[tokio::test]
    async fn what_waits_when_it_is_dropped_is_still_checked() {
        let network = "here".parse().unwrap();
        let verifier = started(&network, 1);
        let checks = verifier.verify(vec![parsed(&record(1, &network)); 10]);
        drop(verifier);
        assert!(checks.await.iter().all(Result::is_ok));
    }
}
