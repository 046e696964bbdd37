//! `dht-crash`: kills nodes with -9 under load, round after round, and counts what was lost.

use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use dht_tests::crash;

/// Rounds between two lines of progress.
const SAY_EVERY: u64 = 10;

/// Kills nodes with -9 under load, and fails if a record that was acknowledged is lost.
#[derive(Parser)]
struct Arguments {
    /// How many rounds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Where chance starts from: the kills of a run that failed come again, if not to the instant.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let Arguments { rounds, seed } = Arguments::parse();
    let seed = seed.unwrap_or_else(seed_of_this_moment);
    let started = Instant::now();
    println!("{rounds} rounds of kill -9 under load, seed {seed}");
    let report = crash::run(rounds, seed, |report| {
        if report.rounds.is_multiple_of(SAY_EVERY) {
            println!(
                "  round {}: {} nodes killed, {} puts acknowledged, {} lost",
                report.rounds,
                report.kills,
                report.acknowledged,
                report.lost.len()
            );
        }
    });
    for lost in &report.lost {
        eprintln!("lost: {lost}");
    }
    println!(
        "{} rounds, {} nodes killed, {} puts acknowledged, {} copies asked for, {} lost, {} s",
        report.rounds,
        report.kills,
        report.acknowledged,
        report.copies,
        report.lost.len(),
        started.elapsed().as_secs()
    );
    if report.lost.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("acknowledged records were lost; run it again with --seed {seed}");
    ExitCode::FAILURE
}

fn seed_of_this_moment() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or_default()
}
