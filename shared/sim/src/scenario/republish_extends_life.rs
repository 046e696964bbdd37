//! [`RepublishExtendsLife`]: holders hand records to each other for longer than those live.
//!
//! Elsewhere holders refreshed each other's records by their own clocks, so that dead entries lived
//! for ever between two of them. Here announcements live for eight hours while nodes come and go all
//! the time, so that what is about to end is handed on up to its end and lies on many disks after
//! it. At every moment from its end on, no node shows it, and once swept no node keeps it.

use std::time::Duration;

use dht_kad::lookup::Consistency;
use dht_kad::record::Retention;
use futures_util::future::BoxFuture;

use super::churn::{Churn, Restless};
use super::load::{Load, read_all};
use super::moves::{everyone, found_within, gather, hours, minutes, unhurried, write_all};
use super::notebook::Notebook;
use super::{Scenario, Writers};
use crate::world::{Failure, World};

/// Announcements.
const PAGES: u64 = 30;
/// Hardly anybody writes: what keeps nodes busy are the others that come and go.
const WRITE_EVERY: Duration = minutes(10);
const RESTLESS: Restless = Restless {
    session_median: minutes(40),
    away_shortest: minutes(2),
    away_longest: minutes(20),
    orderly_permille: 300,
    replaced_permille: 200,
};
/// Most of their life passes while people sleep.
const ASLEEP_MS: u64 = 6 * 3_600_000;
/// How often all is read around the end, and how long before and after it.
const LOOK_EVERY: Duration = minutes(10);
const AROUND: Duration = minutes(30);

/// The lesson of this name.
pub struct RepublishExtendsLife;

impl Scenario for RepublishExtendsLife {
    fn name(&self) -> &'static str {
        "republish-extends-life"
    }

    fn about(&self) -> &'static str {
        "holders come and go and hand announcements to each other up to their end and past it: none \
         is lost before its end, and none is shown from then on"
    }

    fn nodes(&self) -> usize {
        28
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let notebook = Notebook::new(world, "notebook");
    let mut dice = world.dice("republish-extends-life");
    let all = everyone(world);
    world.set_timing(unhurried());
    gather(world).await?;
    let pages = (0..PAGES).map(|page| notebook.write(page, 1, Retention::Hours8)).collect();
    write_all(world, &mut dice, &all, pages).await?;

    let mut load = Load::new(world, Writers::new(world.seed()), WRITE_EVERY, 1);
    let mut churn = Churn::new(world, RESTLESS);
    world.clock().jump(ASLEEP_MS);
    churn.live(world, &mut load, hours(2) - AROUND).await?;
    read_all(world, Consistency::Quorum).await?;
    let mut around = Duration::ZERO;
    while around < 2 * AROUND {
        churn.live(world, &mut load, LOOK_EVERY).await?;
        around += LOOK_EVERY;
        read_all(world, Consistency::Quorum).await?;
        world.check_each(&world.running()).await?;
    }
    load.finish(world).await?;
    churn.end(world)?;
    found_within(world, minutes(30)).await?;
    world.check_each(&world.running()).await
}
