//! In which order the letters of a tag come to the application, and what is still to be looked for.
//!
//! Each letter names the one before it. One whose predecessor is not there waits, until that has come,
//! or cannot come any more: it was pruned, another device of ours has acknowledged it, or its record has
//! ended. Letters that the sender gave up on are named by nobody and so are not waited for.
//!
//! ```text
//! delivered …5]   6 names 5: next        8 names 7: waits for 7        9 names 8: waits behind 8
//! ```

use std::collections::BTreeMap;

use dht_kad::UnixMs;
use dht_kad::admission::FUTURE_TOLERANCE_MS;
use dht_kad::record::Retention;

use super::mailbox::{Tag, slot_of};

/// The most tags of one direction that are remembered: the installations of somebody who has a new
/// one each month for twenty years.
pub(crate) const TAGS_MAX: usize = 256;

/// The most ranges of slots that one fetch asks for. What lies between is skipped when it comes.
const RANGES_MAX: usize = 32;

/// What a letter says of the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    pub(crate) counter: u64,
    pub(crate) previous: u64,
    pub(crate) previous_at: UnixMs,
}

/// What is to be done about the first letter of a tag that is here and not delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// It is its turn. So many letters before it were given up, by us or by the sender.
    Deliver {
        /// How many counters were passed over that no device of ours has acknowledged.
        missed: u64,
    },
    /// This one has to come first.
    Wait {
        /// The counter of what is missing.
        missing: u64,
    },
}

/// Whether it is a letter's turn, where all up to `delivered` is. `gone` says of a counter that it was
/// pruned or acknowledged elsewhere.
pub(crate) fn step(delivered: u64, link: Link, gone: impl Fn(u64) -> bool, now: UnixMs) -> Step {
    let passed_over = link.counter.saturating_sub(delivered).saturating_sub(1);
    if link.previous <= delivered {
        return Step::Deliver { missed: passed_over };
    }
    if gone(link.previous) {
        // What was acknowledged was read: only what lies after it can have been missed.
        let missed = link.counter.saturating_sub(link.previous).saturating_sub(1);
        return Step::Deliver { missed };
    }
    match has_ended(link.previous_at, now) {
        true => Step::Deliver { missed: passed_over },
        false => Step::Wait { missing: link.previous },
    }
}

/// Whether a letter that was created then has ended by anybody's clock.
pub(crate) fn has_ended(created_at: UnixMs, now: UnixMs) -> bool {
    now.since(created_at) > Retention::Days7.lifetime_ms() + FUTURE_TOLERANCE_MS
}

/// What is here of a tag whose letters may still be in the network.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Have {
    /// Up to here all is delivered.
    pub(crate) delivered: u64,
    /// What is here beyond it, ascending.
    pub(crate) held: Vec<u64>,
}

impl Have {
    /// Whether a letter is here.
    pub(crate) fn has(&self, counter: u64) -> bool {
        counter <= self.delivered || self.held.binary_search(&counter).is_ok()
    }
}

/// The slots to ask for: all but what is here.
pub(crate) fn missing_slots(have: &BTreeMap<Tag, Have>) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let mut from = 0;
    for (first, last) in have.iter().flat_map(|(tag, have)| runs(*tag, have)) {
        if ranges.len() + 1 >= RANGES_MAX {
            break;
        }
        if first > from {
            ranges.push((from, first - 1));
        }
        let Some(next) = last.checked_add(1) else { return ranges };
        from = next;
    }
    ranges.push((from, u64::MAX));
    ranges
}

/// The runs of slots that are here, of one tag, ascending.
fn runs(tag: Tag, have: &Have) -> Vec<(u64, u64)> {
    // No letter has counter 0.
    let mut runs = vec![(slot_of(tag, 0), slot_of(tag, have.delivered))];
    for slot in have.held.iter().map(|counter| slot_of(tag, *counter)) {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(slot) => *last = slot,
            _ => runs.push((slot, slot)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use dht_kad::time::DAY_MS;

    use super::*;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn link(counter: u64, previous: u64) -> Link {
        Link { counter, previous, previous_at: NOW }
    }

    #[test]
    fn letters_follow_one_another() {
        let none_gone = |_| false;
        assert_eq!(step(0, link(1, 0), none_gone, NOW), Step::Deliver { missed: 0 });
        assert_eq!(step(5, link(6, 5), none_gone, NOW), Step::Deliver { missed: 0 });
        assert_eq!(step(5, link(8, 7), none_gone, NOW), Step::Wait { missing: 7 });
        assert_eq!(step(5, link(8, 5), none_gone, NOW), Step::Deliver { missed: 2 }, "given up");
        assert_eq!(step(0, link(8, 7), |counter| counter <= 7, NOW), Step::Deliver { missed: 0 });
    }

    #[test]
    fn what_is_missing_is_waited_for_until_it_must_have_ended() {
        let late = NOW.after(7 * DAY_MS + FUTURE_TOLERANCE_MS);
        assert_eq!(step(5, link(8, 7), |_| false, late), Step::Wait { missing: 7 });
        let ended = step(5, link(8, 7), |_| false, late.after(1));
        assert_eq!(ended, Step::Deliver { missed: 2 });
    }

    #[test]
    fn only_what_is_not_here_is_asked_for() {
        assert_eq!(missing_slots(&BTreeMap::new()), [(0, u64::MAX)]);
        let have = BTreeMap::from([
            (0, Have { delivered: 3, held: vec![] }),
            (5, Have { delivered: 10, held: vec![12, 13, 20] }),
            (0xff_ffff, Have { delivered: 1, held: vec![] }),
        ]);
        let last = slot_of(0xff_ffff, 0);
        assert_eq!(
            missing_slots(&have),
            [
                (4, slot_of(5, 0) - 1),
                (slot_of(5, 11), slot_of(5, 11)),
                (slot_of(5, 14), slot_of(5, 19)),
                (slot_of(5, 21), last - 1),
                (last + 2, u64::MAX),
            ]
        );
        assert!(have[&5].has(10) && have[&5].has(13) && !have[&5].has(11));
    }

    #[test]
    fn however_much_is_here_the_ranges_are_few_and_leave_nothing_out() {
        let held = (2..500).map(|number| 2 * number).collect();
        let have = BTreeMap::from([(5, Have { delivered: 1, held })]);
        let ranges = missing_slots(&have);
        assert_eq!(ranges.len(), RANGES_MAX);
        for counter in (1..500).map(|number| 2 * number + 1) {
            let slot = slot_of(5, counter);
            assert!(ranges.iter().any(|(first, last)| (*first..=*last).contains(&slot)));
        }
    }
}
