//! [`Year`]: more than a year in the life of records that live for one.
//!
//! Pages are left alone, renewed, deleted, or shortened: a version that lives for a week replaces one
//! that would have lived for a year, and the one it replaced must not come back when it has ended.
//! Meanwhile machines come and go at the pace of years. Every ten days everything is read: nothing is
//! lost before its end, nothing outlives it, and what is deleted stays so.

use std::time::Duration;

use dht_context::Timing;
use dht_kad::record::Retention;
use futures_util::future::BoxFuture;

use super::moves::{days, everyone, first, found_within, gather, hours, write_all};
use super::notebook::Notebook;
use super::{Errand, Scenario};
use crate::dice::Dice;
use crate::world::{Failure, HostId, World};

/// Pages, a fifth of each fate.
const PAGES: u64 = 50;
/// The story in steps of ten days: after the last renewal of all, a year and some days more.
const STEP: Duration = days(10);
const STEPS: u64 = 4;
/// In which steps pages are renewed.
const RENEWED: [u64; 3] = [9, 20, 33];
/// In which step pages are deleted, or shortened, or written again after that.
const DELETED: u64 = 5;
const SHORTENED: u64 = 12;
const WRITTEN_AGAIN: u64 = 15;
/// Of a thousand machines so many are replaced by an empty one in each step.
const REPLACED_PERMILLE: u32 = 30;
/// How many are switched off for a step, each time.
const AWAY: usize = 2;
/// Nodes that look around so seldom are ready, and whole, within this.
const SLOW: Duration = days(4);

/// Over a year.
pub struct Year;

impl Scenario for Year {
    fn name(&self) -> &'static str {
        "year"
    }

    fn about(&self) -> &'static str {
        "two years of pages that live for one and are renewed, deleted and shortened, while machines \
         come and go: none is lost before its end, none outlives it, deletes stay"
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
    let mut dice = world.dice("year");
    world.set_timing(seldom());
    gather(world).await?;
    let mut away: Vec<HostId> = Vec::new();
    for step in 0..STEPS {
        let running = world.running();
        let errands = (0..PAGES).filter_map(|page| fate(&notebook, page, step)).collect();
        write_all(world, &mut dice, &running, errands).await?;
        machines(world, &mut dice, &mut away).await?;
        world.live(STEP).await;
        found_within(world, SLOW).await?;
    }
    let left = everyone(world).len();
    world.note(format!("{} machines in all, {} were replaced", left, left - 24));
    Ok(())
}

/// Whatever nodes do every minute or hour they do a few times a day here: two years have too many
/// minutes.
fn seldom() -> Timing {
    Timing {
        tick: hours(1),
        revalidate: days(2),
        refresh: days(4),
        settle: hours(6),
        compare_clocks: days(4),
        repair_wait: hours(1),
        repair_every: days(1),
        repair_soon: hours(2),
        salted_every: days(30),
        grace: days(1),
        ..Timing::default()
    }
}

/// What is done to a page in this step.
fn fate(notebook: &Notebook, page: u64, step: u64) -> Option<Errand> {
    let write = |retention| Some(notebook.write(page, step, retention));
    match (page % 5, step) {
        (_, 0) => write(Retention::Days365),
        (1, step) if RENEWED.contains(&step) => write(Retention::Days365),
        (2, DELETED) => Some(notebook.delete(page)),
        (3 | 4, SHORTENED) => write(Retention::Days7),
        (4, WRITTEN_AGAIN) => write(Retention::Days365),
        _ => None,
    }
}

/// Those who were away come back, some others go for a while, and some for good.
async fn machines(
    world: &mut World,
    dice: &mut Dice,
    away: &mut Vec<HostId>,
) -> Result<(), Failure> {
    let first = first(world);
    for id in away.drain(..) {
        world.start(id, &first)?;
    }
    world.all_ready(SLOW).await?;
    world.live(SLOW).await;
    for id in world.running() {
        if dice.permille(REPLACED_PERMILLE) {
            let told: Vec<_> = world.running().into_iter().filter(|other| *other != id).collect();
            world.crash(&[id]).await;
            let newcomer = world.add_host();
            world.start(newcomer, &told)?;
            world.all_ready(SLOW).await?;
            world.live(SLOW).await;
        }
    }
    for _ in 0..AWAY {
        let running = world.running();
        let Some(id) = running.get(dice.place(running.len())).copied() else { continue };
        if dice.permille(500) {
            world.stop(&[id]).await
        } else {
            world.crash(&[id]).await
        }
        away.push(id);
    }
    Ok(())
}
