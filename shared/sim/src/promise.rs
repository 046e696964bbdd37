//! Whether a world keeps its promise, as far as anybody can tell by waiting, getting and asking.

use std::future::ready;
use std::time::Duration;

use dht_kad::lookup::Consistency;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::checker::BrokenRule;
use crate::dice::Dice;
use crate::stranger::Stranger;
use crate::view::{Copies, View};
use crate::world::{Failure, HostId, World};

/// Gets that are under way at once while everything is checked.
const READERS: usize = 16;
/// A wait looks so often whether it is over.
const LOOKS: u32 = 60;
/// But not more often than this.
const LOOK_EVERY_AT_LEAST: Duration = Duration::from_secs(1);
/// A get during faults that takes longer than this has failed: twice what its requests may take.
const GET_LONGEST: Duration = Duration::from_secs(60);

/// The worse of two verdicts.
pub fn worse(one: Result<(), BrokenRule>, other: Result<(), BrokenRule>) -> Result<(), BrokenRule> {
    match (one, other) {
        (Err(one), Err(other)) => Err(one.worse(other)),
        (one, other) => one.and(other),
    }
}

/// People who read all the while; they stop when this is dropped.
pub struct Readers(AbortHandle);

impl World {
    /// Waits until every node that runs is ready.
    ///
    /// # Errors
    /// [`Failure::Expected`] if that takes longer than `limit`.
    pub async fn all_ready(&self, limit: Duration) -> Result<(), Failure> {
        let running = self.running();
        let users: Vec<_> =
            running.into_iter().map(|id| self.user(id)).collect::<Result<_, _>>()?;
        let all = async {
            for user in &users {
                user.context().ready().await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_ok() {
            return Ok(());
        }
        let late: Vec<_> = users.iter().filter(|user| !user.context().is_ready()).collect();
        let first = late.first().map(|user| {
            let context = user.context();
            let (stage, table) = (context.stage(), context.stats().table);
            format!("; the first has {table} servers in its table and is {stage:?}")
        });
        let (late, nodes, secs) = (late.len(), users.len(), limit.as_secs());
        let first = first.unwrap_or_default();
        let what = format!("{late} of {nodes} nodes are not ready after {secs} s{first}");
        Err(Failure::Expected(what))
    }

    /// Gets every slot in which something was acknowledged, each through a random node, and checks
    /// the answers.
    ///
    /// # Errors
    /// The worst [`BrokenRule`] of all.
    pub async fn check_all(&self, consistency: Consistency) -> Result<(), Failure> {
        self.check_all_through(&self.running(), consistency).await
    }

    /// As [`Self::check_all`], through these hosts only.
    ///
    /// # Errors
    /// The worst [`BrokenRule`] of all.
    pub async fn check_all_through(
        &self,
        readers: &[HostId],
        consistency: Consistency,
    ) -> Result<(), Failure> {
        let mut dice = self.seed().dice("readers", self.checker().answers() as u64);
        let mut gets = Vec::new();
        for place in self.checker().places() {
            let Some(reader) = readers.get(dice.place(readers.len())) else {
                return Err(Failure::Expected("nobody is there to read".to_owned()));
            };
            let (question, user) = (self.checker().asks(&place), self.user(*reader)?);
            gets.push(async move { user.get_checked(question, consistency).await });
        }
        let verdicts = stream::iter(gets).buffered(READERS);
        Ok(verdicts.fold(Ok(()), |worst, verdict| ready(worse(worst, verdict))).await?)
    }

    /// Waits until every acknowledged record that has not ended is held, in its newest version or a
    /// later one, by so many of the k running hosts that are truly closest to it. Says how long that
    /// took.
    ///
    /// # Errors
    /// [`BrokenRule::TooFewCopies`] of the first record that lacks copies after `within`.
    pub async fn converged(&self, copies: Copies, within: Duration) -> Result<Duration, Failure> {
        let began = Instant::now();
        let every = (within / LOOKS).max(LOOK_EVERY_AT_LEAST);
        loop {
            match self.view().check_copies(copies) {
                Ok(()) => return Ok(began.elapsed()),
                Err(lacking) if began.elapsed() >= within => return Err(lacking.into()),
                Err(_) => tokio::time::sleep(every).await,
            }
        }
    }

    /// Asks each of these hosts for every acknowledged record that lies on its disk, as a stranger would,
    /// and checks what it shows: nothing forged, and nothing that has ended. What it does not show is no
    /// fault of one node alone.
    ///
    /// # Errors
    /// The first [`BrokenRule`], and [`Failure::Expected`] if a host does not answer.
    pub async fn check_each(&self, hosts: &[HostId]) -> Result<(), Failure> {
        let probe = Stranger::arrive(self);
        let checks: Vec<_> = hosts.iter().map(|id| self.check_one(&probe, *id)).collect();
        stream::iter(checks).buffered(READERS).try_collect().await
    }

    async fn check_one(&self, probe: &Stranger, id: HostId) -> Result<(), Failure> {
        for place in self.checker().places() {
            let slot = place.id(self.network_name());
            if self.view().held(id, &slot).is_none() {
                continue;
            }
            let asked = self.view().now();
            let Some(records) = probe.find(id, &slot).await else {
                let silent = format!("host {id} does not show a stranger what it holds");
                return Err(Failure::Expected(silent));
            };
            for bytes in records {
                self.checker().shown_directly(&slot, &bytes, asked)?;
            }
        }
        Ok(())
    }

    /// Lets people read random acknowledged records by quorum, through random nodes, one every so
    /// often, whatever happens. Their answers are counted: see
    /// [`Checker::reads`](crate::checker::Checker::reads). What nobody may ever see, something forged
    /// or expired, is noted as broken.
    #[must_use]
    pub fn read_on(&self, every: Duration) -> Readers {
        let dice = self.seed().dice("reading on", self.checker().answers() as u64);
        Readers(tokio::spawn(read_on(self.view().clone(), dice, every)).abort_handle())
    }

    /// Whether anything was seen that nobody may ever see.
    ///
    /// # Errors
    /// The first such [`BrokenRule`].
    pub fn check_seen(&self) -> Result<(), BrokenRule> {
        self.checker().seen_broken().map_or(Ok(()), Err)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read_on(view: View, mut dice: Dice, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let (running, places) = (view.running(), view.checker.places());
        let reader = running.get(dice.place(running.len()));
        let place = places.get(dice.place(places.len()));
        let (Some(reader), Some(place)) = (reader, place) else { continue };
        let Ok(user) = view.user(*reader) else { continue };
        let question = view.checker.asks(place);
        tokio::spawn(async move {
            let get = user.get(question.place(), Consistency::Quorum);
            let answer = tokio::time::timeout(GET_LONGEST, get).await.ok();
            question.answered_in_trouble(answer.as_ref(), user.now());
        });
    }
}
