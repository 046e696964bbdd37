//! [`Fingerprints`]: what a store keeps in memory of the set that it holds.

use std::collections::BTreeMap;

use super::build::Builder;
use super::tree::Tree;
use super::{Cut, Fingerprint, Group, Item, PREFIX_MAX, Part, Prefix, RowKey};

/// The fingerprints of every group's tree.
///
/// They hold no items. A leaf that has become too large is split by whoever holds them:
///
/// ```
/// use dht_kad::reconcile::{Fingerprints, Item, Part};
///
/// fn split_all(prints: &mut Fingerprints, index: impl Fn(&Part) -> Vec<Item>) {
///     while let Some(leaf) = prints.to_split() {
///         prints.split(&leaf, &index(&leaf));
///     }
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fingerprints {
    /// None of them is empty.
    groups: BTreeMap<Group, Tree>,
    resolution: usize,
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
    /// None of them is kept: a million takes some tenths of a second, and no more room than the result.
    #[must_use]
    pub fn from_sorted(items: impl IntoIterator<Item = (Group, Item)>) -> Self {
        let mut all = Fingerprints::default();
        let mut building: Option<(Group, Builder)> = None;
        for (group, item) in items {
            if let Some((done, builder)) = building.take_if(|(building, _)| *building != group) {
                all.groups.insert(done, Tree::new(builder.finish()));
            }
            let (_, builder) = building.get_or_insert_with(|| (group, Builder::new(0, 0)));
            builder.push(item.row, Fingerprint::of(&item.version.digest));
        }
        if let Some((last, builder)) = building {
            all.groups.insert(last, Tree::new(builder.finish()));
        }
        all
    }

    /// Takes note of a version that a slot holds from now on.
    pub fn add(&mut self, group: Group, row: &RowKey, digest: &[u8; 32]) {
        let tree = self.groups.entry(group).or_default();
        tree.add(row, Fingerprint::of(digest), self.resolution);
    }

    /// Takes note of a version that a slot held, and does not any more.
    pub fn remove(&mut self, group: Group, row: &RowKey, digest: &[u8; 32]) {
        let Some(tree) = self.groups.get_mut(&group) else { return };
        tree.remove(row, Fingerprint::of(digest), self.resolution);
        if tree.is_empty() {
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
        for (group, tree) in self.groups.iter().filter(|(group, _)| cut.takes(group)) {
            let parts = range.iter().map(|prefix| tree.part(prefix));
            let print: Fingerprint = parts.sum::<Option<Fingerprint>>()?;
            if !print.is_empty() {
                groups.push((*group, print));
            }
        }
        Some(groups)
    }

    /// What lies in a part. `None` if it is a part of a leaf: its items tell.
    #[must_use]
    pub fn part(&self, part: &Part) -> Option<Fingerprint> {
        match self.groups.get(&part.group) {
            Some(tree) => tree.part(&part.prefix),
            None => Some(Fingerprint::default()),
        }
    }

    /// What lies in the children of a part. `None` if it is a leaf, or a part of one: its items
    /// tell.
    #[must_use]
    pub fn children(&self, part: &Part) -> Option<Children> {
        match self.groups.get(&part.group) {
            Some(tree) => tree.children(&part.prefix),
            None => Some(Children { at: part.prefix.clone(), children: Vec::new() }),
        }
    }

    /// Tells slots apart by at least so many half bytes, however few there are, so that the parts of
    /// the keyspace that a node shares with each neighbour have fingerprints of their own. Leaves
    /// that are coarser are to be split; until they are, their parts have no answer.
    pub fn set_resolution(&mut self, half_bytes: usize) {
        self.resolution = half_bytes.min(PREFIX_MAX);
    }

    /// A leaf that is to be split: it has too many items, or is coarser than the resolution. Cheap
    /// enough to ask after every change: each branch knows whether there is one below it.
    #[must_use]
    pub fn to_split(&self) -> Option<Part> {
        self.groups.iter().find_map(|(group, tree)| {
            let prefix = tree.to_split(self.resolution)?;
            Some(Part { group: *group, prefix })
        })
    }

    /// Splits a leaf that [`Self::to_split`] named, into which these items have been added and no
    /// others. If they do not add up to its fingerprint, they are what counts from now on, and the
    /// answer is false: whoever kept the fingerprint has missed a change.
    pub fn split(&mut self, leaf: &Part, items: &[Item]) -> bool {
        let Some(tree) = self.groups.get_mut(&leaf.group) else { return true };
        let added_up = tree.split(&leaf.prefix, items, self.resolution);
        if tree.is_empty() {
            self.groups.remove(&leaf.group);
        }
        added_up
    }
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use proptest::prelude::*;

    use super::*;
    use crate::message::reconcile::LEAF_MAX;
    use crate::reconcile::ROW_KEY_LEN;
    use crate::record::{Precedence, Retention};
    use crate::time::UnixMs;

    /// The set itself, and sums made anew for each question.
    #[derive(Default)]
    struct Model(BTreeMap<Group, BTreeMap<RowKey, [u8; 32]>>);

    impl Model {
        fn of(&self, group: Group, rows: RangeInclusive<RowKey>) -> Vec<Item> {
            let item = |(row, digest): (&RowKey, &[u8; 32])| Item {
                row: *row,
                version: Precedence { keep_until: UnixMs(0), seq: 1, digest: *digest },
            };
            self.0
                .get(&group)
                .into_iter()
                .flat_map(|all| all.range(rows.clone()))
                .map(item)
                .collect()
        }

        fn items(&self, part: &Part) -> Vec<Item> {
            self.of(part.group, part.prefix.rows())
        }

        fn print(&self, part: &Part) -> Fingerprint {
            self.items(part).iter().map(|item| Fingerprint::of(&item.version.digest)).sum()
        }

        fn scanned(&self) -> Fingerprints {
            let all = self.0.keys().flat_map(|group| {
                let part = Part { group: *group, prefix: Prefix::all() };
                self.items(&part).into_iter().map(|item| (*group, item))
            });
            Fingerprints::from_sorted(all)
        }

        /// Splits what is to be split, and says whether all had been counted right.
        fn split_all(&self, prints: &mut Fingerprints) -> bool {
            let mut right = true;
            while let Some(leaf) = prints.to_split() {
                right &= prints.split(&leaf, &self.items(&leaf));
            }
            right
        }

        /// Puts this version, or none, in a slot.
        fn change(&mut self, prints: &mut Fingerprints, slot: Slot, digest: Option<[u8; 32]>) {
            let (group, row) = slot.place();
            let rows = self.0.entry(group).or_default();
            let before = match digest {
                Some(digest) => rows.insert(row, digest),
                None => rows.remove(&row),
            };
            if let Some(before) = before {
                prints.remove(group, &row, &before);
            }
            if let Some(digest) = digest {
                prints.add(group, &row, &digest);
            }
        }

        /// All prefixes at which the tree could have a node, and some where it has none.
        fn parts(&self) -> Vec<Part> {
            let mut parts = Vec::new();
            for (group, rows) in &self.0 {
                for row in rows.keys() {
                    for len in (0..8).chain([40, 63, 64, 65, 127, 128, 143, 144]) {
                        parts.push(Part { group: *group, prefix: Prefix::of(row, len) });
                        let beside = Prefix::of(row, len).child(row[0] ^ row[71]);
                        parts.push(Part { group: *group, prefix: beside });
                    }
                }
            }
            parts.sort();
            parts.dedup();
            parts
        }

        /// Compares every answer that the fingerprints give, and that they give all that they must.
        fn check(&self, prints: &Fingerprints, resolution: usize) {
            for part in self.parts() {
                let expected = self.print(&part);
                match prints.part(&part) {
                    Some(print) => assert_eq!(print, expected, "{part:?}"),
                    None => {
                        assert!(
                            part.prefix.len() > resolution && !self.all_of(part.group).is_empty()
                        );
                    }
                }
                let Some(Children { at, children }) = prints.children(&part) else { continue };
                assert!(part.prefix.covers(&at));
                assert_eq!(self.print(&Part { prefix: at.clone(), ..part }), expected, "{part:?}");
                let child = |half| {
                    let prefix = at.child(half);
                    (half, self.print(&Part { prefix, ..part }))
                };
                let all = (0..16).map(child).filter(|(_, print)| !print.is_empty());
                let all: Vec<_> = if expected.is_empty() { Vec::new() } else { all.collect() };
                assert_eq!(children, all, "{part:?}");
            }
        }

        /// After all splits, what lies in a leaf is not more than a leaf's worth.
        fn check_leaves(&self, prints: &Fingerprints) {
            for part in self.parts() {
                if prints.part(&part).is_some() && prints.children(&part).is_none() {
                    assert!(self.items(&part).len() <= LEAF_MAX, "{part:?}");
                }
            }
        }

        fn all_of(&self, group: Group) -> Vec<Item> {
            self.items(&Part { group, prefix: Prefix::all() })
        }

        fn check_sums(&self, prints: &Fingerprints, cut: &Cut, range: &[Prefix]) {
            let sum = |group: &Group| -> Fingerprint {
                let part = |prefix: &Prefix| Part { group: *group, prefix: prefix.clone() };
                range.iter().map(|prefix| self.print(&part(prefix))).sum()
            };
            let taken = self.0.keys().filter(|group| cut.takes(group));
            let expected: Vec<_> = taken
                .map(|group| (*group, sum(group)))
                .filter(|(_, print)| !print.is_empty())
                .collect();
            let whole = expected.iter().map(|(_, print)| *print).sum();
            assert_eq!(prints.whole(cut, range), Some(whole));
            assert_eq!(prints.groups(cut, range), Some(expected));
        }
    }

    fn groups() -> [Group; 3] {
        let group = |span, period| Group { span, period };
        [group(Retention::Hours8, 7), group(Retention::Days7, 5), group(Retention::Days7, 6)]
    }

    /// A slot by what tells it from others: most share all but a few half bytes with many others.
    #[derive(Clone, Copy, Debug)]
    struct Slot {
        group: usize,
        family: u8,
        number: u8,
    }

    impl Slot {
        fn place(self) -> (Group, RowKey) {
            let mut row = [0x11; ROW_KEY_LEN];
            match self.family {
                // Anywhere in the keyspace.
                0..4 => row[..32].copy_from_slice(blake3::hash(&[self.number]).as_bytes()),
                // The publishers of one key.
                4..6 => row[32..64].copy_from_slice(blake3::hash(&[self.number]).as_bytes()),
                // One publisher's slots.
                6..8 => row[71] = self.number,
                // Rows that differ at any place.
                _ => row[usize::from(self.number) % ROW_KEY_LEN] ^= self.number | 1,
            }
            (groups()[self.group], row)
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(Slot, u8),
        Take(Slot),
        Split,
        Resolution(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let slot = || (0..3_usize, 0..10_u8, any::<u8>());
        let slot =
            move || slot().prop_map(|(group, family, number)| Slot { group, family, number });
        let step = prop_oneof![
            24 => (slot(), any::<u8>()).prop_map(|(slot, version)| Step::Put(slot, version)),
            12 => slot().prop_map(Step::Take),
            1 => Just(Step::Split),
            1 => (0..5_usize).prop_map(Step::Resolution),
        ];
        prop::collection::vec(step, 0..600)
    }

    fn digest(version: u8, slot: Slot) -> [u8; 32] {
        *blake3::hash(&[version, slot.family, slot.number]).as_bytes()
    }

    fn run(steps: &[Step]) -> (Model, Fingerprints, usize) {
        let (mut model, mut prints) = (Model::default(), Fingerprints::default());
        let mut resolution = 0;
        for step in steps {
            match step {
                Step::Put(slot, v) => model.change(&mut prints, *slot, Some(digest(*v, *slot))),
                Step::Take(slot) => model.change(&mut prints, *slot, None),
                Step::Split => assert!(model.split_all(&mut prints)),
                Step::Resolution(half_bytes) => {
                    resolution = *half_bytes;
                    prints.set_resolution(resolution);
                }
            }
        }
        (model, prints, resolution)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn after_any_changes_every_answer_is_that_of_the_set(steps in steps(), len in 0..5_usize) {
            let (model, mut prints, resolution) = run(&steps);
            model.check(&prints, 0);
            prop_assert!(model.split_all(&mut prints));
            model.check(&prints, resolution);
            model.check_leaves(&prints);
            prints.set_resolution(len);
            prop_assert!(model.split_all(&mut prints));
            model.check(&prints, len);
            let [anywhere, one_key] = [0, 4].map(|family| {
                let (_, row) = Slot { group: 0, family, number: 9 }.place();
                Prefix::of(&row, len)
            });
            let both = [one_key, anywhere.clone()];
            let range = if both[0] == both[1] { &both[..1] } else { &both };
            for cut in [Cut([0, 0, 0]), Cut([8, 6, 0]), Cut([7, 7, 7])] {
                model.check_sums(&prints, &cut, range);
                model.check_sums(&prints, &cut, &[Prefix::all()]);
            }
        }

        #[test]
        fn what_is_built_from_a_scan_is_what_was_added_one_by_one(steps in steps()) {
            let (model, mut prints, _) = run(&steps);
            let built = model.scanned();
            prop_assert_eq!(built.to_split(), None);
            model.check(&built, 0);
            model.check_leaves(&built);
            prop_assert!(model.split_all(&mut prints));
            for part in model.parts() {
                if let (Some(one), Some(other)) = (prints.part(&part), built.part(&part)) {
                    prop_assert_eq!(one, other);
                }
            }
        }

        #[test]
        fn a_split_puts_right_what_was_counted_wrong(steps in steps(), missed in any::<[u8; 40]>()) {
            let (mut model, mut prints, _) = run(&steps);
            let group = groups()[0];
            for number in missed {
                let (_, row) = Slot { group: 0, family: 4, number }.place();
                prints.add(group, &row, &[number; 32]);
            }
            // What has come where there is nothing at all is in no leaf, and no split meets it.
            let is_in_a_leaf = |row: &RowKey| {
                let place = Part { group, prefix: Prefix::of(row, PREFIX_MAX) };
                prints.part(&place).is_none_or(|print| !print.is_empty())
            };
            for number in 0..missed[0] {
                let (_, row) = Slot { group: 0, family: 6, number }.place();
                if is_in_a_leaf(&row) {
                    model.0.entry(group).or_default().insert(row, [number; 32]);
                }
            }
            // Fine enough that there is no leaf that is not looked at.
            prints.set_resolution(PREFIX_MAX);
            model.split_all(&mut prints);
            model.check(&prints, PREFIX_MAX - 1);
        }
    }

    #[test]
    fn a_sum_that_is_not_that_of_the_items_is_told_and_healed_up_to_the_root() {
        let (mut model, mut prints) = (Model::default(), Fingerprints::default());
        for number in 0..200 {
            let slot = Slot { group: 1, family: 0, number };
            model.change(&mut prints, slot, Some(digest(1, slot)));
        }
        assert!(model.split_all(&mut prints));
        let group = groups()[1];
        let (_, row) = Slot { group: 1, family: 0, number: 0 }.place();
        for number in 0..40 {
            prints.add(group, &row, &[number; 32]);
        }
        assert!(!model.split_all(&mut prints));
        model.check(&prints, 0);
        assert_eq!(prints.to_split(), None);
    }

    #[test]
    fn nothing_is_left_of_what_is_taken_out() {
        let (mut model, mut prints) = (Model::default(), Fingerprints::default());
        prints.set_resolution(3);
        for digest in [Some([1; 32]), None] {
            for (family, number) in (0..10).flat_map(|family| (0..=255).map(move |n| (family, n))) {
                model.change(&mut prints, Slot { group: 0, family, number }, digest);
                model.split_all(&mut prints);
            }
        }
        assert!(prints.groups.is_empty());
    }
}
