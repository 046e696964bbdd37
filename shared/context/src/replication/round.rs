//! One comparison with one neighbour, and the fetching of what it showed.
//!
//! ```text
//! Whole ─▶ Equal                                          most of the time: one request
//!       └▶ Groups ─▶ Parts ─▶ Parts ─▶ … ─▶ what is lacking ─▶ fetch
//!                     ▲ [`Descent`] says which            └── as soon as a page of it is known
//! ```
//!
//! A round only takes. Each answer is checked against what was asked; nonsense ends the round, and
//! whatever was fetched until then is kept. A round can be dropped at any point.

use std::sync::Arc;

use dht_kad::NodeId;
use dht_kad::Refusal;
use dht_kad::admission::Path;
use dht_kad::message::reconcile::{PartAsk, SHORTS_MAX, Wanted, Whole};
use dht_kad::message::{NodeInfo, PAGE_RECORDS, Reconcile, Reconciled};
use dht_kad::reconcile::descent::{
    Descent, Finding, Nonsense, differing_groups, findings, fingerprint_of, lacking,
};
use dht_kad::reconcile::{Cut, Fingerprint, Group, Item, Part, Prefix, Print};
use thiserror::Error;
use tokio::time::Instant;

use super::RoundReport;
use super::fetch::TURN_LONGEST;
use crate::context::{DhtContext, Inner};
use crate::requests::AskError;

/// The most questions in one round: as many as the most parts that may wait need several times over.
/// An answerer that leads astray is left after that.
const QUESTIONS_MAX: usize = 512;
/// The most bytes asked and answered to find what differs, several times what [`RECORDS_MAX`]
/// missing records take: a round that finds nothing in so many is not worth the neighbours' turns.
const COMPARE_BYTES_MAX: u64 = 16 << 20;
/// The most records fetched in one round, so that others get their turn: a few minutes' worth.
const RECORDS_MAX: u64 = 32_768;
/// So many missing records, and they are fetched before more is compared.
const FETCH_AT: usize = 4 * PAGE_RECORDS;
/// After so many parts others get their turn, where nothing had to be waited for.
const TURN_PARTS: usize = 16;

/// A round came to no good end.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoundError {
    /// The neighbour gave no usable answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The neighbour's answers do not fit what was asked.
    #[error("{0} answered something that does not fit what was asked; compare with another node")]
    WrongAnswer(NodeId),
    /// The clocks are too far apart to agree on what is about to end.
    #[error("the clocks of this node and {0} differ too much to compare; set the wrong one")]
    ClocksDiffer(NodeId),
    /// One side's fingerprints are not as fine yet as the question needs.
    #[error("{0} and this node cannot tell these parts apart yet; compare again in a moment")]
    NotYet(NodeId),
    /// This node's own store cannot.
    #[error("this node's store takes nothing from other holders at present: {0}")]
    Store(Refusal),
}

impl DhtContext {
    /// Compares with another holder, right now, what both should hold under these prefixes, none of
    /// which covers another, and fetches what it has and this node has not. Replication does so by
    /// itself when it is time; this is for whoever wants to see it.
    ///
    /// # Errors
    /// [`RoundError`]. What was fetched until then is kept.
    pub async fn compare_with(
        &self,
        peer: &NodeInfo,
        range: &[Prefix],
    ) -> Result<RoundReport, RoundError> {
        self.inner.compare_with(peer, range).await
    }
}

/// A round under way.
struct Round<'a> {
    inner: &'a Arc<Inner>,
    peer: &'a NodeInfo,
    range: &'a [Prefix],
    descent: Descent,
    wanted: Vec<Wanted>,
    waiting: usize,
    questions: usize,
    /// When it ends at the latest, so that others get their turn.
    until: Instant,
    /// Some of it could not be compared, or not be fetched.
    left_out: bool,
    report: RoundReport,
}

/// How the comparison of everything began.
enum Opening {
    Equal,
    Differing(Vec<Group>),
}

