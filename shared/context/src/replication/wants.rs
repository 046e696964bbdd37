//! [`Wants`]: what other holders offered, this node lacks, and is still to be fetched.

use std::collections::{BTreeMap, BTreeSet};

use dht_kad::NodeId;
use dht_kad::message::PAGE_RECORDS;
use dht_kad::message::reconcile::Wanted;
use dht_kad::reconcile::Part;

/// The most items that wait for one holder: some pages. What is beyond it is offered again.
const PER_HOLDER_MAX: usize = 4 * PAGE_RECORDS;
/// The most items that wait in all, at some 300 bytes each.
const IN_ALL_MAX: usize = 32 * PAGE_RECORDS;

/// Items by the holder that offered them, fetched from each in turn.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    by_holder: BTreeMap<NodeId, BTreeSet<(Part, u64)>>,
    count: usize,
    served_last: Option<NodeId>,
}

impl Wants {
    /// Adds what a holder offered. False if that is too much: nothing of it is taken then.
    pub(crate) fn add(&mut self, holder: NodeId, wanted: Vec<Wanted>) -> bool {
        let more: usize = wanted.iter().map(|wanted| wanted.shorts.len()).sum();
        let waiting = self.by_holder.get(&holder).map_or(0, BTreeSet::len);
        if waiting + more > PER_HOLDER_MAX || self.count + more > IN_ALL_MAX {
            return false;
        }
        let waiting = self.by_holder.entry(holder).or_default();
        for Wanted { part, shorts } in wanted {
            for short in shorts {
                self.count += usize::from(waiting.insert((part.clone(), short)));
            }
        }
        if waiting.is_empty() {
            self.by_holder.remove(&holder);
        }
        true
    }

    /// Takes a page of what waits for the holder whose turn it is.
    pub(crate) fn take(&mut self) -> Option<(NodeId, Vec<Wanted>)> {
        let after = |last: NodeId| self.by_holder.keys().find(|holder| **holder > last);
        let next = self.served_last.and_then(after).or_else(|| self.by_holder.keys().next());
        let holder = *next?;
        self.served_last = Some(holder);
        let waiting = self.by_holder.get_mut(&holder)?;
        let mut wanted: Vec<Wanted> = Vec::new();
        for _ in 0..PAGE_RECORDS {
            let Some((part, short)) = waiting.pop_first() else { break };
            self.count = self.count.saturating_sub(1);
            match wanted.last_mut().filter(|last| last.part == part) {
                Some(last) => last.shorts.push(short),
                None => wanted.push(Wanted { part, shorts: vec![short] }),
            }
        }
        if waiting.is_empty() {
            self.by_holder.remove(&holder);
        }
        Some((holder, wanted))
    }

    /// Forgets what waits for a holder: it does not give what it offers.
    pub(crate) fn forget(&mut self, holder: &NodeId) {
        let waiting = self.by_holder.remove(holder).map_or(0, |items| items.len());
        self.count = self.count.saturating_sub(waiting);
    }

    /// Whether anything waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_holder.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use dht_kad::reconcile::{Group, Prefix};
    use dht_kad::record::Retention;

    use super::*;

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn items(numbers: std::ops::Range<u64>) -> Vec<Wanted> {
        let group = Group { span: Retention::Days7, period: 1 };
        let part = Part { group, prefix: Prefix::all() };
        vec![Wanted { part, shorts: numbers.collect() }]
    }

    fn count(taken: &[Wanted]) -> usize {
        taken.iter().map(|wanted| wanted.shorts.len()).sum()
    }

    #[test]
    fn each_holder_has_its_turn_however_much_another_offered() {
        let mut wants = Wants::default();
        assert!(wants.add(id(1), items(0..1_000)));
        assert!(wants.add(id(2), items(0..3)));
        assert!(wants.add(id(2), items(0..3)), "the same again");
        let turns: Vec<_> = std::iter::from_fn(|| wants.take()).collect();
        let turns: Vec<_> = turns.iter().map(|(holder, taken)| (*holder, count(taken))).collect();
        assert_eq!(turns, [(id(1), 256), (id(2), 3), (id(1), 256), (id(1), 256), (id(1), 232)]);
        assert!(wants.is_empty() && wants.count == 0);
    }

    #[test]
    fn what_would_be_too_much_is_not_taken() {
        let mut wants = Wants::default();
        let most = u64::try_from(PER_HOLDER_MAX).unwrap();
        assert!(!wants.add(id(1), items(0..most + 1)));
        let takers = (0..=255).filter(|number| wants.add(id(*number), items(0..most))).count();
        assert_eq!(takers, IN_ALL_MAX / PER_HOLDER_MAX);
        assert_eq!(wants.count, IN_ALL_MAX);
        wants.forget(&id(0));
        assert_eq!(wants.count, IN_ALL_MAX - PER_HOLDER_MAX);
        assert!(wants.add(id(255), items(0..most)), "there is room again");
    }
}
