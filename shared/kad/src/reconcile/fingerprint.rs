//! [`Fingerprint`]: what tells whether two sets are the same.

use serde::{Deserialize, Serialize};

use super::Item;

/// The count of some items, and the sum of their versions' digests mod 2^256: what is added can be
/// taken away again, and sets that share nothing add up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fingerprint {
    /// How many items.
    pub count: u64,
    /// The sum, its lowest 64 bits first.
    sum: [u64; 4],
}

/// A fingerprint as it is sent: the count, and 16 bytes of the hash of both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Print {
    /// How many items.
    pub count: u64,
    /// BLAKE3 of count and sum, cut off.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 16],
}

impl Fingerprint {
    /// The fingerprint of one item, by its version's digest.
    #[must_use]
    pub fn of(digest: &[u8; 32]) -> Self {
        let mut sum = [0; 4];
        let (words, _) = digest.as_chunks::<8>();
        for (limb, word) in sum.iter_mut().rev().zip(words) {
            *limb = u64::from_be_bytes(*word);
        }
        Fingerprint { count: 1, sum }
    }

    /// This and those of other items.
    #[must_use]
    pub fn plus(self, other: Fingerprint) -> Self {
        let mut carry = 0;
        let mut sum = self.sum;
        for (limb, theirs) in sum.iter_mut().zip(other.sum) {
            let whole = u128::from(*limb) + u128::from(theirs) + carry;
            (*limb, carry) = (whole as u64, whole >> 64);
        }
        Fingerprint { count: self.count.wrapping_add(other.count), sum }
    }

    /// This without those of some of its items.
    #[must_use]
    pub fn minus(self, other: Fingerprint) -> Self {
        let mut borrowed = false;
        let mut sum = self.sum;
        for (limb, theirs) in sum.iter_mut().zip(other.sum) {
            let (less, under) = limb.overflowing_sub(theirs);
            let (less, under_again) = less.overflowing_sub(borrowed.into());
            (*limb, borrowed) = (less, under || under_again);
        }
        Fingerprint { count: self.count.wrapping_sub(other.count), sum }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What is sent of it.
    #[must_use]
    pub fn print(&self) -> Print {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.count.to_be_bytes());
        for limb in self.sum.iter().rev() {
            hasher.update(&limb.to_be_bytes());
        }
        let mut hash = [0; 16];
        for (byte, full) in hash.iter_mut().zip(hasher.finalize().as_bytes()) {
            *byte = *full;
        }
        Print { count: self.count, hash }
    }
}

impl std::iter::Sum for Fingerprint {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Fingerprint::default(), Fingerprint::plus)
    }
}

/// The fingerprint of items whose digests are hashed once more under a salt: sums that were made to
/// agree do not agree under a salt that was not known when they were made.
#[must_use]
pub fn salted<'a>(items: impl IntoIterator<Item = &'a Item>, salt: &[u8; 32]) -> Fingerprint {
    let hashed = |item: &Item| blake3::keyed_hash(salt, &item.version.digest);
    items.into_iter().map(|item| Fingerprint::of(hashed(item).as_bytes())).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_added_can_be_taken_away_in_any_order(digests in any::<Vec<[u8; 32]>>()) {
            let prints: Vec<_> = digests.iter().map(Fingerprint::of).collect();
            let all: Fingerprint = prints.iter().copied().sum();
            prop_assert_eq!(all, prints.iter().rev().copied().sum());
            let none = prints.iter().fold(all, |left, print| left.minus(*print));
            prop_assert_eq!(none, Fingerprint::default());
        }
    }

    #[test]
    fn sums_carry_over_all_limbs() {
        let most = Fingerprint::of(&[0xff; 32]);
        let mut one = [0; 32];
        one[31] = 1;
        let sum = most.plus(Fingerprint::of(&one));
        assert_eq!((sum.count, sum.sum), (2, [0; 4]));
        assert_eq!(sum.minus(most), Fingerprint::of(&one));
    }

    #[test]
    fn different_sets_have_different_prints() {
        let [one, other] = [[1; 32], [2; 32]].map(|digest| Fingerprint::of(&digest));
        assert_ne!(one.print(), other.print());
        assert_ne!(one.plus(other).print(), one.print());
        assert_eq!(one.plus(other).print(), other.plus(one).print());
    }
}
