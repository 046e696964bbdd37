//! [`Year`]: more than a year in the life of records that live for one.
//!
//! Pages are left alone, renewed, deleted, or shortened: a version that lives for a week replaces one
//! that would have lived for a year, and the one it replaced must not come back when it has ended.
//! Meanwhile machines come and go at the pace of years. Every twenty days everything is read: nothing is
//! lost before its end, nothing outlives it, and what is deleted stays so.
//!
//! Of each twenty days a few hours are lived through, at the pace of hours; the rest is a jump of all
//! clocks, in which records age and nodes do nothing.

use std::time::Duration;

use dht_context::Timing;
use dht_kad::record::Retention;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::moves::{all_found, everyone, gather, hours, minutes, write_all};
use super::notebook::Notebook;
use super::{Errand, Scenario};
use crate::dice::Dice;
use crate::world::{Failure, HostId, World};

/// Pages, a fifth of each fate.
const PAGES: u64 = 50;
/// The story in steps of twenty days: after the last renewal of all, a year and some days more.
const STEP_MS: u64 = 20 * 86_400_000;
const STEPS: u64 = 31;
/// In which steps pages are renewed.
const RENEWED: [u64; 2] = [5, 11];
/// In which step pages are deleted, or shortened, or written again after that.
const DELETED: u64 = 3;
const SHORTENED: u64 = 6;
const WRITTEN_AGAIN: u64 = 8;
/// Of a thousand machines so many are replaced by an empty one in each step.
const REPLACED_PERMILLE: u32 = 50;
/// How many are switched off for a step, each time.
const AWAY: usize = 2;
/// Nodes at this pace are ready, and whole, within this.
const SLOW: Duration = hours(3);
/// How much of each step is lived through.
const AWAKE: Duration = hours(2);

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
        let began = Instant::now();
        let running = world.running();
        let errands = (0..PAGES).filter_map(|page| fate(&notebook, page, step)).collect();
        write_all(world, &mut dice, &running, errands).await?;
        machines(world, &mut dice, &mut away).await?;
        world.live(AWAKE).await;
        all_found(world).await?;
        let passed = began.elapsed().as_millis();
        let passed_ms = u64::try_from(passed).unwrap_or(STEP_MS);
        world.clock().jump(STEP_MS.saturating_sub(passed_ms));
        all_found(world).await?;
        world.check_each(&world.running()).await?;
    }
    let replaced = everyone(world).len() - world.settings().nodes;
    world.note(format!("{replaced} machines were replaced"));
    Ok(())
}

/// What nodes do every second, minute or hour, they do a few times an hour or a day.
fn seldom() -> Timing {
    Timing {
        tick: minutes(2),
        pulse: hours(1),
        revalidate: hours(2),
        refresh: hours(4),
        settle: minutes(10),
        compare_clocks: hours(2),
        repair_wait: minutes(2),
        repair_every: minutes(40),
        repair_soon: minutes(4),
        grace: minutes(40),
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
    // Whoever asks only those whom it knew years ago may find none of them alive.
    let told = world.running();
    for id in away.drain(..) {
        world.start(id, &told)?;
    }
    world.all_ready(SLOW).await?;
    world.live(AWAKE).await;
    for id in world.running() {
        if dice.permille(REPLACED_PERMILLE) {
            let told: Vec<_> = world.running().into_iter().filter(|other| *other != id).collect();
            world.crash(&[id]).await;
            let newcomer = world.add_host();
            world.start(newcomer, &told)?;
            world.all_ready(SLOW).await?;
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
