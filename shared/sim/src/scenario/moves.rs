//! Moves that stories share: gathering, having something to keep, finding it again.
//!
//! ```text
//! gather ─▶ fill ─▶ (what the story is about, while Load writes and reads) ─▶ found_within
//! ```

use std::time::Duration;

use dht_context::Timing;
use dht_context::operations::PutReport;
use dht_kad::lookup::Consistency;
use tokio::time::Instant;

use super::{Errand, Writers};
use crate::checker::BrokenRule;
use crate::dice::Dice;
use crate::promise::worse;
use crate::world::{Failure, HostId, World};

/// Hosts that everybody asks first.
const BOOTSTRAPS: usize = 3;
/// Time between two first starts.
const STAGGER: Duration = Duration::from_millis(100);
/// All nodes are ready so long after the last one was started.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(60);
/// So long after that all have met.
const MEET: Duration = Duration::from_secs(10);
/// Writes that are under way together.
const TOGETHER: usize = 10;
/// Between two looks for what is not there yet.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Minutes, hours and days, which stories are told in.
pub(super) const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// Hours.
pub(super) const fn hours(count: u64) -> Duration {
    minutes(60 * count)
}

/// For stories of many hours: what nodes do every second or minute to stay in the network, and what
/// would be most of all that happens, they do a fifth as often. Replication keeps its own pace.
pub(super) fn unhurried() -> Timing {
    Timing {
        tick: Duration::from_secs(5),
        pulse: Duration::from_secs(50),
        revalidate: minutes(5),
        compare_clocks: minutes(5),
        ..Timing::default()
    }
}

/// All hosts there are.
pub(super) fn everyone(world: &World) -> Vec<HostId> {
    (0..world.host_count()).collect()
}

/// The hosts that everybody asks first.
pub(super) fn first(world: &World) -> Vec<HostId> {
    (0..world.host_count().min(BOOTSTRAPS)).collect()
}

/// Starts all hosts one after the other, and waits until they have met.
pub(super) async fn gather(world: &mut World) -> Result<(), Failure> {
    let all = everyone(world);
    gather_these(world, &all).await
}

/// Starts these hosts one after the other, and waits until they have met.
pub(super) async fn gather_these(world: &mut World, hosts: &[HostId]) -> Result<(), Failure> {
    let first = first(world);
    for id in hosts {
        world.start(*id, &first)?;
        world.live(STAGGER).await;
    }
    world.all_ready(READY_WITHIN).await?;
    // A node of a young network is ready with its first peer. What is put then lies on the few that
    // had met, which are not the closest any more once all have.
    world.live(MEET).await;
    Ok(())
}

/// Starts these hosts at the same moment.
pub(super) fn start_at_once(world: &mut World, hosts: &[HostId]) -> Result<(), Failure> {
    let first = first(world);
    hosts.iter().try_for_each(|id| world.start(*id, &first))
}

/// Writes so much through random nodes of a network that is whole: all of it must succeed.
pub(super) async fn fill(
    world: &mut World,
    writers: &mut Writers,
    dice: &mut Dice,
    count: usize,
) -> Result<(), Failure> {
    let errands: Vec<Errand> = (0..count).map(|_| writers.draw()).collect();
    let running = world.running();
    for (errand, report) in write_all(world, dice, &running, errands).await? {
        if matches!(errand, Errand::Put(..)) {
            writers.note(errand.identity(), &report);
        }
    }
    Ok(())
}

/// Does all of this through these nodes, a few at a time; all of it must succeed.
pub(super) async fn write_all(
    world: &mut World,
    dice: &mut Dice,
    nodes: &[HostId],
    errands: Vec<Errand>,
) -> Result<Vec<(Errand, PutReport)>, Failure> {
    let mut done = Vec::with_capacity(errands.len());
    let mut errands = errands.into_iter().peekable();
    while errands.peek().is_some() {
        let mut tasks = Vec::with_capacity(TOGETHER);
        for errand in errands.by_ref().take(TOGETHER) {
            let Some(writer) = nodes.get(dice.place(nodes.len())) else { continue };
            tasks.push(world.errand(*writer, |user| async move {
                let result = errand.run(&user).await;
                (errand, result)
            })?);
        }
        for task in tasks {
            let (errand, result) = task.await.map_err(|error| unexpected(&error))?;
            done.push((errand, result.map_err(|error| unexpected(&error))?));
        }
    }
    Ok(done)
}

/// Everything that was acknowledged is found at once, unchanged and in its newest version: by quorum,
/// and in the usual way, too. For networks that nothing has disturbed, or that have had their time.
pub(super) async fn all_found(world: &World) -> Result<(), Failure> {
    let mut verdict = Ok(());
    for consistency in [Consistency::Quorum, Consistency::Default] {
        verdict = match world.check_all(consistency).await {
            Err(Failure::Broken(rule)) => worse(verdict, Err(rule)),
            other => other.map(|()| verdict)?,
        };
    }
    Ok(verdict?)
}

/// Waits until [`all_found`] holds, where something has just happened to the network. Says how long
/// that took.
///
/// What is forged or outlives its end is never excused; what is not found, or found in an earlier
/// version, is only after `limit`.
pub(super) async fn found_within(world: &World, limit: Duration) -> Result<Duration, Failure> {
    let began = Instant::now();
    loop {
        match all_found(world).await {
            Ok(()) => return Ok(began.elapsed()),
            Err(Failure::Broken(
                BrokenRule::Lost { .. } | BrokenRule::Stale { .. } | BrokenRule::CameBack { .. },
            )) if began.elapsed() < limit => world.live(LOOK_AGAIN).await,
            broken => return broken.map(|()| limit),
        }
    }
}

/// What should not happen in a network that is whole.
pub(super) fn unexpected(error: &dyn std::error::Error) -> Failure {
    Failure::Expected(format!("in a whole network, a node says: {error}"))
}
