//! The command line of the DHT's client.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
