//! The writer: the one thread that changes rows.
//!
//! ```text
//! submit ─▶ queue ─▶ take what waits ─▶ plan ─▶ one synced write ─▶ answer each
//!                          ▲                         │ failed
//!              sweep, clock, room, splits         read-only ─▶ probe, open anew ─▶ probe
//! ```
//!
//! It takes whatever has gathered while the last commit was on its way to the disk, so that one
//! fdatasync pays for all of it; nobody is answered, and no observer told, before. If a write fails, the store is read-only
//! from then on, until a probe has reached the disk through a database that was opened anew: an
//! error may have left RocksDB or the page cache in a state that only looks well.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dht_context::store::{StoreUsage, Submission};
use dht_kad::admission::{Amount, Limits};
use dht_kad::message::Stored;
use dht_kad::{Refusal, UnixMs, ValidRecord};

use super::clock_guard::Moment;
use super::commit_plan::{Commit, CommitPlan, Grounds};
use super::database::{Database, Fault};
use super::disk_room::DiskRoom;
use super::open::{Cursors, read_cursors};
use super::recovery::Recovery;
use super::rows::state;
use super::sets::SetKeeper;
use super::settings::Settings;
use super::sweep::{self, Depth, Search, SweepMarks};
use super::usage::UsageBook;
use super::write_job::{
    Outcome, PutResults, Remembered, SaveAnswer, WriteJob, refuse, refuse_outcomes,
};
use super::{Health, Shared};
use crate::work_queue::{Load, Taken};

/// What one commit takes at most: enough that the cost of its fdatasync no longer counts, and some
/// ten milliseconds of work.
const COMMIT: Load = Load { items: 256, bytes: 1 << 20 };
/// How long it waits for something to write before it looks after the rest.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it sweeps a step while there is nothing left to sweep.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How often, while there is: a busy store still gives its writer's time to puts.
const SWEEP_AGAIN: Duration = Duration::from_millis(50);
/// How often at most it looks for room in periods that are not over, when something was refused as
/// `Full`: each time costs a look at every row of these periods, some a step.
const ROOM_EVERY: Duration = Duration::from_secs(30);
/// How far the high-water time on disk may lag: what a restart could be fooled by.
const CLOCK_LAG_MS: u64 = dht_kad::time::MINUTE_MS;

