//! Attackers: nodes whose names lie close to a key, and that do harm from there.
//!
//! An *attacker* is a [`Stranger`] with a key that was tried out until its name came close to the
//! one it is after ([`ground_key`]), and a way to [behave](Behaviour). They know each other: whoever
//! asks one of them for nodes hears of the others only. They enter the tables of honest nodes as any
//! server does: by introducing themselves.

mod answers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dht_context::node_key::NodeKey;
use dht_kad::Key;
use dht_kad::message::{Mode, NodeInfo, Ping, Request};
use futures_util::stream::{self, StreamExt};

use crate::dice::Seed;
use crate::host::HostId;
use crate::stranger::Stranger;
use crate::world::World;
use answers::Answers;

/// The fewest keys that are tried for one name: it shares ten bits with what it is after.
const TRIES_MIN: u64 = 1 << 10;
/// The most: a second of a machine's time.
const TRIES_MAX: u64 = 1 << 16;
/// Keys tried for each honest node: so many more than there are nodes that no honest name is closer.
const TRIES_PER_NODE: u64 = 16;
/// Introductions that one attacker has under way at once.
const INTRODUCTIONS: usize = 16;

/// What an attacker does with what it is asked. All of them answer pings as honest servers do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behaviour {
    /// It says that it stores, and that it has nothing.
    Hides,
    /// It answers nothing.
    Drops,
    /// It keeps the first version that it sees of each slot, and denies all later ones.
    ShowsOld,
    /// It shows what it was given with another body, and with a higher number.
    Forges,
    /// It promises with signatures that are not its own, for times that nobody asked for.
    FalseReceipts,
    /// It answers something else than what it was asked.
    Nonsense,
}

impl Behaviour {
    /// All of them.
    pub const ALL: [Behaviour; 6] = [
        Behaviour::Hides,
        Behaviour::Drops,
        Behaviour::ShowsOld,
        Behaviour::Forges,
        Behaviour::FalseReceipts,
        Behaviour::Nonsense,
    ];
}

/// All attackers of a world, who know each other.
#[derive(Default)]
pub struct Attackers {
    members: Vec<Stranger>,
    ring: Arc<Ring>,
}

/// Who they are: what one of them names when it is asked for nodes.
#[derive(Default)]
pub(crate) struct Ring(Mutex<Vec<NodeInfo>>);

impl Attackers {
    /// So many more come, with names close to `key`; they behave in these ways in turn. Nobody has
    /// heard of them yet.
    pub fn come(&mut self, world: &World, key: &Key, count: usize, behaviours: &[Behaviour]) {
        for behaviour in behaviours.iter().cycle().take(count) {
            let number = world.next_stranger();
            let node_key = ground_key(world.seed(), number, key, world.host_count());
            let answers = Answers::new(*behaviour, &node_key, world, Arc::clone(&self.ring));
            let attacker = Stranger::settle(world, number, &node_key, Arc::new(answers));
            self.ring.nodes().push(attacker.info());
            self.members.push(attacker);
        }
    }

    /// Each of them introduces itself to each of these hosts.
    pub async fn introduce_to(&self, hosts: &[HostId]) {
        let ping = Request::Ping(Ping { mode: Mode::Server });
        for attacker in &self.members {
            let mut asked = Vec::new();
            for host in hosts {
                asked.push(attacker.ask(*host, &ping));
            }
            stream::iter(asked).buffer_unordered(INTRODUCTIONS).count().await;
        }
    }

    /// Who they are.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.ring.nodes().clone()
    }
}

impl Ring {
    pub(crate) fn nodes(&self) -> MutexGuard<'_, Vec<NodeInfo>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of them that are closest to a key, closest first.
    pub(crate) fn closest(&self, key: &Key, count: usize) -> Vec<NodeInfo> {
        let mut nodes = self.nodes().clone();
        nodes.sort_unstable_by_key(|node| node.id.key().distance(key));
        nodes.truncate(count);
        nodes
    }
}

/// The node key, of those that an attacker can try, whose name is closest to `key`.
#[must_use]
pub fn ground_key(seed: Seed, number: u64, key: &Key, honest: usize) -> NodeKey {
    let tries = (honest as u64).saturating_mul(TRIES_PER_NODE).clamp(TRIES_MIN, TRIES_MAX);
    let candidate =
        |attempt| NodeKey::from_seed(seed.derive("attacker", number * TRIES_MAX + attempt));
    let closest = (0..tries).min_by_key(|attempt| candidate(*attempt).id().key().distance(key));
    candidate(closest.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ground_name_is_closer_to_the_key_than_honest_ones() {
        let (seed, target) = (Seed(1), Key(Seed(1).derive("target", 0)));
        let ground = ground_key(seed, 0, &target, 50).id().key().distance(&target);
        let honest = (0..50).map(|number| NodeKey::from_seed(seed.derive("node key", number)));
        let closest = honest.map(|key| key.id().key().distance(&target)).min();
        assert!(Some(ground) < closest, "{ground:?} {closest:?}");
        assert_eq!(ground, ground_key(seed, 0, &target, 50).id().key().distance(&target));
    }
}
