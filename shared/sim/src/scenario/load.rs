//! [`Load`]: people who write and read all the time, whatever happens to the nodes meanwhile.

use std::fmt;
use std::time::Duration;

use dht_context::operations::{GetError, PutError, PutReport, Slot};
use dht_kad::lookup::Consistency;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Errand, Writers};
use crate::checker::{BrokenRule, Question};
use crate::dice::Dice;
use crate::user::User;
use crate::world::{Failure, HostId, World};

/// Who is told that nobody can say now asks again after this.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// And no longer than this.
const PATIENCE: Duration = Duration::from_secs(60);
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
    writes: Vec<JoinHandle<(Errand, Result<PutReport, PutError>)>>,
    looks: Vec<JoinHandle<Result<(), BrokenRule>>>,
    tally: Tally,
}

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
            self.collect().await?;
            self.write(world, nodes)?;
            for _ in 0..self.reads {
                self.look(world, nodes)?;
            }
        }
        tokio::time::sleep_until(until).await;
        self.collect().await
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
    /// As [`Load::live`].
    pub(super) async fn finish(&mut self) -> Result<Tally, Failure> {
        let deadline = Instant::now() + END_WITHIN;
        while !(self.writes.is_empty() && self.looks.is_empty()) {
            if Instant::now() >= deadline {
                let (writes, looks) = (self.writes.len(), self.looks.len());
                return Err(Failure::Expected(format!("{writes} puts and {looks} gets hang")));
            }
            tokio::time::sleep(ASK_AGAIN).await;
            self.collect().await?;
        }
        Ok(self.tally)
    }

    fn anyone(&mut self, world: &World, nodes: &[HostId]) -> Option<HostId> {
        let ready = |id: &HostId| world.user(*id).is_ok_and(|user| user.context().is_ready());
        let ready: Vec<HostId> = nodes.iter().copied().filter(ready).collect();
        ready.get(self.dice.place(ready.len())).copied()
    }

    fn write(&mut self, world: &mut World, nodes: &[HostId]) -> Result<(), Failure> {
        let Some(node) = self.anyone(world, nodes) else { return Ok(()) };
        let errand = self.writers.draw();
        self.writes.push(world.errand(node, |user| async move {
            let result = errand.run(&user).await;
            (errand, result)
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
    async fn collect(&mut self) -> Result<(), Failure> {
        for done in take_finished(&mut self.writes) {
            match done.await {
                Ok((errand, Ok(report))) => {
                    self.tally.acknowledged += 1;
                    if matches!(errand, Errand::Put(..)) {
                        self.writers.note(errand.identity(), &report);
                    }
                }
                Ok((_, Err(error))) if is_passing(&error) => self.tally.refused += 1,
                Ok((_, Err(error))) => {
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

/// Whether a writer is told something that may be: that too few answer now, or that what was to be
/// deleted has ended.
fn is_passing(error: &PutError) -> bool {
    matches!(
        error,
        PutError::QuorumNotReached { .. }
            | PutError::Plan(_)
            | PutError::NoPeers
            | PutError::NothingToDelete
    )
}
