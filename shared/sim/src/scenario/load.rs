//! [`Load`]: people who write and read all the time, whatever happens to the nodes meanwhile.

use std::time::Duration;
use std::{fmt, future};

use dht_context::operations::{GetError, PutError, PutReport, Slot};
use dht_kad::lookup::Consistency;
use futures_util::stream::{self, StreamExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Errand, Writers};
use crate::checker::{BrokenRule, Question};
use crate::dice::Dice;
use crate::promise::worse;
use crate::user::User;
use crate::world::{Failure, HostId, World};

/// Who is told that nobody can say now asks again after this.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// And no longer than this.
const PATIENCE: Duration = Duration::from_secs(60);
/// Gets that are under way at once while everything is read.
const READERS: usize = 16;
/// What is under way at the end has come to an end within this.
const END_WITHIN: Duration = Duration::from_secs(60);

/// Background traffic: [`Load::live`] in place of [`World::live`].
pub(super) struct Load {
    writers: Writers,
    dice: Dice,
    every: Duration,
    reads: usize,
    reading: Consistency,
    next: Instant,
    writes: Vec<JoinHandle<Written>>,
    looks: Vec<JoinHandle<Result<(), BrokenRule>>>,
    tally: Tally,
}

/// What was to be written, what became of it, and what a reader at its begin should have found.
type Written = (Errand, Result<PutReport, PutError>, Question);

/// What became of the writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally {
    /// Enough nodes had it.
    pub(super) acknowledged: usize,
    /// The writer was told that too few answered, or that the network is still gathering.
    pub(super) refused: usize,
    /// The writer's own node died.
    pub(super) interrupted: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { acknowledged, refused, interrupted } = self;
        write!(
            f,
            "{acknowledged} writes acknowledged, {refused} refused, {interrupted} interrupted"
        )
    }
}

