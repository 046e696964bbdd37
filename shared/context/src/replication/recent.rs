//! [`Recent`]: what publishers put here a moment ago, which the other holders may not have yet.

use std::collections::{BTreeMap, VecDeque};

use dht_kad::admission::{Existing, row_key};
use dht_kad::message::reconcile::Offered;
use dht_kad::put::quorum_of;
use dht_kad::reconcile::{Group, Item, Neighbourhood, RowKey};
use dht_kad::routing::K;
use dht_kad::{NodeId, ValidRecord};
use tokio::time::Instant;

use super::turns::Turns;

/// The most items that are remembered, at some 200 bytes each. Under so many puts that this is not
/// enough, what is forgotten has a quorum by the puts themselves, and waits for the next round.
const RECENT_MAX: usize = 4_096;
/// So many are looked at after a round, each of which costs a search for those closest to it.
const LOOKED_AT_MAX: usize = 256;

/// The last items that were put here, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Recent(VecDeque<Accepted>);

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

    /// Whether a round that began later has shown that this server lacks nothing of what is here.
    pub(crate) fn is_held_by(&self, id: &NodeId, turns: &Turns) -> bool {
        turns.has_all(id).is_some_and(|began| began > self.at)
    }

    /// Whether rounds have shown that a quorum of the others holds it.
    pub(crate) fn is_held_by_quorum(&self, neighbourhood: &Neighbourhood, turns: &Turns) -> bool {
        let others = self.others(neighbourhood);
        let held = others.iter().filter(|id| self.is_held_by(id, turns)).count();
        held >= quorum_of(others.len())
    }

    /// How it is offered to others.
    pub(crate) fn offered(&self) -> Offered {
        Offered::new(self.group, &self.item)
    }
}

impl Recent {
    /// Remembers an item.
    pub(crate) fn note(&mut self, accepted: Accepted) {
        if self.0.len() >= RECENT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(accepted);
    }

    /// Forgets what `is_settled` says others have; looks at [`LOOKED_AT_MAX`] of the oldest only.
    pub(crate) fn forget_oldest(&mut self, is_settled: impl Fn(&Accepted) -> bool) {
        for _ in 0..LOOKED_AT_MAX {
            if self.0.pop_front_if(|oldest| is_settled(oldest)).is_none() {
                break;
            }
        }
    }

    /// The last version of each slot.
    pub(crate) fn versions(&self) -> Vec<Accepted> {
        let mut last: BTreeMap<RowKey, Accepted> = BTreeMap::new();
        for accepted in &self.0 {
            last.insert(accepted.item.row, *accepted);
        }
        last.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use dht_kad::UnixMs;
    use dht_kad::reconcile::ROW_KEY_LEN;
    use dht_kad::record::{Precedence, Retention};

    use super::*;

    fn accepted(slot: u16, seq: u64) -> Accepted {
        let mut row = [0; ROW_KEY_LEN];
        row[..2].copy_from_slice(&slot.to_be_bytes());
        let version = Precedence { keep_until: UnixMs(9), seq, digest: [0; 32] };
        let group = Group { span: Retention::Days7, period: 1 };
        Accepted { at: Instant::now(), group, item: Item { row, version } }
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
    async fn only_the_last_ones_are_remembered_and_what_others_have_is_forgotten() {
        let mut recent = Recent::default();
        for slot in 0..5_000 {
            recent.note(accepted(slot, 1));
        }
        assert_eq!(recent.versions().len(), RECENT_MAX);
        for _ in 0..RECENT_MAX / LOOKED_AT_MAX {
            recent.forget_oldest(|accepted| accepted.item.row[0] < 5_000_u16.to_be_bytes()[0]);
        }
        assert_eq!(recent.versions().len(), 5_000 % 256);
    }
}
