//! The delivery of one write: read, sign, note, send, and what the answer means for it; or of an errand.

use std::time::Duration;

use dht_context::operations::Prepared;
use dht_context::{DhtContext, PutError, PutReport};
use dht_kad::put::PutPlanError;
use dht_kad::{ErrorNumber, ParsedRecord, Refusal, UnixMs, ValidRecord};
use tokio::time::timeout;

use super::Change;
use super::queue::{Queue, Waiting};
use super::row::End;
use crate::client::Client;
use crate::identity::Identity;
use crate::profile::ProfileError;

/// The delivery of a value is given up after so long, joining the network included: longer than the
/// waits for silent nodes in a lookup, a read and a put. So is joining the network for an errand.
const VALUE_LIMIT: Duration = Duration::from_secs(15);
/// An errand is given up after so long: the most work that a contact can ask for on a slow core, and each
/// of its few operations has the client's own time limit.
const ERRAND_LIMIT: Duration = Duration::from_secs(5 * 60);
/// How often one delivery signs again because nodes ask for something else.
const SIGNED_MAX: usize = 6;

/// What a delivery came to.
pub(super) enum Outcome {
    /// The write ends so; a report where it was put.
    Ended(End, Option<Box<PutReport>>),
    /// It has to be tried again later.
    Later(String),
    /// Somebody else has ended it.
    Gone,
}

/// What a delivery stands on.
#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) context: DhtContext,
    pub(super) identity: Identity,
    pub(super) queue: Queue,
    /// Runs the errands; has no queue of its own.
    pub(super) client: Client,
}

/// What is to be done about one attempt's failure.
enum Verdict {
    /// Sign again, with so much work, and try at once.
    SignAgain(u32),
    Ended(End),
    Later(String),
}

impl Delivery {
    /// Tries to deliver a write, within its limit.
    pub(super) async fn deliver_in_time(&self, id: u64) -> Result<Outcome, ProfileError> {
        let Some(waiting) = self.queue.waiting(id)? else { return Ok(Outcome::Gone) };
        let about = waiting.row.about;
        if self.context.now() >= UnixMs(about.deadline) {
            return Ok(Outcome::Ended(End::Expired, None));
        }
        let done = match about.errand {
            None => timeout(VALUE_LIMIT, self.deliver(id)).await,
            Some(errand) => match timeout(VALUE_LIMIT, self.context.ready()).await {
                Ok(()) => {
                    let given_at = UnixMs(about.enqueued_at);
                    timeout(ERRAND_LIMIT, self.run(&errand, given_at)).await
                }
                Err(late) => Err(late),
            },
        };
        done.unwrap_or_else(|_| {
            Ok(Outcome::Later(match self.context.is_ready() {
                true => "it was not done in time".to_owned(),
                false => "no node answers".to_owned(),
            }))
        })
    }

    /// Tries to deliver a value.
    pub(super) async fn deliver(&self, id: u64) -> Result<Outcome, ProfileError> {
        let mut last = None;
        for _ in 0..SIGNED_MAX {
            let Some(waiting) = self.queue.waiting(id)? else { return Ok(Outcome::Gone) };
            self.context.ready().await;
            let failed = match self.attempt(id, &waiting).await? {
                Ok(None) => return Ok(Outcome::Gone),
                Ok(Some(report)) => {
                    let end = done(&report);
                    return Ok(Outcome::Ended(end, Some(Box::new(report))));
                }
                Err((error, fresh)) => (judge(&error, &waiting, fresh), error),
            };
            match failed {
                (Verdict::SignAgain(work_bits), error) => {
                    self.queue.sign_again(id, work_bits)?;
                    last = Some(error.to_string());
                }
                (Verdict::Ended(end), _) => return Ok(Outcome::Ended(end, None)),
                (Verdict::Later(reason), _) => return Ok(Outcome::Later(reason)),
            }
        }
        Ok(Outcome::Later(last.unwrap_or_default()))
    }