impl Load {
    /// One write in `every` on average, and so many reads of what was acknowledged beside each.
    pub(super) fn new(world: &World, writers: Writers, every: Duration, reads: usize) -> Self {
        Load {
            writers,
            dice: world.dice("load"),
            every,
            reads,
            reading: Consistency::Default,
            next: Instant::now(),
            writes: Vec::new(),
            looks: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// The same, with readers who ask a quorum of holders: nodes come so fast that a record's first
    /// holders that a reader meets may all be yesterday's.
    pub(super) fn reading_by_quorum(self) -> Self {
        Load { reading: Consistency::Quorum, ..self }
    }

    /// Lets the world live on for a while, with people using any node that runs and is ready.
    ///
    /// # Errors
    /// The first broken promise that a reader meets, and any answer to a writer that blames neither
    /// the network nor too few nodes.
    pub(super) async fn live(&mut self, world: &mut World, span: Duration) -> Result<(), Failure> {
        let all = world.running();
        self.live_among(world, &all, span).await
    }

    /// The same, with people who use only these nodes.
    pub(super) async fn live_among(
        &mut self,
        world: &mut World,
        nodes: &[HostId],
        span: Duration,
    ) -> Result<(), Failure> {
        let until = Instant::now() + span;
        self.next = self.next.max(Instant::now());
        while self.next < until {
            tokio::time::sleep_until(self.next).await;
            self.next += self.dice.between(self.every / 2, self.every * 3 / 2);
            self.collect(world).await?;
            self.write(world, nodes)?;
            for _ in 0..self.reads {
                self.look(world, nodes)?;
            }
        }
        tokio::time::sleep_until(until).await;
        self.collect(world).await
    }

    /// Begins so many writes at once, for whatever comes in the middle of them.
    ///
    /// # Errors
    /// If a node is down.
    pub(super) fn rush(&mut self, world: &mut World, count: usize) -> Result<(), Failure> {
        let all = world.running();
        (0..count).try_for_each(|_| self.write(world, &all))
    }

    /// Waits for what is under way, and says what became of all.
    ///
    /// # Errors
    /// As [`Load::live`]; and if most writes came to nothing, as little was shown then.
    pub(super) async fn finish(&mut self, world: &World) -> Result<Tally, Failure> {
        let deadline = Instant::now() + END_WITHIN;
        while !(self.writes.is_empty() && self.looks.is_empty()) {
            if Instant::now() >= deadline {
                let (writes, looks) = (self.writes.len(), self.looks.len());
                return Err(Failure::Expected(format!("{writes} puts and {looks} gets hang")));
            }
            tokio::time::sleep(ASK_AGAIN).await;
            self.collect(world).await?;
        }
        if self.tally.acknowledged <= self.tally.refused {
            return Err(Failure::Expected(format!("most writes came to nothing: {}", self.tally)));
        }
        Ok(self.tally)
    }

    fn anyone(&mut self, world: &World, nodes: &[HostId]) -> Option<HostId> {
        let ready = ready_among(world, nodes);
        ready.get(self.dice.place(ready.len())).copied()
    }

    fn write(&mut self, world: &mut World, nodes: &[HostId]) -> Result<(), Failure> {
        let Some(node) = self.anyone(world, nodes) else { return Ok(()) };
        let errand = self.writers.draw();
        let question = world.checker().asks(&errand.place(&world.user(node)?));
        self.writes.push(world.errand(node, |user| async move {
            let result = errand.run(&user).await;
            (errand, result, question)
        })?);
        Ok(())
    }

    fn look(&mut self, world: &mut World, nodes: &[HostId]) -> Result<(), Failure> {
        let Some(node) = self.anyone(world, nodes) else { return Ok(()) };
        let places = world.checker().places();
        let Some(place) = places.get(self.dice.place(places.len())).copied() else { return Ok(()) };
        let question = world.checker().asks(&place);
        let reading = self.reading;
        self.looks.push(world.errand(node, |user| look(user, place, question, reading))?);
        Ok(())
    }

    /// Takes note of what has come to an end.
    async fn collect(&mut self, world: &World) -> Result<(), Failure> {
        for done in take_finished(&mut self.writes) {
            match done.await {
                Ok((errand, Ok(report), _)) => {
                    self.tally.acknowledged += 1;
                    if matches!(errand, Errand::Put(..)) {
                        self.writers.note(errand.identity(), &report);
                    }
                }
                // It may have ended. Whoever says so of what lives has lost it.
                Ok((_, Err(PutError::NothingToDelete), question)) => {
                    question.answered(&Err(GetError::NotFound), world.view().now())?;
                }
                Ok((_, Err(error), _)) if is_passing(&error) => self.tally.refused += 1,
                Ok((_, Err(error), _)) => {
                    return Err(Failure::Expected(format!("a writer is told: {error}")));
                }
                Err(_) => self.tally.interrupted += 1,
            }
        }
        for done in take_finished(&mut self.looks) {
            if let Ok(verdict) = done.await {
                verdict?;
            }
        }
        Ok(())
    }
}

fn take_finished<T>(tasks: &mut Vec<JoinHandle<T>>) -> Vec<JoinHandle<T>> {
    tasks.extract_if(.., |task| task.is_finished()).collect()
}

/// Reads one slot, patiently: that nobody can say is no answer.
async fn look(
    user: User,
    place: Slot,
    question: Question,
    reading: Consistency,
) -> Result<(), BrokenRule> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = user.get(&place, reading).await;
        let unsaid = matches!(
            answer,
            Err(GetError::NoPeers
                | GetError::Inconclusive { .. }
                | GetError::NetworkUnsettled
                | GetError::BodyUnavailable(_))
        );
        if !unsaid || Instant::now() >= deadline {
            return question.answered(&answer, user.now());
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Lets people read every slot in which something was acknowledged, each through any node that is
/// ready, and as patiently as those of a [`Load`]. For networks in which nodes have just come or gone.
///
/// # Errors
/// The worst [`BrokenRule`] of all; and if nobody is ready.
pub(super) async fn read_all(world: &World, reading: Consistency) -> Result<(), Failure> {
    let mut dice = world.seed().dice("reading all", world.checker().answers() as u64);
    let ready = ready_among(world, &world.running());
    let mut looks = Vec::new();
    for place in world.checker().places() {
        let Some(node) = ready.get(dice.place(ready.len())) else {
            return Err(Failure::Expected("nobody is ready to read".to_owned()));
        };
        looks.push(look(world.user(*node)?, place, world.checker().asks(&place), reading));
    }
    let verdicts = stream::iter(looks).buffered(READERS);
    Ok(verdicts.fold(Ok(()), |worst, verdict| future::ready(worse(worst, verdict))).await?)
}

fn ready_among(world: &World, nodes: &[HostId]) -> Vec<HostId> {
    let ready = |id: &HostId| world.user(*id).is_ok_and(|user| user.context().is_ready());
    nodes.iter().copied().filter(ready).collect()
}

/// Whether a writer is told something that may be: that too few answer now.
fn is_passing(error: &PutError) -> bool {
    matches!(error, PutError::QuorumNotReached { .. } | PutError::Plan(_) | PutError::NoPeers)
}