/// The writer's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    limits: Limits,
    path: PathBuf,
    settings: Settings,
    room: DiskRoom,
    usage: UsageBook,
    marks: SweepMarks,
    commit_no: u64,
    clock_on_disk: UnixMs,
    swept_to: UnixMs,
    next_sweep: Instant,
    /// From when on room is looked for, since something was refused as `Full`.
    room_wanted_from: Option<Instant>,
    /// When room may be looked for next.
    next_room: Instant,
    /// How far the present look for room has come.
    search: Search,
    sets: SetKeeper,
    recovery: Option<Recovery>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        limits: Limits,
        path: PathBuf,
        settings: Settings,
        room: DiskRoom,
        cursors: Cursors,
    ) -> Self {
        let Cursors { commit_no, marks, usage, fingerprints } = cursors;
        *shared.fingerprints() = fingerprints;
        let next_sweep = Instant::now();
        let (clock_on_disk, swept_to, recovery) = (UnixMs(0), UnixMs(0), None);
        let mut writer = Writer {
            shared,
            limits,
            path,
            settings,
            room,
            usage,
            marks,
            commit_no,
            clock_on_disk,
            swept_to,
            next_sweep,
            room_wanted_from: None,
            next_room: next_sweep,
            search: Search::default(),
            sets: SetKeeper::default(),
            recovery,
        };
        writer.publish();
        writer
    }

    /// Works until the queue is closed and empty, then lets go of the database.
    pub(super) fn run(mut self, readers: Vec<JoinHandle<()>>) {
        loop {
            let patience = self.patience();
            match self.shared.writes.take(COMMIT, patience) {
                Taken::Jobs(jobs) => self.serve(jobs),
                Taken::Idle => {}
                Taken::Closed => break,
            }
            self.look_after();
            self.shared.writer_turns.fetch_add(1, Ordering::Relaxed);
        }
        self.finish(readers);
    }

    fn patience(&self) -> Duration {
        let now = Instant::now();
        let until = |moment: Instant| moment.saturating_duration_since(now);
        let sweep = self.room_wanted_from.map_or(self.next_sweep, |room| room.min(self.next_sweep));
        let next = self.recovery.as_ref().map_or(sweep, Recovery::due);
        let patience = until(next).clamp(SWEEP_AGAIN, PATIENCE);
        // What is left to be split only gives way to whatever has come meanwhile.
        let split = self.sets.next.filter(|_| self.recovery.is_none());
        split.map_or(patience, |split| patience.min(until(split)))
    }

    fn serve(&mut self, jobs: Vec<WriteJob>) {
        if self.recovery.is_some() {
            return refuse(jobs, &Refusal::ReadOnly);
        }
        let moment = self.shared.clock.look();
        let (doubtful, jobs): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| !moment.sure && matches!(job, WriteJob::Put { .. }));
        refuse(doubtful, &Refusal::ClockUnsure { clock: moment.now });
        self.commit(jobs, moment.now);
    }

    /// Plans all jobs, writes what changes with one sync, and answers.
    fn commit(&mut self, jobs: Vec<WriteJob>, now: UnixMs) {
        let shared = Arc::clone(&self.shared);
        let guard = shared.database.read();
        let Some(db) = guard.as_ref() else { return refuse(jobs, &Refusal::ReadOnly) };
        let marks_before = self.marks;
        let limits = if self.room.is_short() { no_room(&self.limits) } else { self.limits };
        let grounds = Grounds { db, network: &shared.network, limits: &limits, now };
        let mut plan =
            CommitPlan::new(grounds, self.commit_no + 1, &mut self.usage, &mut self.marks);
        let mut outcomes = Vec::with_capacity(jobs.len());
        let (mut sweeps, mut signs) = (Vec::new(), Vec::new());
        let mut full = false;
        for job in jobs {
            match job {
                WriteJob::Put { batch, answer } => {
                    let results: PutResults =
                        batch.iter().map(|submission| take(&mut plan, submission)).collect();
                    full |=
                        results.iter().any(|result| matches!(result, Err(Refusal::Full { .. })));
                    outcomes.push(Outcome::Put(results, answer));
                }
                WriteJob::Save { what, answer } => outcomes.extend(save(&mut plan, what, answer)),
                WriteJob::Sweep { answer } => sweeps.push(answer),
                WriteJob::Nothing { answer } => signs.push(answer),
            }
        }
        let written = if plan.is_empty() { None } else { Some(write(plan, db, &shared, true)) };
        drop(guard);
        match written {
            None => self.answer(outcomes),
            Some(Ok(Written { bytes, records })) => {
                self.commit_no += 1;
                self.publish();
                self.shared.tell_observer(|observer| observer.committed(self.commit_no, &records));
                self.room.written(bytes);
                self.answer(outcomes);
            }
            Some(Err(fault)) => {
                self.marks = marks_before;
                self.turn_read_only(&fault);
                refuse_outcomes(outcomes);
            }
        }
        if full {
            self.room_wanted_from.get_or_insert(self.next_room);
        }
        for answer in signs {
            // The watchdog may have ceased to wait.
            let _ = answer.send(());
        }
        for answer in sweeps {
            self.search = Search::default();
            while self.sweep_step(Depth::Now) {}
            let _ = answer.send(());
        }
    }

    fn answer(&self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            // Whoever asked may be gone; what was written stays written.
            match outcome {
                Outcome::Put(results, answer) => drop(answer.send(results)),
                Outcome::Saved(what, answer) => {
                    self.shared.remember(what);
                    let _ = answer.send(Ok(()));
                }
            }
        }
    }

    /// What is to be done between commits.
    fn look_after(&mut self) {
        self.room.look();
        if self.recovery.is_some() {
            self.recover();
            return;
        }
        if self.room_wanted_from.is_some_and(|from| Instant::now() >= from) {
            let more = self.sweep_step(Depth::Now);
            self.next_room = Instant::now() + ROOM_EVERY;
            self.room_wanted_from = more.then(|| Instant::now() + SWEEP_AGAIN);
        }
        if Instant::now() >= self.next_sweep {
            let more = self.sweep_step(Depth::PastPeriods);
            self.next_sweep = Instant::now() + if more { SWEEP_AGAIN } else { SWEEP_EVERY };
        }
        self.sets.step(&self.shared);
    }

    /// Takes out a bounded part of what has ended, and brings the clock on disk forward. True if
    /// more is left.
    fn sweep_step(&mut self, depth: Depth) -> bool {
        let moment = self.shared.clock.look();
        if !moment.sure {
            return false;
        }
        let shared = Arc::clone(&self.shared);
        let guard = shared.database.read();
        let Some(db) = guard.as_ref() else { return false };
        let marks_before = self.marks;
        let swept = self.plan_sweep(db, moment, depth);
        drop(guard);
        match swept {
            Ok(more) => {
                if depth == Depth::Now && !more {
                    let begun = std::mem::take(&mut self.search).begun;
                    // Where nothing may be destroyed, a search that had begun did not get through.
                    let done = begun.filter(|_| moment.may_destroy);
                    self.swept_to = done.unwrap_or(self.swept_to);
                }
                self.publish();
                more
            }
            Err(fault) => {
                self.marks = marks_before;
                self.search = Search::default();
                self.usage.forget();
                match fault {
                    // Something that cannot be read stays where it is; puts go on.
                    Fault::Damaged(reason) => {
                        tracing::error!(reason, "cannot sweep, as the database is damaged");
                    }
                    other => self.turn_read_only(&other),
                }
                false
            }
        }
    }

    /// Not synced: what a crash undoes is done again, and the log keeps the order of commits.
    fn plan_sweep(&mut self, db: &Database, moment: Moment, depth: Depth) -> Result<bool, Fault> {
        let high_water = self.shared.clock.high_water();
        let clock_is_due =
            high_water.since(self.clock_on_disk) >= CLOCK_LAG_MS || high_water < self.clock_on_disk;
        let grounds =
            Grounds { db, network: &self.shared.network, limits: &self.limits, now: moment.now };
        let marks_before = self.marks;
        let mut plan = CommitPlan::new(grounds, self.commit_no, &mut self.usage, &mut self.marks);
        let more = moment.may_destroy
            && (sweep::step(&mut plan, db, moment.now)?
                || (depth == Depth::Now
                    && sweep::search_step(&mut plan, db, moment.now, &mut self.search)?));
        if clock_is_due {
            plan.set_state(state::CLOCK, &high_water.0.to_be_bytes())?;
        }
        if !plan.is_empty() || *plan.marks() != marks_before {
            write(plan, db, &self.shared, false)?;
        }
        if clock_is_due {
            self.clock_on_disk = high_water;
        }
        Ok(more)
    }

    fn turn_read_only(&mut self, fault: &Fault) {
        tracing::error!(
            reason = %fault,
            "a write failed: the store takes no more until writing works again; \
             check the disk's room and health"
        );
        self.usage.forget();
        self.shared.set_health(Health::ReadOnly);
        self.recovery = Some(Recovery::new());
    }

    /// Tries whether writing works again, when it is time to.
    fn recover(&mut self) {
        let Some(recovery) = self.recovery.as_mut() else { return };
        if Instant::now() < recovery.due() || self.room.is_short() {
            return;
        }
        let recovered = recovery.attempt(&self.shared.database, &self.path, &self.settings);
        let cursors = recovered.and_then(|()| {
            let guard = self.shared.database.read();
            guard.as_ref().ok_or(Fault::Closed).and_then(read_cursors)
        });
        match cursors {
            Ok(Cursors { commit_no, marks, usage, fingerprints }) => {
                (self.commit_no, self.marks, self.usage) = (commit_no, marks, usage);
                *self.shared.fingerprints() = fingerprints;
                self.sets = SetKeeper::default();
                self.clock_on_disk = UnixMs(0);
                self.recovery = None;
                self.publish();
                self.shared.tell_observer(|observer| observer.interrupted(commit_no));
                self.shared.set_health(Health::Open);
                tracing::info!("writing works again: the store takes records");
            }
            Err(fault) => tracing::warn!(reason = %fault, "writing does not work yet"),
        }
    }

    /// Shows others what is kept.
    fn publish(&mut self) {
        let shared = Arc::clone(&self.shared);
        let guard = shared.database.read();
        let Some(db) = guard.as_ref() else { return };
        // The counters of total and classes are in memory but after a failure.
        if let Ok((total, classes)) = self.usage.summary(db) {
            let commit_no = self.commit_no;
            let swept_to = self.swept_to.max(self.marks.swept_to());
            shared.show_usage(StoreUsage { total, classes, commit_no, swept_to });
        }
    }

    /// Writes out what is in memory, ends the readers and lets go of the database.
    fn finish(mut self, readers: Vec<JoinHandle<()>>) {
        if self.recovery.is_none() && self.shared.flush_at_end.load(Ordering::SeqCst) {
            // So that the clock on disk is brought up to now.
            self.clock_on_disk = UnixMs(0);
            self.sweep_step(Depth::PastPeriods);
            if let Some(db) = self.shared.database.read().as_ref()
                && let Err(fault) = db.flush()
            {
                tracing::warn!(reason = %fault, "the next start replays the log");
            }
        }
        self.shared.reads.close();
        for reader in readers {
            if reader.join().is_err() {
                tracing::error!("a thread that reads records failed; report this fault");
            }
        }
        drop(self.shared.database.write().take());
        self.shared.release_directory();
    }
}

