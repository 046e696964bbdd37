//! The numbers of all errors: one table for the library, the wire, exit statuses and logs.

use std::fmt;

/// Declares [`ErrorNumber`] and its table from one list.
macro_rules! error_numbers {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// The number of an error: stable, the same in the library, on the wire, in exit statuses
        /// and in logs. 0 is success, and numbers from 126 on are left to shells.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum ErrorNumber {
            $($(#[$doc])* $name = $number,)*
        }

        impl ErrorNumber {
            /// Every number there is, ascending.
            pub const ALL: &'static [ErrorNumber] = &[$(ErrorNumber::$name,)*];

            /// The name, as docs/PROTOCOL.md and logs spell it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(ErrorNumber::$name => stringify!($name),)*
                }
            }

            /// The error with this number, if there is one.
            #[must_use]
            pub const fn from_u8(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(ErrorNumber::$name),)*
                    _ => None,
                }
            }
        }
    };
}

error_numbers! {
    /// Something that should not happen did: a fault of this program.
    Internal = 1,
    /// The command line is not one that the program understands.
    Usage = 2,

    // Why a record was refused: 10 to 39.
    /// The bytes are not a record.
    MalformedRecord = 10,
    /// The record's layout version is unknown.
    UnknownRecordVersion = 11,
    /// The record or value is longer than allowed.
    TooLarge = 12,
    /// Signature or body do not fit, here or in this network.
    BadSignature = 13,
    /// `created_at` lies more than 10 minutes in the future.
    FromTheFuture = 14,
    /// The record has expired.
    Expired = 15,
    /// A later version is stored.
    SeqTooLow = 16,
    /// Another content is stored under the same seq.
    SeqConflict = 17,
    /// The stored version would outlive this one.
    GuardTooShort = 18,
    /// The stored version is not the expected one.
    UnexpectedSeq = 19,
    /// No room for this record.
    Full = 20,
    /// More proof of work is asked for.
    WorkTooLow = 21,
    /// The store takes no writes at present.
    ReadOnly = 22,
    /// The node's clock cannot be relied on.
    ClockUnsure = 23,
    /// The operator does not serve this publisher or key.
    Blocked = 24,
    /// The node is stopping.
    Restarting = 25,
    /// Only the head was sent where a whole record is needed.
    BodyMissing = 26,

    // The protocol: 40 to 59.
    /// The request's type is not known.
    UnknownRequest = 40,
    /// A frame is longer than 256 KiB.
    FrameTooLong = 41,
    /// The bytes are not the message that they should be.
    MalformedFrame = 42,
    /// A limit on this peer or of this node is reached.
    Busy = 43,
    /// Another node answered than the one that was asked for.
    WrongNode = 44,
    /// The peer does not serve such requests: it is a client.
    NotAServer = 45,
    /// The answer does not fit the request.
    WrongAnswer = 46,

    // The network: 60 to 74.
    /// No connection could be made.
    Unreachable = 60,
    /// No answer came in time.
    TimedOut = 61,
    /// The connection ended before the answer.
    ConnectionLost = 62,
    /// The network is still gathering.
    NetworkUnsettled = 63,
    /// Too few nodes acknowledged.
    QuorumNotReached = 64,
    /// Nothing is stored there.
    NotFound = 65,
    /// No peer is known or reachable.
    NoPeers = 66,
    /// A node does not hold what it gave a receipt for.
    PromiseBroken = 67,
    /// Some receipts could not be checked: false ones, or of nodes that gave no answer.
    AuditIncomplete = 68,
    /// It waits in the write queue until the network takes it.
    Queued = 69,

    // Names: 75 to 79.
    /// It has no name's form.
    BadName = 75,
    /// Somebody else has the name.
    NameTaken = 76,
    /// The name can be mistaken for somebody's.
    NameConfusable = 77,
    /// It cannot be told whose the name is.
    NameConflict = 78,
    /// The name is not whose it was.
    NameChanged = 79,

    // This machine: 80 to 99.
    /// The configuration is not usable.
    BadConfig = 80,
    /// The address cannot be bound.
    AddressInUse = 81,
    /// Another process uses the data directory.
    DataDirInUse = 82,
    /// The database is damaged.
    DatabaseDamaged = 83,
    /// The database was written by a newer version.
    SchemaTooNew = 84,
    /// The disk has no room.
    DiskFull = 85,
    /// A file cannot be read or written.
    FileAccess = 86,
    /// The identity's file is missing, damaged or in the way.
    IdentityFile = 87,
    /// The admin address does not answer.
    AdminUnreachable = 88,
    /// The database was written by an older version and cannot be read any more.
    SchemaTooOld = 89,
    /// Not built yet.
    NotBuiltYet = 90,
}

impl fmt::Display for ErrorNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (error {})", self.name(), *self as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_read_back() {
        assert!(ErrorNumber::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        for number in ErrorNumber::ALL {
            assert_eq!(ErrorNumber::from_u8(*number as u8), Some(*number));
            assert!((1..126).contains(&(*number as u8)));
        }
    }
}
