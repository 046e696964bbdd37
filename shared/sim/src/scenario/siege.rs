//! What [`sybil-near-key`](super::SybilNearKey) and [`sybil-eclipse`](super::SybilEclipse) share: a topic
//! that people write to, attackers next to it, and people who look for the newest version.

use bytes::Bytes;
use dht_context::operations::{Put, Slot};
use dht_kad::lookup::Consistency;
use dht_kad::record::Space;
use dht_kad::routing::K;
use dht_kad::{Key, domain};
use ed25519_dalek::SigningKey;
use futures_util::stream::{self, StreamExt};

use super::Errand;
use super::moves::{everyone, write_all};
use crate::attacker::{Attackers, Behaviour};
use crate::checker::BrokenRule;
use crate::dice::{Dice, Seed};
use crate::transport::Purpose;
use crate::world::{Failure, World};

/// People who write to the topic.
const WRITERS: u64 = 50;
/// Attackers at the topic: a third of the k closest, closer than any honest node.
const ATTACKERS: usize = K.div_ceil(3);
/// Every slot is read through so many nodes.
const READERS: usize = 10;
/// Reads that are under way at once.
const TOGETHER: usize = 16;
/// Of a hundred reads so many find the newest.
const FOUND_PERCENT: usize = 99;

/// A topic and who writes there.
pub(super) struct Siege {
    seed: Seed,
}

/// How many of some reads found the newest version.
pub(super) struct Reads {
    found: usize,
    all: usize,
    /// What one of the others met.
    missed: Option<BrokenRule>,
}

impl Reads {
    /// Fails if more than one of a hundred reads missed the newest.
    pub(super) fn enough(self) -> Result<(), Failure> {
        match self.missed {
            Some(broken) if self.found * 100 < self.all * FOUND_PERCENT => Err(broken.into()),
            _ => Ok(()),
        }
    }
}

impl Siege {
    pub(super) fn new(world: &World) -> Self {
        Siege { seed: world.seed() }
    }

    /// Attackers come to the topic, and introduce themselves to everybody.
    pub(super) async fn begin(&self, world: &mut World, behaviours: &[Behaviour]) -> Attackers {
        let mut attackers = Attackers::default();
        attackers.come(world, &self.key(world), ATTACKERS, behaviours);
        attackers.introduce_to(&everyone(world)).await;
        world.note(format!("{ATTACKERS} attackers are closer to the key than anybody"));
        attackers
    }

    /// Everybody writes a version; all of it must succeed.
    pub(super) async fn write(
        &self,
        world: &mut World,
        dice: &mut Dice,
        version: u8,
    ) -> Result<(), Failure> {
        let all = everyone(world);
        let mut errands = Vec::new();
        for writer in 0..WRITERS {
            let body = Bytes::from(format!("version {version} of {writer}"));
            let put = Put { space: Space::Topic, ..Put::owned(self.label(), body) };
            errands.push(Errand::Put(Box::new(self.identity(writer)), put));
        }
        write_all(world, dice, &all, errands).await.map(drop)
    }

    /// Everybody's version is looked for through many nodes. Nobody may find a forged one.
    pub(super) async fn read(
        &self,
        world: &mut World,
        dice: &mut Dice,
        consistency: Consistency,
    ) -> Result<Reads, Failure> {
        let running = world.running();
        let before = world.network().sent_in_all();
        let mut gets = Vec::new();
        for writer in 0..WRITERS {
            let publisher = self.identity(writer).verifying_key().to_bytes();
            let slot = Slot::Topic { publisher, label: self.label(), slot: 0 };
            for _ in 0..READERS {
                let Some(reader) = running.get(dice.place(running.len())) else { continue };
                let user = world.user(*reader)?;
                gets.push(async move { user.check(&slot, consistency).await });
            }
        }
        let mut reads = Reads { found: 0, all: gets.len(), missed: None };
        let mut answers = stream::iter(gets).buffered(TOGETHER);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(()) => reads.found += 1,
                Err(broken @ (BrokenRule::Lost { .. } | BrokenRule::Stale { .. })) => {
                    reads.missed.get_or_insert(broken);
                }
                Err(broken) => return Err(broken.into()),
            }
        }
        let after = world.network().sent_in_all();
        let requests = after.requests(Purpose::Gets) - before.requests(Purpose::Gets);
        let Reads { found, all, .. } = reads;
        let each = requests.div_ceil(all.max(1) as u64);
        world.note(format!(
            "{consistency}: {found} of {all} reads found the newest, {each} requests each"
        ));
        Ok(reads)
    }

    /// Looks up the topic through everybody, and notes what that takes.
    pub(super) async fn look_up(&self, world: &mut World) -> Result<(), Failure> {
        let (key, running) = (self.key(world), world.running());
        let (mut hops, mut asked, mut failed) = (0, 0, 0);
        for id in &running {
            let context = world.user(*id)?.context().clone();
            let found = context.measured_lookup(&key).await;
            hops = hops.max(found.hops);
            asked += found.asked;
            failed += found.failed;
        }
        let requests = asked.div_ceil(running.len().max(1));
        let note = format!("a lookup took {requests} requests and at most {hops} hops");
        world.note(format!("{note}; {failed} of {asked} requests failed"));
        Ok(())
    }

    fn key(&self, world: &World) -> Key {
        domain::topic_key(world.network_name(), &self.label())
    }

    fn label(&self) -> [u8; 32] {
        self.seed.derive("besieged topic", 0)
    }

    fn identity(&self, writer: u64) -> SigningKey {
        SigningKey::from_bytes(&self.seed.derive("besieged writer", writer))
    }
}
