//! A steady load: so many puts and as many gets a second, each begun at its time whether or not those
//! before it have ended, and how long they took.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dht_client::{Client, Consistency, GetOptions, Put, Slot};
use hdrhistogram::Histogram;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::corpus::Corpus;
use crate::user::{User, runtime};
use crate::waiting::eventually;

/// Of the microseconds that something takes so many digits count.
const DIGITS: u8 = 3;
/// How far apart the records are that are read one after the other; a prime.
const READ_STEP: u64 = 7_919;

/// A load that goes on until it is dropped.
pub(super) struct Load {
    span: Arc<Mutex<Arc<Mutex<Span>>>>,
    task: JoinHandle<()>,
    // Last, so that nothing asks any more when it stops.
    _user: User,
}

/// What was asked within some time.
#[derive(Clone, Debug)]
pub struct Span {
    /// For how long.
    pub lasted: Duration,
    /// How long puts took, in microseconds.
    pub puts: Histogram<u64>,
    /// How long gets took, in microseconds.
    pub gets: Histogram<u64>,
    /// How many failed.
    pub failed: u64,
    began: Instant,
}

impl Load {
    /// Begins to put new values and to get those of the corpus that the nodes hold, `rate` of each a
    /// second.
    pub(super) fn start(user: User, corpus: &Corpus, held: u64, rate: u32) -> Self {
        let span = Arc::new(Mutex::new(Arc::new(Mutex::new(Span::begin()))));
        let task = runtime().spawn(ask(
            user.client().clone(),
            corpus.clone(),
            held,
            rate,
            Arc::clone(&span),
        ));
        Load { span, task, _user: user }
    }

    /// Ends the span that began at the last call, or at the start, and returns it once all that was
    /// asked in it has been answered.
    pub(super) fn next_span(&self) -> Span {
        let mut current = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = std::mem::replace(&mut *current, Arc::new(Mutex::new(Span::begin())));
        drop(current);
        let lasted = ended.lock().unwrap_or_else(PoisonError::into_inner).began.elapsed();
        eventually("what was asked is answered", || (Arc::strong_count(&ended) == 1).then_some(()));
        let span = ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Span { lasted, ..span }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Span {
    fn begin() -> Self {
        let empty = || Histogram::new(DIGITS).expect("a histogram");
        let (puts, gets) = (empty(), empty());
        Span { lasted: Duration::ZERO, puts, gets, failed: 0, began: Instant::now() }
    }

    /// Both together.
    #[must_use]
    pub fn with(&self, other: &Span) -> Span {
        let mut both = self.clone();
        both.puts.add(&other.puts).expect("alike");
        both.gets.add(&other.gets).expect("alike");
        both.failed += other.failed;
        both.lasted += other.lasted;
        both
    }
}

async fn ask(
    client: Client,
    corpus: Corpus,
    held: u64,
    rate: u32,
    span: Arc<Mutex<Arc<Mutex<Span>>>>,
) {
    let mut tick = interval(Duration::from_secs(1) / rate / 2);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0_u64.. {
        tick.tick().await;
        let span = Arc::clone(&span.lock().unwrap_or_else(PoisonError::into_inner));
        let (client, slot) = (client.clone(), corpus.slot(number * READ_STEP % held));
        // A key each: one key takes only so many records.
        let new = Put::owned(client.label(&format!("load {number}")), corpus.body());
        tokio::spawn(async move {
            let began = Instant::now();
            let is_put = number % 2 == 0;
            let done = match is_put {
                true => put(&client, new).await,
                false => get(&client, &slot).await,
            };
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            let mut span = span.lock().unwrap_or_else(PoisonError::into_inner);
            match done {
                true if is_put => span.puts.record(took).expect("it grows"),
                true => span.gets.record(took).expect("it grows"),
                false => span.failed += 1,
            }
        });
    }
}

async fn put(client: &Client, new: Put) -> bool {
    client.put(Put { first_version: true, ..new }).await.is_ok()
}

async fn get(client: &Client, slot: &Slot) -> bool {
    let options = GetOptions { consistency: Consistency::Quorum, verify: true };
    client.get(slot, options).await.is_ok()
}
