//! [`KeptSet`]: what [`Rows`](super::Rows) hold, as reconciliation sees it.

use std::collections::BTreeMap;
use std::ops::Bound;

use dht_kad::admission::Existing;
use dht_kad::reconcile::{Fingerprints, Group, Item, Part, RowKey};
use dht_kad::record::Precedence;

/// The items of every group in their order, and their fingerprints, in which nothing is ever left to
/// be split: the items are at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptSet {
    items: BTreeMap<(Group, RowKey), Precedence>,
    fingerprints: Fingerprints,
}

impl KeptSet {
    /// A slot that held nothing holds this from now on.
    pub(super) fn insert(&mut self, row: RowKey, version: &Existing) {
        let group = Group::of(version);
        self.items.insert((group, row), version.precedence);
        self.fingerprints.add(group, &row, &version.precedence.digest);
        self.split();
    }

    /// A slot that held this holds nothing from now on.
    pub(super) fn remove(&mut self, row: RowKey, version: &Existing) {
        let group = Group::of(version);
        self.items.remove(&(group, row));
        self.fingerprints.remove(group, &row, &version.precedence.digest);
        self.split();
    }

    pub(super) fn set_resolution(&mut self, half_bytes: usize) {
        self.fingerprints.set_resolution(half_bytes);
        self.split();
    }

    pub(super) fn fingerprints(&self) -> &Fingerprints {
        &self.fingerprints
    }

    /// The items of a part, from the row after `after` on.
    pub(super) fn items(&self, part: &Part, after: Option<RowKey>) -> impl Iterator<Item = Item> {
        let (first, last) = part.prefix.rows().into_inner();
        let start = match after.filter(|after| *after >= first) {
            // A map's range panics from a place on that lies after its end.
            Some(after) => Bound::Excluded((part.group, after.min(last))),
            None => Bound::Included((part.group, first)),
        };
        let found = self.items.range((start, Bound::Included((part.group, last))));
        found.map(|((_, row), version)| Item { row: *row, version: *version })
    }

    fn split(&mut self) {
        while let Some(leaf) = self.fingerprints.to_split() {
            let items: Vec<Item> = self.items(&leaf, None).collect();
            let complete = self.fingerprints.split(&leaf, &items);
            debug_assert!(complete, "items and fingerprints change together");
        }
    }
}
