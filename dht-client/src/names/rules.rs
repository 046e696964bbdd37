//! [`NameRules`]: what claimants and readers of a network have to agree on.

use std::collections::BTreeSet;

use dht_kad::NodeId;
use dht_kad::time::{DAY_MS, SECOND_MS};

use super::form::Name;

/// The most nodes that judge one name. More receipts than this would not fit into the evidence.
pub const JUDGES_MAX: usize = 32;

/// Claims whose moments differ by no more than this are a tie: the clocks of judges and the ways to them
/// differ by as much.
const TIE_MS: u64 = SECOND_MS;
/// A claim is renewed when it has less than this left: a third of its life, in which its owner may be
/// away.
const RENEW_BEFORE_MS: u64 = 120 * DAY_MS;

/// Whose receipts say when a claim was made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Judges {
    /// The servers responsible for the name's place, as a lookup finds them. They change as servers come
    /// and go, and who runs enough servers near the place is their majority. A client whose network has a
    /// registry takes that one's nodes instead.
    #[default]
    Holders,
    /// These nodes: what the holder of the network's registry key vouches for. If there are more than
    /// [`JUDGES_MAX`], the closest to the name's place.
    Registry(BTreeSet<NodeId>),
}

/// The leading zero bits of work that a claim has to show, by the name's letters and digits: short names
/// are few, and who wants many pays for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameWork {
    /// For 3 letters or fewer, for 4, and so on; the last one for all longer names.
    bits: [u32; 10],
}

/// What claimants and readers have to agree on. All of a network use the [standard](Self::default) ones;
/// others serve tests and networks of one's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameRules {
    /// The work that a claim shows.
    pub work: NameWork,
    /// Whose receipts count.
    pub judges: Judges,
    /// Claims whose moments, in milliseconds, differ by no more than this are a tie.
    pub tie_ms: u64,
    /// A claim with less than this left, in milliseconds, is renewed.
    pub renew_before_ms: u64,
}

impl NameWork {
    /// A core makes some two million hashes a second: from some seconds for a name of three letters
    /// to a quarter of a second from twelve on.
    pub const STANDARD: NameWork = NameWork { bits: [24, 24, 23, 22, 22, 21, 21, 20, 20, 19] };

    /// The same for every name.
    #[must_use]
    pub const fn uniform(bits: u32) -> Self {
        NameWork { bits: [bits; 10] }
    }

    /// The bits that a claim of this name shows at least.
    #[must_use]
    pub fn bits(&self, name: &Name) -> u32 {
        let longest = self.bits.len() - 1;
        let place = name.letters().saturating_sub(3).min(longest);
        self.bits.get(place).copied().unwrap_or(u32::MAX)
    }

    /// The bits that a claim of any name shows at least.
    #[must_use]
    pub fn least(&self) -> u32 {
        self.bits.iter().copied().min().unwrap_or(0)
    }
}

impl Default for NameRules {
    fn default() -> Self {
        NameRules {
            work: NameWork::STANDARD,
            judges: Judges::Holders,
            tie_ms: TIE_MS,
            renew_before_ms: RENEW_BEFORE_MS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_names_cost_more_and_separators_do_not_make_a_name_long() {
        let bits = |text: &str| NameWork::STANDARD.bits(&text.parse().unwrap());
        assert_eq!((bits("abc"), bits("a-b-c"), bits("a.b")), (24, 24, 24));
        assert_eq!((bits("abcde"), bits("abcdefghijkl"), bits(&"x".repeat(36))), (23, 19, 19));
        assert!(NameWork::STANDARD.bits.is_sorted_by(|short, long| short >= long));
        assert_eq!(NameWork::STANDARD.least(), 19);
        assert_eq!(NameWork::uniform(3).bits(&"abc".parse().unwrap()), 3);
    }
}
