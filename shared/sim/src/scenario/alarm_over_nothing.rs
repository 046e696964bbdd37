//! [`AlarmOverNothing`]: a network that is whole says so, at every node, while it is left alone and
//! while it is used.
//!
//! Among some dozens of servers a full bucket hides some from others, so that neighbours draw the
//! border of what each holds at different places. Once nodes took that for copies that lack, and each
//! of them raised three alarms, for good. Where nodes restart, too, a round finds some records that
//! the other has and this node missed: they are fetched, and lacked for minutes, not for as long as
//! borders differ.

use std::time::Duration;

use dht_context::replication::ReplicationFigures;
use futures_util::future::BoxFuture;

use super::load::Load;
use super::moves::{all_found, everyone, fill, first, gather, hours, minutes, unhurried};
use super::{Scenario, Writers};
use crate::world::{Failure, HostId, World};

/// What lies there.
const RECORDS: usize = 300;
/// What was put while nodes met lies where it belongs after this.
const SETTLES_WITHIN: Duration = hours(1);
/// So long all is watched then.
const WATCHED: Duration = hours(2);
/// And so long while people write, and one node after the other restarts.
const USED: Duration = hours(3);
const WRITE_EVERY: Duration = Duration::from_secs(30);
const DOWN: Duration = minutes(1);
/// Between two looks.
const LOOK_EVERY: Duration = minutes(10);
/// In a network that is left alone: no neighbour was found equal longer ago: two rounds, each a quarter
/// late, and some time to hold them.
const LAG_MAX: Duration = minutes(30);
/// What lasts longer raises an alarm.
const ALARM_AFTER: Duration = hours(1);

/// Nothing happens, and nobody is alarmed.
pub struct AlarmOverNothing;

impl Scenario for AlarmOverNothing {
    fn name(&self) -> &'static str {
        "alarm-over-nothing"
    }

    fn about(&self) -> &'static str {
        "a network that is whole is left alone for hours: no node says that copies lack, that they are \
         not repaired, or that it has not compared them for long; and none says so for an hour while \
         people write and nodes restart"
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
    for _ in 0..looks(WATCHED) {
        world.live(LOOK_EVERY).await;
        everyone(world).into_iter().try_for_each(|id| is_calm(world, id))?;
    }

    let mut load = Load::new(world, writers, WRITE_EVERY, 1);
    for _ in 0..looks(USED) {
        let id = dice.place(world.host_count());
        world.stop(&[id]).await;
        load.live(world, DOWN).await?;
        world.start(id, &first(world))?;
        load.live(world, LOOK_EVERY - DOWN).await?;
        everyone(world).into_iter().try_for_each(|id| raises_no_alarm(world, id))?;
    }
    let tally = load.finish(world).await?;
    world.note(tally.to_string());
    all_found(world).await
}

fn looks(span: Duration) -> u64 {
    span.as_secs() / LOOK_EVERY.as_secs()
}

/// Whether this node says that all is well with the copies around it.
fn is_calm(world: &World, id: HostId) -> Result<(), Failure> {
    is_well(world, id, |figures| {
        Duration::from_millis(figures.lag_ms) <= LAG_MAX
            && figures.oldest_unrepaired_ms == 0
            && figures.under_replicated == 0
    })
}

/// Whether nothing that this node says lasts for so long that somebody would be called.
fn raises_no_alarm(world: &World, id: HostId) -> Result<(), Failure> {
    is_well(world, id, |figures| {
        Duration::from_millis(figures.lag_ms.max(figures.oldest_unrepaired_ms)) <= ALARM_AFTER
    })
}

fn is_well(
    world: &World,
    id: HostId,
    well: impl Fn(&ReplicationFigures) -> bool,
) -> Result<(), Failure> {
    let figures = world.user(id)?.context().stats().replication;
    if well(&figures) {
        return Ok(());
    }
    let (lag, unrepaired) = (figures.lag_ms, figures.oldest_unrepaired_ms);
    let under = figures.under_replicated;
    let said = format!("lag {lag} ms, unrepaired for {unrepaired} ms, {under} records lack copies");
    Err(Failure::Expected(format!("node {id} of a whole network says: {said}")))
}
