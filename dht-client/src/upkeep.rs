//! Upkeep: what a client with an identity and a profile sees to by itself, when it is ready and once a
//! day while it runs.
//!
//! ```text
//! key bundle  120 days left? ─▶ else an errand            (bundle::renewal)
//! contacts    what the other devices wrote ─▶ merged here; what the network lacks ─▶ errands
//!             who may not have heard of us ─▶ errands      (contacts::sync)
//! names       those that are due ─▶ renewed                (names::renewal)
//! ```
//!
//! It looks, and leaves to the [write queue](crate::writes) what is to be written: that is durable, tried
//! again and listed there. Only a look that failed is tried again here.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::backoff::backoff;
use crate::client::Client;

/// How often a client that keeps running looks: far more often than it matters.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// The upkeep in the background of one client: all its clones have the same one.
#[derive(Clone, Default)]
pub(crate) struct Upkeep {
    task: Option<Arc<EndOnDrop>>,
}

struct EndOnDrop(AbortHandle);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Upkeep {
    /// Begins, if `client` has an identity and a profile; ends with the last clone of the client.
    /// Needs a tokio runtime then.
    pub(crate) fn of(client: &Client) -> Self {
        if client.identity().is_err() || client.profile().is_err() {
            return Upkeep::default();
        }
        // The task's own client has no task, or neither would ever be dropped.
        let task = tokio::spawn(look_for_ever(client.without_tasks()));
        Upkeep { task: Some(Arc::new(EndOnDrop(task.abort_handle()))) }
    }

    /// Looks no more. What it left to the write queue stays there.
    pub(crate) fn end(&self) {
        if let Some(task) = &self.task {
            task.0.abort();
        }
    }
}

async fn look_for_ever(client: Client) {
    let mut failures = 0;
    loop {
        client.context.ready().await;
        let looked = async {
            client.want_own_bundle()?;
            client.renew_contacts().await
        };
        match looked.await {
            Ok(()) => {
                failures = 0;
                // What cannot be renewed now is due tomorrow, too.
                let _ = client.renew_due_names().await;
                sleep(LOOK_EVERY).await;
            }
            Err(error) => {
                tracing::debug!(%error, "upkeep has to look again");
                sleep(backoff(failures, client.entropy())).await;
                failures += 1;
            }
        }
    }
}
