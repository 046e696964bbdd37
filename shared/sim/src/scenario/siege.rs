//! What [`sybil-near-key`](super::SybilNearKey) and [`sybil-eclipse`](super::SybilEclipse) share: topics
//! that people write to, attackers next to them, and people who look for the newest version.

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

/// Topics that are besieged.
const TOPICS: u64 = 4;
/// People who write to each.
const WRITERS: u64 = 12;
/// Attackers at each topic: a third of the k closest, closer than any honest node.
pub(super) const AT_EACH: usize = K.div_ceil(3);
/// Every slot is read through so many nodes.
const READERS: usize = 10;
/// Reads that are under way at once.
const TOGETHER: usize = 16;
/// Of a hundred reads so many find the newest.
const FOUND_PERCENT: usize = 99;

/// Topics and who writes there.
pub(super) struct Siege {
    seed: Seed,
}

impl Siege {
    pub(super) fn new(world: &World) -> Self {
        Siege { seed: world.seed() }
    }

    /// Attackers come to each topic, and introduce themselves to everybody.
    pub(super) async fn begin(&self, world: &World, behaviours: &[Behaviour]) -> Attackers {
        let mut attackers = Attackers::default();
        for topic in 0..TOPICS {
            let key: Key = domain::topic_key(world.network_name(), &self.label(topic));
            attackers.come(world, &key, AT_EACH, behaviours);
        }
        attackers.introduce_to(&everyone(world)).await;
        attackers
    }

    /// Everybody writes a version to every topic; all of it must succeed.
    pub(super) async fn write(
        &self,
        world: &mut World,
        dice: &mut Dice,
        version: u8,
    ) -> Result<(), Failure> {
        let all = everyone(world);
        let mut errands = Vec::new();
        for (topic, writer) in slots() {
            let body = Bytes::from(format!("version {version} of {writer} to topic {topic}"));
            let put = Put { space: Space::Topic, ..Put::owned(self.label(topic), body) };
            errands.push(Errand::Put(Box::new(self.identity(writer)), put));
        }
        write_all(world, dice, &all, errands).await.map(drop)
    }

    /// Everybody's version is looked for through many nodes; nearly all must find the newest, and
    /// nobody may find a forged one.
    pub(super) async fn read(
        &self,
        world: &mut World,
        dice: &mut Dice,
        consistency: Consistency,
    ) -> Result<(), Failure> {
        let running = world.running();
        let before = world.network().sent_in_all();
        let mut gets = Vec::new();
        for (topic, writer) in slots() {
            let publisher = self.identity(writer).verifying_key().to_bytes();
            let slot = Slot::Topic { publisher, label: self.label(topic), slot: 0 };
            for _ in 0..READERS {
                let Some(reader) = running.get(dice.place(running.len())) else { continue };
                let user = world.user(*reader)?;
                gets.push(async move { user.check(&slot, consistency).await });
            }
        }
        let (mut found, mut reads) = (0, 0);
        let mut answers = stream::iter(gets).buffered(TOGETHER);
        let mut missed = None;
        while let Some(answer) = answers.next().await {
            reads += 1;
            match answer {
                Ok(()) => found += 1,
                Err(broken @ (BrokenRule::Lost { .. } | BrokenRule::Stale { .. })) => {
                    missed.get_or_insert(broken);
                }
                Err(broken) => return Err(broken.into()),
            }
        }
        let after = world.network().sent_in_all();
        let requests = after.requests(Purpose::Gets) - before.requests(Purpose::Gets);
        world.note(format!(
            "{consistency}: {found} of {reads} reads found the newest, {} requests each",
            requests.div_ceil(reads.max(1) as u64)
        ));
        match missed {
            Some(broken) if found * 100 < reads * FOUND_PERCENT => Err(broken.into()),
            _ => Ok(()),
        }
    }

    /// Looks up each topic, and notes what that takes.
    pub(super) async fn look_up(&self, world: &mut World) -> Result<(), Failure> {
        let (mut lookups, mut hops, mut asked, mut failed) = (0, 0, 0, 0);
        for id in world.running() {
            let context = world.user(id)?.context().clone();
            for topic in 0..TOPICS {
                let key = domain::topic_key(world.network_name(), &self.label(topic));
                let found = context.measured_lookup(&key).await;
                lookups += 1;
                hops = hops.max(found.hops);
                asked += found.asked;
                failed += found.failed;
            }
        }
        let requests = asked / lookups.max(1);
        let note = format!("a lookup took {requests} requests and at most {hops} hops");
        world.note(format!("{note}; {failed} of {asked} requests failed"));
        Ok(())
    }

    fn label(&self, topic: u64) -> [u8; 32] {
        self.seed.derive("besieged topic", topic)
    }

    fn identity(&self, writer: u64) -> SigningKey {
        SigningKey::from_bytes(&self.seed.derive("besieged writer", writer))
    }
}

/// Each topic with each writer.
fn slots() -> impl Iterator<Item = (u64, u64)> + Send {
    (0..TOPICS).flat_map(|topic| (0..WRITERS).map(move |writer| (topic, writer)))
}
