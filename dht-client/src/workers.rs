//! [`Workers`]: threads for what takes processor time, so that the network's own thread does not wait for it.
//!
//! ```text
//! items ─▶ shares of a few ─▶ the runtime's blocking threads, as many at once as there are cores ─▶ results
//!                                                                             in the order of the items
//! ```
//!
//! Letters are sealed and opened here, and records' signatures checked: a hundred microseconds each, and many at
//! a time. A few are computed where they are asked for, since to change threads takes as long. Without threads all
//! of it is: so a simulation computes the same in the same order whenever it is run.

use std::ops::Range;
use std::sync::Arc;
use std::thread::available_parallelism;

use dht_context::verify::Verifier;
use dht_kad::record::SignatureFault;
use dht_kad::{NetworkName, ParsedRecord, ValidRecord};
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Items that are computed at a stretch: about a millisecond of work, so that a change of threads is little
/// beside it, and other tasks of the same thread get a turn.
const SHARE: usize = 8;

/// Threads that compute, or none. All clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workers(Option<Arc<Semaphore>>);

impl Workers {
    /// No threads: whoever asks computes.
    pub(crate) fn none() -> Self {
        Workers(None)
    }

    /// As many threads at once as the machine has cores. Needs a tokio runtime when it is used.
    pub(crate) fn start() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Workers(Some(Arc::new(Semaphore::new(cores))))
    }

    /// What `work` makes of each item, in their order.
    ///
    /// # Cancel safety
    /// What a thread has begun it finishes, for nobody.
    pub(crate) async fn map<T, R>(
        &self,
        items: Vec<T>,
        work: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Vec<R>
    where
        T: Send + Sync + 'static,
        R: Send + 'static,
    {
        let shares = (0..items.len()).step_by(SHARE).map(|start| start..start + SHARE);
        match &self.0 {
            Some(room) if items.len() > SHARE => {
                let job = Arc::new(Job { items, work });
                let shares = shares.map(|share| run_on_thread(room, &job, share));
                join_all(shares).await.into_iter().flatten().collect()
            }
            _ => {
                let mut results = Vec::with_capacity(items.len());
                for share in shares {
                    if share.start > 0 {
                        tokio::task::yield_now().await;
                    }
                    results.extend(items.iter().skip(share.start).take(SHARE).map(&work));
                }
                results
            }
        }
    }
}

struct Job<T, F> {
    items: Vec<T>,
    work: F,
}

impl<T, F> Job<T, F> {
    fn run<R>(&self, share: Range<usize>) -> Vec<R>
    where
        F: Fn(&T) -> R,
    {
        self.items.iter().skip(share.start).take(share.len()).map(&self.work).collect()
    }
}

async fn run_on_thread<T, R, F>(
    room: &Semaphore,
    job: &Arc<Job<T, F>>,
    share: Range<usize>,
) -> Vec<R>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
    F: Fn(&T) -> R + Send + Sync + 'static,
{
    let _turn = room.acquire().await;
    let (threads, of_thread) = (Arc::clone(job), share.clone());
    let done = spawn_blocking(move || threads.run(of_thread)).await;
    // The runtime takes no more as it ends, or the work has failed: that it does here as well.
    done.unwrap_or_else(|_| job.run(share))
}

/// Checks records on workers.
#[derive(Clone, Debug)]
pub(crate) struct WorkersVerifier {
    network: NetworkName,
    workers: Workers,
}

impl WorkersVerifier {
    /// A verifier for this network's records.
    pub(crate) fn new(network: NetworkName, workers: Workers) -> Self {
        WorkersVerifier { network, workers }
    }
}

impl Verifier for WorkersVerifier {
    fn verify(
        &self,
        batch: Vec<ParsedRecord>,
    ) -> BoxFuture<'static, Vec<Result<ValidRecord, SignatureFault>>> {
        let WorkersVerifier { network, workers } = self.clone();
        Box::pin(
            async move { workers.map(batch, move |record| record.clone().verify(&network)).await },
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use std::thread::{ThreadId, current};

    use tokio::runtime::Builder;

    use super::*;

    /// Squares so many numbers; on which threads.
    fn squares(workers: &Workers, count: u64) -> (Vec<u64>, BTreeSet<String>) {
        let threads: Arc<Mutex<Vec<ThreadId>>> = Arc::default();
        let seen = Arc::clone(&threads);
        let runtime = Builder::new_current_thread().build().unwrap();
        let results = runtime.block_on(workers.map((0..count).collect(), move |number| {
            seen.lock().unwrap().push(current().id());
            number * number
        }));
        let threads = threads.lock().unwrap().iter().map(|id| format!("{id:?}")).collect();
        (results, threads)
    }

    #[test]
    fn results_come_in_the_order_of_the_items_whoever_computes() {
        for count in [0, 1, SHARE as u64, SHARE as u64 + 1, 1_000] {
            let expected: Vec<u64> = (0..count).map(|number| number * number).collect();
            assert_eq!(squares(&Workers::start(), count).0, expected);
            assert_eq!(squares(&Workers::none(), count).0, expected);
        }
    }

    #[test]
    fn threads_are_for_many_items_and_a_simulation_has_none() {
        let own = BTreeSet::from([format!("{:?}", current().id())]);
        assert!(squares(&Workers::start(), 1_000).1.is_disjoint(&own));
        assert_eq!(squares(&Workers::start(), SHARE as u64).1, own);
        assert_eq!(squares(&Workers::none(), 1_000).1, own);
    }

    #[test]
    #[should_panic(expected = "number 77")]
    fn work_that_fails_fails_whoever_asked_for_it() {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(Workers::start().map((0..100).collect(), |number: &u64| {
            assert!(*number != 77, "number {number}");
        }));
    }
}
