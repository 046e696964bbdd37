//! [`LookupCost`]: what a lookup takes in a network of this size.

use std::time::Duration;

use dht_context::Timing;
use dht_kad::Key;
use dht_kad::routing::K;
use futures_util::future::BoxFuture;

use super::Scenario;
use super::moves::{READY_WITHIN, minutes};
use crate::world::{Failure, HostId, World};

/// Nodes that begin with each other; the others come in groups of this size.
const GROUP: usize = 50;
/// Between two groups.
const BETWEEN: Duration = Duration::from_secs(2);
/// How many random nodes of those that are there a newcomer is told of.
const TOLD_OF: usize = 3;
/// Lookups of random keys through random nodes.
const LOOKUPS: usize = 500;
/// Of a hundred of the truly k closest so many are found on average.
const FOUND_PERCENT: usize = 99;

/// Hops and requests of lookups.
pub struct LookupCost;

impl Scenario for LookupCost {
    fn name(&self) -> &'static str {
        "lookup-cost"
    }

    fn about(&self) -> &'static str {
        "random keys are looked up through random nodes: the closest nodes are found, and the \
         hops and requests that it takes are noted"
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
    Ok(())
}

/// Nodes that do little besides: their number is what counts here.
fn quiet() -> Timing {
    Timing {
        tick: Duration::from_secs(10),
        revalidate: minutes(10),
        compare_clocks: minutes(60),
        repair_every: minutes(24 * 60),
        ..Timing::default()
    }
}
