//! [`SteadyChurn`]: nobody's session lasts, and everything else does.
//!
//! Nodes come and go for hours while people write and read: half of all sessions are shorter
//! than an hour, half of the ends are crashes, and of ten machines that go one never returns and an
//! empty one takes its place. What was acknowledged must be found all the while, and in the end lie
//! on the k closest. What that costs is compared with what resending every record to the others of
//! its holders every hour would cost, as the Kademlia paper has it.

use std::time::Duration;

use dht_kad::lookup::Consistency;
use dht_kad::routing::K;
use futures_util::future::BoxFuture;

use super::churn::{Churn, Restless};
use super::load::{Load, read_all};
use super::moves::{fill, found_within, gather, hours, minutes, unhurried};
use super::strain::repair_bytes;
use super::{Scenario, Writers};
use crate::view::Copies;
use crate::world::{Failure, World};

/// One write in this, and a read beside it.
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// How long people write before nodes begin to go.
const CALM: Duration = minutes(30);
/// How many hours it goes on.
const HOURS: u64 = 4;
const RESTLESS: Restless = Restless {
    session_median: hours(1),
    away_shortest: minutes(5),
    away_longest: hours(1),
    orderly_permille: 500,
    replaced_permille: 100,
};
/// When it is over, everything lies on its k closest within this.
const WHOLE_WITHIN: Duration = minutes(30);

/// Nodes come and go for hours.
pub struct SteadyChurn;

/// What lies there before it begins: enough that what is compared is more than who compares.
const VALUES: usize = 600;

impl Scenario for SteadyChurn {
    fn name(&self) -> &'static str {
        "steady-churn"
    }

    fn about(&self) -> &'static str {
        "half of all sessions last less than an hour, half of them end with a crash, one of ten \
         machines is replaced by an empty one: all that was acknowledged is found all the while"
    }

    fn nodes(&self) -> usize {
        30
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    world.set_timing(unhurried());
    gather(world).await?;
    let mut writers = Writers::new(world.seed());
    fill(world, &mut writers, &mut world.dice("steady-churn"), VALUES).await?;
    let mut load = Load::new(world, writers, WRITE_EVERY, 1);
    load.live(world, CALM).await?;

    let mut churn = Churn::new(world, RESTLESS);
    let mut held = Held::default();
    for _ in 0..HOURS {
        churn.live(world, &mut load, hours(1)).await?;
        read_all(world, Consistency::Quorum).await?;
        held.note_hour(world)?;
    }
    let moves = churn.moves();
    let tally = load.finish(world).await?;
    let cost = repair_bytes(&world.network().sent_in_all());
    churn.end(world)?;
    let took = found_within(world, WHOLE_WITHIN).await?;
    world.note(format!("all found {} s after it was over", took.as_secs()));
    world.converged(Copies::Nearly, WHOLE_WITHIN).await?;

    world.note(format!("{moves} times a node came or went; {tally}"));
    world.note(held.compare(cost));
    Ok(())
}

/// What lay on the disks, hour by hour.
#[derive(Default)]
struct Held {
    copy_hours: u64,
    resent_bytes: u64,
}

impl Held {
    /// Notes what resending would cost this hour: each record once to each of its other holders.
    fn note_hour(&mut self, world: &World) -> Result<(), Failure> {
        for id in world.running() {
            let held = world.user(id)?.context().store_usage().total;
            self.copy_hours += held.records;
            self.resent_bytes += held.bytes * (K as u64 - 1) / K as u64;
        }
        Ok(())
    }

    fn compare(&self, reconciled_bytes: u64) -> String {
        let record_hours = (self.copy_hours / K as u64).max(1);
        let a_day = |bytes: u64| bytes * 24 / record_hours;
        format!(
            "replication took {} bytes a record and day; resending every record hourly takes {}",
            a_day(reconciled_bytes),
            a_day(self.resent_bytes)
        )
    }
}
