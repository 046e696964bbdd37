//! The command line: what all commands share, and one file a command.
//!
//! ```text
//! arguments ─▶ Cli (clap) ─▶ Command ─▶ its file: run(args, session) ─▶ stdout
//!                  │                                   └─ Failure ─▶ one sentence on stderr, exit status
//!               Globals ─▶ Session: identity, client
//! ```

mod arguments;
mod audit;
mod bench;
mod contacts;
mod delete;
mod failure;
mod get;
mod get_content;
mod health;
mod identity;
mod letters;
mod list;
mod lookup;
mod name;
mod peers;
mod ping;
mod print;
mod put;
mod queue;
mod requests;
mod secret_input;
mod session;
mod stats;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use dht_client::{ErrorNumber, NetworkName, PeerAddress};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use failure::Failure;
use session::Session;

/// Puts signed values into the DHT, gets them back, and asks its nodes how they are.
#[derive(Parser)]
#[command(name = "dht-client", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args)]
struct Globals {
    /// A peer to ask first: host:port, or NODEID@host:port to pin who answers. May be repeated.
    #[arg(long, value_name = "PEER", global = true)]
    bootstrap: Vec<PeerAddress>,
    /// The network to take part in. [default: main, or the one of --network-file]
    #[arg(long, value_name = "NAME", global = true)]
    network: Option<NetworkName>,
    /// Take the network's name, seeds, DNS names and registry from this file.
    #[arg(long, value_name = "FILE", global = true)]
    network_file: Option<PathBuf>,
    /// Ask this name server, ip:port, instead of the system's.
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    dns_server: Option<SocketAddr>,
    /// The identity's file. [default: $XDG_DATA_HOME/dht/identity or ~/.local/share/dht/identity]
    #[arg(long, value_name = "FILE", global = true)]
    identity: Option<PathBuf>,
    /// Read the password of the identity's file from the first line of a file, or from stdin for -.
    /// Without it a password is asked for at the terminal.
    #[arg(long, value_name = "FILE", global = true)]
    password_file: Option<PathBuf>,
    /// Print one JSON object (bench: one a phase, health: one a node).
    #[arg(long, global = true)]
    json: bool,
    /// How long the command may take, joining the network included (bench: each operation; health: a
    /// node's answer, and its value).
    #[arg(long, value_name = "SECS", global = true, default_value = "10", value_parser = arguments::seconds)]
    timeout: Duration,
}

#[derive(Subcommand)]
enum Command {
    /// Make, show, export or import the identity that signs.
    #[command(subcommand)]
    Identity(identity::IdentityCommand),
    /// Sign a value and put it.
    Put(put::PutArgs),
    /// Get a publisher's value; prints the bytes as they are.
    Get(get::GetArgs),
    /// Get immutable content; prints the bytes as they are.
    GetContent(get_content::GetContentArgs),
    /// List what a publisher, or everyone, keeps under a label.
    List(list::ListArgs),
    /// Delete a value of one's own.
    Delete(delete::DeleteArgs),
    /// Show what waits to be put or deleted, and what became of the last of it.
    Queue(queue::QueueArgs),
    /// Challenge nodes to prove that they keep what they gave receipts for; prints who kept what.
    Audit(audit::AuditArgs),
    /// List the contacts, or ask, rename, unblock or recover them.
    Contacts(contacts::ContactsArgs),
    /// List who asks to become a contact.
    Requests,
    /// Accept a contact request.
    Accept(requests::AcceptArgs),
    /// Ignore whatever comes from somebody.
    Block(requests::BlockArgs),
    /// Send a letter to a contact, who may be away for up to 7 days.
    Send(letters::SendArgs),
    /// Fetch and show the letters that are not acknowledged.
    Inbox(letters::InboxArgs),
    /// Be done with letters.
    Ack(letters::AckArgs),
    /// Show what became of the letters that were sent.
    Outbox,
    /// Claim names, and find out whose they are.
    #[command(subcommand)]
    Name(name::NameCommand),
    /// Print what a publisher, or everyone, keeps under a label, and then every change of it.
    Watch(watch::WatchArgs),
    /// Ask a peer how it is.
    Ping(ping::PingArgs),
    /// Ask each of some nodes how it is, and put a value on it; exits with 0 if all are well, 1 if one
    /// is not, 2 if one is down.
    Health(health::HealthArgs),
    /// Find the nodes closest to a key.
    Lookup(lookup::LookupArgs),
    /// Show the peers that answer.
    Peers,
    /// Show what this process counted while it joined.
    Stats,
    /// Measure operations, and check what they return.
    Bench(bench::BenchArgs),
}

