//! [`View`]: what can be seen of a world from outside, without its nodes noticing.
//!
//! It looks straight onto the disks, so it knows what no node can: which of the running hosts are
//! truly the closest to a key, and who of them holds what was acknowledged there.

use std::net::SocketAddr;
use std::sync::Arc;

use dht_kad::lookup::Consistency;
use dht_kad::put::quorum_of;
use dht_kad::routing::K;
use dht_kad::{Key, NodeId, RecordId, UnixMs, ValidRecord};

use crate::checker::{BrokenRule, Checker};
use crate::clock::WorldClock;
use crate::fault::Fault;
use crate::host::{HostId, Hosts};
use crate::transport::Network;
use crate::user::User;
use crate::world::Failure;

/// Looks at a world. Clones look at the same one.
#[derive(Clone)]
pub struct View {
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) network: Arc<Network>,
    pub(crate) clock: Arc<WorldClock>,
    pub(crate) checker: Checker,
    pub(crate) fault: Option<Fault>,
}

/// How many of the k closest have to hold a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copies {
    /// A majority of them.
    Majority,
    /// All but one in ten. Holders decide for a whole part of the keyspace, by its middle, who holds
    /// it: at its borders the k-th closest node may not, and the one after it does.
    Nearly,
    /// All of them.
    All,
}

impl Copies {
    fn of(self, closest: usize) -> usize {
        match self {
            Copies::Majority => quorum_of(closest),
            Copies::Nearly => closest - closest / 10,
            Copies::All => closest,
        }
    }
}

impl View {
    /// The hosts whose nodes run.
    #[must_use]
    pub fn running(&self) -> Vec<HostId> {
        let hosts = self.hosts.lock();
        let running = hosts.iter().enumerate().filter(|(_, host)| host.life.is_some());
        running.map(|(id, _)| id).collect()
    }

    /// The name of a host's node.
    #[must_use]
    pub fn node_id(&self, id: HostId) -> Option<NodeId> {
        self.hosts.at(id, |host| host.key.id())
    }

    /// What is needed to use a node.
    ///
    /// # Errors
    /// [`Failure::Expected`] if it is down.
    pub fn user(&self, id: HostId) -> Result<User, Failure> {
        let context = self.hosts.at(id, |host| Some(host.life.as_ref()?.context.clone())).flatten();
        let context = context.ok_or_else(|| Failure::Expected(format!("host {id} is down")))?;
        let (checker, clock) = (self.checker.clone(), Arc::clone(&self.clock));
        let trusting = self.fault == Some(Fault::FirstAnswerWins);
        Ok(User::new(context, checker, clock, trusting.then_some(Consistency::One)))
    }

    /// What a host holds in this slot, whether its node runs or not, ended or not.
    #[must_use]
    pub fn held(&self, id: HostId, slot: &RecordId) -> Option<ValidRecord> {
        self.hosts.at(id, |host| Arc::clone(&host.disk))?.held(slot)
    }

    /// The running hosts that hold this version of its slot, or one that wins over it.
    #[must_use]
    pub fn holders(&self, record: &ValidRecord) -> Vec<HostId> {
        let running = self.running().into_iter();
        running.filter(|id| self.holds(*id, record)).collect()
    }

    /// The running hosts whose nodes are closest to a key, closest first.
    #[must_use]
    pub fn closest(&self, key: &Key, count: usize) -> Vec<HostId> {
        let mut nodes = self.running_nodes();
        nodes.sort_unstable_by_key(|(_, node)| node.key().distance(key));
        nodes.into_iter().take(count).map(|(id, _)| id).collect()
    }

    /// The first acknowledged record that has not ended and lacks copies among the k running hosts
    /// that are closest to it.
    ///
    /// # Errors
    /// [`BrokenRule::TooFewCopies`].
    pub fn check_copies(&self, copies: Copies) -> Result<(), BrokenRule> {
        let nodes = self.running_nodes();
        for record in self.checker.promised(self.now()) {
            let (held, closest) = self.held_among_closest(&nodes, &record);
            let needed = copies.of(closest);
            if held < needed {
                return Err(BrokenRule::TooFewCopies { slot: *record.id(), held, needed });
            }
        }
        Ok(())
    }

    /// How many of the k closest running hosts hold each acknowledged record, of at most `most`
    /// records that are spread over all, fewest copies first.
    #[must_use]
    pub fn copies(&self, most: usize) -> Vec<usize> {
        let nodes = self.running_nodes();
        let promised = self.checker.promised(self.now());
        let step = promised.len().div_ceil(most.max(1)).max(1);
        let some = promised.iter().step_by(step);
        let mut copies: Vec<_> =
            some.map(|record| self.held_among_closest(&nodes, record).0).collect();
        copies.sort_unstable();
        copies
    }

    /// The true time.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        use dht_context::clock::Clock;
        self.clock.now()
    }

    /// Where all hosts are, up or down.
    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        self.hosts.lock().iter().map(|host| host.addr).collect()
    }

    fn running_nodes(&self) -> Vec<(HostId, NodeId)> {
        let hosts = self.hosts.lock();
        let running = hosts.iter().enumerate().filter(|(_, host)| host.life.is_some());
        running.map(|(id, host)| (id, host.key.id())).collect()
    }

    fn holds(&self, id: HostId, record: &ValidRecord) -> bool {
        let held = self.held(id, record.id());
        held.is_some_and(|held| held.precedence() >= record.precedence())
    }

    /// How many of the k closest of `nodes` hold the record, and how many those are.
    fn held_among_closest(
        &self,
        nodes: &[(HostId, NodeId)],
        record: &ValidRecord,
    ) -> (usize, usize) {
        let key = &record.id().key;
        let mut ranked: Vec<_> =
            nodes.iter().map(|(id, node)| (node.key().distance(key), *id)).collect();
        if ranked.len() > K {
            ranked.select_nth_unstable(K);
            ranked.truncate(K);
        }
        let held = ranked.iter().filter(|(_, id)| self.holds(*id, record)).count();
        (held, ranked.len())
    }
}
