//! [`Refusal`]: why a node did not do what a request asked for. It travels on the wire.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error_number::ErrorNumber;
use crate::record::{MalformedRecord, SignatureFault};
use crate::time::UnixMs;

/// The most bytes of the text in a [`Refusal::MalformedRecord`]: one sentence.
pub const REFUSAL_TEXT_MAX: usize = 256;

/// What ran out when a record was refused as [`Refusal::Full`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, Error)]
pub enum FullScope {
    /// The publisher's share.
    #[error("this publisher's share")]
    Publisher,
    /// What one key may hold.
    #[error("this key")]
    Key,
    /// The share of this retention class.
    #[error("the share of this retention class")]
    Class,
    /// The whole store.
    #[error("the store")]
    Total,
}

/// Why a request, or one record of it, was refused. One sentence each, with what to do next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are not a record; the text says what is wrong.
    #[error("not a record: {0}")]
    MalformedRecord(
        #[serde(deserialize_with = "crate::bounded::text::<_, REFUSAL_TEXT_MAX>")] String,
    ),
    /// The record's layout version is unknown.
    #[error(
        "the record has layout version {0}, which this node does not know; use an older one or another node"
    )]
    UnknownRecordVersion(u8),
    /// The record is longer than allowed.
    #[error("the record is too large; cut the value into content chunks")]
    TooLarge,
    /// Signature or body do not fit in this network.
    #[error(
        "the signature fits neither publisher, content nor network; sign the record anew in this network"
    )]
    BadSignature,
    /// `created_at` lies more than 10 minutes after the node's clock.
    #[error(
        "created_at lies in the future of the node's clock ({clock}); set this machine's clock"
    )]
    FromTheFuture {
        /// The node's clock.
        clock: UnixMs,
    },
    /// The record has expired by the node's clock.
    #[error("the record has expired by the node's clock ({clock}); sign a newer version")]
    Expired {
        /// The node's clock.
        clock: UnixMs,
    },
    /// A later version is stored.
    #[error("version {stored} is stored already; read it, decide and sign a higher one")]
    SeqTooLow {
        /// The stored version's number.
        stored: u64,
    },
    /// Another content is stored under the same seq.
    #[error(
        "another content is stored under the same version; read it, decide and sign a higher one"
    )]
    SeqConflict,
    /// The stored version would outlive this one.
    #[error("the stored version is kept until {needed}; sign again with guard_until at least that")]
    GuardTooShort {
        /// The least `keep_until` that is needed.
        needed: UnixMs,
    },
    /// The stored version is not the one that the writer expected.
    #[error("version {stored} is stored, not the one you expected; read it, decide and try again")]
    UnexpectedSeq {
        /// The stored version's number; 0 if nothing is stored.
        stored: u64,
    },
    /// No room.
    #[error("{scope} is full; delete something, wait for expiries or use another node")]
    Full {
        /// What is full.
        scope: FullScope,
    },
    /// More proof of work is asked for.
    #[error(
        "the node asks for {needed} bits of work while it has little room; sign again with that"
    )]
    WorkTooLow {
        /// The leading zero bits asked for.
        needed: u32,
    },
    /// The store takes no writes at present.
    #[error("the node's store takes no writes at present; use another node or try again later")]
    ReadOnly,
    /// The node's clock cannot be relied on.
    #[error("the node is unsure of its clock ({clock}); use another node or try again later")]
    ClockUnsure {
        /// The node's clock.
        clock: UnixMs,
    },
    /// The operator does not serve this publisher or key.
    #[error("the node's operator does not serve this publisher or key; use another node")]
    Blocked,
    /// The node is stopping.
    #[error("the node is restarting; try again in a moment")]
    Restarting,
    /// Only the head was sent where a whole record is needed.
    #[error("only the record's head was sent; send it with its body")]
    BodyMissing,
    /// The request's type is not known.
    #[error("the node does not know request type {0}; use one that its version knows")]
    UnknownRequest(u16),
    /// A frame is longer than allowed.
    #[error("a frame of {0} bytes is longer than the 262144 allowed; send less at once")]
    FrameTooLong(u64),
    /// The bytes are not the message that they should be.
    #[error("the request cannot be decoded; send it as docs/PROTOCOL.md says")]
    MalformedFrame,
    /// A limit is reached.
    #[error("the node serves you no more at present; try again in a moment")]
    Busy,
    /// The peer is a client.
    #[error("the peer is a client and does not serve such requests; ask a server")]
    NotAServer,
    /// The node failed; its operator finds why in its log.
    #[error("the node failed to do it; use another node or try again later")]
    Internal,
}

