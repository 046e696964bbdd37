//! [`Builder`]: a [`Tree`](super::tree::Tree) of rows that come in their order.
//!
//! Of what has been seen, only the branches above the last row are open: whatever the next row is,
//! nothing else can still grow. A branch is closed when a row comes that does not lie below it, and
//! becomes a leaf then if it is no more than that. So memory holds what is built, one open branch for
//! each half byte at most, and no rows.

use super::prefix::half_byte;
use super::tree::{Branch, LEAF_FULL, Node};
use super::{Fingerprint, Item, PREFIX_MAX, RowKey};

/// A tree, or a part of one, of all rows so far.
pub(super) struct Builder {
    /// How many half bytes above the tree lead to it.
    start: usize,
    resolution: usize,
    /// The branches above the last row, each below the one before it.
    open: Vec<Open>,
    /// The last row, and what is closed and ends with it.
    last: Option<(RowKey, Closed)>,
}

/// A branch whose last child is still to come.
struct Open {
    /// The length of its prefix.
    end: usize,
    print: Fingerprint,
    branch: Box<Branch>,
}

/// All rows from some place on, which will not become more.
enum Closed {
    Leaf(Fingerprint),
    Branch(Open),
}

impl Builder {
    /// A builder of a tree below the first `start` half bytes of rows, which all share them.
    pub(super) fn new(start: usize, resolution: usize) -> Self {
        Builder { start, resolution, open: Vec::new(), last: None }
    }

    /// The tree of these items, which are in order; `None` without any.
    pub(super) fn build(items: &[&Item], start: usize, resolution: usize) -> Option<Node> {
        let mut builder = Builder::new(start, resolution);
        for item in items {
            builder.push(item.row, Fingerprint::of(&item.version.digest));
        }
        builder.finish()
    }

    /// Adds a row that comes after all others.
    pub(super) fn push(&mut self, row: RowKey, one: Fingerprint) {
        let closed = Closed::Leaf(one);
        let Some((last, before)) = self.last.replace((row, closed)) else { return };
        debug_assert!(last < row, "a store's index is in order");
        let fork = (0..PREFIX_MAX).take_while(|at| half_byte(&last, *at) == half_byte(&row, *at));
        let fork = fork.count();
        let below = self.close(&last, before, |open| open.end > fork);
        if self.open.last().is_none_or(|open| open.end < fork) {
            let (print, branch) = (Fingerprint::default(), Box::new(Branch::new()));
            self.open.push(Open { end: fork, print, branch });
        }
        let resolution = self.resolution;
        if let Some(open) = self.open.last_mut() {
            open.put(&last, below, resolution);
        }
    }

    /// The tree; `None` if there were no rows.
    pub(super) fn finish(mut self) -> Option<Node> {
        let (last, closed) = self.last.take()?;
        let all = self.close(&last, closed, |_| true);
        Some(all.node(&last, self.start, self.resolution))
    }

    /// Closes the innermost branches for which this holds, into each of which the one before goes.
    fn close(&mut self, last: &RowKey, first: Closed, which: impl Fn(&Open) -> bool) -> Closed {
        let mut closed = first;
        while let Some(mut open) = self.open.pop_if(|open| which(open)) {
            open.put(last, closed, self.resolution);
            let is_leaf = open.print.count <= LEAF_FULL && open.end >= self.resolution;
            closed = if is_leaf { Closed::Leaf(open.print) } else { Closed::Branch(open) };
        }
        closed
    }
}

impl Open {
    fn put(&mut self, row: &RowKey, closed: Closed, resolution: usize) {
        let node = closed.node(row, self.end + 1, resolution);
        self.print = self.print.plus(node.print());
        self.branch.put(half_byte(row, self.end), node);
    }
}

impl Closed {
    /// The node that it is where so many half bytes lead to it; `row` lies below.
    fn node(self, row: &RowKey, start: usize, resolution: usize) -> Node {
        match self {
            Closed::Leaf(print) => Node::leaf(row, start, print, resolution),
            Closed::Branch(Open { end, print, branch }) => {
                Node::branch(row, start, end, print, branch)
            }
        }
    }
}
