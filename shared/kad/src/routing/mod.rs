//! Routing: which servers a node keeps in mind, so that it can name those closest to any place.
//!
//! The [`RoutingTable`] is the one of Kademlia (Maymounkov and Mazières, 2002, sections 2.2 and
//! 2.4). Bucket `i` holds servers whose ids share exactly `i` leading bits with the own id; the
//! last bucket holds all that share more, and splits when it overflows. So a node knows its own
//! neighbourhood completely and of every other region a sample of [`K`]:
//!
//! ```text
//! own id 0110…   bucket 0: 1…      half of the keyspace, up to k of it
//!                bucket 1: 00…     a quarter
//!                bucket 2: 010…    an eighth
//!                bucket 3: 011…    the last: everything closer
//! ```
//!
//! Who has been up for long is likely to stay (section 4.1 of the paper), and newcomers may be an
//! attacker's: a full bucket keeps whom it has, and a newcomer waits among a few replacements until
//! one of them is gone. [`Prefix`] limits how many come from one corner of the network.
//!
//! The table decides and remembers; it sends nothing. Its owner inserts whom it heard, removes who
//! failed, and pings whom [`RoutingTable::insert`] and [`RoutingTable::unheard_since`] name.

mod bucket;
mod prefix;
mod table;

pub use prefix::{Prefix, is_global};
pub use table::{BucketIndex, Insertion, Removal, RoutingTable};

/// Servers per bucket, and copies of a record: so many that all of them failing within an hour is
/// unlikely (Kademlia, section 2.2). It also says who the closest are, so all nodes of one network
/// must use the same.
pub const K: usize = 20;

/// Peers of one prefix in a bucket: a tenth, so that one corner of the network is never most of a
/// node's view of a region.
pub const PEERS_PER_PREFIX_IN_BUCKET: usize = 2;

/// Peers of one prefix in the table: five buckets' worth, while a table has about ten that are full.
pub const PEERS_PER_PREFIX_IN_TABLE: usize = 10;

/// Replacements that wait per bucket: enough to outlast a burst of failures, and half a bucket so
/// that candidates never cost more than peers.
pub const REPLACEMENTS_MAX: usize = K / 2;

/// The bounds of a [`RoutingTable`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableConfig {
    /// Servers per bucket; 0 counts as 1.
    pub k: usize,
    /// Peers of one prefix in a bucket.
    pub peers_per_prefix_in_bucket: usize,
    /// Peers of one prefix in the table.
    pub peers_per_prefix_in_table: usize,
    /// Replacements that wait per bucket.
    pub replacements_max: usize,
}

impl Default for TableConfig {
    fn default() -> Self {
        TableConfig {
            k: K,
            peers_per_prefix_in_bucket: PEERS_PER_PREFIX_IN_BUCKET,
            peers_per_prefix_in_table: PEERS_PER_PREFIX_IN_TABLE,
            replacements_max: REPLACEMENTS_MAX,
        }
    }
}
