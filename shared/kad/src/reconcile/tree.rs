//! [`Tree`]: the fingerprints of one group, by place.
//!
//! A radix tree over the half bytes of places. Every node has the fingerprint of all that lies below
//! it; a leaf has nothing else, so that the tree takes a few bytes a slot. What a leaf consists of
//! stands in the store's index, which is read when the leaf is split:
//!
//! ```text
//!        add ─▶ leaf, now more than LEAF_MAX ─▶ to_split ─▶ the store scans its index ─▶ split
//!     remove ─▶ branch, now half a leaf's worth ─▶ leaf
//! ```
//!
//! A node's path is what its slots share below the half byte that leads to it, so that a branch has
//! two children at least, and a key with thousands of slots is no chain of 64 nodes. Two trees of the
//! same slots may differ in shape, and never in the fingerprint of a prefix that both can tell.
//!
//! Recursion goes one half byte deeper each time, and ends after [`PREFIX_MAX`].

use super::build::Builder;
use super::prefix::half_byte;
use super::{Children, Fingerprint, Item, PREFIX_MAX, Prefix, RowKey};
use crate::message::reconcile::LEAF_MAX;

/// The most slots of a leaf that is not to be split.
pub(super) const LEAF_FULL: u64 = LEAF_MAX as u64;
/// A branch with fewer slots becomes a leaf. Well below a full leaf, so that a slot that comes and
/// goes does not split and merge it each time.
const BRANCH_MIN: u64 = LEAF_FULL / 2;

/// The fingerprints of one group.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// `None` if there is nothing in the group; no other node is ever empty.
    root: Option<Node>,
}

/// A leaf, or a branch with two children at least.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The half bytes that all slots here share, from where the parent's child begins.
    path: Box<[u8]>,
    print: Fingerprint,
    branch: Option<Box<Branch>>,
}

#[derive(Clone, Debug)]
pub(super) struct Branch {
    children: [Option<Node>; 16],
    leaves: Leaves,
}

/// What tells, of all leaves below a node, whether there is one to be split.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Leaves {
    /// The length of the shortest prefix of any.
    shortest: usize,
    /// Whether any has more than [`LEAF_MAX`] slots.
    too_full: bool,
}

impl Tree {
    pub(super) fn new(root: Option<Node>) -> Self {
        Tree { root }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    pub(super) fn add(&mut self, row: &RowKey, one: Fingerprint, resolution: usize) {
        match &mut self.root {
            Some(root) => root.add(row, 0, one, resolution),
            None => self.root = Some(Node::leaf(row, 0, one, resolution)),
        }
    }

    pub(super) fn remove(&mut self, row: &RowKey, one: Fingerprint, resolution: usize) {
        if let Some(root) = &mut self.root {
            root.remove(row, 0, one, resolution);
        }
        self.root.take_if(|root| root.print.is_empty());
    }

    /// What lies under a prefix. `None` if it is longer than that of the leaf that it lies in.
    pub(super) fn part(&self, prefix: &Prefix) -> Option<Fingerprint> {
        match self.find(prefix) {
            Found::Node(node, _) => Some(node.print),
            Found::Nothing => Some(Fingerprint::default()),
            Found::InLeaf => None,
        }
    }

    /// The children of the first branch under a prefix. `None` if there is a leaf in its place.
    pub(super) fn children(&self, prefix: &Prefix) -> Option<Children> {
        match self.find(prefix) {
            Found::Node(node, beyond) => {
                let branch = node.branch.as_ref()?;
                let children = branch.children().map(|(half, child)| (half, child.print)).collect();
                Some(Children { at: prefix.extended(beyond), children })
            }
            Found::Nothing => Some(Children { at: prefix.clone(), children: Vec::new() }),
            Found::InLeaf => None,
        }
    }

    /// A leaf that has too many slots, or a prefix shorter than the resolution.
    pub(super) fn to_split(&self, resolution: usize) -> Option<Prefix> {
        let mut node = self.root.as_ref()?;
        if !node.leaves(0).want_split(resolution) {
            return None;
        }
        let mut prefix = node.path.to_vec();
        while let Some(branch) = &node.branch {
            let start = prefix.len() + 1;
            let wants = |child: &Node| child.leaves(start).want_split(resolution);
            let (half, child) = branch.children().find(|(_, child)| wants(child))?;
            prefix.push(half);
            prefix.extend_from_slice(&child.path);
            node = child;
        }
        Some(Prefix::all().extended(&prefix))
    }

    /// Puts in a leaf's place what these items make; false if they are not what it has added up.
    /// What is no leaf (any more) stays as it is.
    pub(super) fn split(&mut self, leaf: &Prefix, items: &[Item], resolution: usize) -> bool {
        let mut items: Vec<&Item> = items.iter().filter(|i| leaf.covers_row(&i.row)).collect();
        items.sort_unstable_by_key(|item| item.row);
        items.dedup_by_key(|item| item.row);
        let Some(root) = &mut self.root else { return true };
        let replaced = root.split(leaf.half_bytes(), 0, &items, resolution);
        self.root.take_if(|root| root.print.is_empty());
        replaced.is_none_or(|(before, after)| before == after)
    }

    /// Where a prefix leads.
    fn find(&self, prefix: &Prefix) -> Found<'_> {
        let mut next = self.root.as_ref();
        let mut rest = prefix.half_bytes();
        while let Some(node) = next {
            if let Some(beyond) = node.path.strip_prefix(rest) {
                return Found::Node(node, beyond);
            }
            let Some(below) = rest.strip_prefix(&*node.path) else { return Found::Nothing };
            let Some(branch) = &node.branch else { return Found::InLeaf };
            let Some((half, below)) = below.split_first() else { return Found::Nothing };
            next = branch.child(*half);
            rest = below;
        }
        Found::Nothing
    }
}

