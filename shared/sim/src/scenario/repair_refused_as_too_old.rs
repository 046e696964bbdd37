//! [`RepairRefusedAsTooOld`]: what is half a year old is repaired like anything else.
//!
//! Elsewhere reconciled items failed the check for freshness that puts must pass, while the sync
//! called itself a success. Here records that live for a year are 200 days old when all their holders
//! are replaced by empty machines, a few at a time. They are found then, and until the end of the
//! year, and not after it.

use std::time::Duration;

use dht_kad::lookup::Consistency;
use dht_kad::record::Retention;
use futures_util::future::BoxFuture;

use super::Scenario;
use super::load::read_all;
use super::moves::{all_found, everyone, gather, minutes, write_all};
use super::notebook::Notebook;
use crate::view::Copies;
use crate::world::{Failure, World};

/// Pages that live for a year.
const PAGES: u64 = 40;
/// How old they are when their holders go.
const OLD_MS: u64 = 200 * 86_400_000;
/// Holders that are replaced together: fewer than a page can lose between two repairs.
const TOGETHER: usize = 4;
/// Newcomers have what is theirs within this: for ten minutes those who went might be restarting, and
/// after that every ten minutes a node compares itself with each neighbour.
const FILLED_WITHIN: Duration = minutes(30);

/// The lesson of this name.
pub struct RepairRefusedAsTooOld;

impl Scenario for RepairRefusedAsTooOld {
    fn name(&self) -> &'static str {
        "repair-refused-as-too-old"
    }

    fn about(&self) -> &'static str {
        "records that live for a year are 200 days old when all their holders are replaced by empty \
         machines, a few at a time: they are found until the year is over"
    }

    fn nodes(&self) -> usize {
        24
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let notebook = Notebook::new(world, "notebook");
    let mut dice = world.dice("repair-refused-as-too-old");
    let all = everyone(world);
    gather(world).await?;
    let pages = (0..PAGES).map(|page| notebook.write(page, 1, Retention::Days365)).collect();
    write_all(world, &mut dice, &all, pages).await?;
    world.clock().jump(OLD_MS);

    for leaving in all.chunks(TOGETHER) {
        let told: Vec<_> = world.running().into_iter().rev().take(TOGETHER).collect();
        world.crash(leaving).await;
        for _ in leaving {
            let newcomer = world.add_host();
            world.start(newcomer, &told)?;
        }
        world.all_ready(FILLED_WITHIN).await?;
        read_all(world, Consistency::Quorum).await?;
        world.converged(Copies::Nearly, FILLED_WITHIN).await?;
    }
    all_found(world).await?;

    let lifetime_ms = Retention::Days365.lifetime_ms();
    world.clock().jump(lifetime_ms - OLD_MS - 2 * 3_600_000);
    all_found(world).await?;
    world.clock().jump(2 * 3_600_000);
    world.check_each(&world.running()).await?;
    all_found(world).await
}
