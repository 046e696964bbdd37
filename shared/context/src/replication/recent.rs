//! [`Recent`]: what publishers put here a moment ago, which the other holders may not have yet.
//!
//! ```text
//! a put ─▶ remembered ─┬─▶ where this node should hold it: rounds show that a quorum of the others has it
//!                      └─▶ elsewhere: a pass of offers shows that a quorum of those it belongs to has it
//! ```
//!
//! A put is taken wherever its publisher finds this node among the closest, which may be beside what the
//! node itself thinks its own. A round compares what both should hold and nothing else, so it says nothing
//! of the rest.

use std::collections::{BTreeMap, VecDeque};

use dht_kad::admission::{Existing, row_key};
use dht_kad::message::reconcile::Offered;
use dht_kad::put::quorum_of;
use dht_kad::reconcile::{Group, Item, Neighbourhood, Prefix, RowKey};
use dht_kad::routing::K;
use dht_kad::{NodeId, ValidRecord};
use tokio::time::Instant;

use super::turns::Turns;

/// The most items that are remembered, at some 200 bytes each. Under so many puts that this is not
/// enough, what is forgotten has a quorum by the puts themselves, and waits for the next round.
const RECENT_MAX: usize = 4_096;
/// So many are looked at after a round, each of which costs a search for those closest to it.
const LOOKED_AT_MAX: usize = 256;

/// The last items that were put here, oldest first, and what shows that others have them.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    items: VecDeque<Accepted>,
    /// How many of the oldest were looked at since the last look at the very oldest.
    looked_at: usize,
    proofs: Proofs,
}

/// What has shown that others hold all that was here before it began, and where.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    /// What was compared with each neighbour that lacked nothing of it; [`Turns`] know when.
    compared: BTreeMap<NodeId, Vec<Prefix>>,
    /// When the last pass of offers began after which a quorum had all of it, and where it went.
    offered: Option<(Instant, Vec<Prefix>)>,
}

/// A version that a publisher put here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    at: Instant,
    group: Group,
    item: Item,
}

impl Accepted {
    /// A record that has just been put on stable storage.
    pub(crate) fn now(record: &ValidRecord) -> Self {
        let existing = Existing::of(record);
        let item = Item { row: row_key(record.id()), version: existing.precedence };
        Accepted { at: Instant::now(), group: Group::of(&existing), item }
    }

    /// Who should hold it besides this node.
    pub(crate) fn others(&self, neighbourhood: &Neighbourhood) -> Vec<NodeId> {
        let mut others = neighbourhood.closest(&self.offered().key, K + 1);
        others.retain(|id| *id != neighbourhood.own());
        others.truncate(K);
        others
    }

    /// Whether it lies under one of these prefixes.
    fn lies_in(&self, range: &[Prefix]) -> bool {
        range.iter().any(|prefix| prefix.covers_row(&self.item.row))
    }

    /// How it is offered to others.
    pub(crate) fn offered(&self) -> Offered {
        Offered::new(self.group, &self.item)
    }
}

impl Proofs {
    /// Whether a round that began later has shown that this server holds it.
    pub(crate) fn is_held_by(&self, accepted: &Accepted, id: &NodeId, turns: &Turns) -> bool {
        let later = turns.has_all(id).is_some_and(|began| began > accepted.at);
        later && self.compared.get(id).is_some_and(|range| accepted.lies_in(range))
    }

    /// Whether a pass of offers that began later has shown that a quorum holds it.
    pub(crate) fn is_offered(&self, accepted: &Accepted) -> bool {
        let offered = self.offered.as_ref();
        offered.is_some_and(|(began, range)| *began > accepted.at && accepted.lies_in(range))
    }

    fn is_held(&self, accepted: &Accepted, neighbourhood: &Neighbourhood, turns: &Turns) -> bool {
        if self.is_offered(accepted) {
            return true;
        }
        let others = accepted.others(neighbourhood);
        let held = others.iter().filter(|id| self.is_held_by(accepted, id, turns)).count();
        held >= quorum_of(others.len())
    }
}

impl Recent {
    /// Remembers an item.
    pub(crate) fn note(&mut self, accepted: Accepted) {
        if self.items.len() >= RECENT_MAX {
            self.items.pop_front();
            self.looked_at = self.looked_at.saturating_sub(1);
        }
        self.items.push_back(accepted);
    }

    /// A round over this range has shown that a neighbour lacks nothing of what lies in it.
    pub(crate) fn note_compared(&mut self, id: NodeId, range: &[Prefix], turns: &Turns) {
        self.proofs.compared.insert(id, range.to_vec());
        self.proofs.compared.retain(|id, _| turns.has_all(id).is_some());
    }

    /// A pass of offers that began then has shown that a quorum holds all that lies there.
    pub(crate) fn note_offered(&mut self, began: Instant, range: Vec<Prefix>) {
        self.proofs.offered = Some((began, range));
    }

    /// What has shown that others hold the items.
    pub(crate) fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// Forgets what a quorum of the others has; looks at [`LOOKED_AT_MAX`] items, at others each time.
    pub(crate) fn forget_held(&mut self, neighbourhood: &Neighbourhood, turns: &Turns) {
        let from = if self.looked_at < self.items.len() { self.looked_at } else { 0 };
        let mut looked_at = self.items.split_off(from);
        let newer = looked_at.split_off(LOOKED_AT_MAX.min(looked_at.len()));
        looked_at.retain(|accepted| !self.proofs.is_held(accepted, neighbourhood, turns));
        self.items.append(&mut looked_at);
        self.looked_at = self.items.len();
        self.items.extend(newer);
    }

