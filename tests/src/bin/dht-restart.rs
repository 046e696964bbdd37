//! `dht-restart`: what clients notice while a node is restarted in order.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use dht_tests::restart::{self, Noticed, Plan};

/// Fills a network, restarts one of its nodes under load, and says how long it was away and what clients
/// noticed.
#[derive(Parser)]
struct Arguments {
    /// Nodes of the network.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=20))]
    nodes: u64,
    /// How many of the nodes are restarted, one after the other.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=20))]
    restarts: u64,
    /// Values of 1 KiB that are there before.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    records: u64,
    /// How many put at the same time, each one value after the other.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    writers: u64,
}

fn main() -> ExitCode {
    let Arguments { nodes, restarts, records, writers } = Arguments::parse();
    let restarts = restarts.min(nodes);
    println!("{nodes} nodes with {records} values; {restarts} restarted while {writers} put");
    let plan = Plan {
        nodes: usize::try_from(nodes).unwrap_or(1),
        restarts: usize::try_from(restarts).unwrap_or(1),
        records,
        writers: usize::try_from(writers).unwrap_or(1),
    };
    let report = restart::run(&plan);
    for restart in &report.restarts {
        println!(
            "  stop {:>6} ms   start until ready {:>6} ms",
            ms(restart.stop),
            ms(restart.start)
        );
    }
    for (what, noticed) in [("puts", report.puts), ("gets", report.gets)] {
        let Noticed { done, failed, slowest, longest_gap } = noticed;
        println!(
            "  {what}: {done} done, {failed} failed; the slowest took {} ms; at most {} ms without one",
            ms(slowest),
            ms(longest_gap)
        );
    }
    println!("  acknowledged and lost: {}", report.lost);
    if report.lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn ms(span: Duration) -> u128 {
    span.as_millis()
}
