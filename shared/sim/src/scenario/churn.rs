//! [`Churn`]: nodes that come and go on their own schedules.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::load::Load;
use super::moves::first;
use crate::dice::Dice;
use crate::world::{Failure, HostId, World};

/// A new machine is told of so many nodes that run.
const TOLD_OF: usize = 3;

/// How restless a network is.
#[derive(Clone, Copy)]
pub(super) struct Restless {
    /// Half of all sessions are shorter; they have no memory.
    pub(super) session_median: Duration,
    /// How short an absence may be.
    pub(super) away_shortest: Duration,
    /// How long.
    pub(super) away_longest: Duration,
    /// Of a thousand sessions so many end in good order; the others by a crash.
    pub(super) orderly_permille: u32,
    /// Of a thousand machines that go so many never return: a new one with an empty disk comes.
    pub(super) replaced_permille: u32,
}

/// Lets nodes come and go while people write and read.
pub(super) struct Churn {
    restless: Restless,
    dice: Dice,
    due: BTreeMap<(Instant, HostId), Move>,
    moves: usize,
}

#[derive(Clone, Copy)]
enum Move {
    Go,
    Return,
    Begin,
}

impl Churn {
    /// All that run go sooner or later.
    pub(super) fn new(world: &World, restless: Restless) -> Self {
        let mut churn =
            Churn { restless, dice: world.dice("churn"), due: BTreeMap::new(), moves: 0 };
        for id in world.running() {
            churn.plan_session(id);
        }
        churn
    }

    /// How often a node came or went.
    pub(super) fn moves(&self) -> usize {
        self.moves
    }

    /// Lets the world live on for a while, with all this and the load.
    ///
    /// # Errors
    /// As [`Load::live`].
    pub(super) async fn live(
        &mut self,
        world: &mut World,
        load: &mut Load,
        span: Duration,
    ) -> Result<(), Failure> {
        let until = Instant::now() + span;
        while let Some(entry) = self.due.first_entry() {
            let (due, id) = *entry.key();
            if due > until {
                break;
            }
            let next = entry.remove();
            load.live(world, due.saturating_duration_since(Instant::now())).await?;
            self.moves += 1;
            match next {
                Move::Go => self.go(world, id).await,
                Move::Return => self.come(world, id, &first(world))?,
                Move::Begin => {
                    let told = self.some_of(&world.running());
                    self.come(world, id, &told)?;
                }
            }
        }
        load.live(world, until.saturating_duration_since(Instant::now())).await
    }

    /// Everybody who is away comes back, and nobody goes any more.
    ///
    /// # Errors
    /// If a node refuses to start.
    pub(super) fn end(self, world: &mut World) -> Result<(), Failure> {
        let first = first(world);
        for ((_, id), next) in self.due {
            if !matches!(next, Move::Go) {
                world.start(id, &first)?;
            }
        }
        Ok(())
    }

    async fn go(&mut self, world: &mut World, id: HostId) {
        if self.dice.permille(self.restless.orderly_permille) {
            world.stop(&[id]).await;
        } else {
            world.crash(&[id]).await;
        }
        let Restless { away_shortest, away_longest, .. } = self.restless;
        let back = Instant::now() + self.dice.between(away_shortest, away_longest);
        if self.dice.permille(self.restless.replaced_permille) {
            self.due.insert((back, world.add_host()), Move::Begin);
        } else {
            self.due.insert((back, id), Move::Return);
        }
    }

    fn come(&mut self, world: &mut World, id: HostId, ask: &[HostId]) -> Result<(), Failure> {
        world.start(id, ask)?;
        self.plan_session(id);
        Ok(())
    }

    fn some_of(&mut self, nodes: &[HostId]) -> Vec<HostId> {
        let drawn = (0..TOLD_OF).map(|_| self.dice.place(nodes.len()));
        drawn.filter_map(|place| nodes.get(place).copied()).collect()
    }

    fn plan_session(&mut self, id: HostId) {
        // An exponential distribution: as many half-lives as this many halvings of what is left.
        let half_lives = -self.dice.fraction().log2();
        let ends = Instant::now() + self.restless.session_median.mul_f64(half_lives);
        self.due.insert((ends, id), Move::Go);
    }
}
