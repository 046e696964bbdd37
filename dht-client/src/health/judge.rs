//! What counts as a fault of a node, and how bad it is.
//!
//! The limits are those of the alerts in `deployment/prometheus`, where these know the same figure: a node
//! that is well here raises no alert there.

use std::fmt;

use dht_kad::message::vitals::PERCENT_MAX;
use dht_kad::message::{Mode, VitalSigns};
use dht_kad::{NodeId, Refusal};

use super::{Canary, NodeAnswer};
use crate::error::ClientError;

/// How far a node's clock may be from this machine's, in milliseconds: a tenth of what the protocol
/// tolerates before it refuses records as of the future. A clock that is a minute off is not kept by anybody.
pub const CLOCK_OFF_MAX_MS: u64 = dht_kad::admission::FUTURE_TOLERANCE_MS / 10;
/// How much of the disk has to be free, in percent: compactions of a full store want some, and whoever is told
/// wants some days to make more.
pub const DISK_FREE_MIN_PERCENT: u8 = 5;
/// How much of the configured room has to be free, in percent: below, most of what is put is refused for want
/// of work.
pub const STORE_FREE_MIN_PERCENT: u8 = 10;
/// How much of the allowed memory has to be free, in percent: the system ends the node at none.
pub const MEMORY_FREE_MIN_PERCENT: u8 = 5;
/// For how many seconds something may lack a copy: a restart and a full comparison of neighbours take
/// minutes, so an hour means that repair does not get there.
pub const UNREPAIRED_MAX_SECS: u64 = 3_600;

/// How a node is. The later the worse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Health {
    /// Nothing is wrong.
    Well,
    /// It answers, and does not do all that it should.
    Degraded,
    /// It does not answer.
    Down,
}

impl Health {
    /// The exit status that says so: 0, 1 or 2.
    #[must_use]
    pub const fn exit_status(self) -> u8 {
        match self {
            Health::Well => 0,
            Health::Degraded => 1,
            Health::Down => 2,
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Health::Well => "well",
            Health::Degraded => "degraded",
            Health::Down => "down",
        })
    }
}

/// Something that is wrong with a node. Its text says what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It does not answer, or somebody else does.
    #[error("it does not answer: {0}")]
    NoAnswer(String),
    /// It is no server.
    #[error("it runs as a client and keeps nothing; run it as a server")]
    NotAServer,
    /// It does not say how it is.
    #[error("it does not say how it is ({0}); upgrade it if it is of an older version")]
    NoSigns(String),
    /// A put that comes now fails.
    #[error("it is not ready; its own /readyz says why")]
    NotReady,
    /// It refuses all puts.
    #[error("it refuses puts: {0}")]
    Refuses(Refusal),
    /// Its clock is wrong, or this machine's.
    #[error("its clock differs by {0} ms from this machine's; set the wrong one")]
    Clock(i64),
    /// Its disk is nearly full.
    #[error("only {0}% of its disk is free; make room on it")]
    Disk(u8),
    /// Its store is nearly full.
    #[error("only {0}% of the room for its records is free; raise store.max_bytes, or add nodes")]
    Store(u8),
    /// Its memory is nearly used up.
    #[error("it uses {used} of {limit} MiB of memory; raise MemoryMax, or lower store.cache_bytes")]
    Memory {
        /// MiB in RAM.
        used: u32,
        /// MiB at most.
        limit: u32,
    },
    /// Something has lacked a copy for long.
    #[error("something has lacked a copy for {0} s; see whether its neighbours answer it")]
    Unrepaired(u64),
    /// It did not take the canary.
    #[error("it did not take a value: {0}")]
    CanaryNotTaken(String),
    /// It lost the canary.
    #[error(
        "it gave a receipt for a value and does not have it; look at its disk and its log at once"
    )]
    CanaryLost,
    /// It did not say whether it has the canary.
    #[error("it gave a receipt for a value and did not show it: {0}")]
    CanaryNotShown(String),
    /// The canary is not found through others.
    #[error("a value that it holds is not found through {through}: {why}")]
    CanaryNotFound {
        /// Through whom.
        through: NodeId,
        /// What came of it.
        why: String,
    },
    /// The canary took too long.
    #[error("a value could not be put on it and read within {0} s; see what it is busy with")]
    CanaryLate(u64),
    /// Nobody else could be asked for the canary.
    #[error("no other node could be asked for the value put on it; name more of its network")]
    NobodyElse,
}

impl Fault {
    /// How ill a node with this fault is.
    #[must_use]
    pub fn health(&self) -> Health {
        match self {
            Fault::NoAnswer(_) => Health::Down,
            _ => Health::Degraded,
        }
    }
}

