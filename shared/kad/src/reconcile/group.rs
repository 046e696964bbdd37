//! [`Group`]: versions that end at about the same time; [`Cut`]: which groups take part.

use serde::{Deserialize, Serialize};

use crate::admission::Existing;
use crate::record::Retention;
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, UnixMs};

/// How long the periods are that ends are told apart by, for versions that live as long as this
/// class: short beside their life, so that few are about to end, and long enough that there are few.
#[must_use]
pub const fn period_ms(span: Retention) -> u64 {
    match span {
        Retention::Hours8 => 10 * MINUTE_MS,
        Retention::Days7 => HOUR_MS,
        Retention::Days365 => DAY_MS,
    }
}

/// The period that a moment lies in.
#[must_use]
pub fn period_of(span: Retention, moment: UnixMs) -> u32 {
    u32::try_from(moment.0 / period_ms(span)).unwrap_or(u32::MAX)
}

/// The shortest class that is as long as a version is kept. Not its own class: a version may guard
/// its slot for longer than its class lasts, and short periods far away would be very many.
#[must_use]
pub fn span_of(version: &Existing) -> Retention {
    let created_at =
        UnixMs(version.expires_at.0.saturating_sub(version.charge.class.lifetime_ms()));
    let kept_ms = version.precedence.keep_until.since(created_at);
    let long_enough = |class: &&Retention| class.lifetime_ms() >= kept_ms;
    Retention::ALL.iter().find(long_enough).copied().unwrap_or(Retention::Days365)
}

/// Versions that are kept for about as long and until about the same time. A node holds some 600
/// groups at most: 48 periods of ten minutes, 168 hours, 365 days, and those just over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "(u8, u32)", into = "(u8, u32)")]
pub struct Group {
    /// How long the versions are kept: see [`span_of`].
    pub span: Retention,
    /// The period that their `keep_until` lies in.
    pub period: u32,
}

/// The first period of each span that takes part in a comparison; earlier ones are about to end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cut(pub [u32; 3]);

impl Group {
    /// The group of a version.
    #[must_use]
    pub fn of(version: &Existing) -> Self {
        let span = span_of(version);
        Group { span, period: period_of(span, version.precedence.keep_until) }
    }
}

impl Cut {
    /// The cut at a moment: the periods that it lies in, and all before, are left out.
    #[must_use]
    pub fn at(now: UnixMs) -> Self {
        Cut(Retention::ALL.map(|span| period_of(span, now).saturating_add(1)))
    }

    /// Whether a group takes part.
    #[must_use]
    pub fn takes(&self, group: &Group) -> bool {
        self.0.get(group.span as usize).is_some_and(|first| group.period >= *first)
    }

    /// Whether two cuts differ by no more than honest clocks do: a period at most in each span.
    #[must_use]
    pub fn is_near(&self, other: &Cut) -> bool {
        self.0.iter().zip(other.0).all(|(ours, theirs)| ours.abs_diff(theirs) <= 1)
    }

    /// The later of the two in each span: what both leave out and keep alike.
    #[must_use]
    pub fn later(&self, other: &Cut) -> Cut {
        let (Cut([a, b, c]), Cut([x, y, z])) = (*self, *other);
        Cut([a.max(x), b.max(y), c.max(z)])
    }
}

/// A number is not a class of lifetime.
#[derive(Debug, thiserror::Error)]
#[error("there is no class of lifetime {0}; give 0, 1 or 2")]
pub struct UnknownSpan(u8);

impl TryFrom<(u8, u32)> for Group {
    type Error = UnknownSpan;

    fn try_from((span, period): (u8, u32)) -> Result<Self, UnknownSpan> {
        let known = Retention::ALL.into_iter().find(|class| *class as u8 == span);
        known.map(|span| Group { span, period }).ok_or(UnknownSpan(span))
    }
}

