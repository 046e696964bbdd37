//! What clients notice while a node is stopped in order and started again, as `systemctl restart` does.
//!
//! ```text
//! fill ─▶ one client puts, another gets, one operation after the other ─▶ SIGTERM ─▶ exit ─▶ start ─▶ ready
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
    /// Values that are there before.
    pub records: u64,
}

/// What came of one restart.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    /// From the signal until the process had ended.
    pub stop: Duration,
    /// From the start until the node was ready.
    pub start: Duration,
}

/// What one client noticed, over all restarts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noticed {
    /// Operations that succeeded.
    pub done: u64,
    /// Operations that failed.
    pub failed: u64,
    /// The longest that one which succeeded took.
    pub slowest: Duration,
    /// The longest time between two successes.
    pub longest_gap: Duration,
}

/// What came of all of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each restart.
    pub restarts: Vec<Restart>,
    /// By the client that puts.
    pub puts: Noticed,
    /// By the client that gets, by quorum.
    pub gets: Noticed,
    /// Values that were acknowledged and could not be read in the end.
    pub lost: u64,
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
    let identity = Identity::from_root(&[7; 32]);
    let user = || User::with_identity(&identity, &peers);
    let (putter, getter) = (user(), user());
    fill(&putter, plan.records);
    let (ended, acknowledged) = (AtomicBool::new(false), AtomicU64::new(plan.records));
    let (puts_done, gets_done) = (AtomicU64::new(0), AtomicU64::new(0));
    let (mut restarts, mut noticed) = (Vec::new(), (Noticed::default(), Noticed::default()));
    std::thread::scope(|scope| {
        let putting = scope.spawn(|| put_until(&putter, &ended, &acknowledged, &puts_done));
        let getting = scope.spawn(|| get_until(&getter, &ended, &acknowledged, &gets_done));
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
        noticed = (joined(putting.join()), joined(getting.join()));
    });
    let (puts, gets) = noticed;
    let lost = count_lost(&user(), acknowledged.load(Ordering::Relaxed));
    Report { restarts, puts, gets, lost }
}

fn put_of(user: &User, number: u64) -> Put {
    let label = format!("restart {}", number / AT_ONE_KEY);
    let body = Bytes::from(vec![number as u8; BODY_BYTES]);
    user.first(&label, number % AT_ONE_KEY, body)
}

fn fill(user: &User, records: u64) {
    let failed = wait_for(async {
        stream::iter(0..records)
            .map(|number| user.client().put(put_of(user, number)))
            .buffer_unordered(TOGETHER)
            .filter(|put| std::future::ready(put.is_err()))
            .count()
            .await
    });
    assert_eq!(failed, 0, "the values that are there before could not be put");
}

/// Puts one value after the other; one that fails is tried again, so that they have no gaps.
fn put_until(user: &User, ended: &AtomicBool, next: &AtomicU64, done: &AtomicU64) -> Noticed {
    let mut noting = Noting::new();
    while !ended.load(Ordering::Relaxed) {
        let began = Instant::now();
        let put = user.try_put(put_of(user, next.load(Ordering::Relaxed)));
        noting.note(began, put.is_ok());
        if put.is_ok() {
            next.fetch_add(1, Ordering::Relaxed);
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    noting.noticed
}

/// Gets one value after the other, all over those that were acknowledged.
fn get_until(user: &User, ended: &AtomicBool, next: &AtomicU64, done: &AtomicU64) -> Noticed {
    /// Coprime to any number of values here, so that all of them get their turn.
    const STRIDE: u64 = 7_919;
    let mut noting = Noting::new();
    let mut step: u64 = 0;
    while !ended.load(Ordering::Relaxed) {
        step += STRIDE;
        let number = step % next.load(Ordering::Relaxed).max(1);
        let began = Instant::now();
        let got = is_there(user, number);
        noting.note(began, got);
        done.fetch_add(u64::from(got), Ordering::Relaxed);
    }
    noting.noticed
}

fn is_there(user: &User, number: u64) -> bool {
    wait_for(holds(user, number))
}

async fn holds(user: &User, number: u64) -> bool {
    let label = format!("restart {}", number / AT_ONE_KEY);
    let slot = user.slot(&label, number % AT_ONE_KEY);
    let options = GetOptions { consistency: Consistency::Quorum, verify: true };
    let got = user.client().get(&slot, options).await;
    got.is_ok_and(|got| {
        got.record.body().is_some_and(|body| body == vec![number as u8; BODY_BYTES])
    })
}

fn count_lost(user: &User, acknowledged: u64) -> u64 {
    let lost = wait_for(async {
        stream::iter(0..acknowledged)
            .map(|number| holds(user, number))
            .buffer_unordered(TOGETHER)
            .filter(|there| std::future::ready(!there))
            .count()
            .await
    });
    u64::try_from(lost).expect("a count")
}