/// All that is wrong with a node, by what was seen of it.
pub(super) fn faults(answer: Result<&NodeAnswer, &ClientError>, canary: &Canary) -> Vec<Fault> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return vec![Fault::NoAnswer(error.to_string())],
    };
    if answer.pong.mode == Mode::Client {
        return vec![Fault::NotAServer];
    }
    let mut faults = Vec::new();
    let alone = match &answer.signs {
        Ok(signs) => {
            faults.extend(of_signs(signs));
            // It was told that it may be the only one, or else would not be ready.
            signs.ready && signs.servers == 0
        }
        Err(error) => {
            faults.push(Fault::NoSigns(error.to_string()));
            false
        }
    };
    if answer.clock_difference_ms.unsigned_abs() > CLOCK_OFF_MAX_MS {
        faults.push(Fault::Clock(answer.clock_difference_ms));
    }
    faults.extend(of_canary(canary, alone));
    faults
}

fn of_signs(signs: &VitalSigns) -> Vec<Fault> {
    let mut faults: Vec<Fault> = signs.refuses.iter().cloned().map(Fault::Refuses).collect();
    if !signs.ready && faults.is_empty() {
        faults.push(Fault::NotReady);
    }
    let low = |free: Option<u8>, least: u8| free.filter(|free| *free < least);
    faults.extend(low(signs.disk_free_percent, DISK_FREE_MIN_PERCENT).map(Fault::Disk));
    faults.extend(low(signs.store_free_percent, STORE_FREE_MIN_PERCENT).map(Fault::Store));
    if let (Some(used), Some(limit)) = (signs.memory_mib, signs.memory_limit_mib) {
        let free = u64::from(limit.saturating_sub(used)) * u64::from(PERCENT_MAX);
        if free < u64::from(limit) * u64::from(MEMORY_FREE_MIN_PERCENT) {
            faults.push(Fault::Memory { used, limit });
        }
    }
    let unrepaired = signs.oldest_unrepaired_secs.filter(|secs| *secs > UNREPAIRED_MAX_SECS);
    faults.extend(unrepaired.map(Fault::Unrepaired));
    faults
}