/// Where a prefix leads.
enum Found<'a> {
    /// To this node: all that lies under the prefix lies under the node's, which is longer by this.
    Node(&'a Node, &'a [u8]),
    /// Into a leaf, which may have other slots, too.
    InLeaf,
    /// There is nothing under the prefix.
    Nothing,
}

impl Node {
    /// A leaf of slots that share with `row` all that the resolution asks for.
    pub(super) fn leaf(row: &RowKey, start: usize, print: Fingerprint, resolution: usize) -> Self {
        Node { path: path(row, start, resolution), print, branch: None }
    }

    /// A branch of slots that share with `row` its first `end` half bytes.
    pub(super) fn branch(
        row: &RowKey,
        start: usize,
        end: usize,
        print: Fingerprint,
        mut branch: Box<Branch>,
    ) -> Self {
        branch.look_at_leaves(end);
        Node { path: path(row, start, end), print, branch: Some(branch) }
    }

    pub(super) fn print(&self) -> Fingerprint {
        self.print
    }

    /// What is known of the leaves, by where the path starts.
    fn leaves(&self, start: usize) -> Leaves {
        match &self.branch {
            Some(branch) => branch.leaves,
            None => {
                let end = start + self.path.len();
                // Versions of one and the same slot cannot be told apart.
                let too_full = self.print.count > LEAF_FULL && end < PREFIX_MAX;
                Leaves { shortest: end, too_full }
            }
        }
    }

    /// How much of the path a row has that comes here.
    fn shared_with(&self, row: &RowKey, start: usize) -> usize {
        (start..).zip(&self.path).take_while(|(at, half)| half_byte(row, *at) == **half).count()
    }

    fn add(&mut self, row: &RowKey, start: usize, one: Fingerprint, resolution: usize) {
        let shared = self.shared_with(row, start);
        if shared < self.path.len() {
            return self.fork(row, (start, shared), one, resolution);
        }
        self.print = self.print.plus(one);
        let Some(branch) = &mut self.branch else { return };
        let end = start + shared;
        let Some(place) = branch.children.get_mut(usize::from(half_byte(row, end))) else { return };
        let before = place.as_ref().map(|child| child.leaves(end + 1));
        match place {
            Some(child) => child.add(row, end + 1, one, resolution),
            None => *place = Some(Node::leaf(row, end + 1, one, resolution)),
        }
        if before != place.as_ref().map(|child| child.leaves(end + 1)) {
            branch.look_at_leaves(end);
        }
    }

