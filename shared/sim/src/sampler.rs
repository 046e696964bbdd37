//! [`Sampler`]: looks at a world every so often, for a page that shows how it went.
//!
//! It looks and touches nothing, so that a run is the same whether somebody watches or not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::checker::Reads;
use crate::transport::Sent;
use crate::view::View;

/// The first wait between two looks; it doubles whenever there are too many.
const EVERY_AT_FIRST: Duration = Duration::from_secs(1);
/// Samples that are kept: more than a plot is wide.
const SAMPLES_MAX: usize = 400;
/// Records whose copies are counted at each look.
const RECORDS: usize = 100;

/// What was seen at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sample {
    /// Since the run began, in milliseconds of the world's time of day.
    pub at_ms: u64,
    /// Hosts whose nodes run.
    pub up: usize,
    /// Acknowledged puts and deletes so far.
    pub acknowledged: usize,
    /// Answers that were checked so far.
    pub checked: usize,
    /// Reads that went on while there were faults, so far.
    pub reads: Reads,
    /// The fewest copies of any record that was looked at, among its closest; 0 if there are none.
    pub copies_least: usize,
    /// The copies of the record in the middle.
    pub copies_median: usize,
    /// What all hosts have sent so far.
    pub sent: Sent,
}

/// Looks until it is dropped.
pub struct Sampler {
    samples: Arc<Mutex<Vec<Sample>>>,
    task: AbortHandle,
}

impl Sampler {
    /// Begins to look.
    #[must_use]
    pub fn start(view: View) -> Self {
        let samples = Arc::new(Mutex::new(vec![look(&view)]));
        let task = tokio::spawn(look_on(view, Arc::clone(&samples))).abort_handle();
        Sampler { samples, task }
    }

    /// What was seen, and what is seen now.
    #[must_use]
    pub fn finish(self, view: &View) -> Vec<Sample> {
        self.task.abort();
        let mut samples = lock(&self.samples).clone();
        samples.push(look(view));
        samples
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look_on(view: View, samples: Arc<Mutex<Vec<Sample>>>) {
    let mut every = EVERY_AT_FIRST;
    let mut next = Instant::now();
    loop {
        next += every;
        tokio::time::sleep_until(next).await;
        let sample = look(&view);
        let mut samples = lock(&samples);
        samples.push(sample);
        if samples.len() >= SAMPLES_MAX {
            every *= 2;
            let mut place = 0;
            samples.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
    }
}

fn look(view: &View) -> Sample {
    let copies = view.copies(RECORDS);
    Sample {
        at_ms: view.now().since(crate::clock::EPOCH),
        up: view.running().len(),
        acknowledged: view.checker.acknowledgements(),
        checked: view.checker.answers(),
        reads: view.checker.reads(),
        copies_least: copies.first().copied().unwrap_or(0),
        copies_median: copies.get(copies.len() / 2).copied().unwrap_or(0),
        sent: view.network.sent_in_all(),
    }
}

fn lock(samples: &Mutex<Vec<Sample>>) -> MutexGuard<'_, Vec<Sample>> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}
