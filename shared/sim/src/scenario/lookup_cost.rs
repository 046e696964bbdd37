//! [`LookupCost`]: what a lookup and a get take in a network of this size.

use std::time::Duration;

use dht_context::Timing;
use dht_context::operations::PutReport;
use dht_kad::Key;
use dht_kad::lookup::Consistency;
use dht_kad::routing::K;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::moves::{READY_WITHIN, minutes, unexpected, write_all};
use super::{Errand, Scenario, Writers};
use crate::dice::Dice;
use crate::transport::Purpose;
use crate::world::{Failure, HostId, World};

/// Nodes that begin with each other; the others come in groups of this size.
const GROUP: usize = 50;
/// Between two groups.
const BETWEEN: Duration = Duration::from_secs(2);
/// How many random nodes of those that are there a newcomer is told of.
const TOLD_OF: usize = 3;
/// Lookups of random keys through random nodes.
const LOOKUPS: usize = 500;
/// Records that are put and then got, each through a random node.
const RECORDS: usize = 200;
/// Of a hundred of the truly k closest so many are found on average.
const FOUND_PERCENT: usize = 99;

/// Hops and requests of lookups, and requests of gets.
pub struct LookupCost;

impl Scenario for LookupCost {
    fn name(&self) -> &'static str {
        "lookup-cost"
    }

    fn about(&self) -> &'static str {
        "random keys are looked up through random nodes, and records put and got: the closest \
         nodes and every record are found, and the hops and requests that it takes are noted"
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("lookup-cost");
    world.set_timing(quiet());
    for id in 0..world.host_count() {
        let known = id.min(GROUP.max(id / GROUP * GROUP));
        let told: Vec<HostId> = match known {
            0 => Vec::new(),
            known => (0..TOLD_OF).map(|_| dice.place(known)).collect(),
        };
        world.start(id, &told)?;
        if id % GROUP == GROUP - 1 {
            world.live(BETWEEN).await;
        }
    }
    world.all_ready(READY_WITHIN).await?;
    world.live(minutes(2)).await;

    let (mut hops, mut asked, mut found) = (Vec::new(), Vec::new(), 0);
    let closest_there_are = K.min(world.host_count());
    for number in 0..LOOKUPS {
        let key = Key(world.seed().derive("looked up", number as u64));
        let context = world.user(dice.place(world.host_count()))?.context().clone();
        let lookup = context.measured_lookup(&key).await;
        let truly = world.view().closest(&key, K);
        let truly = truly.into_iter().filter_map(|id| world.view().node_id(id));
        let names: Vec<_> = lookup.closest.iter().map(|node| node.info.id).collect();
        found += truly.filter(|id| names.contains(id)).count();
        hops.push(lookup.hops);
        asked.push(lookup.asked);
    }
    let of = |list: &mut Vec<usize>| {
        list.sort_unstable();
        let mean = list.iter().sum::<usize>() as f64 / list.len().max(1) as f64;
        let at = |percent: usize| list.get(list.len() * percent / 100).copied().unwrap_or(0);
        format!("mean {mean:.1}, median {}, 99% {}", at(50), at(99))
    };
    let (hops, asked) = (of(&mut hops), of(&mut asked));
    world.note(format!("hops: {hops}; requests: {asked}"));
    let all = LOOKUPS * closest_there_are;
    world.note(format!("{found} of {all} truly closest nodes found"));
    if found * 100 < all * FOUND_PERCENT {
        return Err(Failure::Expected(format!("only {found} of {all} closest nodes are found")));
    }
    get_records(world, &mut dice).await
}

/// Puts records, gets each by every consistency, and notes the requests that a get takes.
async fn get_records(world: &mut World, dice: &mut Dice) -> Result<(), Failure> {
    let mut writers = Writers::new(world.seed());
    let errands = (0..RECORDS).map(|_| writers.draw_put()).collect();
    let all: Vec<HostId> = (0..world.host_count()).collect();
    let puts: Vec<(Errand, PutReport)> = write_all(world, dice, &all, errands).await?;
    for consistency in [Consistency::One, Consistency::Default, Consistency::Quorum] {
        let before = world.network().sent_in_all();
        let (mut holders, began) = (0, Instant::now());
        for (errand, _) in &puts {
            let Errand::Put(identity, put) = errand else { continue };
            let user = world.user(dice.place(world.host_count()))?;
            let slot = user.slot_of(identity, put);
            let got = user.get(&slot, consistency).await.map_err(|error| unexpected(&error))?;
            holders += got.holders;
        }
        let requests =
            world.network().sent_in_all().requests(Purpose::Gets) - before.requests(Purpose::Gets);
        let each = |count: u64| count as f64 / puts.len().max(1) as f64;
        let (asked, held) = (each(requests), each(holders as u64));
        let took = began.elapsed().as_millis() / puts.len().max(1) as u128;
        world.note(format!(
            "a get by {consistency}: {asked:.1} requests, {held:.1} holders, {took} ms"
        ));
    }
    Ok(())
}

/// Nodes that do little besides: their number is what counts here.
fn quiet() -> Timing {
    Timing {
        tick: Duration::from_secs(10),
        pulse: minutes(10),
        revalidate: minutes(10),
        compare_clocks: minutes(60),
        repair_every: minutes(24 * 60),
        ..Timing::default()
    }
}
