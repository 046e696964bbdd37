//! `dht-copies`: what keeping copies costs. See [`dht_tests::copies`].

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use dht_tests::copies::{filling, report, rounds};

/// Measures what keeping copies costs.
#[derive(Parser)]
struct Arguments {
    /// Where data is kept while it runs: the disk that is measured
    #[arg(long, value_name = "DIR", default_value = "/var/tmp", global = true)]
    dir: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Rounds between two holders of the same many records, and of which one lacks a few
    Rounds {
        /// Records that both hold
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
        records: u64,
        /// Records that one of them lacks
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=30_000))]
        differing: u64,
        /// Bytes of each record's body
        #[arg(long, default_value_t = 1_024)]
        body_bytes: usize,
    },
    /// What others wait for longer while a new node is filled
    Filling {
        /// Records that the new node lacks
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
        records: u64,
        /// Bytes of each record's body
        #[arg(long, default_value_t = 1_024)]
        body_bytes: usize,
        /// Puts a second, and as many gets
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
        /// Seconds of each span without a fill
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
        quiet_secs: u64,
        /// New nodes, one after the other
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=10))]
        fills: u16,
        /// Seconds that a fill may take
        #[arg(long, default_value_t = 300)]
        limit_secs: u64,
    },
}

fn main() -> ExitCode {
    let Arguments { dir, what } = Arguments::parse();
    let folder = match tempfile::Builder::new().prefix("dht-copies-").tempdir_in(&dir) {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!(
                "no folder can be made in {} ({error}); choose another with --dir",
                dir.display()
            );
            return ExitCode::FAILURE;
        }
    };
    let measured = match what {
        What::Rounds { records, differing, body_bytes } => {
            let sizes = rounds::Sizes { records, differing, body_bytes };
            report::print_rounds(sizes, &rounds::measure(folder.path(), sizes));
            Ok(())
        }
        What::Filling { records, body_bytes, rate, quiet_secs, fills, limit_secs } => {
            let sizes = filling::Sizes {
                records,
                body_bytes,
                rate,
                quiet: Duration::from_secs(quiet_secs),
                fills: fills.into(),
                limit: Duration::from_secs(limit_secs),
            };
            filling::measure(folder.path(), sizes).map(|fills| report::print_fills(sizes, &fills))
        }
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}
