//! [`Replay`]: somebody has heard everything that was ever asked, and asks it again: later, of
//! others, in another order, and more than once.

use std::collections::BTreeMap;

use bytes::Bytes;
use dht_kad::lookup::Consistency;
use dht_kad::record::{Precedence, Retention};
use dht_kad::{RecordId, UnixMs};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};

use super::moves::{all_found, everyone, fill, gather, minutes};
use super::{Scenario, Writers};
use crate::dice::Dice;
use crate::stranger::Stranger;
use crate::view::Copies;
use crate::world::{Failure, HostId, World};

/// Writes in each of several rounds; later ones overwrite and delete some of what earlier ones wrote.
const WRITES: usize = 80;
const ROUNDS: usize = 4;
/// Requests that are sent again each time: all that write, and some of the rest.
const AGAIN_MAX: usize = 8_000;
/// Requests that are under way at once.
const TOGETHER: usize = 32;

/// Everything again.
pub struct Replay;

impl Scenario for Replay {
    fn name(&self) -> &'static str {
        "replay"
    }

    fn about(&self) -> &'static str {
        "all that was ever asked of any node is asked again, later, of others and in another \
         order: nothing that anybody holds becomes older, and nothing that has ended returns"
    }

    fn nodes(&self) -> usize {
        30
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("replay");
    gather(world).await?;
    world.network().overhear();
    let mut writers = Writers::new(world.seed());
    for _ in 0..ROUNDS {
        fill(world, &mut writers, &mut dice, WRITES).await?;
    }
    all_found(world).await?;
    world.converged(Copies::Nearly, minutes(30)).await?;
    let heard = world.network().overheard();

    let attacker = Stranger::arrive(world);
    ask_again(world, &attacker, &heard, &mut dice).await?;
    all_found(world).await?;
    // Whoever was cut off could be told anything; so could one that has just lost its disk.
    let victim = dice.place(world.host_count());
    world.crash(&[victim]).await;
    world.wipe(victim);
    world.start(victim, &everyone(world))?;
    ask_again(world, &attacker, &heard, &mut dice).await?;
    world.all_ready(minutes(5)).await?;
    world.converged(Copies::Nearly, minutes(30)).await?;
    all_found(world).await?;

    for class in [Retention::Hours8, Retention::Days7] {
        world.clock().jump(class.lifetime_ms());
        ask_again(world, &attacker, &heard, &mut dice).await?;
        world.check_each(&everyone(world)).await?;
        world.check_all(Consistency::Quorum).await?;
    }
    Ok(())
}

/// Asks random nodes again what was heard, in a random order, and looks whether anything that
/// anybody holds is older afterwards.
async fn ask_again(
    world: &mut World,
    attacker: &Stranger,
    heard: &[Bytes],
    dice: &mut Dice,
) -> Result<(), Failure> {
    let before = holdings(world);
    let running = world.running();
    let (mut writes, mut others): (Vec<_>, Vec<_>) = heard.iter().partition(|frame| stores(frame));
    shuffle(&mut writes, dice);
    shuffle(&mut others, dice);
    let mut asked = Vec::new();
    for frame in writes.into_iter().chain(others).take(AGAIN_MAX) {
        let host = running.get(dice.place(running.len())).copied().unwrap_or_default();
        asked.push(attacker.ask_raw(host, frame.clone()));
    }
    let answers: Vec<_> = stream::iter(asked).buffered(TOGETHER).collect().await;
    let answered = answers.iter().flatten().count();
    world.note(format!("{answered} requests of others were answered again"));
    let now = world.view().now();
    for ((host, slot), version) in before {
        let held = world.view().held(host, &slot).map(|held| held.precedence());
        if lives(&version, now) && held.is_none_or(|held| held < version) {
            let older = format!("host {host} holds an older version at {} than before", slot.key);
            return Err(Failure::Expected(older));
        }
    }
    Ok(())
}

/// The versions that each running host holds of each slot that was ever promised.
fn holdings(world: &World) -> BTreeMap<(HostId, RecordId), Precedence> {
    let mut holdings = BTreeMap::new();
    for record in world.checker().promised(world.view().now()) {
        for host in world.running() {
            if let Some(held) = world.view().held(host, record.id()) {
                holdings.insert((host, *record.id()), held.precedence());
            }
        }
    }
    holdings
}

fn lives(version: &Precedence, now: UnixMs) -> bool {
    version.keep_until > now
}

fn stores(frame: &Bytes) -> bool {
    frame.starts_with(&dht_kad::message::TYPE_STORE.to_be_bytes())
}

fn shuffle<T>(list: &mut [T], dice: &mut Dice) {
    for place in (1..list.len()).rev() {
        list.swap(place, dice.place(place + 1));
    }
}
