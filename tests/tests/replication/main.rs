//! Copies are kept whole: real nodes, real disks, and nobody who puts anything twice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod a_node_that_leaves;
mod a_node_that_was_away;
mod what_rounds_cost;
