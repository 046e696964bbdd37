//! Receipts and audits: whether a node's promise is one, and whether it is kept.
//!
//! A node that stores a record signs a [`Receipt`]: until when it will serve it. A writer checks that
//! at once, since what is no promise acknowledges nothing, and may keep it. Whoever holds record and
//! receipt can later challenge the node with a number that nobody knew before ([`Challenge`]): only a
//! node that still holds every byte can tell the [`proof`]. The network around a key changes, and a
//! put reaches a majority only, so a single broken promise loses nothing; it tells whom not to trust.
//!
//! ```text
//! Store ─▶ Receipt ─▶ verify: whose, over what, plausible ─▶ counted, kept
//!                                                               │ later
//!              Evidence ◀─ the node ◀─ Challenge: slot, nonce ◀─┘
//!                 └─▶ judge ─▶ Verdict: kept, newer, expired, broken, unknown
//! ```
//!
//! Times are compared with each other and not with the writer's clock wherever that is possible: a
//! writer whose clock is wrong still gets receipts that count, and they can be checked for as long
//! as they are kept.
//!
//! [`Challenge`]: crate::message::audit::Challenge

use std::cmp::Ordering;

use thiserror::Error;

use crate::admission::{Existing, FUTURE_TOLERANCE_MS, served_until};
use crate::id::NodeId;
use crate::message::RecordBytes;
use crate::message::audit::{Evidence, Receipt, proof};
use crate::network::NetworkName;
use crate::record::{ParsedRecord, Retention, Space, ValidRecord};
use crate::signature::SignatureCheck;
use crate::time::UnixMs;

/// How far a receipt's moment may lie outside the record's life. A node checks the times when a
/// record comes and signs when it is stored; its clock may be set in between, and no honest clock is
/// set by more than clocks may differ.
const MOMENT_SLACK_MS: u64 = 2 * FUTURE_TOLERANCE_MS;

/// What is called a receipt is none.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiptFault {
    /// The key that it names is not that of the node that it is said to come from.
    #[error(
        "the receipt names the key of another node; ask the node itself to store the record again"
    )]
    OtherNode,
    /// It promises another end than the record has.
    #[error(
        "the receipt promises another end than the record was signed for; ask another node to store it"
    )]
    OtherEnd,
    /// The record could not have been accepted when it says.
    #[error("the receipt's moment lies outside the record's life; ask another node to store it")]
    OtherMoment,
    /// The node did not sign this.
    #[error(
        "the node's signature does not fit record, times and network; use the receipt as it was given"
    )]
    WrongSignature,
}

/// Whether a node keeps what it promised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It holds that very version, every byte of it.
    Kept,
    /// It holds a version that supersedes it.
    Newer {
        /// That version's number.
        seq: u64,
    },
    /// The promise has ended, or ends within the minutes that honest clocks differ by.
    Expired,
    /// It does not hold what it promised to.
    Broken(Breach),
    /// It could not say; ask again.
    Unknown,
}

/// How a promise is broken.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// Nothing is there.
    #[error("it holds nothing there; put the record again and distrust the node")]
    Nothing,
    /// An earlier version is there.
    #[error("it holds an earlier version; put the record again and distrust the node")]
    Older,
    /// What it shows belongs elsewhere.
    #[error("it shows a record of another slot; put the record again and distrust the node")]
    OtherSlot,
    /// What it shows is no record.
    #[error("what it shows was signed by nobody; put the record again and distrust the node")]
    FalseHead,
    /// It cannot tell the proof.
    #[error("it does not know the record's bytes; put the record again and distrust the node")]
    WrongProof,
}

impl Receipt {
    /// Checks that this is the promise of `node` to keep `record`: its key, its signature
    /// ([strictly](crate::signature), as for records), and that its times can be true.
    ///
    /// The end is the record's own. Content has no versions of its own but only ends: who holds it
    /// already to be kept for longer promises that longer time.
    ///
    /// # Errors
    /// [`ReceiptFault`] says what does not fit.
    pub fn verify(
        &self,
        network: &NetworkName,
        record: &ValidRecord,
        node: &NodeId,
    ) -> Result<(), ReceiptFault> {
        self.verify_next(network, record, node, &mut SignatureCheck::default())
    }

