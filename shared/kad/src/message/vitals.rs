//! How a node is: what its operators ask of it through the protocol, as strangers can reach no other way in.
//!
//! A pong is sent all the time and stays small; this is asked every few minutes by whoever watches a
//! fleet. Anyone may ask, so what it says of the machine is coarse: parts of a hundred and mebibytes.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::refusal::Refusal;

/// The most reasons in one answer: each part of a node that can refuse has one at a time.
pub const REFUSES_MAX: usize = 8;
/// All of something, in percent.
pub const PERCENT_MAX: u8 = 100;

/// How are you, in all that an operator asks about?
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Vitals {}

/// The answer to [`Vitals`]. What a node cannot tell is absent.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct VitalSigns {
    /// Seconds since it started.
    pub up_secs: u64,
    /// Whether a put that comes right now can succeed.
    pub ready: bool,
    /// What it refuses puts for at present, whatever they are; at most [`REFUSES_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, REFUSES_MAX>")]
    pub refuses: Vec<Refusal>,
    /// What is free of the disk that its records lie on, in whole percent rounded down.
    pub disk_free_percent: Option<u8>,
    /// What is free of the room that it may use for records, as configured, in whole percent rounded
    /// down.
    pub store_free_percent: Option<u8>,
    /// Memory that it has in RAM, in MiB.
    pub memory_mib: Option<u32>,
    /// The most memory that its machine lets it have, in MiB.
    pub memory_limit_mib: Option<u32>,
    /// For how many seconds something has been known to lack a copy, here or at a neighbour; absent
    /// while nothing is.
    pub oldest_unrepaired_secs: Option<u64>,
    /// Servers in its routing table.
    pub servers: u32,
    /// Of these, who should hold some of the same records.
    pub neighbours: u32,
    /// Records that it keeps.
    pub records: u64,
}

impl VitalSigns {
    /// The bounds, which both sides keep: those of the list, and that nothing is more than all.
    #[must_use]
    pub(crate) fn is_bounded(&self) -> bool {
        let percent = |part: Option<u8>| part.is_none_or(|part| part <= PERCENT_MAX);
        self.refuses.len() <= REFUSES_MAX
            && percent(self.disk_free_percent)
            && percent(self.store_free_percent)
    }
}
