//! Whether this node belongs to the network: joined, settled, cut off, ready.
//!
//! A node is *joined* once another server has answered it, or if it may be the only one. It is
//! *settled* once its routing table can be relied on: it holds at least half as many servers as the
//! node remembers. What it remembers is the most it has had, or the peers that the last run saved,
//! and it forgets only after having had fewer than half of them for long ([`Timing::settle`]): what
//! is gone for so long is gone, and not just restarting.
//!
//! A server is *cut off* while nobody answers it, although its table is still full of servers: a table
//! empties peer by peer, each after its own time, and a node that says it is well until then misleads
//! whoever watches it. It knows after twice [`Timing::pulse`], and is itself again with the first answer.
//!
//! A node is *ready* when it is settled: a put that comes right then is not refused for that.
//!
//! [`Timing::settle`]: crate::config::Timing::settle
//! [`Timing::pulse`]: crate::config::Timing::pulse

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dht_kad::put::too_few;
use dht_kad::routing::K;
use thiserror::Error;
use tokio::time::Instant;

use crate::config::Timing;
use crate::latest::Latest;

/// How far a node has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, serde::Serialize)]
pub enum Stage {
    /// It looks for the network.
    #[default]
    Joining,
    /// It knows servers, and none of them has answered it for long.
    CutOff,
    /// It has found some of it, but far fewer servers than it remembers.
    Joined,
    /// Its routing table can be relied on.
    Settled,
}

/// Why a put that comes now would fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NotReady {
    /// It has found nobody.
    #[error(
        "no other server has answered; check the bootstrap peers and that UDP reaches them and comes back"
    )]
    Alone,
    /// It knows servers, and none of them answers.
    #[error(
        "none of the servers that it knows answers; check that UDP leaves this machine and comes back"
    )]
    CutOff,
    /// Far fewer servers answer than before.
    #[error(
        "fewer than half of the servers that it remembers answer; wait for them, or check the network"
    )]
    Gathering,
    /// No server that it knows, nor itself, holds what it should.
    #[error("no server is known yet that holds all that it should; wait until one is filled")]
    NobodyWhole,
    /// Its socket has failed for good.
    #[error("its UDP socket has failed; restart the node")]
    NoSocket,
}

/// How far this node has come, for all who ask or wait for it.
#[derive(Debug)]
pub struct Membership {
    stage: Latest<Stage>,
    memory: Mutex<Memory>,
    looked_around: AtomicBool,
    solo: bool,
    settle: Duration,
    grace: Duration,
    cut_off: Duration,
}

/// How many servers there were. What is gone for good is forgotten: after a while, if too few are
/// left; otherwise after one to two spans of grace, in which it could have come back.
#[derive(Debug)]
struct Memory {
    remembered: usize,
    few_since: Option<Instant>,
    /// The most that were there since then.
    lately: usize,
    lately_since: Instant,
}

impl Memory {
    fn of(servers: usize) -> Self {
        Memory {
            remembered: servers,
            few_since: None,
            lately: servers,
            lately_since: Instant::now(),
        }
    }

    fn misses_most(&self, servers: usize) -> bool {
        too_few(servers, self.remembered, K)
    }

    /// So many are there now.
    fn observe(&mut self, servers: usize, settle: Duration, grace: Duration) {
        if self.misses_most(servers) {
            let since = *self.few_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= settle {
                *self = Memory::of(servers);
            }
            return;
        }
        self.few_since = None;
        self.lately = self.lately.max(servers);
        if self.lately_since.elapsed() >= grace {
            *self = Memory { remembered: self.lately, ..Memory::of(servers) };
        }
        self.remembered = self.remembered.max(servers);
    }
}

impl Membership {
    /// A node that remembers so many other servers, and that may be the only one if `solo`.
    #[must_use]
    pub fn new(remembered: usize, solo: bool, timing: &Timing) -> Self {
        Membership {
            stage: Latest::default(),
            // Some of those before a restart may be long gone.
            memory: Mutex::new(Memory::of(remembered.min(K))),
            looked_around: AtomicBool::new(false),
            solo,
            settle: timing.settle,
            grace: timing.grace,
            cut_off: 2 * timing.pulse,
        }
    }

