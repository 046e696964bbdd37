//! What clients notice while a node is stopped in order and started again, as `systemctl restart` does.
//!
//! ```text
//! fill ─▶ writers put, a reader gets, each one operation after the other ─▶ SIGTERM ─▶ exit ─▶ start ─▶ ready
//!            └─ each operation's beginning, end and outcome ─▶ the longest time without a success
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dht_client::{Consistency, GetOptions, Identity, Put};
use futures_util::stream::{self, StreamExt};
use rustix::process::Signal;

use crate::network::Network;
use crate::user::{User, wait_for};
use crate::waiting::eventually;

/// Bytes of each value.
const BODY_BYTES: usize = 1_024;
/// Values under one label: fewer than one key may hold.
const AT_ONE_KEY: u64 = 1_000;
/// Values of one publisher before the load: half of what a node takes of one.
const OF_ONE_PUBLISHER: u64 = 50_000;
/// Puts that fill the node at once.
const TOGETHER: usize = 64;
/// Operations that succeed before the node is stopped, and after it is ready again: the clients are under
/// way then.
const UNDER_WAY: u64 = 50;

/// What is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Nodes of the network.
    pub nodes: usize,
    /// How many of them are restarted, one after the other.
    pub restarts: usize,
    /// Values that are there before: at least one.
    pub records: u64,
    /// How many put at the same time.
    pub writers: usize,
}

/// What came of one restart.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    /// From the signal until the process had ended.
    pub stop: Duration,
    /// From the start until the node was ready.
    pub start: Duration,
}

/// What those who put, or the one who gets, noticed over all restarts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noticed {
    /// Operations that succeeded.
    pub done: u64,
    /// Operations that failed.
    pub failed: u64,
    /// The longest that one which succeeded took.
    pub slowest: Duration,
    /// The longest time between two successes of one of them.
    pub longest_gap: Duration,
}

/// What came of all of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each restart.
    pub restarts: Vec<Restart>,
    /// By those who put.
    pub puts: Noticed,
    /// By the one who gets, by quorum.
    pub gets: Noticed,
    /// Values that were acknowledged and could not be read in the end.
    pub lost: u64,
}

impl Noticed {
    /// What both noticed.
    fn and(self, other: Noticed) -> Noticed {
        Noticed {
            done: self.done + other.done,
            failed: self.failed + other.failed,
            slowest: self.slowest.max(other.slowest),
            longest_gap: self.longest_gap.max(other.longest_gap),
        }
    }
}

/// One client's count of what it does.
struct Noting {
    noticed: Noticed,
    last: Instant,
}

impl Noting {
    fn new() -> Self {
        Noting { noticed: Noticed::default(), last: Instant::now() }
    }

    fn note(&mut self, began: Instant, succeeded: bool) {
        let Noticed { done, failed, slowest, longest_gap } = &mut self.noticed;
        if !succeeded {
            *failed += 1;
            return;
        }
        *done += 1;
        *slowest = (*slowest).max(began.elapsed());
        *longest_gap = (*longest_gap).max(self.last.elapsed());
        self.last = Instant::now();
    }
}

/// Restarts nodes under load.
///
/// # Panics
/// If a node does not stop or start, or the values cannot be put at first.
#[must_use]
pub fn run(plan: &Plan) -> Report {
    let mut network = Network::start(plan.nodes);
    let peers = network.peers();
    let users: Vec<User> = (0..=plan.records.div_ceil(OF_ONE_PUBLISHER))
        .map(|number| User::with_identity(&identity(number), &peers))
        .collect();
    let (putter, fillers) = users.split_first().expect("at least one user");
    let before: Vec<Values<'_>> = fillers.iter().map(|user| Values::of(user, 0)).collect();
    let mut left = plan.records;
    for values in &before {
        values.fill(left.min(OF_ONE_PUBLISHER));
        left = left.saturating_sub(OF_ONE_PUBLISHER);
    }
    let during: Vec<Values<'_>> =
        (0..plan.writers).map(|number| Values::of(putter, number)).collect();
    let reader = User::with_identity(&identity(0), &peers);
    let ended = AtomicBool::new(false);
    let (puts_done, gets_done) = (AtomicU64::new(0), AtomicU64::new(0));
    let (mut restarts, mut noticed) = (Vec::new(), (Noticed::default(), Noticed::default()));
    std::thread::scope(|scope| {
        let (ended, puts) = (&ended, &puts_done);
        let _ends = EndAtLast(ended);
        let put = |values| scope.spawn(move || put_until(values, ended, puts));
        let putting: Vec<_> = during.iter().map(put).collect();
        let getting = scope.spawn(|| get_until(&reader, &before, ended, &gets_done));
        let go_on = || {
            let (puts, gets) =
                (puts_done.load(Ordering::Relaxed), gets_done.load(Ordering::Relaxed));
            eventually("the clients get on", || {
                let more =
                    |done: &AtomicU64, before| done.load(Ordering::Relaxed) >= before + UNDER_WAY;
                (more(&puts_done, puts) && more(&gets_done, gets)).then_some(())
            });
        };
        for number in 0..plan.restarts {
            go_on();
            let stopping = Instant::now();
            assert_eq!(network[number].end_by(Signal::TERM), 0, "{}", network[number].log());
            let starting = Instant::now();
            network[number].spawn();
            network[number].await_ready();
            restarts.push(Restart { stop: starting - stopping, start: starting.elapsed() });
            eventually("the node is whole", || {
                (network[number].status()["whole"] == true).then_some(())
            });
        }
        go_on();
        ended.store(true, Ordering::Relaxed);
        let joined = |noticed: std::thread::Result<Noticed>| noticed.expect("a client's thread");
        let puts = putting.into_iter().map(|putting| joined(putting.join()));
        noticed = (puts.fold(Noticed::default(), Noticed::and), joined(getting.join()));
    });
    let (puts, gets) = noticed;
    let lost = before.iter().chain(&during).map(|values| values.count_lost(&reader)).sum();
    Report { restarts, puts, gets, lost }
}

