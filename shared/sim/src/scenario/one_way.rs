//! [`OneWay`]: what some nodes send never arrives at some others, while all else works.
//!
//! Routes that lead one way, and firewalls that forget. Whoever is asked by somebody whom it cannot answer,
//! or cannot ask somebody who asks it, may neither take him for dead on others' behalf nor hold up what
//! the others do.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::load::Load;
use super::moves::{all_found, everyone, fill, gather, minutes, unhurried};
use super::{Scenario, Writers};
use crate::view::Copies;
use crate::world::{Failure, HostId, World};

/// What lies there before.
const RECORDS: usize = 120;
/// One host of so many is not heard by another one of so many.
const GROUPS: usize = 5;
/// One write in this, and two reads beside it.
const WRITE_EVERY: Duration = Duration::from_secs(10);
const READS: usize = 2;
/// How long it is so.
const FOR: Duration = minutes(40);
/// Everything lies on its k closest within this afterwards: whoever took another one for dead meets him
/// again when all of a table are asked whether they live.
const EQUAL_WITHIN: Duration = minutes(30);

/// Ways that lead in one direction.
pub struct OneWay;

impl Scenario for OneWay {
    fn name(&self) -> &'static str {
        "one-way"
    }

    fn about(&self) -> &'static str {
        "what a fifth of the nodes sends to another fifth never arrives, the way back is open: people \
         write and find everything all the while, and copies are whole afterwards"
    }

    fn nodes(&self) -> usize {
        30
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("one-way");
    world.set_timing(unhurried());
    gather(world).await?;
    let mut writers = Writers::new(world.seed());
    fill(world, &mut writers, &mut dice, RECORDS).await?;

    let group = |number| -> Vec<HostId> {
        everyone(world).into_iter().filter(|id| *id % GROUPS == number).collect()
    };
    let (unheard, deaf) = (group(1), group(3));
    world.block(&unheard, &deaf);
    let mut load = Load::new(world, writers, WRITE_EVERY, READS);
    load.live(world, FOR).await?;
    world.heal();
    load.live(world, minutes(5)).await?;
    let tally = load.finish(world).await?;
    world.note(tally.to_string());
    let took = world.converged(Copies::Nearly, EQUAL_WITHIN).await?;
    world.note(format!("equal {} s after all ways were open", took.as_secs()));
    all_found(world).await
}
