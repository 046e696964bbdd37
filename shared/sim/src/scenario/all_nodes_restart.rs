//! [`AllNodesRestartAtOnce`]: every node dies at the same moment, in the middle of its work, and
//! again while it repairs what that left behind.
//!
//! Elsewhere every node restarted together and republished into an empty routing table, and profiles
//! were lost. Here everything acknowledged is found as soon as the nodes are back, and putting the
//! copies right again stays under a bound.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::load::Load;
use super::moves::{
    READY_WITHIN, all_found, everyone, fill, gather, minutes, start_at_once, unhurried,
};
use super::strain::Strain;
use super::{Scenario, Writers};
use crate::view::Copies;
use crate::world::{Failure, World};

/// What lies there before.
const RECORDS: usize = 200;
/// One write in this, and three reads beside it.
const WRITE_EVERY: Duration = Duration::from_millis(500);
const READS: usize = 3;
/// How long people write before everything dies: long enough for copies that are under way.
const BUSY: Duration = Duration::from_secs(20);
/// Writes that are begun at once before everything dies, and after how long it does: some have been
/// acknowledged then.
const RUSH: usize = 30;
const IN_THE_MIDDLE: Duration = Duration::from_millis(600);
/// How long everything is down: a restart of the service, of the machines, and a long failure of
/// their power.
const DOWN: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(90), minutes(60)];
/// What any node may send in any second: half as much again as measured runs show, in which slow disks
/// make all that waited go out at once. The storm elsewhere was twenty times as much.
const REQUESTS_A_SECOND: u64 = 1_600;
const BYTES_A_SECOND: u64 = 2 << 20;
/// In the end everything lies on its k closest within this.
const WHOLE_WITHIN: Duration = minutes(30);

/// The lesson of this name.
pub struct AllNodesRestartAtOnce;

impl Scenario for AllNodesRestartAtOnce {
    fn name(&self) -> &'static str {
        "all-nodes-restart-at-once"
    }

    fn about(&self) -> &'static str {
        "all nodes are killed at once under load, three times, each time while they repair what the \
         last one left: all that was acknowledged is found, and nothing storms"
    }

    fn nodes(&self) -> usize {
        40
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("all-nodes-restart-at-once");
    world.set_timing(unhurried());
    gather(world).await?;
    let mut writers = Writers::new(world.seed());
    fill(world, &mut writers, &mut dice, RECORDS).await?;
    let all = everyone(world);
    let mut load = Load::new(world, writers, WRITE_EVERY, READS);
    load.live(world, BUSY).await?;

    let mut strain = Strain::new(world);
    for down in DOWN {
        load.rush(world, RUSH)?;
        load.live(world, IN_THE_MIDDLE).await?;
        world.crash(&all).await;
        world.live(down).await;
        start_at_once(world, &all)?;
        world.all_ready(READY_WITHIN).await?;
        all_found(world).await?;
        strain.live(world, &mut load, BUSY).await?;
    }
    let tally = load.finish(world).await?;
    world.note(tally.to_string());
    world.note(strain.to_string());
    strain.at_most(REQUESTS_A_SECOND, BYTES_A_SECOND)?;
    world.converged(Copies::Nearly, WHOLE_WITHIN).await?;
    all_found(world).await
}