    /// One attempt: signs a version unless one is signed already, and sends it. An error comes with
    /// whether the version was signed just now.
    async fn attempt(
        &self,
        id: u64,
        waiting: &Waiting,
    ) -> Result<Result<Option<PutReport>, (PutError, bool)>, ProfileError> {
        let network = self.context.network();
        let Waiting { row, change, progress, signed } = waiting;
        let signer = row.about.author.signer(&self.identity, network);
        let resumed = signed.as_deref().and_then(|bytes| self.noted(bytes));
        let (prepared, fresh) = match resumed {
            Some(record) => (Prepared::resumed(record), false),
            None => {
                let earlier = progress.earlier();
                let prepared = match change.clone() {
                    Change::Put(put) => self.context.prepare_put(&*signer, put, &earlier).await,
                    Change::Delete(delete) => {
                        self.context.prepare_delete(&*signer, delete, &earlier).await
                    }
                };
                let prepared = match prepared {
                    Ok(prepared) => prepared,
                    Err(error) => return Ok(Err((error, true))),
                };
                let bytes = prepared.record.bytes().clone();
                match self.queue.note_signed(id, prepared.record.seq(), &bytes)? {
                    None => return Ok(Ok(None)),
                    Some(noted) if noted == bytes => (prepared, true),
                    Some(other) => match self.noted(&other) {
                        Some(record) => (Prepared::resumed(record), false),
                        None => (prepared, true),
                    },
                }
            }
        };
        let record = prepared.record.clone();
        let content = record.publisher() == &[0; 32];
        let expected = progress.based_on.filter(|_| !content);
        let earlier = progress.earlier();
        let sent = self.context.send_prepared(prepared, expected, row.quorum(), &earlier);
        Ok(match sent.await {
            Ok(outcome) => Ok(Some(PutReport { record, outcome })),
            Err(error) => Err((error, fresh)),
        })
    }

    /// A version that was noted before it was sent: what this profile's own disk gives back.
    fn noted(&self, bytes: &[u8]) -> Option<ValidRecord> {
        let parsed = ParsedRecord::parse(bytes.to_vec().into()).ok()?;
        Some(parsed.trust_own_store(self.context.network()))
    }
}

pub(super) fn done(report: &PutReport) -> End {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    End::Done {
        seq: report.record.seq(),
        stored: count(report.outcome.stored.len()),
        targets: count(report.outcome.targets),
    }
}

/// What an error means for a write. A version that was signed before this delivery may have arrived
/// and been superseded: what is there then is newer, and not to be overwritten.
fn judge(error: &PutError, waiting: &Waiting, fresh: bool) -> Verdict {
    let refusal = match error {
        PutError::UnexpectedSeq { stored } => {
            return Verdict::Ended(End::Conflict { stored: *stored });
        }
        PutError::Refused { refusal, .. } => refusal,
        _ if is_lasting(error) => return Verdict::Ended(refused(error.number(), error)),
        _ => return Verdict::Later(error.to_string()),
    };
    let work_bits = waiting.progress.work_bits;
    match refusal {
        Refusal::UnexpectedSeq { stored } => Verdict::Ended(End::Conflict { stored: *stored }),
        Refusal::SeqTooLow { .. } | Refusal::SeqConflict
            if fresh && waiting.progress.based_on.is_none() =>
        {
            Verdict::SignAgain(work_bits)
        }
        Refusal::SeqTooLow { stored } => Verdict::Ended(End::Conflict { stored: *stored }),
        Refusal::SeqConflict => {
            let stored = waiting.progress.own_seqs.last().copied().unwrap_or_default();
            Verdict::Ended(End::Conflict { stored })
        }
        Refusal::GuardTooShort { .. } => Verdict::SignAgain(work_bits),
        Refusal::WorkTooLow { needed } if *needed > work_bits => Verdict::SignAgain(*needed),
        _ if is_lasting_refusal(refusal) => Verdict::Ended(refused(refusal.number(), error)),
        _ => Verdict::Later(error.to_string()),
    }
}

pub(super) fn refused(number: ErrorNumber, error: &impl std::error::Error) -> End {
    End::Refused { number: number as u8, reason: error.to_string() }
}

/// Whether a put failed because another version came first: what is there has to be read again.
pub(crate) fn is_overtaken(error: &PutError) -> bool {
    match error {
        PutError::UnexpectedSeq { .. } => true,
        PutError::Refused { refusal, .. } => matches!(
            refusal,
            Refusal::UnexpectedSeq { .. }
                | Refusal::SeqTooLow { .. }
                | Refusal::SeqConflict
                | Refusal::GuardTooShort { .. }
        ),
        _ => false,
    }
}

/// Whether a put that failed so fails again, whenever it is tried.
pub(super) fn is_lasting(error: &PutError) -> bool {
    match error {
        PutError::UnexpectedSeq { .. }
        | PutError::NoPeers
        | PutError::QuorumNotReached { .. }
        | PutError::Plan(PutPlanError::NetworkUnsettled { .. }) => false,
        PutError::Refused { refusal, .. } => is_lasting_refusal(refusal),
        _ => true,
    }
}

/// Whether a signed record that was refused so is refused again, whenever it is sent.
pub(crate) fn is_lasting_refusal(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::MalformedRecord(_)
            | Refusal::UnknownRecordVersion(_)
            | Refusal::TooLarge
            | Refusal::BadSignature
            | Refusal::BodyMissing
            | Refusal::Blocked
            | Refusal::Expired { .. }
    )
}
