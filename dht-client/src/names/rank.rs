//! Whose a name is: a pure function of the claims, their evidence, the judges and the present moment.
//!
//! ```text
//! claim, evidence ─▶ Standing::of ─▶ witnessed generations ─▶ since: the moment that counts
//!                    (signatures)                              │ all standings at one skeleton
//!                    asked name ─▶ verdict ◀───────────────────┘
//!                                    └─▶ Unclaimed | Holder | Conflict | Confusable
//! ```
//!
//! **The moment of one generation** is the time that a majority of the judges accepted it by: with n
//! judges and q = ⌊n/2⌋ + 1, the q-th smallest of their `accepted_at`, where a judge without a receipt
//! accepted it never. If all judges have signed that is their median. Fewer than a majority can neither
//! bring it before what an honest judge saw nor, while q honest ones vouch, put it off.
//!
//! **The chain** goes back from the claim that is stored, to the generation before while their seqs
//! follow exactly and the later one's moment lies before the former's end. The stored claim itself needs
//! no moment for that if its predecessor has not ended yet: the reader sees for itself that it is there.
//!
//! **The moment of a claim** is that of its chain: each judge counts with the earliest receipt that it
//! gave for any generation of it, and the q-th smallest of these counts. With judges that stay the same
//! it is the moment of the first generation. Judges that came later vouch for later generations; while
//! at most a minority of them changes between one renewal and the next, who was first stays first.
//!
//! The smallest moment wins. Moments that differ from it by no more than the rules' `tie_ms` are a tie,
//! and a tie is a conflict. A claim without a majority is unproven: it ranks after all proven ones, and
//! several of them are a conflict, as there is nothing to tell them apart by.

use std::collections::{BTreeMap, BTreeSet};

use dht_kad::put::quorum_of;
use dht_kad::{NetworkName, NodeId, ParsedRecord, UnixMs};

use super::claim::Claim;
use super::evidence::{Evidence, Kept};
use super::form::Name;
use super::rules::NameWork;

/// A claim and what its evidence is worth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    /// What is claimed, by whom.
    pub(crate) claim: Claim,
    /// When a majority of the judges had accepted it; absent if no majority vouches for it.
    pub(crate) since: Option<UnixMs>,
    /// How many judges vouch for it.
    pub(crate) vouched: usize,
    /// How many judges there are.
    pub(crate) judges: usize,
    /// How many generations it goes back without a gap.
    pub(crate) generations: usize,
    /// How much of its evidence was false: receipts that no judge signed, generations that are none.
    pub(crate) false_evidence: usize,
}

/// Whose a name is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ranking {
    /// Nobody claims it, nor what reads like it.
    Unclaimed,
    /// It is this one's.
    Holder(Standing),
    /// It cannot be told which of these it belongs to.
    Conflict(Vec<Standing>),
    /// Another name, which this one could be mistaken for, is this one's.
    Confusable(Standing),
}

/// One generation: what judges say of it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Witnessed {
    seq: u64,
    expires_at: UnixMs,
    accepted: BTreeMap<NodeId, UnixMs>,
}

/// What a chain comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Chain {
    since: Option<UnixMs>,
    vouched: usize,
    generations: usize,
}

impl Standing {
    /// Checks a claim's evidence. Only receipts of judges are looked at; what is false is counted and
    /// has no other effect.
    pub(crate) fn of(
        claim: Claim,
        evidence: Option<&Evidence>,
        network: &NetworkName,
        work: &NameWork,
        judges: &BTreeSet<NodeId>,
        now: UnixMs,
    ) -> Self {
        let kept = evidence.map_or(&[][..], |evidence| &evidence.generations);
        let mut false_evidence = 0;
        let mut generations: Vec<Witnessed> = Vec::with_capacity(kept.len() + 1);
        for kept in kept {
            let last = generations.last().map(|witnessed| witnessed.seq);
            let own = generation(kept, &claim, network, work)
                .filter(|own| last.is_none_or(|last| last < own.record().seq()));
            match own {
                Some(own) => {
                    let (accepted, forged) = accepted(kept, &own, network, judges);
                    false_evidence += forged;
                    generations.push(Witnessed::of(&own, accepted));
                }
                None => false_evidence += 1,
            }
        }
        let stored = claim.record().seq();
        if generations.last().is_none_or(|witnessed| witnessed.seq != stored) {
            generations.push(Witnessed::of(&claim, BTreeMap::new()));
        }
        let Chain { since, vouched, generations } = chain(&generations, judges, now);
        Standing { claim, since, vouched, judges: judges.len(), generations, false_evidence }
    }
}

