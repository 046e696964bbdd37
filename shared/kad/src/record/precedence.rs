//! Which of two versions of one slot wins.

use crate::time::UnixMs;

/// The total order of the versions of one slot: the greater one wins, on every path.
///
/// It is compared field by field in this order, so two holders that have seen the same versions
/// keep the same one, whatever order they came in. `keep_until` comes first so that a version can
/// never be outlived by one that it replaced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Precedence {
    /// The last moment at which the head is kept.
    pub keep_until: UnixMs,
    /// The version's number.
    pub seq: u64,
    /// BLAKE3 of the signed content, without the signature.
    pub digest: [u8; 32],
}
