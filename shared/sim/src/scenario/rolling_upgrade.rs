//! [`RollingUpgrade`]: one node after the other is stopped in good order and started again, as an
//! upgrade does it.
//!
//! Nobody who writes meanwhile may be told that too few answered, and nobody may take a restarting
//! node for gone and fetch its share: each node that returns lacks what was written during its
//! minute, and that is all that is ever fetched.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::load::Load;
use super::moves::{all_found, everyone, fill, first, gather, minutes, unhurried};
use super::{Scenario, Writers};
use crate::transport::Purpose;
use crate::view::Copies;
use crate::world::{Failure, World};

/// So long after the filling each has compared itself with each neighbour: what was put before all had
/// met is not fetched later than that, and taken for what a restart has cost.
const ALL_COMPARED: Duration = minutes(15);
/// What lies there before: much more than is written meanwhile.
const RECORDS: usize = 400;
/// One write in this, and two reads beside it.
const WRITE_EVERY: Duration = Duration::from_secs(4);
/// How long each node is down.
const DOWN: Duration = minutes(1);
/// How long it then runs before the next one is stopped.
const BETWEEN: Duration = Duration::from_secs(30);
/// For each write so many bytes may be copied: two records of average size, one for the node that was
/// down and one for a node that stood in for it.
const COPIED_BYTES_A_WRITE: u64 = 6_000;
/// After the last one, everything lies on its k closest within this.
const WHOLE_WITHIN: Duration = minutes(10);

/// Every node is restarted, one after the other.
pub struct RollingUpgrade;

impl Scenario for RollingUpgrade {
    fn name(&self) -> &'static str {
        "rolling-upgrade"
    }

    fn about(&self) -> &'static str {
        "one node after the other is stopped in good order and is back after a minute, under load: \
         no put fails, all is found, and nothing is fetched but what a node missed"
    }

    fn nodes(&self) -> usize {
        30
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("rolling-upgrade");
    world.set_timing(unhurried());
    gather(world).await?;
    let mut writers = Writers::new(world.seed());
    fill(world, &mut writers, &mut dice, RECORDS).await?;
    all_found(world).await?;
    world.live(ALL_COMPARED).await;
    let before = copied_bytes(world);

    let mut load = Load::new(world, writers, WRITE_EVERY, 2);
    let first = first(world);
    for id in everyone(world) {
        world.stop(&[id]).await;
        load.live(world, DOWN).await?;
        world.start(id, &first)?;
        load.live(world, BETWEEN).await?;
    }
    let tally = load.finish(world).await?;
    world.note(tally.to_string());
    if tally.refused > 0 {
        return Err(Failure::Expected(format!("puts failed while one node restarted: {tally}")));
    }
    all_found(world).await?;
    world.converged(Copies::Nearly, WHOLE_WITHIN).await?;

    let copied = copied_bytes(world) - before;
    let may = u64::try_from(tally.acknowledged).unwrap_or(u64::MAX) * COPIED_BYTES_A_WRITE;
    world.note(format!("{copied} bytes were copied, at most {may} may be"));
    if copied > may {
        let story = format!("{copied} bytes were copied, where at most {may} were missed");
        return Err(Failure::Expected(story));
    }
    Ok(())
}

fn copied_bytes(world: &World) -> u64 {
    world.network().sent_in_all().bytes(Purpose::Copy)
}
