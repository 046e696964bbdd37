//! A bounded queue between many callers and the threads that work for them in batches.
//!
//! Callers never wait: what does not fit is handed back, so that they can refuse it. A thread takes
//! everything that waits, up to the size of one batch, at each wake: the busier it is, the larger
//! its batches grow, without a timer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How much something counts against a queue's capacity and a batch's size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Load {
    /// How many items, such as records.
    pub(crate) items: usize,
    /// How many bytes they hold.
    pub(crate) bytes: usize,
}

/// A queue with a bound on what waits in it.
#[derive(Debug)]
pub(crate) struct WorkQueue<T> {
    capacity: Load,
    waiting: Mutex<Waiting<T>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct Waiting<T> {
    jobs: VecDeque<(Load, T)>,
    load: Load,
    closed: bool,
}

/// A job was not taken; it is handed back.
#[derive(Debug)]
pub(crate) enum NotQueued<T> {
    /// Too much waits already.
    Full(T),
    /// The queue was closed.
    Closed(T),
}

/// What a thread finds in a queue.
#[derive(Debug)]
pub(crate) enum Taken<T> {
    /// At least one job.
    Jobs(Vec<T>),
    /// Nothing came in time.
    Idle,
    /// The queue is closed, and everything in it was taken.
    Closed,
}

impl Load {
    fn plus(self, other: Load) -> Load {
        Load {
            items: self.items.saturating_add(other.items),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    fn within(self, limit: Load) -> bool {
        self.items <= limit.items && self.bytes <= limit.bytes
    }
}

impl<T> WorkQueue<T> {
    /// An empty queue in which at most `capacity` waits.
    pub(crate) fn new(capacity: Load) -> Self {
        let waiting = Waiting { jobs: VecDeque::new(), load: Load::default(), closed: false };
        WorkQueue { capacity, waiting: Mutex::new(waiting), arrived: Condvar::new() }
    }

    /// Queues a job. A single job that is larger than the capacity fits an empty queue.
    pub(crate) fn push(&self, load: Load, job: T) -> Result<(), NotQueued<T>> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(NotQueued::Closed(job));
        }
        let after = waiting.load.plus(load);
        if !waiting.jobs.is_empty() && !after.within(self.capacity) {
            return Err(NotQueued::Full(job));
        }
        waiting.load = after;
        waiting.jobs.push_back((load, job));
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for jobs, at most for `patience`, and takes what waits up to `batch`, at least one.
    pub(crate) fn take(&self, batch: Load, patience: Duration) -> Taken<T> {
        let waiting = self.lock();
        let (mut waiting, _) = self
            .arrived
            .wait_timeout_while(waiting, patience, |waiting| {
                waiting.jobs.is_empty() && !waiting.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        let mut total = Load::default();
        while let Some((load, _)) = waiting.jobs.front() {
            let with_next = total.plus(*load);
            if !taken.is_empty() && !with_next.within(batch) {
                break;
            }
            total = with_next;
            taken.extend(waiting.jobs.pop_front().map(|(_, job)| job));
        }
        waiting.load.items = waiting.load.items.saturating_sub(total.items);
        waiting.load.bytes = waiting.load.bytes.saturating_sub(total.bytes);
        match (taken.is_empty(), waiting.closed) {
            (false, _) => Taken::Jobs(taken),
            (true, true) => Taken::Closed,
            (true, false) => Taken::Idle,
        }
    }

    /// Refuses further jobs. What waits can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        // No code that can panic runs under this lock, so what a poisoned one guards is whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Load = Load { items: 1, bytes: 10 };
    const NO_WAIT: Duration = Duration::ZERO;

    #[test]
    fn what_exceeds_the_capacity_is_handed_back() {
        let queue = WorkQueue::new(Load { items: 2, bytes: 100 });
        assert!(queue.push(ONE, 'a').is_ok());
        assert!(queue.push(ONE, 'b').is_ok());
        assert!(matches!(queue.push(ONE, 'c'), Err(NotQueued::Full('c'))));
        assert!(matches!(queue.take(Load { items: 1, bytes: 100 }, NO_WAIT), Taken::Jobs(_)));
        assert!(queue.push(ONE, 'c').is_ok());
        assert!(matches!(queue.push(Load { items: 0, bytes: 81 }, 'd'), Err(NotQueued::Full('d'))));
    }

    #[test]
    fn a_batch_takes_what_waits_up_to_its_size_but_at_least_one() {
        let queue = WorkQueue::new(Load { items: 10, bytes: 1_000 });
        for job in 0..5 {
            queue.push(ONE, job).unwrap();
        }
        let jobs = |batch| match queue.take(batch, NO_WAIT) {
            Taken::Jobs(jobs) => jobs,
            other => panic!("{other:?}"),
        };
        assert_eq!(jobs(Load { items: 10, bytes: 25 }), [0, 1]);
        assert_eq!(jobs(Load { items: 10, bytes: 5 }), [2]);
        assert_eq!(jobs(Load { items: 10, bytes: 1_000 }), [3, 4]);
        assert!(matches!(queue.take(ONE, NO_WAIT), Taken::Idle));
    }

    #[test]
    fn a_closed_queue_gives_out_what_waits_and_then_says_so() {
        let queue = WorkQueue::new(ONE);
        queue.push(ONE, 1).unwrap();
        queue.close();
        assert!(matches!(queue.push(ONE, 2), Err(NotQueued::Closed(2))));
        assert!(matches!(queue.take(ONE, NO_WAIT), Taken::Jobs(_)));
        assert!(matches!(queue.take(ONE, NO_WAIT), Taken::Closed));
    }
}
