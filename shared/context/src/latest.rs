//! [`Latest`]: a value that tasks look at and wait for.
//!
//! Who waits is woken in the order in which they began to. Tokio's `watch` channel, which is for the same, wakes
//! its receivers in an order drawn by lot: two simulated runs of one seed would differ.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A value of which only the newest matters.
#[derive(Debug, Default)]
pub struct Latest<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Clone + PartialEq> Latest<T> {
    /// This value at first.
    #[must_use]
    pub fn new(value: T) -> Self {
        Latest { value: Mutex::new(value), changed: Notify::new() }
    }

    /// The value at present.
    #[must_use]
    pub fn get(&self) -> T {
        self.lock().clone()
    }

    /// Puts another value in its place. Whoever waits looks at it, unless it is the same.
    pub fn set(&self, value: T) {
        let mut current = self.lock();
        if *current != value {
            *current = value;
            drop(current);
            self.changed.notify_waiters();
        }
    }

    /// Waits until the value fits, and returns it. It may have been others in between.
    pub async fn wait_for(&self, fits: impl Fn(&T) -> bool) -> T {
        let mut changed = pin!(self.changed.notified());
        loop {
            // Before the look, so that a change right after it counts.
            changed.as_mut().enable();
            let value = self.get();
            if fits(&value) {
                return value;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_in_the_order_of_coming() {
        for _ in 0..20 {
            let latest = Arc::new(Latest::new(0));
            let order = Arc::new(Mutex::new(Vec::new()));
            let waiting: Vec<_> = (0..16)
                .map(|number| {
                    let (latest, order) = (Arc::clone(&latest), Arc::clone(&order));
                    tokio::spawn(async move {
                        let value = latest.wait_for(|value| *value > 1).await;
                        order.lock().unwrap().push((number, value));
                    })
                })
                .collect();
            tokio::task::yield_now().await;
            latest.set(1);
            tokio::task::yield_now().await;
            latest.set(2);
            for task in waiting {
                task.await.unwrap();
            }
            let expected: Vec<_> = (0..16).map(|number| (number, 2)).collect();
            assert_eq!(*order.lock().unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn what_fits_already_is_not_waited_for() {
        let latest = Latest::new("here");
        assert_eq!(latest.wait_for(|value| *value == "here").await, "here");
        latest.set("there");
        assert_eq!(latest.get(), "there");
    }
}
