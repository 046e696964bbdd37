//! [`Descent`]: the way from two sets that differ down to the items that do.
//!
//! Whoever asks keeps the parts that are still to be compared, each with its own fingerprint of it,
//! and asks for a batch of them at a time:
//!
//! ```text
//! differing_groups ─▶ add ─▶ parts to compare ─▶ batch ─▶ the other's answers ─▶ findings
//!                              ▲                                                 │    │
//!                              └── children that differ ◀────────────────────────┘    └▶ lacking
//! ```
//!
//! What was made last comes first: it is what fewest others have yet. Nothing in here looks at a
//! store; what it needs of one, it is told.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Children, Cut, Fingerprint, Group, Item, PREFIX_MAX, Part, Prefix, Print, period_ms};
use crate::message::PAGE_RECORDS;
use crate::message::reconcile::{
    GroupPrint, LEAF_MAX, PARTS_MAX, PartAnswer, PartAsk, SHORTS_MAX, Wanted,
};

/// The most parts that wait to be compared, at up to 250 bytes each. What does not fit is found
/// again by the next comparison.
pub const PENDING_MAX: usize = 65_536;
/// A part of which the asker has nothing is listed if it has at most so many items: a dozen such
/// lists make an answer.
pub const LIST_MAX: usize = SHORTS_MAX / 4;

/// An answer does not fit what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the answer does not fit the parts that were asked about; compare with another node")]
pub struct Nonsense;

/// What an answer says of one part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// Both hold the same.
    Same,
    /// What the other holds of it lies in these parts; the next step is [`Descent::compare`].
    Divided {
        /// What all of them lie under.
        at: Prefix,
        /// Each with the other's fingerprint.
        children: Vec<(Part, Print)>,
    },
    /// The first bytes of the digests of what the other holds of it; the next step is [`lacking`].
    Listed(Vec<u64>),
    /// The other did not get to it; the next step is [`Descent::add`].
    Later,
}

/// The parts that are still to be compared.
#[derive(Clone, Debug, Default)]
pub struct Descent {
    pending: BTreeMap<Turn, Print>,
    lacked_there: u64,
    left_out: bool,
}

/// A part's place in the order: what was made last comes first.
type Turn = (Reverse<u64>, Part);

impl Descent {
    /// Adds a part, and the asker's own fingerprint of it. Beyond [`PENDING_MAX`] the part whose
    /// turn would come last is left to a later comparison.
    pub fn add(&mut self, part: Part, ours: Print) {
        self.pending.insert((Reverse(made_at(&part.group)), part), ours);
        if self.pending.len() > PENDING_MAX {
            self.pending.pop_last();
            self.left_out = true;
        }
    }

    /// Whether nothing is left to compare.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether some part was left to a later comparison, as too many were waiting.
    #[must_use]
    pub fn has_left_out(&self) -> bool {
        self.left_out
    }

    /// Takes the next parts to ask about.
    pub fn batch(&mut self) -> Vec<PartAsk> {
        let next = std::iter::from_fn(|| self.pending.pop_first());
        let ask = |((_, part), print): (Turn, Print)| PartAsk { part, print };
        next.take(PARTS_MAX).map(ask).collect()
    }

    /// Compares what a part was divided into with the asker's own fingerprints of the same children,
    /// and adds those that differ. What lies in none of them, the other does not have.
    pub fn compare(&mut self, asked: &PartAsk, children: Vec<(Part, Print)>, ours: &[Print]) {
        let in_children = ours.iter().fold(0_u64, |sum, print| sum.saturating_add(print.count));
        self.note_lacked_there(asked.print.count.saturating_sub(in_children));
        for ((part, theirs), ours) in children.into_iter().zip(ours) {
            if theirs != *ours {
                self.add(part, *ours);
            }
        }
    }

    /// Counts versions that the asker holds and the other does not.
    pub fn note_lacked_there(&mut self, count: u64) {
        self.lacked_there = self.lacked_there.saturating_add(count);
    }

    /// How many versions the asker holds and the other does not, as far as was seen.
    #[must_use]
    pub fn lacked_there(&self) -> u64 {
        self.lacked_there
    }
}

/// About when the versions of a group were made.
fn made_at(group: &Group) -> u64 {
    let ends_at = u64::from(group.period).saturating_mul(period_ms(group.span));
    ends_at.saturating_sub(group.span.lifetime_ms())
}

/// The groups that the other has something in and that differ; and how many versions the asker
/// holds in groups that the other has nothing in.
///
/// # Errors
/// [`Nonsense`] if the other's groups are out of order, empty, or left out by the cut.
pub fn differing_groups(
    cut: &Cut,
    ours: &[(Group, Fingerprint)],
    theirs: &[GroupPrint],
) -> Result<(Vec<Group>, u64), Nonsense> {
    let in_order = theirs.is_sorted_by(|one, next| one.group < next.group);
    if !in_order || theirs.iter().any(|it| it.print.count == 0 || !cut.takes(&it.group)) {
        return Err(Nonsense);
    }
    let prints: BTreeMap<Group, Print> =
        ours.iter().map(|(group, print)| (*group, print.print())).collect();
    let differs = |it: &&GroupPrint| prints.get(&it.group) != Some(&it.print);
    let differing = theirs.iter().filter(differs).map(|it| it.group).collect();
    let there: BTreeSet<Group> = theirs.iter().map(|it| it.group).collect();
    let lacked = ours.iter().filter(|(group, _)| !there.contains(group));
    let lacked_there = lacked.fold(0_u64, |sum, (_, print)| sum.saturating_add(print.count));
    Ok((differing, lacked_there))
}

