//! [`Fault`]: what went wrong in other systems, put back into ours, so that a test can show that the
//! scenario of its name would notice.
//!
//! Most of them are stores that decide wrongly: they sit in the simulated [disk](crate::disk). Others
//! are nodes that are configured as nobody should.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use dht_context::ContextConfig;
use thiserror::Error;

/// Longer than any run lives.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

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
    /// Holders repair nothing once they are whole, and hand nothing over.
    NoReplication,
    /// A node that starts again puts all that it holds once more, at once.
    StormAtStart,
}

/// A text names no [`Fault`].
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("there is no fault «{0}»; --list names them")]
pub struct ParseFaultError(String);

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 8] = [
        Fault::AcknowledgeBeforeSync,
        Fault::RepairRefusesOld,
        Fault::StaleWins,
        Fault::ForgetsTombstones,
        Fault::KeepsExpired,
        Fault::FirstAnswerWins,
        Fault::NoReplication,
        Fault::StormAtStart,
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
            Fault::NoReplication => "no-replication",
            Fault::StormAtStart => "storm-at-start",
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
            Fault::NoReplication => {
                "holders repair nothing once they are whole, and hand nothing over"
            }
            Fault::StormAtStart => {
                "a node that starts again puts all that it holds once more, at once"
            }
        }
    }

    /// Puts the fault into a node's configuration, if that is where it is.
    pub(crate) fn distort(self, config: &mut ContextConfig) {
        let timing = &mut config.timing;
        if self == Fault::NoReplication {
            (timing.repair_wait, timing.repair_every) = (NEVER, NEVER);
            (timing.repair_soon, timing.handover) = (NEVER, Duration::ZERO);
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
