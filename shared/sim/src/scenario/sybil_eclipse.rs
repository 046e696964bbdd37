//! [`SybilEclipse`], for the lesson `sybil-eclipse`: plausible false answers by nodes near a key hid
//! it from four of five lookups.

use dht_kad::lookup::Consistency;
use futures_util::future::BoxFuture;

use super::Scenario;
use super::moves::{gather, minutes};
use super::siege::Siege;
use crate::attacker::Behaviour;
use crate::world::{Failure, World};

/// Hostile nodes that come to hide what is there.
pub struct SybilEclipse;

impl Scenario for SybilEclipse {
    fn name(&self) -> &'static str {
        "sybil-eclipse"
    }

    fn about(&self) -> &'static str {
        "attackers become the closest nodes to what was written, name only each other, and all show \
         the same older version: at least 99 of 100 reads find the newest, usual or by quorum"
    }

    fn nodes(&self) -> usize {
        60
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("sybil-eclipse");
    let siege = Siege::new(world);
    gather(world).await?;
    siege.write(world, &mut dice, 1).await?;
    siege.read(world, &mut dice, Consistency::Default).await?.enough()?;

    let _attackers = siege.begin(world, &[Behaviour::ShowsOld]).await;
    siege.read(world, &mut dice, Consistency::Default).await?.enough()?;
    // They see one version, which all of them will show for ever, and then a newer one.
    siege.write(world, &mut dice, 2).await?;
    siege.write(world, &mut dice, 3).await?;
    siege.read(world, &mut dice, Consistency::Default).await?.enough()?;
    siege.read(world, &mut dice, Consistency::Quorum).await?.enough()?;
    world.live(minutes(30)).await;
    siege.read(world, &mut dice, Consistency::Quorum).await?.enough()?;
    siege.read(world, &mut dice, Consistency::Default).await?.enough()?;
    siege.look_up(world).await
}
