//! [`Farewells`]: machines leave for good, one after the other, and empty ones come in their place.
//!
//! Who leaves hands over what it holds before it goes. So all copies are there when it has gone, and
//! nobody has to find out by comparing that some lack; after half of all have left so, nothing is lost.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::load::Load;
use super::moves::{all_found, everyone, fill, gather, minutes, unhurried};
use super::{Scenario, Writers};
use crate::view::Copies;
use crate::world::{Failure, HostId, World};

/// What lies there before.
const RECORDS: usize = 150;
/// One host of so many leaves.
const LEAVES: usize = 2;
/// People write and read for so long between two of them: not long enough for all to be compared.
const BETWEEN: Duration = minutes(4);
const WRITE_EVERY: Duration = Duration::from_secs(15);
/// In the end everything lies on its k closest within this.
const EQUAL_WITHIN: Duration = minutes(30);

/// Everybody who leaves says so.
pub struct Farewells;

impl Scenario for Farewells {
    fn name(&self) -> &'static str {
        "farewells"
    }

    fn about(&self) -> &'static str {
        "every other machine leaves for good, one after the other, and a new one takes its place: what it \
         held was handed over before it went, and nothing is lost"
    }

    fn nodes(&self) -> usize {
        30
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("farewells");
    world.set_timing(unhurried());
    gather(world).await?;
    let mut writers = Writers::new(world.seed());
    fill(world, &mut writers, &mut dice, RECORDS).await?;
    world.live(minutes(10)).await;

    let mut load = Load::new(world, writers, WRITE_EVERY, 2);
    let leaving: Vec<HostId> = everyone(world).into_iter().filter(|id| *id % LEAVES == 1).collect();
    for id in leaving {
        let told: Vec<HostId> = world.running().into_iter().filter(|other| *other != id).collect();
        world.leave(&[id]).await;
        all_found(world).await?;
        world.replace(id);
        world.start(id, &told)?;
        load.live(world, BETWEEN).await?;
    }
    let tally = load.finish(world).await?;
    world.note(tally.to_string());
    let took = world.converged(Copies::Nearly, EQUAL_WITHIN).await?;
    world.note(format!("equal {} s after the last one came", took.as_secs()));
    all_found(world).await
}
