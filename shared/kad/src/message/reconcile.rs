//! The messages of [`reconcile`](crate::reconcile): set reconciliation between holders.

use serde::{Deserialize, Serialize};

use super::{PAGE_RECORDS, RecordBytes};
use crate::admission::row_key;
use crate::bounded;
use crate::id::Key;
use crate::reconcile::{Cut, Group, Item, PREFIX_MAX, Part, Prefix, Print, short};
use crate::record::{Precedence, RecordId};
use crate::time::UnixMs;

/// The most prefixes that a comparison is limited to.
pub const RANGE_MAX: usize = 256;
/// The most groups in an answer: more than there can be at one time.
pub const GROUPS_MAX: usize = 1_024;
/// The most parts that are compared at once. An answerer that does not get to all of them within a
/// frame answers the rest with [`PartAnswer::Later`].
pub const PARTS_MAX: usize = 512;
/// The most short digests in one list: an answerer lists a part at once if it is that small and the
/// asker has nothing there.
pub const SHORTS_MAX: usize = 4_096;
/// The most items of one offer: each costs the answerer a look at its store.
pub const OFFER_MAX: usize = 256;
/// A part with at most so many items on both sides is compared item by item.
pub const LEAF_MAX: usize = 32;

/// What do you hold, compared with me?
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reconcile {
    /// Do we hold the same?
    Whole(Whole),
    /// Where within these parts do we differ?
    Parts(#[serde(deserialize_with = "bounded::list::<_, _, PARTS_MAX>")] Vec<PartAsk>),
    /// Which items are in this part, of at most [`SHORTS_MAX`]?
    Listing(Part),
    /// What is the salted fingerprint of this part, of at most [`SHORTS_MAX`] items?
    Salted(Salted),
    /// Send these records.
    Records(#[serde(deserialize_with = "bounded::list::<_, _, PAGE_RECORDS>")] Vec<Wanted>),
    /// I hold these, and they may belong to you.
    Offer(#[serde(deserialize_with = "bounded::list::<_, _, OFFER_MAX>")] Vec<Offered>),
    /// I am leaving the network for good: others should take my place now.
    Leaving,
}

/// Everything that both should hold, in one fingerprint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Whole {
    /// Which groups take part.
    pub cut: Cut,
    /// Which slots take part: those under these prefixes, none of which covers another.
    #[serde(deserialize_with = "bounded::list::<_, _, RANGE_MAX>")]
    pub range: Vec<Prefix>,
    /// The asker's fingerprint of it.
    pub print: Print,
}

/// One part, as the asker holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartAsk {
    /// Which.
    pub part: Part,
    /// The asker's fingerprint of it.
    pub print: Print,
}

/// A part to be compared under a salt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Salted {
    /// Which.
    pub part: Part,
    /// Made anew for each comparison.
    #[serde(with = "serde_bytes")]
    pub salt: [u8; 32],
}

/// Records of one part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// Where they are.
    pub part: Part,
    /// Which: the first bytes of their digests. At most [`PAGE_RECORDS`] in a whole request.
    #[serde(deserialize_with = "bounded::list::<_, _, PAGE_RECORDS>")]
    pub shorts: Vec<u64>,
}

/// A version that somebody holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offered {
    /// The slot's key.
    pub key: Key,
    /// The slot's publisher; zeros in the `Content` space.
    #[serde(with = "serde_bytes")]
    pub publisher: [u8; 32],
    /// The slot's number.
    pub slot: u64,
    /// The group that the offerer holds it in: where to fetch it from.
    pub group: Group,
    /// Until when the version is kept.
    pub keep_until: UnixMs,
    /// The version's number.
    pub seq: u64,
    /// The digest of its signed content.
    #[serde(with = "serde_bytes")]
    pub digest: [u8; 32],
}

/// The answer to [`Reconcile`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reconciled {
    /// To [`Reconcile::Whole`]: yes.
    Equal,
    /// To [`Reconcile::Whole`]: at this cut I could say.
    OtherCut(Cut),
    /// To [`Reconcile::Whole`]: no; these are my groups within the range, by time.
    Groups(#[serde(deserialize_with = "bounded::list::<_, _, GROUPS_MAX>")] Vec<GroupPrint>),
    /// To [`Reconcile::Parts`]: one answer a part, in their order.
    Parts(#[serde(deserialize_with = "bounded::list::<_, _, PARTS_MAX>")] Vec<PartAnswer>),
    /// To [`Reconcile::Listing`]: the first bytes of the digests of all items.
    Items(#[serde(deserialize_with = "bounded::list::<_, _, SHORTS_MAX>")] Vec<u64>),
    /// To [`Reconcile::Salted`].
    Salted(Print),
    /// To [`Reconcile::Records`]: as many as fit a page. Who lacks some asks again.
    Records(#[serde(deserialize_with = "bounded::list::<_, _, PAGE_RECORDS>")] Vec<RecordBytes>),
    /// To [`Reconcile::Offer`]: one answer an item, in their order.
    Holdings(#[serde(deserialize_with = "bounded::list::<_, _, OFFER_MAX>")] Vec<Holding>),
    /// To [`Reconcile::Leaving`].
    Noted,
    /// The part has too many items for this question, or is not told apart so far yet.
    TooLarge,
}

/// A group, and the fingerprint of what lies in it within the range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupPrint {
    /// Which.
    pub group: Group,
    /// Its fingerprint.
    pub print: Print,
}

/// What the answerer holds of one part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PartAnswer {
    /// The same.
    Same,
    /// All that it holds of the part lies under `at`, which the part's prefix covers; these are the
    /// fingerprints of its children there that hold something, by their half byte.
    Children {
        /// The longest prefix that all of it has.
        at: Prefix,
        /// Half byte and fingerprint, in the order of half bytes.
        #[serde(deserialize_with = "bounded::list::<_, _, 16>")]
        children: Vec<(u8, Print)>,
    },
    /// The first bytes of the digests of all its items.
    Items(#[serde(deserialize_with = "bounded::list::<_, _, SHORTS_MAX>")] Vec<u64>),
    /// It did not get to this part; ask again.
    Later,
}

/// Whether somebody holds a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Holding {
    /// That version or one that supersedes it is on its stable storage.
    Held,
    /// Not yet; it will fetch it.
    Wanted,
    /// No: it is not among those who should, or takes no more at present.
    Declined,
}

impl Offered {
    /// An item that lies in this group.
    #[must_use]
    pub fn new(group: Group, item: &Item) -> Self {
        let (key, publisher, slot) = split(&item.row);
        let Precedence { keep_until, seq, digest } = item.version;
        Offered { key: Key(key), publisher, slot, group, keep_until, seq, digest }
    }

    /// How to ask for it.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        let prefix = Prefix::of(&row_key(&self.id()), PREFIX_MAX);
        let part = Part { group: self.group, prefix };
        Wanted { part, shorts: vec![short(&self.digest)] }
    }

    /// The slot.
    #[must_use]
    pub fn id(&self) -> RecordId {
        RecordId { key: self.key, publisher: self.publisher, slot: self.slot }
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> Precedence {
        Precedence { keep_until: self.keep_until, seq: self.seq, digest: self.digest }
    }
}

fn split(row: &crate::reconcile::RowKey) -> ([u8; 32], [u8; 32], u64) {
    let (mut key, mut publisher, mut slot) = ([0; 32], [0; 32], [0; 8]);
    let fields = key.iter_mut().chain(&mut publisher).chain(&mut slot);
    for (field, byte) in fields.zip(row) {
        *field = *byte;
    }
    (key, publisher, u64::from_be_bytes(slot))
}
