//! [`FullDisks`]: some disks are full, others take no writes, and get better again.

use std::time::Duration;

use dht_context::operations::PutError;
use dht_kad::lookup::Consistency;
use futures_util::future::BoxFuture;

use super::moves::{all_found, everyone, fill, gather, minutes, unexpected};
use super::{Scenario, Writers};
use crate::checker::Reads;
use crate::dice::Dice;
use crate::view::Copies;
use crate::world::{DISK_BYTES, Failure, HostId, World};

/// What lies there before.
const RECORDS: usize = 100;
/// Writes while disks are bad, at first with some of them and then with most.
const WRITES: usize = 60;
/// Of a hundred disks so many are bad at first: a quorum of each record's holders is left.
const SOME_PERCENT: usize = 30;
/// And then: for most records no quorum is left.
const MOST_PERCENT: usize = 70;
/// One read in this goes on meanwhile.
const READ_EVERY: Duration = Duration::from_millis(100);
/// A disk that is full has so much room.
const NO_ROOM: u64 = 4_096;
/// Everything lies on its k closest so soon after disks are good again.
const EQUAL_WITHIN: Duration = minutes(30);

/// Disks that are full or fail.
pub struct FullDisks;

impl Scenario for FullDisks {
    fn name(&self) -> &'static str {
        "full-disks"
    }

    fn about(&self) -> &'static str {
        "disks fill up or take no writes: puts reach a quorum of the others or are refused \
         honestly, what was there is served, and copies are whole once there is room"
    }

    fn nodes(&self) -> usize {
        30
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("full-disks");
    gather(world).await?;
    let mut writers = Writers::new(world.seed());
    fill(world, &mut writers, &mut dice, RECORDS).await?;
    all_found(world).await?;

    let all = everyone(world);
    let part = |percent| all.iter().copied().take(all.len() * percent / 100).collect::<Vec<_>>();
    let readers = world.read_on(READ_EVERY);
    spoil(world, &part(SOME_PERCENT));
    let refused_by_some = write(world, &mut writers, &mut dice).await?;
    world.check_all(Consistency::Quorum).await?;
    spoil(world, &part(MOST_PERCENT));
    let refused_by_most = write(world, &mut writers, &mut dice).await?;
    world.check_all(Consistency::Quorum).await?;
    drop(readers);
    let Reads { found, missed } = world.checker().reads();
    world.note(format!("meanwhile {found} of {} reads found what they should", found + missed));
    if missed > 0 {
        return Err(Failure::Expected("what lies on bad disks is not served".to_owned()));
    }
    world.note(format!(
        "refused: {refused_by_some} of {WRITES} with {SOME_PERCENT} % of disks bad, \
         {refused_by_most} with {MOST_PERCENT} %"
    ));
    if refused_by_most == 0 {
        return Err(Failure::Expected("puts succeed although most disks are bad".to_owned()));
    }
    if refused_by_some * 2 > WRITES {
        return Err(Failure::Expected("few disks are bad, and most puts are refused".to_owned()));
    }

    for id in &all {
        world.set_disk_room(*id, DISK_BYTES);
        world.set_disk_failing(*id, false);
    }
    fill(world, &mut writers, &mut dice, RECORDS).await?;
    let took = world.converged(Copies::Nearly, EQUAL_WITHIN).await?;
    world.note(format!("equal {} s after the disks were good", took.as_secs()));
    all_found(world).await
}

/// Every other one is full, the others take no writes.
fn spoil(world: &World, hosts: &[HostId]) {
    for (place, id) in hosts.iter().enumerate() {
        if place % 2 == 0 {
            world.set_disk_room(*id, NO_ROOM);
        } else {
            world.set_disk_failing(*id, true);
        }
    }
}

/// Writes through any node. Says how many writers were told that nobody has room, or too few.
async fn write(
    world: &mut World,
    writers: &mut Writers,
    dice: &mut Dice,
) -> Result<usize, Failure> {
    let mut refused = 0;
    for _ in 0..WRITES {
        let (errand, node) = (writers.draw(), dice.place(world.host_count()));
        let written = world.errand(node, |user| async move { errand.run(&user).await })?;
        match written.await.map_err(|error| unexpected(&error))? {
            Ok(_) => {}
            Err(PutError::Refused { .. } | PutError::QuorumNotReached { .. }) => refused += 1,
            Err(error) => return Err(unexpected(&error)),
        }
    }
    Ok(refused)
}
