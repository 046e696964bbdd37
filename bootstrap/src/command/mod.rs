//! The command line: one file per command, each with its arguments and its effect.

mod admin_address;
mod check_config;
mod identity;
mod leave;
mod network;
mod print;
mod run;
mod status;
mod watch;

use std::fmt;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use dht_kad::ErrorNumber;

/// The persistent node of the DHT: keeps signed values and says truthfully whether it works.
#[derive(Debug, Parser)]
#[command(name = "dht-bootstrap", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the node until SIGTERM or SIGINT
    Run(run::Run),
    /// Hand over all records and leave the network for good; the node must not run
    Leave(dht_bootstrap::config::RunFlags),
    /// Check a configuration file and print what it comes to
    CheckConfig(check_config::CheckConfig),
    /// Print the node's id
    Identity(identity::Identity),
    /// Make a network, and sign the list of its bootstrap nodes
    #[command(subcommand)]
    Network(network::Network),
    /// Ask a running node how it is
    Status(status::Status),
}

/// Why the program ends without success: one sentence, and the number that is its exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) number: ErrorNumber,
    sentence: String,
}

impl Failure {
    pub(crate) fn new(number: ErrorNumber, sentence: impl fmt::Display) -> Self {
        Failure { number, sentence: sentence.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (error {})", self.sentence, self.number as u8)
    }
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> Result<(), Failure> {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) if !error.use_stderr() => {
            return print::text(error);
        }
        Err(error) => return Err(usage(&error)),
    };
    match line.command {
        Command::Run(command) => command.run(),
        Command::Leave(flags) => leave::run(&flags),
        Command::CheckConfig(command) => command.run(),
        Command::Identity(command) => command.run(),
        Command::Network(command) => command.run(),
        Command::Status(command) => command.run(),
    }
}

/// Clap's explanation, its first paragraph, as one sentence: what is missing stands on lines below.
fn usage(error: &clap::Error) -> Failure {
    let text = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing".to_owned(),
        _ => error.to_string(),
    };
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    let what = words.join(" ");
    let what = what.trim_start_matches("error: ").trim_end_matches([':', '.']);
    Failure::new(ErrorNumber::Usage, format!("{what}; see dht-bootstrap --help"))
}