/// A user of its own for each number.
fn identity(number: u64) -> Identity {
    Identity::from_root(&[number as u8; 32])
}

/// Has the clients end, whatever ends the test: a scope waits for all its threads.
struct EndAtLast<'a>(&'a AtomicBool);

impl Drop for EndAtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What somebody puts under labels of his own, numbered from 0 on.
struct Values<'a> {
    user: &'a User,
    number: usize,
    /// All values below were acknowledged.
    acknowledged: AtomicU64,
}

impl<'a> Values<'a> {
    fn of(user: &'a User, number: usize) -> Self {
        Values { user, number, acknowledged: AtomicU64::new(0) }
    }

    fn label(&self, number: u64) -> String {
        format!("restart {} {}", self.number, number / AT_ONE_KEY)
    }

    fn put_of(&self, number: u64) -> Put {
        let body = Bytes::from(vec![number as u8; BODY_BYTES]);
        self.user.first(&self.label(number), number % AT_ONE_KEY, body)
    }

    fn fill(&self, records: u64) {
        let failed = wait_for(async {
            stream::iter(0..records)
                .map(|number| self.user.client().put(self.put_of(number)))
                .buffer_unordered(TOGETHER)
                .filter(|put| std::future::ready(put.is_err()))
                .count()
                .await
        });
        assert_eq!(failed, 0, "the values that are there before could not be put");
        self.acknowledged.store(records, Ordering::Relaxed);
    }

    /// Whether somebody reads a value by the word of a majority.
    async fn is_read_by(&self, reader: &User, number: u64) -> bool {
        let slot = self.user.slot(&self.label(number), number % AT_ONE_KEY);
        let options = GetOptions { consistency: Consistency::Quorum, verify: true };
        let got = reader.client().get(&slot, options).await;
        got.is_ok_and(|got| {
            got.record.body().is_some_and(|body| body == vec![number as u8; BODY_BYTES])
        })
    }

    fn count_lost(&self, reader: &User) -> u64 {
        let lost = wait_for(async {
            stream::iter(0..self.acknowledged.load(Ordering::Relaxed))
                .map(|number| self.is_read_by(reader, number))
                .buffer_unordered(TOGETHER)
                .filter(|there| std::future::ready(!there))
                .count()
                .await
        });
        u64::try_from(lost).expect("a count")
    }
}

/// Puts one value after the other; one that fails is tried again, so that they have no gaps.
fn put_until(values: &Values<'_>, ended: &AtomicBool, done: &AtomicU64) -> Noticed {
    let mut noting = Noting::new();
    while !ended.load(Ordering::Relaxed) {
        let began = Instant::now();
        let put = values.put_of(values.acknowledged.load(Ordering::Relaxed));
        let put = values.user.try_put(put);
        noting.note(began, put.is_ok());
        if put.is_ok() {
            values.acknowledged.fetch_add(1, Ordering::Relaxed);
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    noting.noticed
}

/// Gets one value after the other, all over those that were there before.
fn get_until(reader: &User, all: &[Values<'_>], ended: &AtomicBool, done: &AtomicU64) -> Noticed {
    /// Coprime to any number of values here, so that all of them get their turn.
    const STRIDE: u64 = 7_919;
    let mut noting = Noting::new();
    let mut step: u64 = 0;
    for values in all.iter().cycle() {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        step += STRIDE;
        let number = step % values.acknowledged.load(Ordering::Relaxed).max(1);
        let began = Instant::now();
        let got = wait_for(values.is_read_by(reader, number));
        noting.note(began, got);
        done.fetch_add(u64::from(got), Ordering::Relaxed);
    }
    noting.noticed
}
