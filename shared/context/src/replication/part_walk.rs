//! [`PartWalk`]: everything that a store keeps, within some part of the keyspace, in parts that are
//! small enough to be looked at whole.

use std::collections::VecDeque;
use std::ops::ControlFlow;

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

    /// The next part, and its fingerprint. The store is looked at a group at a time, between which
    /// others get their turn: some hundreds of prefixes are looked up in each of some hundreds of groups.
    pub(crate) async fn next(&mut self, store: &dyn RecordStore) -> Option<(Part, Fingerprint)> {
        while let Some(group) = self.groups.front().copied() {
            let mut found = None;
            store.fingerprints(&mut |all| {
                let first = |part, print| ControlFlow::Break((part, print));
                found = self.visit_group(all, group, first).break_value();
            });
            match found {
                Some((part, print)) => {
                    self.after = Some(part.clone());
                    return Some((part, print));
                }
                None => self.groups.pop_front(),
            };
            tokio::task::yield_now().await;
        }
        None
    }

    /// How many parts are left, as far as is known now: a group at a time as well.
    pub(crate) async fn left(&self, store: &dyn RecordStore) -> u32 {
        let mut left: u32 = 0;
        for group in &self.groups {
            store.fingerprints(&mut |all| {
                let count = |_, _| {
                    left = left.saturating_add(1);
                    ControlFlow::<()>::Continue(())
                };
                // Nothing ends it early.
                let _ = self.visit_group(all, *group, count);
            });
            tokio::task::yield_now().await;
        }
        left
    }

    /// Under which prefixes it goes.
    pub(crate) fn prefixes(&self) -> &[Prefix] {
        &self.prefixes
    }

    /// Visits the parts of a group that are left, in order, until a visit ends it.
    fn visit_group<B>(
        &self,
        all: &Fingerprints,
        group: Group,
        mut visit: impl FnMut(Part, Fingerprint) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let after = self.after.as_ref().filter(|part| part.group == group);
        let after = after.map(|part| *part.prefix.rows().end());
        self.prefixes.iter().try_for_each(|prefix| {
            let part = Part { group, prefix: prefix.clone() };
            self.visit(all, part, after.as_ref(), &mut visit)
        })
    }

    /// Visits the parts within this one, after a place, that are small enough.
    fn visit<B>(
        &self,
        all: &Fingerprints,
        part: Part,
        after: Option<&RowKey>,
        visit: &mut impl FnMut(Part, Fingerprint) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let rows = part.prefix.rows();
        if after.is_some_and(|after| rows.end() <= after) {
            return ControlFlow::Continue(());
        }
        let Some(print) = all.part(&part).filter(|print| !print.is_empty()) else {
            return ControlFlow::Continue(());
        };
        let is_begun = after.is_some_and(|after| rows.start() <= after);
        if print.count <= self.items_max && !is_begun {
            return visit(part, print);
        }
        match all.children(&part) {
            None => visit(part, print),
            Some(below) => below.children.iter().try_for_each(|(half, _)| {
                let child = Part { group: part.group, prefix: below.at.child(*half) };
                self.visit(all, child, after, visit)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dht_kad::UnixMs;
    use dht_kad::admission::{Limits, Path};
    use dht_kad::record::{Kind, RecordDraft, Retention, Space};
    use dht_kad::time::HOUR_MS;
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::clock::ManualClock;
    use crate::store::conformance::network;
    use crate::store::{MemoryStore, Submission};

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    /// A store with so many records, which end in three periods, told apart by a half byte.
    async fn store(count: u16) -> MemoryStore {
        let clock = Arc::new(ManualClock::new(NOW));
        let store = MemoryStore::new(network(), clock, Limits::default_for(1 << 30));
        store.set_resolution(1);
        let publisher = SigningKey::from_bytes(&[1; 32]);
        let submission = |number: u16| {
            let draft = RecordDraft {
                space: Space::Owned,
                kind: Kind::Value,
                retention: Retention::Days7,
                label: *blake3::hash(&number.to_be_bytes()).as_bytes(),
                slot: 0,
                seq: 1,
                created_at: UnixMs(NOW.0 - u64::from(number % 3) * HOUR_MS),
                guard_until: UnixMs(0),
                work_bits: 0,
                ext: bytes::Bytes::new(),
                body: bytes::Bytes::new(),
            };
            let record = draft.sign(&publisher, &network()).unwrap();
            Submission { record, path: Path::Repair }
        };
        let stored = store.submit((0..count).map(submission).collect()).await;
        assert!(stored.iter().all(Result::is_ok));
        store
    }

    async fn rest(walk: &mut PartWalk, store: &MemoryStore) -> Vec<(Part, Fingerprint)> {
        let mut parts = Vec::new();
        while let Some(part) = walk.next(store).await {
            parts.push(part);
        }
        parts
    }

    #[tokio::test]
    async fn all_is_walked_over_once_in_small_parts() {
        let (store, cut) = (store(3_000).await, Cut::at(NOW));
        let halves = vec![Prefix::all().child(3), Prefix::all().child(0xc)];
        let mut walk = PartWalk::new(&store, &cut, halves.clone(), None, 50);
        let parts = rest(&mut walk, &store).await;
        let sum: Fingerprint = parts.iter().map(|(_, print)| *print).sum();
        let mut whole = None;
        store.fingerprints(&mut |all| whole = all.whole(&cut, &halves));
        assert_eq!(Some(sum), whole);
        assert!(parts.is_sorted_by(|(one, _), (other, _)| one < other));
        assert!(parts.len() >= 6 && parts.iter().all(|(_, print)| (1..=50).contains(&print.count)));
    }

    #[tokio::test]
    async fn a_walk_goes_on_where_it_was() {
        let (store, cut) = (store(3_000).await, Cut::at(NOW));
        let walk = |after| PartWalk::new(&store, &cut, vec![Prefix::all()], after, 50);
        let all = rest(&mut walk(None), &store).await;
        let (middle, _) = &all[all.len() / 2];
        let second_half = rest(&mut walk(Some(middle.clone())), &store).await;
        assert_eq!(second_half, all[all.len() / 2 + 1..]);
        let (last, _) = all.last().unwrap();
        assert_eq!(rest(&mut walk(Some(last.clone())), &store).await, []);
    }

    #[tokio::test]
    async fn the_parts_that_are_left_are_counted_in_every_group_and_under_every_prefix() {
        let (store, cut) = (store(3_000).await, Cut::at(NOW));
        let prefixes: Vec<Prefix> = (0..16).map(|half| Prefix::all().child(half)).collect();
        let mut walk = PartWalk::new(&store, &cut, prefixes, None, 4_096);
        for expected in (0..=3 * 16).rev() {
            assert_eq!(walk.left(&store).await, expected);
            assert_eq!(walk.next(&store).await.is_some(), expected > 0);
        }
    }
}
