//! [`Split`]: a few nodes are cut off from the rest, and people write on both sides.
//!
//! Right after the cut the few still remember the others, and tell their writers that too few
//! answer. What they would acknowledge among themselves after having forgotten the others lies
//! where the whole network does not look for it until holders replicate: that is not told here.

use std::time::Duration;

use dht_context::operations::PutError;
use dht_kad::lookup::Consistency;
use futures_util::future::BoxFuture;

use super::moves::{everyone, gather};
use super::{Scenario, Writers};
use crate::world::{Failure, HostId, World};

/// One host of so many is cut off.
const MINORITY: usize = 10;
/// Writes on each side, right after the cut and after the nodes have noticed it.
const WRITES: usize = 10;
/// Longer than connections live in silence, and than what is gone is remembered.
const NOTICED: Duration = Duration::from_secs(100);
/// After so long the two sides have met again.
const MET: Duration = Duration::from_secs(120);

/// A tenth of the nodes is cut off for a while.
pub struct Split;

impl Scenario for Split {
    fn name(&self) -> &'static str {
        "split"
    }

    fn about(&self) -> &'static str {
        "a tenth of the nodes is cut off, people write on both sides right after it and on the larger \
         one later, and the cut heals: whatever was acknowledged is found"
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let all = everyone(world);
    gather(world).await?;
    let (minority, majority): (Vec<_>, Vec<_>) = all.iter().partition(|id| *id % MINORITY == 0);
    let mut writers = Writers::new(world.seed());

    world.split(&minority, &majority);
    write(world, &mut writers, &minority).await?;
    write(world, &mut writers, &majority).await?;
    world.live(NOTICED).await;
    write(world, &mut writers, &majority).await?;

    world.network().heal();
    world.live(MET).await;
    world.all_ready(MET).await?;
    world.check_all(Consistency::Quorum).await
}

/// Puts through nodes of one side, which must succeed truthfully or say that too few answer.
async fn write(world: &mut World, writers: &mut Writers, side: &[HostId]) -> Result<(), Failure> {
    let mut dice = world.dice("split");
    let mut tasks = Vec::new();
    for _ in 0..WRITES {
        let errand = writers.draw();
        let Some(id) = side.get(dice.place(side.len())) else { continue };
        tasks.push(world.errand(*id, |user| async move { errand.run(&user).await })?);
    }
    for task in tasks {
        match task.await {
            Ok(
                Ok(_)
                | Err(PutError::QuorumNotReached { .. } | PutError::Plan(_) | PutError::NoPeers),
            ) => {}
            Ok(Err(error)) => {
                return Err(Failure::Expected(format!("a node that was cut off says: {error}")));
            }
            Err(error) => return Err(Failure::Expected(format!("a put did not end: {error}"))),
        }
    }
    Ok(())
}
