//! Asking another holder, at this node's own pace.

use std::sync::Arc;
use std::time::Duration;

use dht_kad::Refusal;
use dht_kad::message::{NodeInfo, Reconcile, Reconciled, Request, Response};
use tokio::time::Instant;

use super::answers::Purpose;
use crate::context::Inner;
use crate::requests::{AskError, Measured};

/// How often a holder that is busy is asked again before it is left alone.
const BUSY_AGAIN: u32 = 4;
/// The first wait after a holder said that it is busy; it doubles, with jitter.
const BUSY_FIRST: Duration = Duration::from_millis(100);
/// The longest such wait.
const BUSY_LONGEST: Duration = Duration::from_secs(2);

impl Inner {
    /// Asks another holder, and counts what that took. Waits for this node's own pace, and a little
    /// for a holder that is busy. Says how many bytes question and answer had.
    pub(crate) async fn ask_holder(
        self: &Arc<Self>,
        peer: &NodeInfo,
        question: Reconcile,
    ) -> Result<(Reconciled, usize), AskError> {
        let purpose = Purpose::of(&question);
        let request = Request::Reconcile(question);
        let mut attempt = 0;
        loop {
            self.replication.pace.before_request().await;
            let started = Instant::now();
            match self.requests.ask_measured(peer, &request).await {
                Ok(Measured { response: Response::Reconciled(answer), bytes }) => {
                    self.replication.pace.used(bytes, started.elapsed());
                    self.replication.figures.note_exchange(purpose, bytes);
                    return Ok((answer, bytes));
                }
                Ok(_) => return Err(AskError::WrongAnswer(peer.id)),
                Err(AskError::Refused(Refusal::Busy)) if attempt < BUSY_AGAIN => {
                    let wait = self.chance.backoff(attempt, BUSY_FIRST, BUSY_LONGEST);
                    attempt += 1;
                    tokio::time::sleep(wait).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
