//! [`RepublishStorm`]: 21 nodes with a thousand values each restart at once.
//!
//! Elsewhere each of them announced all its values at once, 20,000 packets a second, and rate
//! limiters then dropped the real peers. Here each compares itself with its neighbours, finds that
//! nearly nothing differs, and goes on: what any node sends in any second stays under a bound, and
//! people read and write meanwhile.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::load::Load;
use super::moves::{all_found, everyone, fill, gather, minutes, start_at_once, unhurried};
use super::strain::Strain;
use super::{Scenario, Writers};
use crate::world::{Failure, World};

/// What each node holds, nearly: 20 of the 21 hold each.
const VALUES: usize = 1_000;
/// How long all are down.
const DOWN: Duration = Duration::from_secs(5);
/// One write in this when they are back, and five reads beside it.
const WRITE_EVERY: Duration = Duration::from_secs(1);
const READS: usize = 5;
/// How long it is watched: longer than all the first rounds take.
const WATCHED: Duration = minutes(12);
/// What any node may send in any second. Twice what measured runs show, and a
/// thousandth of the storm elsewhere.
const REQUESTS_A_SECOND: u64 = 1_000;
const BYTES_A_SECOND: u64 = 3 << 20;

/// The lesson of this name.
pub struct RepublishStorm;

impl Scenario for RepublishStorm {
    fn name(&self) -> &'static str {
        "republish-storm"
    }

    fn about(&self) -> &'static str {
        "21 nodes with a thousand values each restart at once: what each sends a second stays under \
         a bound, and people read and write meanwhile"
    }

    fn nodes(&self) -> usize {
        21
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("republish-storm");
    world.set_timing(unhurried());
    gather(world).await?;
    let mut writers = Writers::new(world.seed());
    fill(world, &mut writers, &mut dice, VALUES).await?;
    let all = everyone(world);
    world.crash(&all).await;
    world.live(DOWN).await;

    let mut strain = Strain::new(world);
    start_at_once(world, &all)?;
    let mut load = Load::new(world, writers, WRITE_EVERY, READS);
    strain.live(world, &mut load, WATCHED).await?;
    let tally = load.finish(world).await?;
    world.note(tally.to_string());
    world.note(strain.to_string());
    strain.at_most(REQUESTS_A_SECOND, BYTES_A_SECOND)?;
    all_found(world).await
}