    /// Takes note of how many other servers the table holds, and for how long none has answered, and
    /// moves the stage accordingly.
    pub fn observe(&self, servers: usize, silent_for: Duration) {
        let mut memory = self.memory();
        memory.observe(servers, self.settle, self.grace);
        let stage = match servers {
            0 if self.solo && memory.remembered == 0 => Stage::Settled,
            0 => Stage::Joining,
            _ if silent_for >= self.cut_off => Stage::CutOff,
            _ if memory.misses_most(servers) => Stage::Joined,
            _ => Stage::Settled,
        };
        drop(memory);
        self.stage.set(stage);
    }

    /// The node has looked up its own place: its neighbours are in the table.
    pub fn note_looked_around(&self) {
        self.looked_around.store(true, Ordering::Relaxed);
    }

    /// The node was cut off for long: who its neighbours are is to be found out anew.
    pub fn forget_looked_around(&self) {
        self.looked_around.store(false, Ordering::Relaxed);
    }

    /// Whether it has looked up its own place since it started, or was cut off for long.
    #[must_use]
    pub fn has_looked_around(&self) -> bool {
        self.looked_around.load(Ordering::Relaxed)
    }

    /// How many other servers the node remembers: of those before a restart, at most k.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.memory().remembered
    }

    /// Whether the routing table can be relied on.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.stage() == Stage::Settled
    }

    /// The stage at present.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Waits until the routing table can be relied on.
    pub async fn settled(&self) {
        self.stage.wait_for(|stage| *stage == Stage::Settled).await;
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing::DEFAULT;
    const JUST_HEARD: Duration = Duration::ZERO;

    #[tokio::test(start_paused = true)]
    async fn a_restarted_node_settles_once_half_of_the_peers_it_remembers_are_back() {
        let membership = Membership::new(4, true, &TIMING);
        membership.observe(0, JUST_HEARD);
        assert_eq!(membership.stage(), Stage::Joining);
        membership.observe(1, JUST_HEARD);
        assert_eq!(membership.stage(), Stage::Joined);
        membership.observe(2, JUST_HEARD);
        assert_eq!(membership.stage(), Stage::Settled);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gone_for_long_is_forgotten() {
        let membership = Membership::new(20, false, &TIMING);
        membership.observe(3, JUST_HEARD);
        assert_eq!((membership.stage(), membership.remembered()), (Stage::Joined, 20));
        tokio::time::advance(TIMING.settle).await;
        membership.observe(3, JUST_HEARD);
        assert_eq!((membership.stage(), membership.remembered()), (Stage::Settled, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_that_are_cut_off_from_many_are_not_settled() {
        let membership = Membership::new(0, false, &TIMING);
        membership.observe(60, JUST_HEARD);
        membership.observe(20, JUST_HEARD);
        assert_eq!(membership.stage(), Stage::Settled, "every place may have its k");
        membership.observe(19, JUST_HEARD);
        assert_eq!((membership.stage(), membership.remembered()), (Stage::Joined, 60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_has_become_smaller_is_remembered_as_it_is_after_two_spans_of_grace() {
        let membership = Membership::new(0, false, &TIMING);
        membership.observe(10, JUST_HEARD);
        tokio::time::advance(TIMING.grace - Duration::from_secs(1)).await;
        membership.observe(6, JUST_HEARD);
        tokio::time::advance(Duration::from_secs(1)).await;
        membership.observe(6, JUST_HEARD);
        assert_eq!(membership.remembered(), 10, "what left a moment ago may come back");
        tokio::time::advance(TIMING.grace).await;
        membership.observe(6, JUST_HEARD);
        assert_eq!((membership.remembered(), membership.stage()), (6, Stage::Settled));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_solo_node_without_memories_is_settled_alone() {
        let solo = Membership::new(0, true, &TIMING);
        solo.observe(0, JUST_HEARD);
        assert!(solo.is_settled());
        let other = Membership::new(0, false, &TIMING);
        other.observe(0, JUST_HEARD);
        assert!(!other.is_settled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_table_of_the_silent_is_no_network_and_one_answer_makes_it_one() {
        let membership = Membership::new(0, false, &TIMING);
        membership.observe(5, 2 * TIMING.pulse - Duration::from_millis(1));
        assert_eq!(membership.stage(), Stage::Settled);
        membership.observe(5, 2 * TIMING.pulse);
        assert_eq!((membership.stage(), membership.is_settled()), (Stage::CutOff, false));
        membership.observe(5, JUST_HEARD);
        assert!(membership.is_settled());
    }
}