/// Takes one record. A row that cannot be read is this record's trouble only.
fn take(plan: &mut CommitPlan<'_>, submission: &Submission) -> Result<Stored, Refusal> {
    plan.put(submission).unwrap_or_else(|fault| {
        tracing::error!(reason = %fault, "a record could not be compared with what is stored");
        Err(Refusal::Internal)
    })
}

/// Adds what is to be remembered. What cannot be added is answered at once.
fn save(plan: &mut CommitPlan<'_>, what: Remembered, answer: SaveAnswer) -> Option<Outcome> {
    match what.row().and_then(|(key, value)| plan.set_state(key, &value)) {
        Ok(()) => Some(Outcome::Saved(what, answer)),
        Err(fault) => {
            tracing::error!(reason = %fault, "what a node remembers could not be saved");
            let _ = answer.send(Err(Refusal::Internal));
            None
        }
    }
}

/// What a commit has written.
struct Written {
    bytes: usize,
    records: Vec<ValidRecord>,
}

/// Writes the plan, and only then changes the fingerprints.
fn write(
    plan: CommitPlan<'_>,
    db: &Database,
    shared: &Shared,
    synced: bool,
) -> Result<Written, Fault> {
    let Commit { batch, set_changes, written } = plan.finish()?;
    let bytes = batch.size_in_bytes();
    db.write(batch, synced)?;
    shared.change_set(&set_changes);
    Ok(Written { bytes, records: written })
}

/// What is left to take when the disk is nearly full: what needs no more room than it replaces.
fn no_room(limits: &Limits) -> Limits {
    Limits { total: Amount::default(), ..*limits }
}