impl Refusal {
    /// The numbers that refusals have, ascending: one for each reason that can be counted.
    pub const NUMBERS: [ErrorNumber; 23] = [
        ErrorNumber::Internal,
        ErrorNumber::MalformedRecord,
        ErrorNumber::UnknownRecordVersion,
        ErrorNumber::TooLarge,
        ErrorNumber::BadSignature,
        ErrorNumber::FromTheFuture,
        ErrorNumber::Expired,
        ErrorNumber::SeqTooLow,
        ErrorNumber::SeqConflict,
        ErrorNumber::GuardTooShort,
        ErrorNumber::UnexpectedSeq,
        ErrorNumber::Full,
        ErrorNumber::WorkTooLow,
        ErrorNumber::ReadOnly,
        ErrorNumber::ClockUnsure,
        ErrorNumber::Blocked,
        ErrorNumber::Restarting,
        ErrorNumber::BodyMissing,
        ErrorNumber::UnknownRequest,
        ErrorNumber::FrameTooLong,
        ErrorNumber::MalformedFrame,
        ErrorNumber::Busy,
        ErrorNumber::NotAServer,
    ];

    /// The refusal's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            Refusal::MalformedRecord(_) => ErrorNumber::MalformedRecord,
            Refusal::UnknownRecordVersion(_) => ErrorNumber::UnknownRecordVersion,
            Refusal::TooLarge => ErrorNumber::TooLarge,
            Refusal::BadSignature => ErrorNumber::BadSignature,
            Refusal::FromTheFuture { .. } => ErrorNumber::FromTheFuture,
            Refusal::Expired { .. } => ErrorNumber::Expired,
            Refusal::SeqTooLow { .. } => ErrorNumber::SeqTooLow,
            Refusal::SeqConflict => ErrorNumber::SeqConflict,
            Refusal::GuardTooShort { .. } => ErrorNumber::GuardTooShort,
            Refusal::UnexpectedSeq { .. } => ErrorNumber::UnexpectedSeq,
            Refusal::Full { .. } => ErrorNumber::Full,
            Refusal::WorkTooLow { .. } => ErrorNumber::WorkTooLow,
            Refusal::ReadOnly => ErrorNumber::ReadOnly,
            Refusal::ClockUnsure { .. } => ErrorNumber::ClockUnsure,
            Refusal::Blocked => ErrorNumber::Blocked,
            Refusal::Restarting => ErrorNumber::Restarting,
            Refusal::BodyMissing => ErrorNumber::BodyMissing,
            Refusal::UnknownRequest(_) => ErrorNumber::UnknownRequest,
            Refusal::FrameTooLong(_) => ErrorNumber::FrameTooLong,
            Refusal::MalformedFrame => ErrorNumber::MalformedFrame,
            Refusal::Busy => ErrorNumber::Busy,
            Refusal::NotAServer => ErrorNumber::NotAServer,
            Refusal::Internal => ErrorNumber::Internal,
        }
    }
}

impl From<MalformedRecord> for Refusal {
    fn from(fault: MalformedRecord) -> Self {
        match fault {
            MalformedRecord::UnknownVersion(version) => Refusal::UnknownRecordVersion(version),
            MalformedRecord::BodyTooLarge(_) | MalformedRecord::ExtTooLarge(_) => Refusal::TooLarge,
            other => Refusal::MalformedRecord(other.to_string()),
        }
    }
}

impl From<SignatureFault> for Refusal {
    fn from(_: SignatureFault) -> Self {
        Refusal::BadSignature
    }
}