impl From<Group> for (u8, u32) {
    fn from(group: Group) -> Self {
        (group.span as u8, group.period)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::admission::{Charge, FUTURE_TOLERANCE_MS};
    use crate::id::Key;
    use crate::message::reconcile::GROUPS_MAX;
    use crate::record::{Kind, Precedence};

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    /// What is kept of a version that was made at this moment and guards its slot for so long.
    fn version(class: Retention, created_at: UnixMs, guard_ms: u64) -> Existing {
        let expires_at = created_at.after(class.lifetime_ms());
        let keep_until = expires_at.max(created_at.after(guard_ms));
        Existing {
            precedence: Precedence { keep_until, seq: 1, digest: [0; 32] },
            expires_at,
            kind: Kind::Tombstone,
            charge: Charge { publisher: [0; 32], key: Key([0; 32]), class, bytes: 0 },
        }
    }

    #[test]
    fn a_version_lies_among_those_that_are_kept_as_long() {
        for class in Retention::ALL {
            assert_eq!(Group::of(&version(class, NOW, 0)).span, class);
        }
        let guarded = version(Retention::Days7, NOW, 365 * DAY_MS);
        let end = NOW.after(365 * DAY_MS);
        let days = Group { span: Retention::Days365, period: period_of(Retention::Days365, end) };
        assert_eq!(Group::of(&guarded), days);
        assert_eq!(u64::from(days.period), end.0 / DAY_MS);
        let a_week = version(Retention::Hours8, NOW, 7 * DAY_MS);
        assert_eq!(Group::of(&a_week).span, Retention::Days7);
        let just_longer = version(Retention::Hours8, NOW, 7 * DAY_MS + 1);
        assert_eq!(Group::of(&just_longer).span, Retention::Days365);
    }

    #[test]
    fn all_that_a_node_may_hold_lies_in_few_groups() {
        let mut groups = BTreeSet::new();
        for class in Retention::ALL {
            for guard_ms in [0, 8 * HOUR_MS, 7 * DAY_MS, 100 * DAY_MS, 365 * DAY_MS] {
                let kept_ms = class.lifetime_ms().max(guard_ms);
                let latest = NOW.0 + FUTURE_TOLERANCE_MS;
                // Often enough that no period is left out.
                for created_at in (NOW.0 - kept_ms..=latest).step_by(5 * MINUTE_MS as usize) {
                    groups.insert(Group::of(&version(class, UnixMs(created_at), guard_ms)));
                }
            }
        }
        assert!((580..=600).contains(&groups.len()), "{} groups", groups.len());
        assert!(groups.len() <= GROUPS_MAX);
    }

    #[test]
    fn a_cut_leaves_out_what_ends_within_its_own_period() {
        let cut = Cut::at(NOW);
        for span in Retention::ALL {
            let group = |moment| Group { span, period: period_of(span, moment) };
            assert!(!cut.takes(&group(NOW)));
            assert!(cut.takes(&group(NOW.after(period_ms(span)))));
            assert!(!cut.takes(&group(UnixMs(NOW.0 - period_ms(span)))));
        }
    }

    proptest! {
        #[test]
        fn cuts_of_clocks_that_differ_little_are_near_and_have_a_later_one(
            moment in 0..4_000_000_000_000_u64, apart_ms in 0..=FUTURE_TOLERANCE_MS,
        ) {
            let [one, other] = [moment, moment + apart_ms].map(|ms| Cut::at(UnixMs(ms)));
            prop_assert!(one.is_near(&other) && other.is_near(&one));
            prop_assert_eq!(one.later(&other), other);
            prop_assert_eq!(other.later(&one), other);
            let far = Cut::at(UnixMs(moment + 3 * FUTURE_TOLERANCE_MS));
            prop_assert!(!one.is_near(&far));
        }

        #[test]
        fn a_group_survives_its_sent_form(span in any::<u8>(), period in any::<u32>()) {
            match Group::try_from((span, period)) {
                Ok(group) => prop_assert_eq!(<(u8, u32)>::from(group), (span, period)),
                Err(_) => prop_assert!(Retention::ALL.iter().all(|class| *class as u8 != span)),
            }
        }
    }
}
