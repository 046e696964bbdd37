//! The sweep: gives back the room of what has ended. It is the only one that destroys.
//!
//! It goes by `index`, whose rows are ordered by span and period: every period that is wholly past
//! is emptied, oldest first, some rows a step, and a mark for each range, kept on disk, says which
//! period may be the first with rows. What lies in a period that is not over yet has ended for
//! readers all the same; only its room comes back later, unless it is wanted now, because a put
//! was refused as `Full` or somebody asks ([`Depth::Now`]): then a [`Search`] looks at every row of
//! the present periods once, over as many steps as that takes, so that no put waits for all of it.

use dht_kad::UnixMs;
use dht_kad::reconcile::RowKey;

use super::commit_plan::CommitPlan;
use super::database::{Database, Fault, Reach};
use super::rows::{End, IndexRange, split_index_key};
use super::settings::Family;

/// Rows that one step takes out: a few milliseconds of the writer's time.
pub(super) const STEP_ROWS: usize = 256;
/// Rows of present periods that one step looks at, of which few may have ended: as much time.
const SEARCH_ROWS: usize = 1_024;

/// The first period of each range that may still have rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct SweepMarks([u32; IndexRange::ALL.len()]);

impl SweepMarks {
    /// Notes that a row is being written for this end.
    pub(super) fn lower(&mut self, end: End) {
        if let Some(mark) = self.of(end.range) {
            *mark = (*mark).min(end.period());
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

/// How far a look through the present periods has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Search {
    /// When it began: what had ended by then is gone when it is through.
    pub(super) begun: Option<UnixMs>,
    /// How many ranges it is through with.
    ranges: usize,
    /// The row of the next range to go on from, if it was left halfway.
    next: Option<Vec<u8>>,
}

/// Plans one step through the periods that are over by `now`. True if more is left to be done.
pub(super) fn step(plan: &mut CommitPlan<'_>, db: &Database, now: UnixMs) -> Result<bool, Fault> {
    let mut room = STEP_ROWS;
    for range in IndexRange::ALL {
        let present = range.period(now);
        let Some(start) = plan.marks().of(range).map(|mark| *mark) else { continue };
        if start >= present {
            continue;
        }
        let reached = sweep_range(plan, db, range, start..present, &mut room)?.unwrap_or(present);
        if let Some(mark) = plan.marks().of(range) {
            *mark = reached;
        }
        if room == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Plans one step of a search. True if more is left to be looked at. The marks stay: what has not
/// ended remains in the present periods.
pub(super) fn search_step(
    plan: &mut CommitPlan<'_>,
    db: &Database,
    now: UnixMs,
    search: &mut Search,
) -> Result<bool, Fault> {
    search.begun.get_or_insert(now);
    let mut rows_left = SEARCH_ROWS;
    while let Some(range) = IndexRange::ALL.get(search.ranges).copied() {
        let present = range.period(now);
        let start = range.prefix(present).to_vec();
        let from = search.next.take().map_or(start.clone(), |next| next.max(start));
        let to = range.prefix(present.saturating_add(1)).to_vec();
        let mut rows = db.rows(Family::Index, &from, to, Reach::Disk)?;
        while let Some(key) = rows.key() {
            if rows_left == 0 {
                search.next = Some(key.to_vec());
                return Ok(true);
            }
            rows_left -= 1;
            let (period, slot) = split_key(key)?;
            end(plan, range, period, &slot)?;
            rows.next();
        }
        rows.status()?;
        search.ranges += 1;
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
        let (period, slot) = split_key(key)?;
        if *room == 0 {
            return Ok(Some(period));
        }
        if end(plan, range, period, &slot)? {
            *room -= 1;
        }
        rows.next();
    }
    rows.status()?;
    Ok(None)
}

/// Takes out what has ended. A record that cannot be read stays where it is, and what lies behind it
/// still gets its turn.
fn end(
    plan: &mut CommitPlan<'_>,
    range: IndexRange,
    period: u32,
    slot: &RowKey,
) -> Result<bool, Fault> {
    plan.end(range, period, slot).or_else(|fault| match fault {
        Fault::Damaged(reason) => {
            tracing::error!(reason, "a record cannot be swept, as it is damaged");
            Ok(false)
        }
        other => Err(other),
    })
}

fn split_key(key: &[u8]) -> Result<(u32, RowKey), Fault> {
    split_index_key(key).ok_or_else(|| Fault::Damaged("a row of index has a short key".to_owned()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dht_context::store::Submission;
    use dht_kad::admission::{Amount, Limits, Path, row_key};
    use dht_kad::record::{Kind, RecordDraft, Retention, Space};
    use dht_kad::time::{DAY_MS, HOUR_MS};
    use dht_kad::{NetworkName, ValidRecord};
    use ed25519_dalek::SigningKey;

    use super::super::commit_plan::Grounds;
    use super::super::settings::Settings;
    use super::super::usage::UsageBook;
    use super::*;

    /// The start of a day.
    const START: UnixMs = UnixMs(20_600 * DAY_MS);

    fn record(slot: u64, created_at: UnixMs, network: &NetworkName) -> ValidRecord {
        let draft = RecordDraft {
            space: Space::Owned,
            kind: Kind::Value,
            retention: Retention::Days365,
            label: [1; 32],
            slot,
            seq: 1,
            created_at,
            guard_until: UnixMs(0),
            work_bits: 0,
            ext: Bytes::new(),
            body: Bytes::new(),
        };
        draft.sign(&SigningKey::from_bytes(&[7; 32]), network).unwrap()
    }

    #[test]
    fn a_search_looks_at_each_row_of_a_period_once_and_at_few_a_step() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings::new(16 << 20);
        let db = Database::create(directory.path(), &settings).unwrap();
        let network: NetworkName = "test".parse().unwrap();
        let limits = Limits { reserve_percent: 0, ..Limits::default_for(1 << 40) };
        let limits = Limits { key: Amount::MAX, ..limits };
        let (mut usage, mut marks) = (UsageBook::default(), SweepMarks::default());
        let grounds = |now| Grounds { db: &db, network: &network, limits: &limits, now };
        let rows = 4 * SEARCH_ROWS as u64;
        let mut plan = CommitPlan::new(grounds(START.after(HOUR_MS)), 1, &mut usage, &mut marks);
        for slot in 0..rows {
            // All end on one day, every other one at its start.
            let created_at = START.after(slot % 2 * HOUR_MS);
            let record = record(slot, created_at, &network);
            let path = Path::Store { expected_seq: None };
            plan.put(&Submission { record, path }).unwrap().unwrap();
        }
        db.write(plan.finish().unwrap().batch, false).unwrap();
        let now = START.after(365 * DAY_MS);
        let mut search = Search::default();
        let mut steps = 0;
        loop {
            let mut plan = CommitPlan::new(grounds(now), 1, &mut usage, &mut marks);
            let more = search_step(&mut plan, &db, now, &mut search).unwrap();
            db.write(plan.finish().unwrap().batch, false).unwrap();
            steps += 1;
            if !more {
                break;
            }
        }
        assert_eq!(db.count_rows(Family::Index).unwrap(), rows / 2);
        assert_eq!((steps, search.begun), (4, Some(now)));
    }

    #[test]
    fn a_damaged_record_does_not_keep_others_from_being_swept() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings::new(16 << 20);
        let db = Database::create(directory.path(), &settings).unwrap();
        let network: NetworkName = "test".parse().unwrap();
        let limits = Limits::default_for(1 << 40);
        let (mut usage, mut marks) = (UsageBook::default(), SweepMarks::default());
        let grounds = |now| Grounds { db: &db, network: &network, limits: &limits, now };
        let mut plan = CommitPlan::new(grounds(START), 1, &mut usage, &mut marks);
        for slot in 0..3 {
            let (record, path) =
                (record(slot, START, &network), Path::Store { expected_seq: None });
            plan.put(&Submission { record, path }).unwrap().unwrap();
        }
        let mut batch = plan.finish().unwrap().batch;
        let first = row_key(record(0, START, &network).id());
        batch.put_cf(db.family(Family::Records).unwrap(), first, b"damaged");
        db.write(batch, false).unwrap();
        let now = START.after(366 * DAY_MS);
        let mut plan = CommitPlan::new(grounds(now), 1, &mut usage, &mut marks);
        assert!(!step(&mut plan, &db, now).unwrap());
        db.write(plan.finish().unwrap().batch, false).unwrap();
        assert_eq!(db.count_rows(Family::Records).unwrap(), 1);
        assert_eq!(db.count_rows(Family::Index).unwrap(), 1);
    }

    #[test]
    fn marks_read_back_and_only_go_down_for_new_rows() {
        let range = IndexRange::ALL[2];
        assert_eq!(range.span, Retention::Days7);
        let end = |period| End { range, at: range.start_of(period) };
        let mut marks = SweepMarks([7; 6]);
        marks.lower(end(9));
        assert_eq!(marks, SweepMarks([7; 6]));
        marks.lower(end(3));
        assert_eq!(marks, SweepMarks([7, 7, 3, 7, 7, 7]));
        assert_eq!(SweepMarks::decode(&marks.encode()), Some(marks));
        assert_eq!(SweepMarks::decode(&[0; 23]), None);
        assert_eq!(SweepMarks::decode(&[0; 28]), None);
    }
}