    /// Adds a row that has only the first part of the path: a branch there leads to what is here and
    /// to the row, unless both fit a leaf.
    fn fork(
        &mut self,
        row: &RowKey,
        (start, shared): (usize, usize),
        one: Fingerprint,
        resolution: usize,
    ) {
        let end = start + shared;
        let print = self.print.plus(one);
        let Some((above, [half, below @ ..])) = self.path.split_at_checked(shared) else { return };
        let (above, half, below) = (above.into(), *half, below.into());
        if print.count <= LEAF_FULL && end >= resolution {
            *self = Node { path: above, print, branch: None };
            return;
        }
        let mut branch = Box::new(Branch::new());
        branch.put(half, Node { path: below, print: self.print, branch: self.branch.take() });
        branch.put(half_byte(row, end), Node::leaf(row, end + 1, one, resolution));
        branch.look_at_leaves(end);
        *self = Node { path: above, print, branch: Some(branch) };
    }

    /// Takes a row out, and says by what this node's fingerprint has become less; `None` if the row
    /// would not have come here.
    fn remove(
        &mut self,
        row: &RowKey,
        start: usize,
        one: Fingerprint,
        resolution: usize,
    ) -> Option<Fingerprint> {
        if self.shared_with(row, start) < self.path.len() {
            return None;
        }
        let end = start + self.path.len();
        let gone = match &mut self.branch {
            // All of it, whatever the row's digest is said to be: nothing may be left of nothing.
            None if self.print.count <= 1 => self.print,
            None => one,
            Some(branch) => {
                let place = branch.children.get_mut(usize::from(half_byte(row, end)))?;
                let gone = place.as_mut()?.remove(row, end + 1, one, resolution)?;
                place.take_if(|child| child.print.is_empty());
                gone
            }
        };
        self.print = self.print.minus(gone);
        self.tidy(end, resolution);
        Some(gone)
    }

    /// Replaces the leaf that is the rest of this prefix, and says what it was and has become.
    fn split(
        &mut self,
        leaf: &[u8],
        start: usize,
        items: &[&Item],
        resolution: usize,
    ) -> Option<(Fingerprint, Fingerprint)> {
        let below = leaf.strip_prefix(&*self.path)?;
        let end = start + self.path.len();
        let (before, after) = match (&mut self.branch, below) {
            (None, []) => {
                let built = Builder::build(items, start, resolution);
                let before = std::mem::replace(self, built.unwrap_or_else(Node::nothing)).print;
                return Some((before, self.print));
            }
            (Some(branch), [half, below @ ..]) => {
                let place = branch.children.get_mut(usize::from(*half))?;
                let replaced = place.as_mut()?.split(below, end + 1, items, resolution)?;
                place.take_if(|child| child.print.is_empty());
                replaced
            }
            _ => return None,
        };
        self.print = self.print.minus(before).plus(after);
        self.tidy(end, resolution);
        Some((before, after))
    }

    /// What takes the place of a leaf that turns out to be empty, until its parent takes it out.
    fn nothing() -> Self {
        Node { path: Box::default(), print: Fingerprint::default(), branch: None }
    }

    /// Restores, after something below has changed, that a branch has enough slots to be one and
    /// two children at least, and knows about its leaves.
    fn tidy(&mut self, end: usize, resolution: usize) {
        let Some(branch) = &mut self.branch else { return };
        if self.print.count < BRANCH_MIN && end >= resolution {
            self.branch = None;
        } else if let Some((half, only)) = branch.take_only_child() {
            let path = self.path.iter().copied().chain([half]).chain(only.path);
            *self = Node { path: path.collect(), ..only };
        } else {
            branch.look_at_leaves(end);
        }
    }
}

impl Branch {
    pub(super) fn new() -> Self {
        Branch { children: [const { None }; 16], leaves: Leaves::NONE }
    }

    pub(super) fn put(&mut self, half: u8, child: Node) {
        if let Some(place) = self.children.get_mut(usize::from(half)) {
            *place = Some(child);
        }
    }

    fn child(&self, half: u8) -> Option<&Node> {
        self.children.get(usize::from(half))?.as_ref()
    }

    /// The children that there are, by their half bytes.
    fn children(&self) -> impl Iterator<Item = (u8, &Node)> {
        (0..).zip(&self.children).filter_map(|(half, child)| Some((half, child.as_ref()?)))
    }

    /// Takes out the only child; `None` if there are several.
    fn take_only_child(&mut self) -> Option<(u8, Node)> {
        let mut all = (0..).zip(&mut self.children).filter(|(_, child)| child.is_some());
        match (all.next(), all.next()) {
            (Some((half, child)), None) => Some((half, child.take()?)),
            _ => None,
        }
    }