impl Inner {
    /// Compares with a neighbour what both should hold under these prefixes, none of which covers
    /// another, and fetches what it has and this node has not.
    ///
    /// # Errors
    /// [`RoundError`]. What was fetched until then is kept.
    pub(crate) async fn compare_with(
        self: &Arc<Self>,
        peer: &NodeInfo,
        range: &[Prefix],
    ) -> Result<RoundReport, RoundError> {
        self.store.writable().map_err(RoundError::Store)?;
        let mut round = Round {
            inner: self,
            peer,
            range,
            descent: Descent::default(),
            wanted: Vec::new(),
            waiting: 0,
            questions: 0,
            until: Instant::now() + TURN_LONGEST,
            left_out: false,
            report: RoundReport::default(),
        };
        let ended = round.run().await;
        if matches!(ended, Err(RoundError::WrongAnswer(_))) {
            self.stats.note_lie();
        }
        round.report.lacked_there = round.descent.lacked_there();
        ended.map(|()| round.report)
    }
}

impl Round<'_> {
    async fn run(&mut self) -> Result<(), RoundError> {
        match self.open().await? {
            Opening::Equal => {
                (self.report.equal, self.report.complete) = (true, true);
                return Ok(());
            }
            Opening::Differing(groups) => self.begin(groups).await?,
        }
        while !self.descent.is_done()
            && self.questions < QUESTIONS_MAX
            && Instant::now() < self.until
            && self.report.compare_bytes < COMPARE_BYTES_MAX
            && self.report.lacked < RECORDS_MAX
        {
            self.step().await?;
            if self.waiting >= FETCH_AT {
                self.fetch().await?;
            }
        }
        self.fetch().await?;
        self.report.complete =
            self.descent.is_done() && !self.descent.has_left_out() && !self.left_out;
        Ok(())
    }

    /// Compares everything at once. If the clocks lie on two sides of a period's end, both take the
    /// later cut.
    async fn open(&mut self) -> Result<Opening, RoundError> {
        let own = Cut::at(self.inner.clock.now());
        let mut cut = own;
        for _ in 0..2 {
            let ours = self.own_groups(&cut).await?;
            let all: Fingerprint = ours.iter().map(|(_, print)| *print).sum();
            let whole = Whole { cut, range: self.range.to_vec(), print: all.print() };
            match self.ask(Reconcile::Whole(whole)).await? {
                Reconciled::Equal => return Ok(Opening::Equal),
                Reconciled::OtherCut(other) if own.is_near(&other) => cut = other,
                Reconciled::OtherCut(_) => return Err(RoundError::ClocksDiffer(self.peer.id)),
                Reconciled::TooLarge => return Err(RoundError::NotYet(self.peer.id)),
                Reconciled::Groups(theirs) => {
                    let (groups, lacked_there) =
                        differing_groups(&cut, &ours, &theirs).map_err(|it| self.wrong(it))?;
                    self.descent.note_lacked_there(lacked_there);
                    return Ok(Opening::Differing(groups));
                }
                _ => return Err(RoundError::WrongAnswer(self.peer.id)),
            }
        }
        Err(RoundError::ClocksDiffer(self.peer.id))
    }

    async fn own_groups(&self, cut: &Cut) -> Result<Vec<(Group, Fingerprint)>, RoundError> {
        let ours = self.inner.server.groups_within(cut, self.range).await;
        ours.ok_or(RoundError::NotYet(self.peer.id))
    }

    /// Takes the differing groups' parts within the range as the first to compare.
    async fn begin(&mut self, groups: Vec<Group>) -> Result<(), RoundError> {
        for group in groups {
            for prefix in self.range {
                let part = Part { group, prefix: prefix.clone() };
                match self.own_part(&part).await? {
                    Some(ours) => self.descent.add(part, ours.print()),
                    None => self.left_out = true,
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// One question on parts, and what follows from its answer.
    async fn step(&mut self) -> Result<(), RoundError> {
        let mut asked = self.descent.batch();
        let answers = match self.ask(Reconcile::Parts(asked.clone())).await? {
            Reconciled::Parts(answers) => answers,
            // The first part is one that the other cannot tell apart yet: it is left to a later round.
            Reconciled::TooLarge => {
                self.left_out = true;
                asked.drain(..asked.len().min(1));
                asked.into_iter().for_each(|ask| self.descent.add(ask.part, ask.print));
                return Ok(());
            }
            _ => return Err(RoundError::WrongAnswer(self.peer.id)),
        };
        let findings = findings(&asked, answers).map_err(|it| self.wrong(it))?;
        for (place, (ask, finding)) in asked.into_iter().zip(findings).enumerate() {
            if place % TURN_PARTS == TURN_PARTS - 1 {
                tokio::task::yield_now().await;
            }
            match finding {
                Finding::Same => {}
                Finding::Later => self.descent.add(ask.part, ask.print),
                Finding::Listed(theirs) => self.listed(ask, theirs).await?,
                Finding::Divided { at, children } => {
                    match self.own_children(&ask, at, &children).await? {
                        Some(ours) => self.descent.compare(&ask, children, &ours),
                        None => self.left_out = true,
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes which of the listed items are missing here.
    async fn listed(&mut self, asked: PartAsk, theirs: Vec<u64>) -> Result<(), RoundError> {
        if theirs.is_empty() {
            self.descent.note_lacked_there(asked.print.count);
            return Ok(());
        }
        let Some(ours) = self.own_items(asked.part.clone()).await? else {
            self.left_out = true;
            return Ok(());
        };
        let (mut shorts, lacked_there) = lacking(theirs, &ours);
        self.descent.note_lacked_there(lacked_there);
        let now = self.inner.clock.now();
        shorts.retain(|short| !self.inner.replication.unwanted.knows(*short, now));
        if !shorts.is_empty() {
            self.report.lacked += shorts.len() as u64;
            self.waiting += shorts.len();
            self.wanted.push(Wanted { part: asked.part, shorts });
        }
        Ok(())
    }

    /// Fetches what is known to be missing.
    async fn fetch(&mut self) -> Result<(), RoundError> {
        self.waiting = 0;
        let wanted = std::mem::take(&mut self.wanted);
        let fetched = self.inner.fetch_from(self.peer, wanted, Path::Repair, self.until).await;
        self.report.fetched += fetched.stored;
        self.report.damaged += fetched.damaged;
        self.report.lacked = self.report.lacked.saturating_sub(fetched.useless);
        self.report.fetch_bytes += fetched.bytes;
        // What the neighbour has no more, because its publisher was quicker, is nobody's to fetch.
        self.left_out |= fetched.stored + fetched.useless + fetched.gone < fetched.asked;
        fetched.stopped.map_or(Ok(()), Err)
    }

    /// This node's own fingerprint of a part; `None` if it cannot tell it apart yet.
    async fn own_part(&self, part: &Part) -> Result<Option<Fingerprint>, RoundError> {
        let mut seen = None;
        self.inner.store.fingerprints(&mut |all| seen = all.part(part));
        match seen {
            Some(print) => Ok(Some(print)),
            None => Ok(self.own_items(part.clone()).await?.map(|items| fingerprint_of(&items))),
        }
    }

    /// This node's own fingerprints of what a part was divided into; `None` if it cannot tell them
    /// apart yet.
    async fn own_children(
        &self,
        asked: &PartAsk,
        at: Prefix,
        children: &[(Part, Print)],
    ) -> Result<Option<Vec<Print>>, RoundError> {
        let mut seen: Option<Vec<Fingerprint>> = None;
        self.inner.store.fingerprints(&mut |all| {
            seen = children.iter().map(|(part, _)| all.part(part)).collect();
        });
        if let Some(ours) = seen {
            return Ok(Some(ours.iter().map(Fingerprint::print).collect()));
        }
        // A child that is not told apart lies within a leaf, which then holds all of what is divided.
        let whole = Part { group: asked.part.group, prefix: at };
        let Some(items) = self.own_items(whole).await? else { return Ok(None) };
        let print = |(part, _): &(Part, Print)| {
            fingerprint_of(items.iter().filter(|item| part.prefix.covers_row(&item.row))).print()
        };
        Ok(Some(children.iter().map(print).collect()))
    }

    /// This node's own items of a part; `None` if there are too many to look at.
    async fn own_items(&self, part: Part) -> Result<Option<Vec<Item>>, RoundError> {
        self.inner.server.items_within(part, SHORTS_MAX).await.map_err(RoundError::Store)
    }

    async fn ask(&mut self, question: Reconcile) -> Result<Reconciled, RoundError> {
        self.questions += 1;
        let (answer, bytes) = self.inner.ask_holder(self.peer, question).await?;
        self.report.compare_bytes += bytes as u64;
        Ok(answer)
    }

    fn wrong(&self, nonsense: Nonsense) -> RoundError {
        tracing::debug!(peer = %self.peer.id, %nonsense, "a round ends");
        RoundError::WrongAnswer(self.peer.id)
    }
}
