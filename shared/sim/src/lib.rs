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

pub mod attacker;
pub mod checker;
pub mod clock;
pub mod dice;
pub mod disk;
pub mod fault;
mod host;
mod panics;
pub mod promise;
pub mod report;
pub mod sampler;
pub mod scenario;
pub mod settings;
pub mod stranger;
pub mod trace;
pub mod transport;
pub mod user;
pub mod verify;
pub mod view;
pub mod world;

use std::time::Duration;

use tokio::time::Instant;

pub use checker::Reads;
pub use fault::Fault;
pub use sampler::{Sample, Sampler};
pub use scenario::Scenario;
pub use settings::Settings;
pub use transport::Sent;
pub use view::{Copies, View};
pub use world::{Failure, HostId, World};

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
    /// Reads while there were faults.
    pub reads: Reads,
    /// What all hosts have sent.
    pub sent: Sent,
    /// Writes that crashes undid.
    pub lost_writes: u64,
    /// Letters that were delivered.
    pub letters: u64,
    /// How long it took, in the world's time.
    pub lived: Duration,
    /// 64 hex digits that stand for every letter that was delivered.
    pub trace: String,
    /// What the scenario measured.
    pub notes: Vec<String>,
}

/// Runs a scenario to its end, on this thread.
///
/// # Errors
/// If no runtime can be had from the operating system.
pub fn simulate(scenario: &dyn Scenario, settings: Settings) -> std::io::Result<Run> {
    Ok(runtime()?.block_on(live(scenario, settings, None)))
}

/// The same, while somebody looks on: what was seen over time makes a [page](report::page).
///
/// # Errors
/// If no runtime can be had from the operating system.
pub fn simulate_watched(
    scenario: &dyn Scenario,
    settings: Settings,
) -> std::io::Result<(Run, Vec<Sample>)> {
    let mut samples = Vec::new();
    let run = runtime()?.block_on(live(scenario, settings, Some(&mut samples)));
    Ok((run, samples))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()
}

async fn live(
    scenario: &dyn Scenario,
    settings: Settings,
    watched: Option<&mut Vec<Sample>>,
) -> Run {
    let began = Instant::now();
    panics::watch();
    let mut run = Run {
        scenario: scenario.name(),
        settings,
        verdict: Ok(()),
        acknowledged: 0,
        checked: 0,
        reads: Reads::default(),
        sent: Sent::default(),
        lost_writes: 0,
        letters: 0,
        lived: Duration::ZERO,
        trace: String::new(),
        notes: Vec::new(),
    };
    let mut world = match World::new(settings) {
        Ok(world) => world,
        Err(failure) => return Run { verdict: Err(failure), ..run },
    };
    let sampler = watched.is_some().then(|| Sampler::start(world.view().clone()));
    run.verdict = scenario.run(&mut world).await;
    if let (Some(sampler), Some(samples)) = (sampler, watched) {
        *samples = sampler.finish(world.view());
    }
    if run.verdict.is_ok() {
        run.verdict = seen_besides(&world);
    }
    let trace = world.network().trace();
    run.acknowledged = world.checker().acknowledgements();
    run.checked = world.checker().answers();
    run.reads = world.checker().reads();
    run.sent = world.network().sent_in_all();
    run.lost_writes = world.lost_writes();
    run.letters = trace.events();
    run.lived = began.elapsed();
    run.trace = trace.digest();
    run.notes = world.notes().to_vec();
    run
}

/// What broke without the scenario's noticing it.
fn seen_besides(world: &World) -> Result<(), Failure> {
    world.check_seen()?;
    if let Some(said) = panics::first() {
        return Err(Failure::Expected(format!("a node's task panicked: {said}")));
    }
    Ok(())
}