    /// Sums up what the leaves are like, for a branch whose prefix has this length.
    fn look_at_leaves(&mut self, end: usize) {
        let all = self.children().map(|(_, child)| child.leaves(end + 1));
        self.leaves = all.fold(Leaves::NONE, Leaves::and);
    }
}

impl Leaves {
    const NONE: Leaves = Leaves { shortest: PREFIX_MAX, too_full: false };

    fn and(self, other: Leaves) -> Self {
        Leaves {
            shortest: self.shortest.min(other.shortest),
            too_full: self.too_full || other.too_full,
        }
    }

    fn want_split(&self, resolution: usize) -> bool {
        self.too_full || self.shortest < resolution
    }
}

/// The half bytes of a row from one place to another.
fn path(row: &RowKey, start: usize, end: usize) -> Box<[u8]> {
    (start..end.min(PREFIX_MAX)).map(|at| half_byte(row, at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::ROW_KEY_LEN;

    impl Node {
        fn nodes(&self) -> usize {
            let below = |branch: &Branch| branch.children().map(|(_, child)| child.nodes()).sum();
            1 + self.branch.as_deref().map_or(0, below)
        }
    }

    fn built(rows: impl Iterator<Item = RowKey>, resolution: usize) -> Node {
        let mut rows: Vec<_> = rows.collect();
        rows.sort_unstable();
        let mut builder = Builder::new(0, resolution);
        for row in rows {
            builder.push(row, Fingerprint::of(blake3::hash(&row).as_bytes()));
        }
        builder.finish().unwrap()
    }

    /// A row whose key begins with `start`, and goes on at random.
    fn row(start: &[u8], number: u32) -> RowKey {
        let mut row = [7; ROW_KEY_LEN];
        row[..start.len()].copy_from_slice(start);
        let hash = blake3::hash(&number.to_be_bytes());
        for (byte, random) in row[start.len()..].iter_mut().zip(hash.as_bytes()) {
            *byte = *random;
        }
        row
    }

    #[test]
    fn a_tree_has_a_node_for_every_eight_slots_at_most() {
        let nodes = built((0..100_000).map(|number| row(&[], number)), 0).nodes();
        assert!(nodes <= 100_000 / 8, "{nodes} nodes");
        assert!(size_of::<Node>() <= 64);
    }

    #[test]
    fn the_slots_of_one_key_make_no_chain() {
        let hot = || (0..20_000).map(|number| row(&[0xab; 32], number));
        let alone = built(hot(), 0);
        assert_eq!(alone.path.len(), 64);
        assert_eq!(alone.nodes(), built((0..20_000).map(|number| row(&[], number)), 0).nodes());
        let beside = (0..1_000).map(|number| row(&[], number));
        let others = built(beside.clone(), 0).nodes();
        let both = built(beside.chain(hot()), 0).nodes();
        assert!(both <= others + alone.nodes() + 3, "{both} nodes, {others} without the key");
    }

    #[test]
    fn adding_one_by_one_makes_no_more_nodes_than_a_scan() {
        let mut tree = Tree::default();
        let mut rows: Vec<_> = (0..20_000).map(|number| row(&[], number)).collect();
        let items = |rows: &[RowKey], leaf: &Prefix| -> Vec<Item> {
            let version = |row: &RowKey| crate::record::Precedence {
                keep_until: crate::time::UnixMs(0),
                seq: 0,
                digest: *blake3::hash(row).as_bytes(),
            };
            let rows = rows.iter().filter(|row| leaf.covers_row(row));
            rows.map(|row| Item { row: *row, version: version(row) }).collect()
        };
        for row in &rows {
            tree.add(row, Fingerprint::of(blake3::hash(row).as_bytes()), 2);
        }
        while let Some(leaf) = tree.to_split(2) {
            assert!(tree.split(&leaf, &items(&rows, &leaf), 2));
        }
        let full = built(rows.iter().copied(), 2).nodes();
        assert_eq!(tree.root.as_ref().map(Node::nodes), Some(full));
        let few = rows.split_off(500);
        for row in &few {
            tree.remove(row, Fingerprint::of(blake3::hash(row).as_bytes()), 2);
        }
        // 256 leaves because of the resolution, and the branches above them.
        assert!(tree.root.as_ref().is_some_and(|root| root.nodes() <= 256 + 17));
    }
}
