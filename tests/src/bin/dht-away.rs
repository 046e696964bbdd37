//! `dht-away`: how long after its return a node that was away under load holds what the others do.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use dht_tests::away::{self, Load};

/// Kills one of three nodes, loads the other two, starts it again, and says when all are alike.
#[derive(Parser)]
struct Arguments {
    /// How long the node is away, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    secs: u64,
    /// Puts of 1 KiB a second meanwhile.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Seconds within which all three must be alike.
    #[arg(long, default_value_t = 60)]
    within: u64,
}

fn main() -> ExitCode {
    let Arguments { secs, rate, within } = Arguments::parse();
    println!("one of three nodes is away for {secs} s, with {rate} puts a second");
    match away::run(Load { span: Duration::from_secs(secs), rate }, Duration::from_secs(within)) {
        Ok(report) => {
            println!(
                "{} puts acknowledged, {} failed; all three hold the same {} records",
                report.acknowledged, report.failed, report.held
            );
            println!(
                "ready {:.1} s after the start, alike {:.1} s after it",
                report.ready_after.as_secs_f64(),
                report.alike_after.as_secs_f64()
            );
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}
