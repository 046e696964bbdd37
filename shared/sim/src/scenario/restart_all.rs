//! [`RestartAll`]: a whole network dies at one moment, in the middle of its work, and comes back.

use std::time::Duration;

use dht_kad::lookup::Consistency;
use dht_kad::record::Retention;
use futures_util::future::BoxFuture;

use super::moves::{READY_WITHIN, everyone, gather, start_at_once, unexpected};
use super::{Errand, Scenario, Writers};
use crate::dice::Dice;
use crate::world::{Failure, World};

/// Writes in good times.
const WRITES: usize = 300;
/// Writes that are under way together.
const TOGETHER: usize = 10;
/// Writes that are under way when everything dies, and how many of them have succeeded by then.
const LAST_WRITES: usize = 40;
const LAST_ACKNOWLEDGED: usize = 20;
/// The last writes have come so far in any case.
const LAST_WITHIN: Duration = Duration::from_secs(10);
/// How long everything is down: shorter than the idle timeout, as when a fleet is upgraded.
const DOWN: Duration = Duration::from_secs(5);

/// All nodes are killed at once while puts are under way, and restarted.
pub struct RestartAll;

impl Scenario for RestartAll {
    fn name(&self) -> &'static str {
        "restart-all"
    }

    fn about(&self) -> &'static str {
        "nodes join, values are put and got, all nodes are killed at once while puts are under way \
         and restarted: every acknowledged record is found again, and none after its expiry"
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("restart-all");
    let all = everyone(world);
    gather(world).await?;

    let mut writers = Writers::new(world.seed());
    write(world, &mut writers, &mut dice).await?;
    write_until_the_end(world, &mut writers, &mut dice).await?;
    world.crash(&all).await;
    world.live(DOWN).await;
    start_at_once(world, &all)?;
    world.all_ready(READY_WITHIN).await?;

    world.check_all(Consistency::Quorum).await?;
    world.check_all(Consistency::Default).await?;
    for class in [Retention::Hours8, Retention::Days7] {
        world.clock().jump(class.lifetime_ms());
        world.check_each(&all).await?;
        world.check_all(Consistency::Quorum).await?;
    }
    Ok(())
}

/// Writes through random nodes, and reads each back through another one.
async fn write(world: &mut World, writers: &mut Writers, dice: &mut Dice) -> Result<(), Failure> {
    let mut left = WRITES;
    while left > 0 {
        let together = left.min(TOGETHER);
        left -= together;
        let mut tasks = Vec::new();
        for _ in 0..together {
            let (errand, writer) = (writers.draw(), dice.place(world.host_count()));
            let reader = world.user(dice.place(world.host_count()))?;
            let task = world.errand(writer, |user| async move {
                let report = errand.run(&user).await.map_err(|error| unexpected(&error))?;
                errand.check(&reader).await?;
                Ok::<_, Failure>((errand, report))
            })?;
            tasks.push(task);
        }
        for task in tasks {
            let (errand, report) = task.await.map_err(|error| unexpected(&error))??;
            if matches!(errand, Errand::Put(..)) {
                writers.note(errand.identity(), &report);
            }
        }
    }
    Ok(())
}

/// Begins many writes at once, and returns in the middle of them.
async fn write_until_the_end(
    world: &mut World,
    writers: &mut Writers,
    dice: &mut Dice,
) -> Result<(), Failure> {
    let (acknowledged, mut finished) = tokio::sync::mpsc::channel(LAST_WRITES);
    for _ in 0..LAST_WRITES {
        let (errand, writer) = (writers.draw(), dice.place(world.host_count()));
        let acknowledged = acknowledged.clone();
        world.errand(writer, |user| async move {
            if errand.run(&user).await.is_ok() {
                let _ = acknowledged.send(()).await;
            }
        })?;
    }
    drop(acknowledged);
    let enough = async {
        for _ in 0..LAST_ACKNOWLEDGED {
            if finished.recv().await.is_none() {
                return Err(Failure::Expected(format!(
                    "fewer than {LAST_ACKNOWLEDGED} of {LAST_WRITES} puts at once succeeded"
                )));
            }
        }
        Ok(())
    };
    tokio::time::timeout(LAST_WITHIN, enough).await.map_err(|error| unexpected(&error))?
}
