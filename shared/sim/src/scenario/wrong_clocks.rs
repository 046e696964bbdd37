//! [`WrongClocks`]: some machines' clocks are set hours or days off while they work.
//!
//! A clock that is ahead makes a store hide what lives, and could make it destroy it; one that is
//! behind makes a store show what has ended. Neither may be noticed by anybody else.

use std::time::Duration;

use dht_kad::record::Retention;
use futures_util::future::BoxFuture;

use super::load::Load;
use super::moves::{all_found, everyone, fill, gather, hours, minutes, start_at_once, unexpected};
use super::{Scenario, Writers};
use crate::view::Copies;
use crate::world::{Failure, HostId, World};

/// What lies there before.
const RECORDS: usize = 120;
/// One host of so many has a wrong clock.
const WRONG: usize = 5;
/// One write in this, and a read beside it.
const WRITE_EVERY: Duration = Duration::from_secs(10);
/// How long the clocks are wrong.
const FOR: Duration = minutes(40);
/// They are set one after another. Meanwhile the node is away that all have known longest and ask for
/// the time, so that whoever compares clocks waits for it: some are set in the middle of that.
const SET_EVERY: Duration = Duration::from_secs(3);
const AWAY: HostId = 0;
/// Clocks that are wrong in this way restart in the middle of it.
const RESTARTED: usize = 2;
/// By how many hours they are wrong, in turn.
const ERRORS_HOURS: [i64; 6] = [3, -3, 48, -48, 400 * 24, -400 * 24];
/// How fast the others' clocks drift: a bad quartz.
const DRIFT_PPM: i64 = 100;
const HOUR_MS: i64 = 3_600_000;
/// Everything lies on its k closest again within this.
const EQUAL_WITHIN: Duration = minutes(30);

/// Clocks that jump.
pub struct WrongClocks;

impl Scenario for WrongClocks {
    fn name(&self) -> &'static str {
        "wrong-clocks"
    }

    fn about(&self) -> &'static str {
        "a fifth of the clocks jump by hours, days or a year, ahead or back, and are set right \
         later: nothing is lost, and nobody shows what has ended who has run since he knew the time"
    }

    fn nodes(&self) -> usize {
        30
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("wrong-clocks");
    gather(world).await?;
    let mut writers = Writers::new(world.seed());
    fill(world, &mut writers, &mut dice, RECORDS).await?;
    all_found(world).await?;
    // What lives for eight hours ends while the clocks are wrong.
    let to_the_end = Duration::from_millis(Retention::Hours8.lifetime_ms()).saturating_sub(FOR / 2);
    world.clock().jump(u64::try_from(to_the_end.as_millis()).map_err(|e| unexpected(&e))?);

    // Everybody looks at the clock while it is right.
    let mut load = Load::new(world, writers, WRITE_EVERY, 1);
    load.live(world, minutes(5)).await?;
    // Whose clock jumps in the middle of a put is told that it is wrong, as he should be.
    load.finish(world).await?;

    let all = everyone(world);
    let (wrong, right): (Vec<HostId>, Vec<HostId>) = all.iter().partition(|id| *id % WRONG == 1);
    right.iter().for_each(|id| world.set_clock_drift_ppm(*id, DRIFT_PPM));
    let ways = ERRORS_HOURS.iter().cycle();
    world.crash(&[AWAY]).await;
    for (id, hours_off) in wrong.iter().zip(ways) {
        world.set_clock_error_ms(*id, hours_off * HOUR_MS);
        load.live_among(world, &right, SET_EVERY).await?;
    }
    start_at_once(world, &[AWAY])?;
    load.live_among(world, &right, FOR / 2).await?;

    // Some notice only when they start that they cannot know what time it is.
    let restarted: Vec<_> = wrong.iter().rev().take(RESTARTED).copied().collect();
    world.crash(&restarted).await;
    start_at_once(world, &restarted)?;
    // They know the time that they trusted last, which has not passed for them since. All others
    // know better, by the span for which they have run.
    let knowing: Vec<_> = all.iter().copied().filter(|id| !restarted.contains(id)).collect();
    for _ in 0..4 {
        load.live_among(world, &right, FOR / 8).await?;
        world.check_each(&knowing).await?;
    }
    wrong.iter().for_each(|id| world.set_clock_error_ms(*id, 0));
    load.live_among(world, &right, minutes(5)).await?;
    let tally = load.finish(world).await?;
    world.note(tally.to_string());

    world.all_ready(hours(1)).await?;
    let took = world.converged(Copies::Nearly, EQUAL_WITHIN).await?;
    world.note(format!("equal {} s after the clocks were right", took.as_secs()));
    world.check_each(&all).await?;
    all_found(world).await
}
