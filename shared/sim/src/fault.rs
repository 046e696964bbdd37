//! [`Fault`]: what went wrong in other systems, put back into ours, so that a test can show that the
//! scenario of its name would notice.
//!
//! Most of them are stores that decide wrongly: they sit in the simulated [disk](crate::disk).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A fault that can be put back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Disks acknowledge before they sync.
    AcknowledgeBeforeSync,
    /// A store that is handed a record of more than an hour ago by another holder says that it has
    /// it, and drops it.
    RepairRefusesOld,
    /// Stores take whatever comes last.
    StaleWins,
    /// Stores obey a tombstone, and forget it.
    ForgetsTombstones,
    /// Stores keep, show and hand on what has expired.
    KeepsExpired,
    /// Readers trust the first who shows anything.
    FirstAnswerWins,
}

/// A text names no [`Fault`].
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("there is no fault «{0}»; --list names them")]
pub struct ParseFaultError(String);

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 6] = [
        Fault::AcknowledgeBeforeSync,
        Fault::RepairRefusesOld,
        Fault::StaleWins,
        Fault::ForgetsTombstones,
        Fault::KeepsExpired,
        Fault::FirstAnswerWins,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Fault::AcknowledgeBeforeSync => "acknowledge-before-sync",
            Fault::RepairRefusesOld => "repair-refuses-old",
            Fault::StaleWins => "stale-wins",
            Fault::ForgetsTombstones => "forgets-tombstones",
            Fault::KeepsExpired => "keeps-expired",
            Fault::FirstAnswerWins => "first-answer-wins",
        }
    }

    /// What is wrong with it, in one sentence.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Fault::AcknowledgeBeforeSync => "disks acknowledge before they sync",
            Fault::RepairRefusesOld => {
                "stores drop what another holder hands them if it is older than an hour, and say \
                 that they have it"
            }
            Fault::StaleWins => "stores take whatever version comes last",
            Fault::ForgetsTombstones => "stores obey a delete and keep nothing that guards it",
            Fault::KeepsExpired => "stores keep, show and hand on what has expired",
            Fault::FirstAnswerWins => "readers trust the first who shows anything",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = ParseFaultError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Fault::ALL.into_iter().find(|fault| fault.name() == text);
        named.ok_or_else(|| ParseFaultError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_by_its_name() {
        for fault in Fault::ALL {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        assert!("no-such-fault".parse::<Fault>().is_err());
    }
}