    /// As [`verify`](Self::verify), one receipt of many: it takes less time where they are one node's.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_next(
        &self,
        network: &NetworkName,
        record: &ValidRecord,
        node: &NodeId,
        check: &mut SignatureCheck,
    ) -> Result<(), ReceiptFault> {
        if NodeId::from_public_key(&self.node_key) != *node {
            return Err(ReceiptFault::OtherNode);
        }
        self.check_times(record)?;
        let message = Receipt::message(network, record, self.expires_at, self.accepted_at);
        let signed = check.check(&self.node_key, &message, &self.signature);
        signed.map_err(|_| ReceiptFault::WrongSignature)
    }

    fn check_times(&self, record: &ValidRecord) -> Result<(), ReceiptFault> {
        let signed_end = served_until(&Existing::of(record));
        let end_fits = match record.space() {
            Space::Owned | Space::Topic => self.expires_at == signed_end,
            Space::Content => {
                let longest = Retention::Days365.lifetime_ms().saturating_add(MOMENT_SLACK_MS);
                let latest = self.accepted_at.after(longest).max(signed_end);
                (signed_end..=latest).contains(&self.expires_at)
            }
        };
        if !end_fits {
            return Err(ReceiptFault::OtherEnd);
        }
        let not_before_made = record.created_at() <= self.accepted_at.after(MOMENT_SLACK_MS);
        let not_after_end = self.accepted_at <= self.expires_at.after(MOMENT_SLACK_MS);
        if not_before_made && not_after_end { Ok(()) } else { Err(ReceiptFault::OtherMoment) }
    }
}

/// Judges what a node shows for a receipt that it gave. `record` is what the receipt is for, whole,
/// and the receipt was [verified](Receipt::verify) with it; `nonce` is that of the challenge.
#[must_use]
pub fn judge(
    receipt: &Receipt,
    record: &ValidRecord,
    network: &NetworkName,
    nonce: &[u8; 32],
    evidence: &Evidence,
    now: UnixMs,
) -> Verdict {
    if receipt.expires_at <= now {
        return Verdict::Expired;
    }
    let ending = receipt.expires_at <= now.after(FUTURE_TOLERANCE_MS);
    match evidence {
        Evidence::Later => Verdict::Unknown,
        Evidence::Nothing if ending => Verdict::Expired,
        Evidence::Nothing => Verdict::Broken(Breach::Nothing),
        Evidence::Holds { head, proof: shown } => match read_head(head, record, network) {
            Err(breach) => Verdict::Broken(breach),
            Ok(head) => judge_version(record, &head, nonce, shown, ending),
        },
    }
}

/// The head that a node shows, if it is one of this slot.
fn read_head(
    head: &RecordBytes,
    record: &ValidRecord,
    network: &NetworkName,
) -> Result<ValidRecord, Breach> {
    if head.0 == record.head_bytes() {
        return Ok(record.head_only());
    }
    let head = ParsedRecord::parse(head.0.clone()).map_err(|_| Breach::FalseHead)?;
    if head.claimed_id(network) != *record.id() {
        return Err(Breach::OtherSlot);
    }
    head.without_body().verify(network).map_err(|_| Breach::FalseHead)
}

fn judge_version(
    record: &ValidRecord,
    head: &ValidRecord,
    nonce: &[u8; 32],
    shown: &[u8; 32],
    ending: bool,
) -> Verdict {
    let newer = match head.precedence().cmp(&record.precedence()) {
        Ordering::Less => return Verdict::Broken(Breach::Older),
        Ordering::Equal => false,
        Ordering::Greater => true,
    };
    if newer && record.space() != Space::Content {
        // Its bytes are not known here, so the proof says nothing; the head is signed by the one who
        // alone could replace the record.
        return Verdict::Newer { seq: head.seq() };
    }
    // The body is the same: of one version, and of all versions of one content.
    let Some(body) = record.body() else { return Verdict::Unknown };
    let head_bytes = head.head_bytes();
    if *shown == proof(nonce, &[&head_bytes[..], &body[..]].concat()) {
        if newer { Verdict::Newer { seq: head.seq() } } else { Verdict::Kept }
    } else if ending && *shown == proof(nonce, &head_bytes) {
        Verdict::Expired
    } else {
        Verdict::Broken(Breach::WrongProof)
    }
}
