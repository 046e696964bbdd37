//! `dht-bench`: real nodes against a bare QUIC echo. See [`dht_tests::bench`].

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use dht_tests::bench::join;
use dht_tests::bench::rounds::Rounds;
use tokio::time::Instant;

/// Measures real nodes against a bare QUIC echo: rates, CPU per operation on both sides, ratios
#[derive(Parser)]
struct Args {
    /// Print one JSON object a phase
    #[arg(long)]
    json: bool,
    /// How often each phase is measured; medians are told
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// No round begins that would end later than this
    #[arg(long, value_name = "SECS", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3600))]
    max_secs: u64,
    /// Where the nodes keep their data while it runs: the disk that is measured
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    dir: PathBuf,
    /// Measure only how soon a node that starts is ready and has three peers
    #[arg(long)]
    join: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let deadline = Instant::now() + Duration::from_secs(args.max_secs);
    if args.join {
        return join::measure(&args.dir, args.json, deadline);
    }
    let figures = Rounds::start(&args.dir, deadline)?.run(args.rounds.into(), deadline)?;
    if args.json {
        figures.print_json();
    } else {
        figures.print_table();
    }
    ensure!(figures.faults() == 0, "{} operations failed or were wrong", figures.faults());
    Ok(())
}
