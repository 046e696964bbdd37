//! [`NameError`]: why a name could not be had, or is nobody's that can be told.

use dht_kad::ErrorNumber;
use thiserror::Error;

use super::form::{Name, NameFault};

/// Why a name could not be had, or is nobody's that can be told.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// It has no name's form.
    #[error(transparent)]
    Form(#[from] NameFault),
    /// Who judges is not known.
    #[error(
        "the network's registry judges names, and its list of nodes is not to be had; get the signed list and put it beside the network file"
    )]
    NoRegistryList,
    /// Nobody has it.
    #[error("nobody has the name «{0}»; check its spelling, or claim it")]
    Unclaimed(Name),
    /// Somebody else has it.
    #[error("«{name}» is the name of {}; choose another one", hex::encode(identity))]
    Taken {
        /// The name.
        name: Name,
        /// Whose it is.
        identity: [u8; 32],
    },
    /// It reads like a name that somebody has.
    #[error(
        "«{name}» can be mistaken for «{like}», the name of {}; use that one if it is meant, else choose another",
        hex::encode(identity)
    )]
    Confusable {
        /// What was asked for.
        name: Name,
        /// What it can be mistaken for.
        like: Name,
        /// Whose that is.
        identity: [u8; 32],
    },
    /// It cannot be told whose it is.
    #[error(
        "it cannot be told whose «{name}» is: {} claim it; ask them yourself, and use their identity instead",
        told(claims)
    )]
    Conflict {
        /// The name.
        name: Name,
        /// What is claimed, and by whom.
        claims: Vec<(Name, [u8; 32])>,
    },
    /// It is not whose it was.
    #[error(
        "«{name}» was {} when you trusted it and is {} now; find out why, then say whom you trust with `dht-client name trust`",
        hex::encode(trusted),
        hex::encode(found)
    )]
    Changed {
        /// The name.
        name: Name,
        /// Who was trusted.
        trusted: [u8; 32],
        /// Who has it now.
        found: [u8; 32],
    },
    /// One's own name that is none.
    #[error("this identity does not have the name «{0}»; claim it first")]
    NotOwn(Name),
    /// More claims than can be told apart.
    #[error("too many claims crowd around «{0}» to tell whose it is; use the identity instead")]
    Crowded(Name),
    /// No more can be remembered.
    #[error("the profile remembers {0} trusted names, which is all it can; use a new profile")]
    TrustFull(u64),
}

impl NameError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            NameError::Form(_) => ErrorNumber::BadName,
            NameError::NoRegistryList => ErrorNumber::BadConfig,
            NameError::Unclaimed(_) | NameError::NotOwn(_) => ErrorNumber::NotFound,
            NameError::Taken { .. } => ErrorNumber::NameTaken,
            NameError::Confusable { .. } => ErrorNumber::NameConfusable,
            NameError::Conflict { .. } | NameError::Crowded(_) => ErrorNumber::NameConflict,
            NameError::Changed { .. } => ErrorNumber::NameChanged,
            NameError::TrustFull(_) => ErrorNumber::Full,
        }
    }
}

/// Names and identities for a sentence.
fn told(claims: &[(Name, [u8; 32])]) -> String {
    let each: Vec<String> = claims
        .iter()
        .map(|(name, identity)| format!("{} («{name}»)", hex::encode(identity)))
        .collect();
    each.join(" and ")
}