fn of_canary(canary: &Canary, alone: bool) -> Option<Fault> {
    match canary {
        Canary::NotSent | Canary::Read { .. } => None,
        Canary::ReadAlone => (!alone).then_some(Fault::NobodyElse),
        Canary::NotTaken(error) => Some(Fault::CanaryNotTaken(error.to_string())),
        Canary::Lost => Some(Fault::CanaryLost),
        Canary::NotShown(error) => Some(Fault::CanaryNotShown(error.to_string())),
        Canary::NotFound { through, why } => {
            Some(Fault::CanaryNotFound { through: *through, why: why.clone() })
        }
        Canary::Late(limit) => Some(Fault::CanaryLate(limit.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dht_context::requests::AskError;
    use dht_kad::UnixMs;
    use dht_kad::message::{NodeInfo, Pong};

    use super::*;

    const NODE: NodeId = NodeId::from_bytes([1; 32]);
    const OTHER: NodeId = NodeId::from_bytes([2; 32]);

    fn signs() -> VitalSigns {
        VitalSigns {
            ready: true,
            disk_free_percent: Some(DISK_FREE_MIN_PERCENT),
            store_free_percent: Some(STORE_FREE_MIN_PERCENT),
            memory_mib: Some(95),
            memory_limit_mib: Some(100),
            oldest_unrepaired_secs: Some(UNREPAIRED_MAX_SECS),
            servers: 2,
            neighbours: 2,
            ..VitalSigns::default()
        }
    }

    fn answer(signs: VitalSigns) -> NodeAnswer {
        NodeAnswer {
            node: NodeInfo { id: NODE, addrs: Vec::new() },
            pong: Pong {
                mode: Mode::Server,
                version: "dht-bootstrap 0.1.0".to_owned(),
                settled: true,
                whole: true,
                observed: "192.0.2.1:1".parse().unwrap(),
                clock: UnixMs(0),
            },
            rtt: None,
            clock_difference_ms: -CLOCK_OFF_MAX_MS.cast_signed(),
            signs: Ok(signs),
        }
    }

    fn read() -> Canary {
        Canary::Read { through: OTHER }
    }

    fn of(signs: VitalSigns) -> Vec<Fault> {
        faults(Ok(&answer(signs)), &read())
    }

    #[test]
    fn at_each_limit_a_node_is_well_and_beyond_it_not() {
        assert_eq!(of(signs()), []);
        let beyond = |change: fn(&mut VitalSigns)| {
            let mut signs = signs();
            change(&mut signs);
            of(signs)
        };
        assert_eq!(beyond(|it| it.disk_free_percent = Some(4)), [Fault::Disk(4)]);
        assert_eq!(beyond(|it| it.store_free_percent = Some(9)), [Fault::Store(9)]);
        let memory = Fault::Memory { used: 96, limit: 100 };
        assert_eq!(beyond(|it| it.memory_mib = Some(96)), [memory]);
        assert_eq!(beyond(|it| it.memory_mib = Some(u32::MAX)).len(), 1, "more than all");
        let late = UNREPAIRED_MAX_SECS + 1;
        assert_eq!(
            beyond(|it| it.oldest_unrepaired_secs = Some(UNREPAIRED_MAX_SECS + 1)),
            [Fault::Unrepaired(late)]
        );
        assert_eq!(beyond(|it| it.ready = false), [Fault::NotReady]);
        for sign in [1, -1] {
            let off = sign * (CLOCK_OFF_MAX_MS.cast_signed() + 1);
            let answer = NodeAnswer { clock_difference_ms: off, ..answer(signs()) };
            assert_eq!(faults(Ok(&answer), &read()), [Fault::Clock(off)]);
        }
        let extreme = NodeAnswer { clock_difference_ms: i64::MIN, ..answer(signs()) };
        assert_eq!(faults(Ok(&extreme), &read()).len(), 1);
    }

    #[test]
    fn what_a_node_does_not_know_is_not_held_against_it() {
        let unknown = VitalSigns { ready: true, servers: 2, ..VitalSigns::default() };
        assert_eq!(of(unknown), []);
        assert_eq!(of(VitalSigns { memory_limit_mib: None, ..signs() }), []);
    }

    #[test]
    fn that_it_refuses_says_why_it_is_not_ready() {
        let refusing = VitalSigns {
            ready: false,
            refuses: vec![Refusal::ReadOnly, Refusal::Restarting],
            ..signs()
        };
        let told = of(refusing);
        assert_eq!(told, [Fault::Refuses(Refusal::ReadOnly), Fault::Refuses(Refusal::Restarting)]);
    }

    #[test]
    fn who_does_not_answer_is_down_and_whoever_has_another_fault_is_not() {
        let silent = ClientError::TimedOut(Duration::from_secs(1));
        let told = faults(Err(&silent), &Canary::NotSent);
        assert!(matches!(told[..], [Fault::NoAnswer(_)]), "{told:?}");
        assert_eq!(told[0].health(), Health::Down);
        assert_eq!(Fault::CanaryLost.health(), Health::Degraded);
        assert!(Health::Well < Health::Degraded && Health::Degraded < Health::Down);
        let statuses = [Health::Well, Health::Degraded, Health::Down].map(Health::exit_status);
        assert_eq!(statuses, [0, 1, 2]);
    }

    #[test]
    fn each_way_in_which_a_canary_ends_has_its_fault() {
        let error = || ClientError::Ask(AskError::Refused(Refusal::ReadOnly));
        let told = |canary: &Canary| faults(Ok(&answer(signs())), canary);
        assert_eq!(told(&Canary::Lost), [Fault::CanaryLost]);
        assert_eq!(told(&Canary::Late(Duration::from_secs(9))), [Fault::CanaryLate(9)]);
        let why = error().to_string();
        assert_eq!(told(&Canary::NotTaken(error())), [Fault::CanaryNotTaken(why.clone())]);
        assert_eq!(told(&Canary::NotShown(error())), [Fault::CanaryNotShown(why.clone())]);
        let not_found = Canary::NotFound { through: OTHER, why: why.clone() };
        assert_eq!(told(&not_found), [Fault::CanaryNotFound { through: OTHER, why }]);
    }

    #[test]
    fn only_a_node_without_others_may_be_read_alone() {
        assert_eq!(faults(Ok(&answer(signs())), &Canary::ReadAlone), [Fault::NobodyElse]);
        let solo = VitalSigns { servers: 0, neighbours: 0, ..signs() };
        assert_eq!(faults(Ok(&answer(solo.clone())), &Canary::ReadAlone), []);
        let joining = VitalSigns { ready: false, ..solo };
        let told = faults(Ok(&answer(joining)), &Canary::ReadAlone);
        assert_eq!(told, [Fault::NotReady, Fault::NobodyElse]);
    }

    #[test]
    fn clients_and_nodes_of_an_older_version_are_told_for_what_they_are() {
        let mut client = answer(signs());
        client.pong.mode = Mode::Client;
        assert_eq!(faults(Ok(&client), &Canary::ReadAlone), [Fault::NotAServer]);
        let error = ClientError::Ask(AskError::Refused(Refusal::UnknownRequest(9)));
        let older = NodeAnswer { signs: Err(error), ..answer(signs()) };
        let told = faults(Ok(&older), &read());
        assert!(matches!(told[..], [Fault::NoSigns(_)]), "{told:?}");
        assert_eq!(told[0].health(), Health::Degraded);
    }
}