impl Witnessed {
    fn of(claim: &Claim, accepted: BTreeMap<NodeId, UnixMs>) -> Self {
        let record = claim.record();
        Witnessed { seq: record.seq(), expires_at: record.expires_at(), accepted }
    }
}

/// The claim that a kept generation is, if it is one of `claim`: the same name by the same identity, not
/// later than the stored one.
fn generation(kept: &Kept, claim: &Claim, network: &NetworkName, work: &NameWork) -> Option<Claim> {
    let stored = claim.record();
    if kept.record == *stored.bytes() {
        return Some(claim.clone());
    }
    let parsed = ParsedRecord::parse(kept.record.clone()).ok()?;
    // Before the costly check: a stranger's claim, and another version in the stored one's place.
    if parsed.publisher() != stored.publisher() || parsed.seq() >= stored.seq() {
        return None;
    }
    let record = parsed.verify(network).ok()?;
    Claim::of(&record, network, work).filter(|own| own.name() == claim.name())
}

/// When each judge accepted a generation, and how many receipts say so without being theirs.
fn accepted(
    kept: &Kept,
    own: &Claim,
    network: &NetworkName,
    judges: &BTreeSet<NodeId>,
) -> (BTreeMap<NodeId, UnixMs>, usize) {
    let (mut accepted, mut forged) = (BTreeMap::new(), 0);
    for kept in &kept.receipts {
        let node = kept.node();
        if !judges.contains(&node) {
            continue;
        }
        let receipt = kept.receipt(own.record().expires_at());
        match receipt.verify(network, own.record(), &node) {
            Ok(()) => {
                let moment = accepted.entry(node).or_insert(receipt.accepted_at);
                *moment = receipt.accepted_at.min(*moment);
            }
            Err(_) => forged += 1,
        }
    }
    (accepted, forged)
}

/// The moment that a majority of judges had accepted something by.
fn majority(
    judges: &BTreeSet<NodeId>,
    accepted: impl Fn(&NodeId) -> Option<UnixMs>,
) -> Option<UnixMs> {
    let mut moments: Vec<UnixMs> = judges.iter().filter_map(accepted).collect();
    moments.sort_unstable();
    moments.get(quorum_of(judges.len()).saturating_sub(1)).copied()
}

/// How far back the generations go without a gap from the last of them, which is the stored claim, and
/// what that is worth.
fn chain(generations: &[Witnessed], judges: &BTreeSet<NodeId>, now: UnixMs) -> Chain {
    let mut unbroken = 1;
    for (back, pair) in generations.windows(2).rev().enumerate() {
        let [former, next] = pair else { break };
        let moment = majority(judges, |judge| next.accepted.get(judge).copied());
        let in_time = moment.is_some_and(|moment| moment < former.expires_at);
        let seen = back == 0 && now < former.expires_at;
        if former.seq.checked_add(1) != Some(next.seq) || !(in_time || seen) {
            break;
        }
        unbroken += 1;
    }
    let first = generations.len().saturating_sub(unbroken);
    let chain = generations.get(first..).unwrap_or_default();
    let earliest = |judge: &NodeId| {
        chain.iter().filter_map(|witnessed| witnessed.accepted.get(judge)).min().copied()
    };
    Chain {
        since: majority(judges, earliest),
        vouched: judges.iter().filter(|judge| earliest(judge).is_some()).count(),
        generations: chain.len(),
    }
}

/// Whose the name that was asked for is, by all standings at its skeleton, one an identity.
#[must_use]
pub(crate) fn rank(asked: &Name, standings: Vec<Standing>, tie_ms: u64) -> Ranking {
    let (mut proven, unproven): (Vec<_>, Vec<_>) =
        standings.into_iter().partition(|standing| standing.since.is_some());
    proven.sort_by_key(|standing| (standing.since, *standing.claim.identity()));
    let mut leading = match proven.first().and_then(|first| first.since) {
        None => unproven,
        Some(earliest) => {
            let tied = |standing: &Standing| standing.since <= Some(earliest.after(tie_ms));
            proven.into_iter().take_while(tied).collect()
        }
    };
    match (leading.len(), leading.pop()) {
        (_, None) => Ranking::Unclaimed,
        (1, Some(only)) if only.claim.name() == asked => Ranking::Holder(only),
        (1, Some(only)) => Ranking::Confusable(only),
        (_, Some(last)) => {
            leading.push(last);
            Ranking::Conflict(leading)
        }
    }
}

#[cfg(test)]
mod tests;
