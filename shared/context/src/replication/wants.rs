//! [`Wants`]: what other holders offered, this node lacks, and is still to be fetched.
//!
//! Anybody may offer, under as many names as it likes, what nobody ever put. So those that are not in
//! the routing table have a quarter of the room and every second turn: what servers of the table offer finds
//! room and is fetched, whatever others do. Among those of the table, and among the others, the one that
//! has waited for longest is next: no name that comes later is before it.

use std::collections::{BTreeMap, BTreeSet};

use dht_kad::NodeId;
use dht_kad::message::PAGE_RECORDS;
use dht_kad::message::reconcile::Wanted;
use dht_kad::reconcile::Part;
use dht_kad::routing::PEERS_PER_PREFIX_IN_TABLE;

/// The most items that wait for one holder: some pages. What is beyond it is offered again.
const PER_HOLDER_MAX: usize = 4 * PAGE_RECORDS;
/// The most items that wait in all, at some 300 bytes each: more than strangers and all that one corner of
/// the network may have in the table ([`PEERS_PER_PREFIX_IN_TABLE`]) can offer together.
const IN_ALL_MAX: usize = 64 * PAGE_RECORDS;
/// How many of them may wait when one comes that is not in the routing table.
const STRANGERS_MAX: usize = IN_ALL_MAX / 4;
const _: () = assert!(
    STRANGERS_MAX + PEERS_PER_PREFIX_IN_TABLE * PER_HOLDER_MAX + PER_HOLDER_MAX <= IN_ALL_MAX
);

/// Items by the holder that offered them, fetched from each in turn.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    by_holder: BTreeMap<NodeId, Waiting>,
    count: usize,
    /// How many have begun to wait so far, or to wait again.
    came: u64,
    /// Whether the last one that had its turn was in the table.
    known_last: bool,
}

/// What waits for one holder.
#[derive(Debug)]
struct Waiting {
    items: BTreeSet<(Part, u64)>,
    /// The number of the moment since when it has had no turn.
    since: u64,
}

impl Wants {
    /// Whether there is room for what a holder offers that is not in the routing table.
    pub(crate) fn has_room_for_stranger(&self, wanted: &[Wanted]) -> bool {
        self.count + items(wanted) <= STRANGERS_MAX
    }

    /// Adds what a holder offered. False if that is too much: nothing of it is taken then.
    pub(crate) fn add(&mut self, holder: NodeId, wanted: Vec<Wanted>) -> bool {
        let more = items(&wanted);
        let waiting = self.by_holder.get(&holder).map_or(0, |waiting| waiting.items.len());
        if more == 0 {
            return true;
        }
        if waiting + more > PER_HOLDER_MAX || self.count + more > IN_ALL_MAX {
            return false;
        }
        let since = self.next_moment();
        let waiting = self
            .by_holder
            .entry(holder)
            .or_insert_with(|| Waiting { items: BTreeSet::new(), since });
        for Wanted { part, shorts } in wanted {
            for short in shorts {
                self.count += usize::from(waiting.items.insert((part.clone(), short)));
            }
        }
        true
    }

    /// Takes a page of what waits for the holder whose turn it is.
    pub(crate) fn take(
        &mut self,
        in_table: impl Fn(&NodeId) -> bool,
    ) -> Option<(NodeId, Vec<Wanted>)> {
        let since = self.next_moment();
        let waiting = self.by_holder.iter_mut().map(|it| (in_table(it.0), it));
        let (known, (holder, waiting)) = waiting
            .min_by_key(|(known, (_, waiting))| (*known == self.known_last, waiting.since))?;
        let holder = *holder;
        waiting.since = since;
        let mut wanted: Vec<Wanted> = Vec::new();
        for _ in 0..PAGE_RECORDS {
            let Some((part, short)) = waiting.items.pop_first() else { break };
            self.count = self.count.saturating_sub(1);
            match wanted.last_mut().filter(|last| last.part == part) {
                Some(last) => last.shorts.push(short),
                None => wanted.push(Wanted { part, shorts: vec![short] }),
            }
        }
        if waiting.items.is_empty() {
            self.by_holder.remove(&holder);
        }
        self.known_last = known;
        Some((holder, wanted))
    }

    /// Forgets what waits for a holder: it does not give what it offers.
    pub(crate) fn forget(&mut self, holder: &NodeId) {
        let waiting = self.by_holder.remove(holder).map_or(0, |waiting| waiting.items.len());
        self.count = self.count.saturating_sub(waiting);
    }

