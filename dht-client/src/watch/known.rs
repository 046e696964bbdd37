//! What the [`Driver`](super::driver::Driver) knows of a key and of a node.

use std::collections::BTreeSet;
use std::time::Duration;

use dht_kad::NodeId;
use dht_kad::message::NodeInfo;
use dht_kad::message::watch::{Cursor, WatchKey};
use futures_util::future::AbortHandle;
use tokio::time::Instant;

/// A key that could not be located or listed is tried again after so long.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(2);
/// The first wait before a node that failed is tried again; it doubles.
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(200);
/// The longest wait.
pub(super) const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// How often a key is located and listed anew though nothing seems to be amiss: as often as holders
/// compare themselves with each other.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(10 * 60);

/// The same while a key has fewer holders than should be watched: the network is young, or some are away.
pub(super) const RENEW_SOON: Duration = Duration::from_secs(10);

/// A key, as long as somebody watches it.
pub(super) struct Target {
    /// Its holders, closest first.
    pub(super) candidates: Vec<NodeInfo>,
    /// Those that are watched for it.
    pub(super) holders: BTreeSet<NodeId>,
    pub(super) locate: Task,
    pub(super) list: Task,
    /// Whether it was ever listed.
    pub(super) listed: bool,
}

/// Something that is done for a key again and again.
#[derive(Clone, Copy)]
pub(super) enum Task {
    /// From this moment on.
    Due(Instant),
    /// It runs; whether it has to run once more after that.
    Running { again: bool },
}

/// A node that is watched.
pub(super) struct Node {
    pub(super) info: NodeInfo,
    /// The keys that it should tell of, and those that it was asked for.
    pub(super) wanted: BTreeSet<WatchKey>,
    pub(super) asked: BTreeSet<WatchKey>,
    pub(super) cursor: Option<Cursor>,
    pub(super) state: Link,
    pub(super) generation: u64,
    pub(super) failures: u32,
    pub(super) news: Option<AbortHandle>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Down(Instant),
    Connecting,
    Up,
}

impl Task {
    /// It has to be done after this moment.
    pub(super) fn want(&mut self, now: Instant) {
        match self {
            Task::Due(at) => *at = (*at).min(now),
            Task::Running { again } => *again = true,
        }
    }

    /// It is done, or has to be done again.
    pub(super) fn done(&mut self, well: bool, now: Instant) {
        *self = match self {
            Task::Running { again: false } if well => Task::Due(now + RENEW_EVERY),
            Task::Running { again: true } if well => Task::Due(now),
            _ => Task::Due(now + RETRY_AFTER),
        };
    }
}

impl Node {
    pub(super) fn new(info: NodeInfo) -> Self {
        Node {
            info,
            wanted: BTreeSet::new(),
            asked: BTreeSet::new(),
            cursor: None,
            state: Link::Down(Instant::now()),
            generation: 0,
            failures: 0,
            news: None,
        }
    }

    /// Ends the subscription, if there is one.
    pub(super) fn abort(&mut self) {
        if let Some(news) = self.news.take() {
            news.abort();
        }
    }
}

/// The wait after so many failures.
pub(super) fn backoff(failures: u32) -> Duration {
    let doubled = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(RETRY_LONGEST)
}
