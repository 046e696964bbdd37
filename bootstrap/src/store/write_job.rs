//! What the writer is asked to do, and what it answers.

use dht_context::registry::SavedPeer;
use dht_context::store::Submission;
use dht_kad::Refusal;
use dht_kad::message::Stored;
use tokio::sync::oneshot;

/// What the writer is asked to do.
pub(super) enum WriteJob {
    /// To take records.
    Put { batch: Vec<Submission>, answer: oneshot::Sender<PutResults> },
    /// To remember peers.
    SavePeers { peers: Vec<SavedPeer>, answer: oneshot::Sender<Result<(), Refusal>> },
    /// To sweep, now and until nothing is left to be swept.
    Sweep { answer: oneshot::Sender<()> },
}

/// One result a record.
pub(super) type PutResults = Vec<Result<Stored, Refusal>>;

/// What a job comes to once the commit is on disk.
pub(super) enum Outcome {
    Put(PutResults, oneshot::Sender<PutResults>),
    Saved(Vec<SavedPeer>, oneshot::Sender<Result<(), Refusal>>),
}

/// Answers all of them alike.
pub(super) fn refuse(jobs: Vec<WriteJob>, refusal: &Refusal) {
    for job in jobs {
        match job {
            WriteJob::Put { batch, answer } => {
                let results = batch.iter().map(|_| Err(refusal.clone())).collect();
                let _ = answer.send(results);
            }
            WriteJob::SavePeers { answer, .. } => {
                let _ = answer.send(Err(refusal.clone()));
            }
            WriteJob::Sweep { answer } => {
                let _ = answer.send(());
            }
        }
    }
}

/// After a failed write nothing of it is promised, not even what seemed to be stored already: that
/// may have been an earlier record of the same batch.
pub(super) fn refuse_outcomes(outcomes: Vec<Outcome>) {
    for outcome in outcomes {
        match outcome {
            Outcome::Put(results, answer) => {
                let results =
                    results.into_iter().map(|result| result.and(Err(Refusal::ReadOnly))).collect();
                let _ = answer.send(results);
            }
            Outcome::Saved(_, answer) => {
                let _ = answer.send(Err(Refusal::ReadOnly));
            }
        }
    }
}
