//! Reconciliation: how two holders find what one of them lacks, at a cost that grows with what
//! differs and not with what they hold.
//!
//! What a store keeps is a set of [`Item`]s: a slot and the version that it holds. The set is cut
//! into [`Group`]s by when the versions end, and each group into a tree by the place of the slot.
//! Every node of the tree has a [`Fingerprint`], the count and the sum of the digests below it, so
//! that two holders whose fingerprints agree hold the same, and two whose fingerprints differ look
//! only where they do (Meyer, *Range-Based Set Reconciliation*, 2023, with the tree's prefixes as
//! ranges; the sums are the additive hash of Clarke et al., *Incremental Multiset Hash Functions*,
//! 2003).
//!
//! ```text
//!               all groups from the cut on, within the parts of the keyspace that both should hold
//!                    │ differs
//!      group, group, group          by class of lifetime and period of the end
//!                    │ differs
//!           prefix, prefix, …       16 children a node, single paths compressed
//!                    │ differs
//!              short digests        of a leaf's items, at most some dozens
//!                    │ lacking
//!                 records           fetched, checked like any other, stored
//! ```
//!
//! Whoever asks only ever takes: it learns what the other holds and it does not, and fetches that.
//! What it holds and the other does not, the other finds when it asks in turn. Versions that are
//! about to end are left out by both sides ([`Cut`]): by the time they were copied they would be gone.
//!
//! [`Fingerprints`] is what a store keeps of this in memory; [`Neighbourhood`] says which parts of
//! the keyspace two nodes should both hold. The messages are in
//! [`message::reconcile`](crate::message::reconcile); who asks whom and when is for the node to decide.
//!
//! A sum can be forged by whoever may choose very many digests: records of the forger's own that a
//! holder lacks would not be missed. So holders also compare, once a day and part by part, sums of
//! digests hashed under a salt that nobody knows beforehand ([`salted`]).

mod build;
pub mod descent;
mod fingerprint;
mod fingerprints;
mod group;
mod neighbourhood;
mod prefix;
mod tree;

pub use fingerprint::{Fingerprint, Print, salted};
pub use fingerprints::{Children, Fingerprints};
pub use group::{Cut, Group, period_ms, period_of, span_of};
pub use neighbourhood::Neighbourhood;
pub use prefix::{PREFIX_MAX, Prefix};

use crate::record::Precedence;

/// Length of a slot's place: see [`row_key`](crate::admission::row_key).
pub const ROW_KEY_LEN: usize = 72;
/// A slot's place in a store's order: key, publisher, slot.
pub type RowKey = [u8; ROW_KEY_LEN];

/// One element of the set that a store keeps: a slot, and the version in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Item {
    /// The slot.
    pub row: RowKey,
    /// The version that it holds.
    pub version: Precedence,
}

impl Item {
    /// The first bytes of the version's digest, by which leaves are compared: two of the dozens of
    /// items of a leaf are alike in them once in 2^50 leaves.
    #[must_use]
    pub fn short(&self) -> u64 {
        short(&self.version.digest)
    }
}

/// The first bytes of a digest, as a number.
#[must_use]
pub fn short(digest: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// One part of the set: of one group, the slots under one prefix.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// When its versions end.
    pub group: Group,
    /// Where its slots lie.
    pub prefix: Prefix,
}
