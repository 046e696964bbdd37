//! [`AwayAWeek`]: a node is away for a week of load, and returns with its disk.
//!
//! It is equal to the others within minutes: it has what was written meanwhile and has dropped what
//! was overwritten or deleted. What has ended meanwhile, and lies on its disk still, nobody is shown
//! and nobody takes.

use std::time::Duration;

use dht_kad::lookup::Consistency;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::load::{Load, read_all};
use super::moves::{all_found, everyone, fill, gather, minutes, unhurried};
use super::{Scenario, Writers};
use crate::world::{Failure, HostId, World};

/// What lies there before.
const RECORDS: usize = 150;
/// Of each day people write in so much; the rest of it passes.
const AWAKE: Duration = minutes(15);
/// One write in this, and a read beside it.
const WRITE_EVERY: Duration = Duration::from_secs(15);
/// Eight days, so that even what was written right before the node left, to live for a week, ends.
const DAYS: usize = 8;
const DAY_MS: u64 = 24 * 3_600_000;
/// It is equal to the others within this after its return.
const EQUAL_WITHIN: Duration = minutes(5);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Among so many closest nodes it is a holder whatever it takes its neighbours for.
const CERTAINLY: usize = 15;
/// Holders do not compare what ends within some hours.
const ENDS_SOON_MS: u64 = 24 * 3_600_000;

/// A week's absence.
pub struct AwayAWeek;

impl Scenario for AwayAWeek {
    fn name(&self) -> &'static str {
        "away-a-week"
    }

    fn about(&self) -> &'static str {
        "a node is away for a week of load: it is equal within minutes of its return, and brings \
         back nothing that has ended, or was deleted or overwritten"
    }

    fn nodes(&self) -> usize {
        26
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("away-a-week");
    world.set_timing(unhurried());
    gather(world).await?;
    let mut writers = Writers::new(world.seed());
    fill(world, &mut writers, &mut dice, RECORDS).await?;
    world.live(minutes(5)).await;

    let all = everyone(world);
    let traveller = dice.place(all.len());
    world.crash(&[traveller]).await;
    let mut load = Load::new(world, writers, WRITE_EVERY, 1);
    for _ in 0..DAYS {
        load.live(world, AWAKE).await?;
        let lived_ms = u64::try_from(AWAKE.as_millis()).unwrap_or(DAY_MS);
        world.clock().jump(DAY_MS.saturating_sub(lived_ms));
    }
    let tally = load.finish(world).await?;
    world.note(tally.to_string());

    let told: Vec<_> = all.into_iter().filter(|id| *id != traveller).take(3).collect();
    world.start(traveller, &told)?;
    world.all_ready(minutes(1)).await?;
    read_all(world, Consistency::Quorum).await?;
    let began = Instant::now();
    while lacks(world, traveller) > 0 {
        if began.elapsed() >= EQUAL_WITHIN {
            let lacking = lacks(world, traveller);
            let story = format!("{lacking} records are still lacking there");
            return Err(Failure::Expected(story));
        }
        world.live(LOOK_EVERY).await;
    }
    world.note(format!("equal {} s after its return", began.elapsed().as_secs()));
    world.check_each(&[traveller]).await?;
    all_found(world).await
}

/// How many records the node lacks that it is certainly among the holders of, and that do not end
/// before they were copied.
fn lacks(world: &World, node: HostId) -> usize {
    let view = world.view();
    let promised = world.checker().promised(view.now().after(ENDS_SOON_MS)).into_iter();
    let its = promised.filter(|record| view.closest(&record.id().key, CERTAINLY).contains(&node));
    its.filter(|record| !view.holders(record).contains(&node)).count()
}