    /// Whether anything waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_holder.is_empty()
    }

    fn next_moment(&mut self) -> u64 {
        self.came = self.came.saturating_add(1);
        self.came
    }
}

fn items(wanted: &[Wanted]) -> usize {
    wanted.iter().map(|wanted| wanted.shorts.len()).sum()
}

#[cfg(test)]
mod tests {
    use dht_kad::reconcile::{Group, Prefix};
    use dht_kad::record::Retention;

    use super::*;

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn numbered(numbers: std::ops::Range<u64>) -> Vec<Wanted> {
        let group = Group { span: Retention::Days7, period: 1 };
        let part = Part { group, prefix: Prefix::all() };
        vec![Wanted { part, shorts: numbers.collect() }]
    }

    /// All turns until nothing waits, and how many items each was for; those below `strangers` are in
    /// the table.
    fn turns(wants: &mut Wants, strangers: u8) -> Vec<(NodeId, usize)> {
        let turns = std::iter::from_fn(|| wants.take(|holder| *holder < id(strangers)));
        turns.map(|(holder, wanted)| (holder, items(&wanted))).collect()
    }

    #[test]
    fn each_holder_has_its_turn_however_much_another_offered() {
        let mut wants = Wants::default();
        assert!(wants.add(id(1), numbered(0..1_000)));
        assert!(wants.add(id(2), numbered(0..3)));
        assert!(wants.add(id(2), numbered(0..3)), "the same again");
        let turns = turns(&mut wants, 9);
        assert_eq!(turns, [(id(1), 256), (id(2), 3), (id(1), 256), (id(1), 256), (id(1), 232)]);
        assert!(wants.is_empty() && wants.count == 0);
    }

    #[test]
    fn what_would_be_too_much_is_not_taken() {
        let mut wants = Wants::default();
        let most = u64::try_from(PER_HOLDER_MAX).unwrap();
        assert!(!wants.add(id(1), numbered(0..most + 1)));
        let takers = (0..=255).filter(|number| wants.add(id(*number), numbered(0..most))).count();
        assert_eq!(takers, IN_ALL_MAX / PER_HOLDER_MAX);
        assert_eq!(wants.count, IN_ALL_MAX);
        wants.forget(&id(0));
        assert_eq!(wants.count, IN_ALL_MAX - PER_HOLDER_MAX);
        assert!(wants.add(id(255), numbered(0..most)), "there is room again");
    }

    #[test]
    fn strangers_find_room_in_their_share_alone() {
        let mut wants = Wants::default();
        let most = u64::try_from(PER_HOLDER_MAX).unwrap();
        let mut stranger = |number| {
            let offered = numbered(0..most);
            wants.has_room_for_stranger(&offered) && wants.add(id(number), offered)
        };
        let takers = (0..=255).filter(|number| stranger(*number)).count();
        assert_eq!(takers, STRANGERS_MAX / PER_HOLDER_MAX);
        assert!(!wants.has_room_for_stranger(&numbered(0..1)));
        assert!(wants.add(id(255), numbered(0..1)), "it was let in by the table meanwhile");
    }

    #[test]
    fn every_second_turn_is_of_the_table() {
        let mut wants = Wants::default();
        for stranger in 100..110 {
            assert!(wants.add(id(stranger), numbered(0..256)));
        }
        assert!(wants.add(id(2), numbered(0..600)));
        assert!(wants.add(id(1), numbered(0..1)));
        let holders: Vec<NodeId> =
            turns(&mut wants, 100).into_iter().take(8).map(|(holder, _)| holder).collect();
        assert_eq!(holders, [2, 100, 1, 101, 2, 102, 2, 103].map(id));
    }

    #[test]
    fn no_name_that_comes_later_has_its_turn_before() {
        let mut wants = Wants::default();
        assert!(wants.add(id(10), numbered(0..300)));
        assert!(wants.add(id(200), numbered(0..1)));
        for later in 11..20 {
            let turn = wants.take(|_| false).map(|(holder, _)| holder);
            assert!(wants.add(id(later), numbered(0..1)));
            if turn == Some(id(200)) {
                assert_eq!(later, 12, "right after the one that came before it");
                return;
            }
        }
        panic!("names that are always next kept it waiting");
    }
}