    /// The last version of each slot.
    pub(crate) fn versions(&self) -> Vec<Accepted> {
        let mut last: BTreeMap<RowKey, Accepted> = BTreeMap::new();
        for accepted in &self.items {
            last.insert(accepted.item.row, *accepted);
        }
        last.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dht_kad::UnixMs;
    use dht_kad::reconcile::ROW_KEY_LEN;
    use dht_kad::record::{Precedence, Retention};

    use super::*;
    use crate::chance::Chance;
    use crate::replication::RoundReport;
    use crate::replication::turns::Rhythm;

    const EQUAL: RoundReport = RoundReport::EQUAL;

    fn accepted(slot: u16, seq: u64) -> Accepted {
        let mut row = [0; ROW_KEY_LEN];
        row[..2].copy_from_slice(&slot.to_be_bytes());
        let version = Precedence { keep_until: UnixMs(9), seq, digest: [0; 32] };
        let group = Group { span: Retention::Days7, period: 1 };
        Accepted { at: Instant::now(), group, item: Item { row, version } }
    }

    /// A node among 32 servers whose ids are spread evenly, and what it has put here and compared.
    struct Here {
        recent: Recent,
        turns: Turns,
        neighbourhood: Neighbourhood,
        chance: Chance,
    }

    impl Here {
        fn new() -> Self {
            let id = |number: u8| NodeId::from_bytes([number << 3; 32]);
            let others: Vec<NodeId> = (1..32).map(id).collect();
            let chance = Chance::from_seed([5; 32]);
            let every = Duration::from_secs(600);
            let mut turns = Turns::new(Rhythm { every, soon: Duration::ZERO });
            turns.keep(&others, &chance, Instant::now(), true);
            let neighbourhood = Neighbourhood::new(id(0), &others, K);
            Here { recent: Recent::default(), turns, neighbourhood, chance }
        }

        /// Rounds with all neighbours a moment later, each of which shows both equal in what they share.
        async fn rounds(&mut self) {
            tokio::time::advance(Duration::from_secs(1)).await;
            let Here { recent, turns, neighbourhood, chance } = self;
            for (id, range) in neighbourhood.shared() {
                turns.done(id, &EQUAL, Instant::now(), chance);
                recent.note_compared(*id, range, turns);
                recent.forget_held(neighbourhood, turns);
            }
        }

        fn slots(&self) -> Vec<u8> {
            self.recent.versions().iter().map(|accepted| accepted.item.row[0]).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_each_slot_the_last_version_counts() {
        let mut recent = Recent::default();
        for (slot, seq) in [(1, 1), (2, 1), (1, 2), (1, 3)] {
            recent.note(accepted(slot, seq));
        }
        let seqs: Vec<u64> = recent.versions().iter().map(|a| a.item.version.seq).collect();
        assert_eq!(seqs, [3, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_last_ones_are_remembered() {
        let mut recent = Recent::default();
        for slot in 0..5_000 {
            recent.note(accepted(slot, 1));
        }
        assert_eq!(recent.versions().len(), RECENT_MAX);
    }

    /// The half of the keyspace with the other first bit belongs to the sixteen servers there, and to
    /// four of this half; this node is none of them.
    #[tokio::test(start_paused = true)]
    async fn a_round_says_nothing_of_what_lies_outside_of_what_it_compared() {
        let mut here = Here::new();
        here.recent.note(accepted(0x0100, 1));
        here.recent.note(accepted(0xff00, 1));
        here.rounds().await;
        here.rounds().await;
        assert_eq!(here.slots(), [0xff], "what was compared is held, the rest may not be");
        let others = here.recent.versions()[0].others(&here.neighbourhood);
        let shares = |id: &NodeId| here.neighbourhood.shared().any(|(other, _)| other == id);
        assert!(others.iter().filter(|id| shares(id)).count() >= quorum_of(K));
    }

    #[tokio::test(start_paused = true)]
    async fn what_lies_elsewhere_is_forgotten_when_a_later_pass_of_offers_went_there() {
        let mut here = Here::new();
        let outside = here.neighbourhood.outside();
        let before = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        here.recent.note(accepted(0xff00, 1));
        tokio::time::advance(Duration::from_secs(1)).await;
        here.recent.note_offered(before, outside.clone());
        here.rounds().await;
        here.recent.note_offered(Instant::now(), here.neighbourhood.range().to_vec());
        here.rounds().await;
        assert_eq!(here.slots(), [0xff], "it began too early, or went elsewhere");
        here.recent.note_offered(Instant::now(), outside);
        here.rounds().await;
        assert_eq!(here.slots(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_has_yet_does_not_keep_the_rest_from_being_forgotten() {
        let mut here = Here::new();
        let several = u16::try_from(2 * LOOKED_AT_MAX).unwrap();
        (0..several).for_each(|slot| here.recent.note(accepted(0xf000 + slot, 1)));
        (0..several).for_each(|slot| here.recent.note(accepted(slot, 1)));
        here.rounds().await;
        assert_eq!(here.recent.versions().len(), usize::from(several));
        assert!(here.slots().iter().all(|place| *place >= 0xf0));
    }
}