/// Runs the command line; the exit status is 0 or the number of the error.
pub(crate) fn main() -> ExitCode {
    let result = match (Cli::try_parse(), log_to_stderr()) {
        (Ok(cli), Ok(())) => run(cli),
        (Err(error), _) => failure::of_parsing(&error),
        (_, Err(failure)) => Err(failure),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    // One thread: a second worker makes each request cost several times the processor time.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            Failure::new(
                ErrorNumber::Internal,
                format!(
                    "no runtime can be started ({error}); check the limits on open files and memory"
                ),
            )
        })?;
    let session = Session::new(cli.globals)?;
    runtime.block_on(async {
        let result = Box::pin(cli.command.run(&session)).await;
        session.end().await;
        result
    })
}

impl Command {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Command::Identity(command) => command.run(session),
            Command::Put(args) => args.run(session).await,
            Command::Get(args) => args.run(session).await,
            Command::GetContent(args) => args.run(session).await,
            Command::List(args) => args.run(session).await,
            Command::Delete(args) => args.run(session).await,
            Command::Queue(args) => args.run(session).await,
            Command::Audit(args) => args.run(session).await,
            Command::Contacts(args) => args.run(session).await,
            Command::Requests => requests::run(session).await,
            Command::Accept(args) => args.run(session).await,
            Command::Block(args) => args.run(session).await,
            Command::Send(args) => args.run(session).await,
            Command::Inbox(args) => args.run(session).await,
            Command::Ack(args) => args.run(session).await,
            Command::Outbox => letters::outbox(session).await,
            Command::Name(command) => Box::pin(command.run(session)).await,
            Command::Watch(args) => args.run(session).await,
            Command::Ping(args) => args.run(session).await,
            Command::Health(args) => Box::pin(args.run(session)).await,
            Command::Lookup(args) => args.run(session).await,
            Command::Peers => peers::run(session).await,
            Command::Stats => stats::run(session).await,
            Command::Bench(args) => args.run(session).await,
        }
    }
}

