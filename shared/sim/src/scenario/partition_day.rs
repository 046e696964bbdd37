//! [`PartitionDay`]: the network falls in two for a day, and people write on both sides.
//!
//! Each side takes itself for the network after a while and acknowledges what it stores. Both also
//! overwrite the same pages. When the cut heals, what either side acknowledged is found within
//! minutes, and of two versions of a page the same one everywhere: the one that the order of versions
//! puts last. One side may have fewer than k nodes: whether it does is left to the seed.

use std::time::Duration;

use dht_kad::record::Retention;
use futures_util::future::BoxFuture;

use super::load::Load;
use super::moves::{everyone, fill, found_within, gather, minutes, unhurried, write_all};
use super::notebook::Notebook;
use super::{Scenario, Writers};
use crate::view::Copies;
use crate::world::{Failure, HostId, World};

/// What lies there before.
const RECORDS: usize = 100;
/// Pages that both sides overwrite.
const PAGES: u64 = 10;
/// Longer than it takes a node to ask all of its peers whether they live, and to forget those who are
/// gone: until then a writer is told that the network is gathering.
const NOTICED: Duration = minutes(10);
/// The day, in so many parts, of which people write during one hour each.
const PARTS: u32 = 6;
const PART_MS: u64 = 4 * 3_600_000;
const AWAKE: Duration = minutes(10);
/// One write in this on each side.
const WRITE_EVERY: Duration = Duration::from_secs(20);
/// Of a hundred nodes so many are on the smaller side, where it is small.
const SMALL_PERCENT: usize = 30;
/// After healing everything is found within this: nodes with full tables ask their bootstrap peers
/// again every quarter of an hour.
const FOUND_WITHIN: Duration = minutes(25);

/// Two halves of a network for a day.
pub struct PartitionDay;

impl Scenario for PartitionDay {
    fn name(&self) -> &'static str {
        "partition-day"
    }

    fn about(&self) -> &'static str {
        "the network is cut in two for a day and people write on both sides: within minutes after \
         it heals all that either side acknowledged is found, and one version of each page"
    }

    fn nodes(&self) -> usize {
        44
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("partition-day");
    world.set_timing(unhurried());
    gather(world).await?;
    let mut writers = Writers::new(world.seed());
    fill(world, &mut writers, &mut dice, RECORDS).await?;
    let notebook = Notebook::new(world, "notebook");
    let pages = |version| (0..PAGES).map(move |page| (page, version));
    let write = |(page, version)| notebook.write(page, version, Retention::Days7);
    let all = everyone(world);
    write_all(world, &mut dice, &all, pages(0).map(write).collect()).await?;

    let percent = if dice.permille(500) { 50 } else { SMALL_PERCENT };
    let (one, other) = cut(&all, percent);
    world.split(&one, &other);
    world.live(NOTICED).await;
    write_all(world, &mut dice, &one, pages(1).map(write).collect()).await?;
    write_all(world, &mut dice, &other, pages(2).map(write).collect()).await?;
    let group = |number| Writers::group(world.seed(), number);
    let mut loads = [group(1), group(2)].map(|group| Load::new(world, group, WRITE_EVERY, 0));
    for _ in 0..PARTS {
        for (load, side) in loads.iter_mut().zip([&one, &other]) {
            load.live_among(world, side, AWAKE / 2).await?;
        }
        let lived_ms = u64::try_from(AWAKE.as_millis()).unwrap_or(PART_MS);
        world.clock().jump(PART_MS.saturating_sub(lived_ms));
    }
    for load in &mut loads {
        let tally = load.finish(world).await?;
        world.note(tally.to_string());
    }

    world.network().heal();
    let took = found_within(world, FOUND_WITHIN).await?;
    world.note(format!("all found {} s after the cut had healed", took.as_secs()));
    world.converged(Copies::Nearly, FOUND_WITHIN).await.map(drop)
}

/// The smaller side first.
pub(super) fn cut(all: &[HostId], percent: usize) -> (Vec<HostId>, Vec<HostId>) {
    all.iter().partition(|id| *id * percent / 100 != (*id + 1) * percent / 100)
}
