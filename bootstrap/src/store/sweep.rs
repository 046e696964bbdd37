//! The sweep: gives back the room of what has ended. It is the only one that destroys.
//!
//! It goes by `index`, whose rows are ordered by class and period: every period that is wholly past
//! is emptied, oldest first, some rows a step, and a mark for each range, kept on disk, says which
//! period may be the first with rows. What lies in a period that is not over yet has ended for
//! readers all the same; only its room comes back later, unless it is wanted now, because a put
//! was refused as `Full` or somebody asks ([`Depth::Now`]): that costs a look at every row of the period.

use dht_kad::UnixMs;

use super::commit_plan::CommitPlan;
use super::database::{Database, Fault, Reach};
use super::rows::{IndexRange, split_index_key};
use super::settings::Family;

/// Rows that one step takes out: a few milliseconds of the writer's time.
pub(super) const STEP_ROWS: usize = 256;

/// The first period of each range that may still have rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct SweepMarks([u32; IndexRange::ALL.len()]);

impl SweepMarks {
    /// Notes that a row is being written that ends at `moment`.
    pub(super) fn lower(&mut self, range: IndexRange, moment: UnixMs) {
        if let Some(mark) = self.of(range) {
            *mark = (*mark).min(range.period(moment));
        }
    }

    /// Up to when everything that has ended was taken out.
    pub(super) fn swept_to(&self) -> UnixMs {
        let ends = IndexRange::ALL.iter().zip(self.0);
        ends.map(|(range, mark)| range.start_of(mark)).min().unwrap_or_default()
    }

    pub(super) fn encode(self) -> Vec<u8> {
        self.0.iter().flat_map(|mark| mark.to_be_bytes()).collect()
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let (marks, rest) = row.as_chunks::<4>();
        let marks: Vec<u32> = marks.iter().map(|mark| u32::from_be_bytes(*mark)).collect();
        rest.is_empty().then(|| marks.try_into().ok().map(SweepMarks)).flatten()
    }

    fn of(&mut self, range: IndexRange) -> Option<&mut u32> {
        let at = IndexRange::ALL.iter().position(|other| *other == range)?;
        self.0.get_mut(at)
    }
}

/// How far a sweep goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Depth {
    /// Through the periods that are over.
    PastPeriods,
    /// Through what has ended in the present period as well.
    Now,
}

/// Plans one step up to `now`. True if more is left to be done.
pub(super) fn step(
    plan: &mut CommitPlan<'_>,
    db: &Database,
    now: UnixMs,
    depth: Depth,
) -> Result<bool, Fault> {
    let mut room = STEP_ROWS;
    for range in IndexRange::ALL {
        let present = range.period(now);
        let Some(start) = plan.marks().of(range).map(|mark| *mark) else { continue };
        let (end, reached) = match depth {
            Depth::PastPeriods => (present, present),
            Depth::Now => (present.saturating_add(1), present),
        };
        if start >= end {
            continue;
        }
        let reached = sweep_range(plan, db, range, start..end, &mut room)?.unwrap_or(reached);
        if let Some(mark) = plan.marks().of(range) {
            *mark = reached;
        }
        if room == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes out what has ended in some periods of one range. Says at which period it ran out of room.
fn sweep_range(
    plan: &mut CommitPlan<'_>,
    db: &Database,
    range: IndexRange,
    periods: std::ops::Range<u32>,
    room: &mut usize,
) -> Result<Option<u32>, Fault> {
    let (from, to) = (range.prefix(periods.start), range.prefix(periods.end).to_vec());
    let mut rows = db.rows(Family::Index, &from, to, Reach::Disk)?;
    while let Some(key) = rows.key() {
        let (period, slot) = split_index_key(key)
            .ok_or_else(|| Fault::Damaged("a row of index has a short key".to_owned()))?;
        if *room == 0 {
            return Ok(Some(period));
        }
        if plan.end(range, period, &slot)? {
            *room -= 1;
        }
        rows.next();
    }
    rows.status()?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dht_kad::record::Retention;

    #[test]
    fn marks_read_back_and_only_go_down_for_new_rows() {
        let range = IndexRange::ALL[2];
        assert_eq!(range.class, Retention::Days7);
        let mut marks = SweepMarks([7; 6]);
        marks.lower(range, range.start_of(9));
        assert_eq!(marks, SweepMarks([7; 6]));
        marks.lower(range, range.start_of(3));
        assert_eq!(marks, SweepMarks([7, 7, 3, 7, 7, 7]));
        assert_eq!(SweepMarks::decode(&marks.encode()), Some(marks));
        assert_eq!(SweepMarks::decode(&[0; 23]), None);
        assert_eq!(SweepMarks::decode(&[0; 28]), None);
    }
}