/// Logs go to stderr if `RUST_LOG` asks for them; else a failure's sentence stands there alone.
fn log_to_stderr() -> Result<(), Failure> {
    let Ok(asked) = std::env::var("RUST_LOG") else { return Ok(()) };
    let filter: Targets = asked.parse().map_err(|error| {
        let sentence =
            format!("RUST_LOG={asked}: {error}; give a level like info, or target=level");
        Failure::usage(&sentence)
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("dht-client").chain(line.split_whitespace()))
    }

    #[test]
    fn the_declaration_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_is_promised_is_understood() {
        let id = "ab".repeat(32);
        for line in [
            "identity new",
            "identity new --words 12 --passphrase --password-file -",
            "identity new --passphrase-file f",
            "identity export --words",
            "identity export --raw --json",
            "identity export --file f --new-password-file g",
            "identity export --file f --no-password",
            "identity import --passphrase",
            "identity import --raw",
            "identity import --file f --from-password-file -",
            "identity passwd --new-password-file f --password-file g",
            "identity passwd --no-password",
            "--identity f identity show --json",
            "--bootstrap h:1 --bootstrap [::1]:2 --network n-1 --timeout 3 put label value",
            "--network-file f --dns-server 127.0.0.1:53 peers",
            "put label --file f --retention 365d --slot 7 --expect-seq 0 --quorum 2",
            "put label - --space topic --retention 8h",
            "put label value --space content --retention 7d",
            &format!("get {id} label --slot 3 --consistency one"),
            &format!("get {id} label --consistency default --space topic"),
            &format!("get-content {id} --consistency quorum"),
            &format!("list {id} label"),
            "list topic label",
            "put label value --receipts file",
            "put label value --no-queue",
            "delete label --slot 1",
            "delete label --no-queue",
            "queue",
            "queue --json",
            "queue --flush --timeout 3",
            "queue --drop 7",
            "delete label --receipts file",
            "audit file",
            "audit file --prune --json",
            &format!("watch {id} label"),
            "name claim alice",
            "name renew",
            "name renew alice --json",
            "name release alice",
            "name lookup alice",
            &format!("name reverse {id}"),
            &format!("name trust alice {id}"),
            &format!("watch {id} label --topic --slot 3 --state mine --count 2"),
            "watch topic label --json",
            &format!("ping {id}@example.org:4433"),
            &format!("health {id}@example.org:4433 [::1]:2 --json --timeout 3"),
            "health --config fleet.toml --identity f",
            &format!("lookup {id}"),
            "send bob hello",
            "send bob --file f --json",
            "send bob -",
            "send bob --lines --file f",
            "inbox --follow",
            "inbox --json",
            "ack bob:0a1b2c:7 bob:0a1b2c:8",
            "ack --all",
            "outbox --json",
            "peers",
            "stats --json",
            "contacts --json",
            &format!("contacts request {id}"),
            &format!("contacts request {id} text --name bob --as alice"),
            "contacts rename bob robert",
            "contacts unblock bob",
            "contacts recover",
            "requests --json",
            &format!("accept {id} --name bob"),
            "block bob",
            "bench --ops put,get,fetch,miss,lookup --count 9 --size 1 --concurrency 2 --consistency one",
            "bench --ops meet,send,receive,ack,follow --dir folder",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).err().unwrap());
        }
    }

    #[test]
    fn what_is_not_promised_is_refused() {
        let id = "ab".repeat(32);
        for line in [
            "",
            "frobnicate",
            "identity new --words 18",
            "identity new --passphrase --passphrase-file f",
            "identity export",
            "identity export --words --raw",
            "identity import --raw --file f",
            "identity import --from-password-file f",
            "identity passwd --no-password --new-password-file f",
            "put",
            "put label",
            "put label value --file f",
            "put label value --retention 9d",
            "put label value --space elsewhere",
            "put label value --colour red",
            "get zz label",
            &format!("get {id} label --slot -1"),
            &format!("get {id} label --space content"),
            "list label",
            "delete label --space content",
            "audit",
            "queue --drop first",
            "queue --drop 0",
            "queue --flush --drop 1",
            "audit one two",
            "name",
            "name claim",
            "name lookup",
            "name reverse alice",
            "name trust alice",
            "name trust alice bob",
            "watch label",
            "watch topic label --count 0",
            &format!("watch {id} label --slot -1"),
            "lookup abcd",
            "send",
            "send bob",
            "send bob hello --file f",
            "inbox all",
            "ack",
            "ack bob:0a1b2c:7 --all",
            "outbox bob",
            "ping nowhere",
            "health",
            "health nowhere",
            "health --config fleet.toml example.org:4433",
            "contacts request",
            "contacts request bob",
            "contacts rename bob",
            "requests all",
            "accept",
            "block",
            "--timeout 0 peers",
            "--timeout soon peers",
            "--network BIG peers",
            "--dns-server example.org peers",
            "bench --ops fly",
            "bench --count 0",
            "bench --size 65537",
            "bench --concurrency 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
