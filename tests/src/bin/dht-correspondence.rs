//! `dht-correspondence`: letters in a simulated network that loses packets, falls apart and crashes.

use std::process::ExitCode;

use clap::Parser;
use dht_sim::{Scenario, Settings, simulate};
use dht_tests::correspondence::Correspondence;

/// Plays the story with one seed after the other, until one fails. One seed always gives one run.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many nodes.
    #[arg(long, default_value_t = Correspondence.nodes())]
    nodes: usize,
}

fn main() -> ExitCode {
    let Arguments { seeds, seed, nodes } = Arguments::parse();
    for seed in seed..seed.saturating_add(seeds) {
        let run = match simulate(&Correspondence, Settings::new(seed, nodes)) {
            Ok(run) => run,
            Err(error) => {
                eprintln!(
                    "dht-correspondence: no runtime ({error}); check the limits of this process"
                );
                return ExitCode::FAILURE;
            }
        };
        let (packets, lost) = (run.letters, run.lost_writes);
        println!("seed {seed}: trace={} packets={packets} lost_writes={lost}", run.trace);
        match run.verdict {
            Ok(()) => println!("seed {seed}: kept; {}", run.notes.join("; ")),
            Err(failure) => {
                println!("seed {seed}: BROKEN: {failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
