//! [`DeletesInPartition`]: people delete while the network is cut in two.
//!
//! The larger side deletes pages; on the smaller one some of them are renewed meanwhile, by somebody
//! who could not know, and others deleted that the larger side renews. When the cut heals, the order
//! of versions decides each page, the same way everywhere, and what is deleted by it stays so, also
//! when everybody restarts.

use std::time::Duration;

use dht_kad::record::Retention;
use futures_util::future::BoxFuture;

use super::Scenario;
use super::moves::{all_found, everyone, found_within, gather, minutes, start_at_once, write_all};
use super::notebook::Notebook;
use super::partition_day::cut;
use crate::view::Copies;
use crate::world::{Failure, World};

/// Pages: a third is deleted on the larger side only, a third deleted there and renewed on the
/// smaller, a third renewed on the larger and deleted on the smaller.
const PAGES: u64 = 30;
/// Of a hundred nodes so many are on the smaller side.
const SMALL_PERCENT: usize = 40;
/// Longer than what is gone is remembered.
const NOTICED: Duration = minutes(3);
/// After healing all agree within this.
const AGREE_WITHIN: Duration = minutes(25);
/// How long all are down in the end.
const DOWN: Duration = Duration::from_secs(20);

/// Deletes and renewals on two sides.
pub struct DeletesInPartition;

impl Scenario for DeletesInPartition {
    fn name(&self) -> &'static str {
        "deletes-in-partition"
    }

    fn about(&self) -> &'static str {
        "pages are deleted on one side of a cut and renewed on the other: one version of each wins \
         everywhere, and what is deleted stays so"
    }

    fn nodes(&self) -> usize {
        30
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let notebook = Notebook::new(world, "notebook");
    let mut dice = world.dice("deletes-in-partition");
    let all = everyone(world);
    gather(world).await?;
    let renew = |page, version| notebook.write(page, version, Retention::Days7);
    write_all(world, &mut dice, &all, (0..PAGES).map(|page| renew(page, 1)).collect()).await?;

    let (smaller, larger) = cut(&all, SMALL_PERCENT);
    world.split(&smaller, &larger);
    world.live(NOTICED).await;
    let there = (0..PAGES).map(|page| match page % 3 {
        0 | 1 => notebook.delete(page),
        _ => renew(page, 2),
    });
    write_all(world, &mut dice, &larger, there.collect()).await?;
    let here = (0..PAGES).filter_map(|page| match page % 3 {
        1 => Some(renew(page, 3)),
        2 => Some(notebook.delete(page)),
        _ => None,
    });
    write_all(world, &mut dice, &smaller, here.collect()).await?;

    world.network().heal();
    let took = found_within(world, AGREE_WITHIN).await?;
    world.note(format!("all agree {} s after the cut had healed", took.as_secs()));
    world.converged(Copies::Nearly, AGREE_WITHIN).await?;
    world.crash(&all).await;
    world.live(DOWN).await;
    start_at_once(world, &all)?;
    world.all_ready(NOTICED).await?;
    all_found(world).await
}
