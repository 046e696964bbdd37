//! [`PartWalk`]: everything that a store keeps, within some part of the keyspace, in parts that are
//! small enough to be looked at whole.

use std::collections::VecDeque;

use dht_kad::reconcile::{Cut, Fingerprint, Fingerprints, Group, Part, Prefix, RowKey};

use crate::store::RecordStore;

/// A walk over the parts that hold something, in the order of groups and places. It remembers only
/// where it is, so that what changes meanwhile does not matter.
#[derive(Debug, Default)]
pub(crate) struct PartWalk {
    groups: VecDeque<Group>,
    prefixes: Vec<Prefix>,
    after: Option<Part>,
    items_max: u64,
}

impl PartWalk {
    /// A walk over what lies under these prefixes in the groups that the cut takes, after the given
    /// part, in parts of at most `items_max` items as far as they are told apart.
    pub(crate) fn new(
        store: &dyn RecordStore,
        cut: &Cut,
        prefixes: Vec<Prefix>,
        after: Option<Part>,
        items_max: usize,
    ) -> Self {
        let mut groups = Vec::new();
        let everywhere = [Prefix::all()];
        store.fingerprints(&mut |all| groups = all.groups(cut, &everywhere).unwrap_or_default());
        let first = after.as_ref().map(|part| part.group);
        let groups = groups.into_iter().map(|(group, _)| group);
        let groups = groups.filter(|group| first.is_none_or(|first| *group >= first)).collect();
        let items_max = u64::try_from(items_max).unwrap_or(u64::MAX);
        PartWalk { groups, prefixes, after, items_max }
    }

    /// The next part, and its fingerprint. The store is looked at a group at a time.
    pub(crate) fn next(&mut self, store: &dyn RecordStore) -> Option<(Part, Fingerprint)> {
        while let Some(group) = self.groups.front().copied() {
            let after = self.after.as_ref().filter(|part| part.group == group);
            let after = after.map(|part| *part.prefix.rows().end());
            let mut found = None;
            store.fingerprints(&mut |all| {
                let parts = self.prefixes.iter().map(|p| Part { group, prefix: p.clone() });
                let mut found_in = parts.map(|part| self.first_in(all, part, after.as_ref()));
                found = found_in.find_map(|found| found);
            });
            match found {
                Some((part, print)) => {
                    self.after = Some(part.clone());
                    return Some((part, print));
                }
                None => self.groups.pop_front(),
            };
        }
        None
    }

    /// The first part within this one, after a place, that is small enough.
    fn first_in(
        &self,
        all: &Fingerprints,
        part: Part,
        after: Option<&RowKey>,
    ) -> Option<(Part, Fingerprint)> {
        let rows = part.prefix.rows();
        if after.is_some_and(|after| rows.end() <= after) {
            return None;
        }
        let print = all.part(&part).filter(|print| !print.is_empty())?;
        let is_begun = after.is_some_and(|after| rows.start() <= after);
        if print.count <= self.items_max && !is_begun {
            return Some((part, print));
        }
        match all.children(&part) {
            None => Some((part, print)),
            Some(below) => {
                let child = |half| Part { group: part.group, prefix: below.at.child(half) };
                let mut halves = below.children.iter();
                halves.find_map(|(half, _)| self.first_in(all, child(*half), after))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dht_kad::UnixMs;
    use dht_kad::admission::Limits;
    use dht_kad::message::Stored;
    use dht_kad::record::Retention;
    use dht_kad::{NetworkName, Refusal};
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::clock::ManualClock;
    use crate::registry::SavedPeer;
    use crate::store::{Fetch, MemoryStore, Page, PageQuery, StoreUsage, Submission};

    /// Fingerprints alone.
    struct Prints(Fingerprints);

    impl RecordStore for Prints {
        fn find(&self, query: PageQuery) -> Fetch<Result<Page, Refusal>> {
            empty().find(query)
        }

        fn submit(&self, _: Vec<Submission>) -> BoxFuture<'static, Vec<Result<Stored, Refusal>>> {
            Box::pin(std::future::ready(Vec::new()))
        }

        fn writable(&self) -> Result<(), Refusal> {
            Ok(())
        }

        fn fingerprints(&self, look: &mut dyn FnMut(&Fingerprints)) {
            look(&self.0);
        }

        fn usage(&self) -> StoreUsage {
            StoreUsage::default()
        }

        fn saved_peers(&self) -> Vec<SavedPeer> {
            Vec::new()
        }

        fn save_peers(&self, _: Vec<SavedPeer>) -> BoxFuture<'static, Result<(), Refusal>> {
            Box::pin(std::future::ready(Ok(())))
        }

        fn note_clock(&self, _: Option<bool>) {}

        fn close(&self) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    fn empty() -> MemoryStore {
        let network: NetworkName = "test".parse().unwrap();
        let clock = std::sync::Arc::new(ManualClock::new(UnixMs(1)));
        MemoryStore::new(network, clock, Limits::default_for(1 << 20))
    }

    fn prints(count: u32) -> Prints {
        let mut all = Fingerprints::default();
        for number in 0..count {
            let group = Group { span: Retention::Days7, period: 10 + number % 3 };
            let digest = *blake3::hash(&number.to_be_bytes()).as_bytes();
            let mut row = [0; 72];
            row[..32].copy_from_slice(&digest);
            all.add(group, &row, &digest);
        }
        Prints(all)
    }

    fn rest(walk: &mut PartWalk, store: &Prints) -> Vec<(Part, Fingerprint)> {
        std::iter::from_fn(|| walk.next(store)).collect()
    }

    #[test]
    fn all_is_walked_over_once_in_small_parts() {
        let (store, cut) = (prints(3_000), Cut([0, 11, 0]));
        let halves = vec![Prefix::all().child(3), Prefix::all().child(0xc)];
        let mut walk = PartWalk::new(&store, &cut, halves.clone(), None, 50);
        let parts = rest(&mut walk, &store);
        let sum: Fingerprint = parts.iter().map(|(_, print)| *print).sum();
        assert_eq!(sum, store.0.whole(&cut, &halves).unwrap());
        assert!(parts.is_sorted_by(|(one, _), (other, _)| one < other));
        assert!(parts.len() >= 4 && parts.iter().all(|(_, print)| (1..=50).contains(&print.count)));
    }

    #[test]
    fn a_walk_goes_on_where_it_was() {
        let (store, cut) = (prints(3_000), Cut([0, 0, 0]));
        let walk = |after| PartWalk::new(&store, &cut, vec![Prefix::all()], after, 50);
        let all = rest(&mut walk(None), &store);
        let (middle, _) = &all[all.len() / 2];
        let second_half = rest(&mut walk(Some(middle.clone())), &store);
        assert_eq!(second_half, all[all.len() / 2 + 1..]);
        let (last, _) = all.last().unwrap();
        assert_eq!(rest(&mut walk(Some(last.clone())), &store), []);
    }
}
