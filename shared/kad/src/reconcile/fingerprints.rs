//! [`Fingerprints`]: what a store keeps in memory of the set that it holds.

use std::collections::BTreeMap;

use super::{Cut, Fingerprint, Group, Item, Part, Prefix, RowKey};

/// The fingerprints of every group's tree.
#[derive(Clone, Debug, Default)]
pub struct Fingerprints {
    groups: BTreeMap<Group, BTreeMap<RowKey, [u8; 32]>>,
}

/// A node of a group's tree that is not a leaf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Children {
    /// The longest prefix that everything in the part has; the part's own prefix covers it.
    pub at: Prefix,
    /// Those children of it that hold something, by their half byte.
    pub children: Vec<(u8, Fingerprint)>,
}

impl Fingerprints {
    /// Those of items in the order of groups and rows, as one scan of a store's index meets them.
    #[must_use]
    pub fn from_sorted(items: impl IntoIterator<Item = (Group, Item)>) -> Self {
        let mut all = Fingerprints::default();
        for (group, item) in items {
            all.add(group, &item.row, &item.version.digest);
        }
        all
    }

    /// Takes note of a version that a slot holds from now on.
    pub fn add(&mut self, group: Group, row: &RowKey, digest: &[u8; 32]) {
        self.groups.entry(group).or_default().insert(*row, *digest);
    }

    /// Takes note of a version that a slot held, and does not any more.
    pub fn remove(&mut self, group: Group, row: &RowKey, _digest: &[u8; 32]) {
        let Some(rows) = self.groups.get_mut(&group) else { return };
        rows.remove(row);
        if rows.is_empty() {
            self.groups.remove(&group);
        }
    }

    /// Of all groups that the cut takes, what lies under these prefixes, none of which covers
    /// another. `None` if the prefixes are longer than what is told apart so far: see
    /// [`Self::set_resolution`].
    #[must_use]
    pub fn whole(&self, cut: &Cut, range: &[Prefix]) -> Option<Fingerprint> {
        Some(self.groups(cut, range)?.into_iter().map(|(_, print)| print).sum())
    }

    /// The same, group by group in their order, those that hold nothing left out.
    #[must_use]
    pub fn groups(&self, cut: &Cut, range: &[Prefix]) -> Option<Vec<(Group, Fingerprint)>> {
        let mut groups = Vec::new();
        for group in self.groups.keys().filter(|group| cut.takes(group)) {
            let part = |prefix: &Prefix| self.part(&Part { group: *group, prefix: prefix.clone() });
            let print: Fingerprint = range.iter().map(part).sum::<Option<Fingerprint>>()?;
            if !print.is_empty() {
                groups.push((*group, print));
            }
        }
        Some(groups)
    }

    /// What lies in a part. `None` if it is a part of a leaf: its items tell.
    #[must_use]
    pub fn part(&self, part: &Part) -> Option<Fingerprint> {
        let Some(rows) = self.groups.get(&part.group) else { return Some(Fingerprint::default()) };
        Some(rows.range(part.prefix.rows()).map(|(_, digest)| Fingerprint::of(digest)).sum())
    }

    /// What lies in the children of a part. `None` if it is a leaf, or a part of one: its items
    /// tell.
    #[must_use]
    pub fn children(&self, part: &Part) -> Option<Children> {
        let at = part.prefix.clone();
        let child = |half_byte| {
            let part = Part { group: part.group, prefix: at.child(half_byte) };
            self.part(&part).map(|print| (half_byte, print))
        };
        let all: Option<Vec<_>> = (0..16).map(child).collect();
        let children = all?.into_iter().filter(|(_, print)| !print.is_empty()).collect();
        Some(Children { at, children })
    }

    /// Tells slots apart by at least so many half bytes, however few there are, so that the parts of
    /// the keyspace that a node shares with each neighbour have fingerprints of their own.
    pub fn set_resolution(&mut self, _half_bytes: usize) {}

    /// A leaf that is to be split: it has too many items, or is coarser than the resolution.
    #[must_use]
    pub fn to_split(&self) -> Option<Part> {
        None
    }

    /// Splits a leaf that [`Self::to_split`] named, into which these items have been added and no
    /// others. If they do not add up to its fingerprint, they are what counts from now on, and the
    /// answer is false: whoever kept the fingerprint has missed a change.
    pub fn split(&mut self, _leaf: &Part, _items: &[Item]) -> bool {
        true
    }
}
