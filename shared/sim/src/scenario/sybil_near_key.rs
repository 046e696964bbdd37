//! [`SybilNearKey`]: a third of the nodes near a key are hostile before anybody writes there.

use dht_kad::lookup::Consistency;
use futures_util::future::BoxFuture;

use super::Scenario;
use super::moves::{gather, minutes};
use super::siege::Siege;
use crate::attacker::Behaviour;
use crate::world::{Failure, World};

/// Hostile nodes that look like others until they are asked.
pub struct SybilNearKey;

impl Scenario for SybilNearKey {
    fn name(&self) -> &'static str {
        "sybil-near-key"
    }

    fn about(&self) -> &'static str {
        "a third of the nodes near a key answer falsely, drop, deny, forge, and promise what \
         they do not keep: at least 99 of 100 reads find the newest version, and none a forged one"
    }

    fn nodes(&self) -> usize {
        60
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("sybil-near-key");
    let siege = Siege::new(world);
    gather(world).await?;
    let _attackers = siege.begin(world, &Behaviour::ALL).await;
    for version in 1..=3 {
        siege.write(world, &mut dice, version).await?;
    }
    siege.read(world, &mut dice, Consistency::Default).await?.enough()?;
    siege.read(world, &mut dice, Consistency::Quorum).await?.enough()?;
    // Repair goes on among the honest, whatever the others say to it.
    world.live(minutes(30)).await;
    siege.read(world, &mut dice, Consistency::Default).await?.enough()?;
    siege.read(world, &mut dice, Consistency::Quorum).await?.enough()?;
    siege.look_up(world).await
}
