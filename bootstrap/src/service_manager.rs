//! What the service manager (systemd) is told of this process, through the socket that it names in the
//! environment (sd_notify(3)). Without one, nothing is told and nothing fails.
//!
//! ```text
//! start ─▶ STATUS ─▶ READY=1 ─▶ STATUS, whenever it changes ─▶ STOPPING=1, EXTEND_TIMEOUT_USEC while it takes long
//!                       │  SIGHUP ─▶ RELOADING=1 ─▶ READY=1
//!                       └─ watchdog thread ─▶ WATCHDOG=1
//! ```

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use crate::status::NodeStatus;

/// How often the state in one line is looked at; it is sent only when it has changed.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// How often a stop that takes long says that it goes on.
const EXTEND_EVERY: Duration = Duration::from_secs(5);
/// How much more time it asks for then: it may miss an occasion or two on a machine that is busy.
const EXTEND_BY: Duration = Duration::from_secs(20);
/// A stop asks for no more time after this: it writes at most the memtables, 64 MiB by default, and
/// replays at most a log of 128 MiB before, which even a disk that does 1 MB/s has done by then.
const EXTEND_LONGEST: Duration = Duration::from_secs(300);

/// The service manager of this process. All clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    /// The state that it was told last, by whichever thread.
    said: Arc<Mutex<String>>,
}

impl ServiceManager {
    /// A service manager that was told nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The node is usable.
    pub fn ready(&self) {
        notify(&[NotifyState::Ready]);
    }

    /// The node stops.
    pub fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }

    /// The node reads its configuration again, until it says that it is [`ready`](Self::ready).
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "systemd is not told of the reload"),
        }
    }

    /// The node works.
    pub fn feed_watchdog(&self) {
        notify(&[NotifyState::Watchdog]);
    }

    /// The node's state in one line, for a person; sent if it is another than the last.
    pub fn say(&self, state: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != state {
            state.clone_into(&mut said);
            drop(said);
            notify(&[NotifyState::Status(state)]);
        }
    }

    /// Keeps the state in one line current, for ever.
    pub async fn keep_saying(&self, read: impl Fn() -> NodeStatus) -> Infallible {
        let mut tick = interval(STATUS_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.say(&line_of(&read()));
        }
    }

    /// Asks for more time while something goes on that a stop has to wait for.
    pub async fn patient<T>(&self, work: impl Future<Output = T>) -> T {
        let asking = async {
            let mut tick = interval(EXTEND_EVERY);
            let by = u32::try_from(EXTEND_BY.as_micros()).unwrap_or(u32::MAX);
            for _ in 0..EXTEND_LONGEST.as_secs() / EXTEND_EVERY.as_secs() {
                tick.tick().await;
                notify(&[NotifyState::ExtendTimeoutUsec(by)]);
            }
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            done = work => done,
            never = asking => match never {},
        }
    }
}

/// The limit of the watchdog that the service manager keeps for this process, if it keeps one.
#[must_use]
pub fn watchdog_limit() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// The state in one line.
fn line_of(status: &NodeStatus) -> String {
    if let Some(reason) = &status.not_ready_because {
        return format!("not ready: {reason}");
    }
    let whole = if status.whole { "whole" } else { "being filled" };
    format!("ready: {} servers in the table, {} records, {whole}", status.table, status.records)
}
