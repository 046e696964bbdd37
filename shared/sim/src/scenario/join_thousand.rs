//! [`JoinThousand`]: a small network with data becomes a large one within minutes.
//!
//! For nearly every record, nearly all of the k closest are new then. Everything is found all the
//! while, since who held it still does until a quorum of the new ones has it; in the end the k closest
//! hold it.

use std::time::Duration;

use dht_kad::lookup::Consistency;
use futures_util::future::BoxFuture;

use super::load::Load;
use super::moves::{all_found, everyone, fill, gather_these, minutes};
use super::{Scenario, Writers};
use crate::view::Copies;
use crate::world::{Failure, World};

/// Nodes that are there before.
const OLD: usize = 30;
/// What lies on them.
const RECORDS: usize = 150;
/// The others come within this, evenly.
const COMING: Duration = minutes(5);
/// A newcomer is told of so many random nodes, so that nobody has to know them all.
const TOLD_OF: usize = 3;
/// One write in this, and reads beside it.
const WRITE_EVERY: Duration = Duration::from_secs(10);
const READS: usize = 5;
/// After the last has come, the k closest hold everything within this.
const WHOLE_WITHIN: Duration = minutes(40);

/// Very many join at once.
pub struct JoinThousand;

impl Scenario for JoinThousand {
    fn name(&self) -> &'static str {
        "join-thousand"
    }

    fn about(&self) -> &'static str {
        "30 nodes hold records and all others (1,000 with --nodes 1030) join within minutes: all is \
         found throughout, and the k closest hold it in the end"
    }

    fn nodes(&self) -> usize {
        OLD + 200
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("join-thousand");
    let all = everyone(world);
    let (old, new) = all.split_at(OLD.min(all.len()));
    gather_these(world, old).await?;
    let mut writers = Writers::new(world.seed());
    fill(world, &mut writers, &mut dice, RECORDS).await?;

    let mut load = Load::new(world, writers, WRITE_EVERY, READS).reading_by_quorum();
    let between = COMING / u32::try_from(new.len().max(1)).unwrap_or(u32::MAX);
    for id in new {
        let told: Vec<_> = (0..TOLD_OF).map(|_| dice.place(*id)).collect();
        world.start(*id, &told)?;
        load.live(world, between).await?;
    }
    load.live(world, COMING).await?;
    world.all_ready(COMING).await?;
    let tally = load.finish(world).await?;
    world.note(tally.to_string());
    world.check_all(Consistency::Quorum).await?;
    let took = world.converged(Copies::Nearly, WHOLE_WITHIN).await?;
    world.note(format!("on the k closest {} s after the last had come", took.as_secs()));
    all_found(world).await
}
