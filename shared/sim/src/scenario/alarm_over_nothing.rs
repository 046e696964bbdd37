//! [`AlarmOverNothing`]: a network that is whole and that nobody disturbs says so, at every node.
//!
//! Among some dozens of servers a full bucket hides some from others, so that neighbours draw the
//! border of what each holds at different places. Once nodes took that for copies that lack, and each
//! of them raised three alarms, for good.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::moves::{all_found, everyone, fill, gather, hours, minutes, unhurried};
use super::{Scenario, Writers};
use crate::world::{Failure, HostId, World};

/// What lies there.
const RECORDS: usize = 300;
/// What was put while nodes met lies where it belongs after this.
const SETTLES_WITHIN: Duration = hours(1);
/// So long all is watched then.
const WATCHED: Duration = hours(2);
/// Between two looks.
const LOOK_EVERY: Duration = minutes(10);
/// No neighbour was found equal longer ago: two rounds, each a quarter late, and some time to hold them.
const LAG_MAX: Duration = minutes(30);

/// Nothing happens, and nobody is alarmed.
pub struct AlarmOverNothing;

impl Scenario for AlarmOverNothing {
    fn name(&self) -> &'static str {
        "alarm-over-nothing"
    }

    fn about(&self) -> &'static str {
        "a network that is whole is left alone for hours: no node says that copies lack, that they are \
         not repaired, or that it has not compared them for long"
    }

    fn nodes(&self) -> usize {
        33
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("alarm-over-nothing");
    world.set_timing(unhurried());
    gather(world).await?;
    let mut writers = Writers::new(world.seed());
    fill(world, &mut writers, &mut dice, RECORDS).await?;
    all_found(world).await?;
    world.live(SETTLES_WITHIN).await;
    for _ in 0..WATCHED.as_secs() / LOOK_EVERY.as_secs() {
        world.live(LOOK_EVERY).await;
        everyone(world).into_iter().try_for_each(|id| is_calm(world, id))?;
    }
    all_found(world).await
}

/// Whether this node says that all is well with the copies around it.
fn is_calm(world: &World, id: HostId) -> Result<(), Failure> {
    let figures = world.user(id)?.context().stats().replication;
    let (lag, unrepaired) = (figures.lag_ms, figures.oldest_unrepaired_ms);
    let under = figures.under_replicated;
    if u128::from(lag) <= LAG_MAX.as_millis() && unrepaired == 0 && under == 0 {
        return Ok(());
    }
    let said = format!("lag {lag} ms, unrepaired for {unrepaired} ms, {under} records lack copies");
    Err(Failure::Expected(format!("node {id} of a whole network says: {said}")))
}