/// Reads the answers to parts, one for each and in their order.
///
/// # Errors
/// [`Nonsense`] if an answer cannot be one to its part, or none of them gets on.
pub fn findings(asked: &[PartAsk], answers: Vec<PartAnswer>) -> Result<Vec<Finding>, Nonsense> {
    if answers.len() != asked.len() || matches!(answers.first(), None | Some(PartAnswer::Later)) {
        return Err(Nonsense);
    }
    asked.iter().zip(answers).map(|(ask, answer)| finding(ask, answer)).collect()
}

fn finding(asked: &PartAsk, answer: PartAnswer) -> Result<Finding, Nonsense> {
    match answer {
        PartAnswer::Same => Ok(Finding::Same),
        PartAnswer::Later => Ok(Finding::Later),
        PartAnswer::Items(shorts) if shorts.len() <= list_limit(asked.print.count) => {
            Ok(Finding::Listed(shorts))
        }
        PartAnswer::Items(_) => Err(Nonsense),
        PartAnswer::Children { at, children } => {
            let under = asked.part.prefix.covers(&at) && at.len() < PREFIX_MAX;
            let in_order = children.is_sorted_by(|(one, _), (next, _)| one < next);
            let full = |(half_byte, print): &(u8, Print)| *half_byte < 16 && print.count > 0;
            if !under || !in_order || children.is_empty() || !children.iter().all(full) {
                return Err(Nonsense);
            }
            let child = |(half_byte, print)| {
                (Part { group: asked.part.group, prefix: at.child(half_byte) }, print)
            };
            let children = children.into_iter().map(child).collect();
            Ok(Finding::Divided { at, children })
        }
    }
}

/// How many items an answer may list for an asker who has so many there; none at all may always be
/// listed.
#[must_use]
pub fn list_limit(asker_count: u64) -> usize {
    match asker_count {
        0 => LIST_MAX,
        count if count <= LEAF_MAX as u64 => LEAF_MAX,
        _ => 0,
    }
}

/// What is answered on a part, by all of its items in the order of rows.
#[must_use]
pub fn answer_from_items(asked: &PartAsk, items: &[Item]) -> PartAnswer {
    if fingerprint_of(items).print() == asked.print {
        return PartAnswer::Same;
    }
    match children_of(&asked.part.prefix, items) {
        Some(children) if items.len() > list_limit(asked.print.count) => children.answer(),
        _ => PartAnswer::Items(items.iter().map(Item::short).collect()),
    }
}

impl Children {
    /// What is sent of them.
    #[must_use]
    pub fn answer(self) -> PartAnswer {
        let children = self.children.iter().map(|(half_byte, all)| (*half_byte, all.print()));
        PartAnswer::Children { children: children.collect(), at: self.at }
    }
}

/// The fingerprint of some items.
#[must_use]
pub fn fingerprint_of<'a>(items: impl IntoIterator<Item = &'a Item>) -> Fingerprint {
    items.into_iter().map(|item| Fingerprint::of(&item.version.digest)).sum()
}

/// What a part's items, in the order of rows, are divided into. `None` if there are none, or the
/// part is a single place.
#[must_use]
pub fn children_of(prefix: &Prefix, items: &[Item]) -> Option<Children> {
    let (first, last) = (items.first()?, items.last()?);
    if prefix.len() >= PREFIX_MAX {
        return None;
    }
    let [first, last] = [first, last].map(|item| Prefix::of(&item.row, PREFIX_MAX));
    let both = first.half_bytes().iter().zip(last.half_bytes());
    let shared = both.take_while(|(one, other)| one == other).count();
    let at = first.shortened(shared.clamp(prefix.len(), PREFIX_MAX.saturating_sub(1)));
    let mut children: Vec<(u8, Fingerprint)> = Vec::new();
    for item in items {
        let place = Prefix::of(&item.row, at.len().saturating_add(1));
        let half_byte = place.half_bytes().last().copied().unwrap_or_default();
        let print = Fingerprint::of(&item.version.digest);
        match children.last_mut() {
            Some((last, all)) if *last == half_byte => *all = all.plus(print),
            _ => children.push((half_byte, print)),
        }
    }
    Some(Children { at, children })
}

/// Which of the other's items the asker lacks, and how many of the asker's the other lacks, by the
/// first bytes of their digests.
#[must_use]
pub fn lacking(theirs: Vec<u64>, ours: &[Item]) -> (Vec<u64>, u64) {
    let own: BTreeSet<u64> = ours.iter().map(Item::short).collect();
    let there: BTreeSet<u64> = theirs.iter().copied().collect();
    let lacked_there = own.difference(&there).count() as u64;
    let mut seen = BTreeSet::new();
    let lacked = theirs.into_iter().filter(|short| !own.contains(short) && seen.insert(*short));
    (lacked.collect(), lacked_there)
}

/// Cuts a list of what is wanted into requests' worth.
#[must_use]
pub fn batches(wanted: Vec<Wanted>) -> Vec<Vec<Wanted>> {
    let mut batches = Vec::new();
    let mut batch: Vec<Wanted> = Vec::new();
    let mut room = PAGE_RECORDS;
    for Wanted { part, mut shorts } in wanted {
        while !shorts.is_empty() {
            let rest = shorts.split_off(shorts.len().min(room));
            room = room.saturating_sub(shorts.len());
            batch.push(Wanted { part: part.clone(), shorts });
            shorts = rest;
            if room == 0 {
                batches.push(std::mem::take(&mut batch));
                room = PAGE_RECORDS;
            }
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests;
