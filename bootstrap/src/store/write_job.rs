//! What the writer is asked to do, and what it answers.

use bytes::Bytes;
use dht_context::registry::SavedPeer;
use dht_context::store::Submission;
use dht_kad::Refusal;
use dht_kad::message::Stored;
use tokio::sync::oneshot;

use super::database::Fault;
use super::rows::state;

/// What the writer is asked to do.
pub(super) enum WriteJob {
    /// To take records.
    Put { batch: Vec<Submission>, answer: oneshot::Sender<PutResults> },
    /// To remember something beside records.
    Save { what: Remembered, answer: SaveAnswer },
    /// To sweep, now and until nothing is left to be swept.
    Sweep { answer: oneshot::Sender<()> },
    /// To do nothing, and answer: who gets the answer knows that the writer works.
    Nothing { answer: oneshot::Sender<()> },
}

/// What a node remembers beside records.
pub(super) enum Remembered {
    /// Its peers.
    Peers(Vec<SavedPeer>),
    /// How far replication has come.
    Progress(Bytes),
}

/// Where it is said that it is on disk.
pub(super) type SaveAnswer = oneshot::Sender<Result<(), Refusal>>;

/// One result a record.
pub(super) type PutResults = Vec<Result<Stored, Refusal>>;

/// What a job comes to once the commit is on disk.
pub(super) enum Outcome {
    Put(PutResults, oneshot::Sender<PutResults>),
    Saved(Remembered, SaveAnswer),
}

impl Remembered {
    /// The row of `state` that it takes: key and value.
    pub(super) fn row(&self) -> Result<(&'static [u8], Vec<u8>), Fault> {
        match self {
            Remembered::Peers(peers) => {
                let row = serde_json::to_vec(peers);
                Ok((state::SAVED_PEERS, row.map_err(|error| Fault::Failed(error.to_string()))?))
            }
            Remembered::Progress(progress) => Ok((state::PROGRESS, progress.to_vec())),
        }
    }
}

/// Answers all of them alike.
pub(super) fn refuse(jobs: Vec<WriteJob>, refusal: &Refusal) {
    for job in jobs {
        match job {
            WriteJob::Put { batch, answer } => {
                let results = batch.iter().map(|_| Err(refusal.clone())).collect();
                let _ = answer.send(results);
            }
            WriteJob::Save { answer, .. } => {
                let _ = answer.send(Err(refusal.clone()));
            }
            WriteJob::Sweep { answer } | WriteJob::Nothing { answer } => {
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
