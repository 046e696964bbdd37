//! Many real nodes in one process, under virtual time: whole networks are started, cut, and killed
//! in seconds, and one number reproduces what happened.
//!
//! The nodes are [`dht_context::DhtContext`]s, unchanged. What differs from the world is what they
//! stand on: the [transport], the [disk], the [clock] and the dice. All of it
//! follows from [`Settings::seed`], on one thread whose time is paused and jumps to the next event.
//!
//! ```text
//! Scenario ─▶ World ─▶ hosts ─▶ DhtContext ─▶ transport ─▶ letters ─▶ trace
//!    │                             └────────▶ disk (forgets what was not synced)
//!    └─▶ put, get ─▶ Checker: was every acknowledged record found, unchanged, until its end?
//! ```
//!
//! A scenario is a story with a promise at its end:
//!
//! ```
//! use dht_sim::{Settings, scenario, simulate};
//!
//! let story = scenario::find("restart-all").unwrap();
//! let run = simulate(story, Settings::new(1, 5)).unwrap();
//! assert_eq!(run.verdict, Ok(()));
//! assert!(run.acknowledged > 0);
//! ```

pub mod checker;
pub mod clock;
pub mod dice;
pub mod disk;
pub mod scenario;
pub mod trace;
pub mod transport;
pub mod user;
pub mod world;

use std::time::Duration;

use tokio::time::Instant;

pub use scenario::Scenario;
pub use world::{Failure, Settings, World};

/// What became of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The scenario's name.
    pub scenario: &'static str,
    /// What it started from.
    pub settings: Settings,
    /// Whether the promise was kept.
    pub verdict: Result<(), Failure>,
    /// Puts and deletes that were acknowledged.
    pub acknowledged: usize,
    /// Answers that were checked.
    pub checked: usize,
    /// Writes that crashes undid.
    pub lost_writes: u64,
    /// Letters that were delivered.
    pub letters: u64,
    /// How long it took, in the world's time.
    pub lived: Duration,
    /// 64 hex digits that stand for every letter that was delivered.
    pub trace: String,
}

/// Runs a scenario to its end, on this thread.
///
/// # Errors
/// If no runtime can be had from the operating system.
pub fn simulate(scenario: &dyn Scenario, settings: Settings) -> std::io::Result<Run> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(live(scenario, settings)))
}

async fn live(scenario: &dyn Scenario, settings: Settings) -> Run {
    let began = Instant::now();
    let mut run = Run {
        scenario: scenario.name(),
        settings,
        verdict: Ok(()),
        acknowledged: 0,
        checked: 0,
        lost_writes: 0,
        letters: 0,
        lived: Duration::ZERO,
        trace: String::new(),
    };
    let mut world = match World::new(settings) {
        Ok(world) => world,
        Err(failure) => return Run { verdict: Err(failure), ..run },
    };
    run.verdict = scenario.run(&mut world).await;
    let trace = world.network().trace();
    run.acknowledged = world.checker().acknowledgements();
    run.checked = world.checker().answers();
    run.lost_writes = world.lost_writes();
    run.letters = trace.events();
    run.lived = began.elapsed();
    run.trace = trace.digest();
    run
}
