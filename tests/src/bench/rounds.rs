//! The rounds: echo and nodes in turn, each at each number of operations in flight.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::time::Instant;

use super::figures::{ECHO, Figures, Phase, Sample, Setup};
use super::nodes::Node;
use super::processes::Running;

/// Bytes of each value.
const VALUE_BYTES: &str = "1024";
/// Operations at the start of each phase of `dht-client bench` that it does not count, and that the
/// servers pay for all the same.
const WARM_UP: f64 = 64.0;
/// Nodes of the network.
const NETWORK_NODES: usize = 3;
/// What is measured of a node, in this order. Reads come several times, and are added up: they are
/// so short that the kernel's hundredths of a second would not tell their processor time.
const OPS: [&str; 5] = ["put", "get", "fetch", "miss", "lookup"];
const REPEATS: usize = 4;

/// What two people do over the network, each once; what the first of them costs is how they become
/// contacts, and is not told.
const LETTER_OPS: [&str; 5] = ["meet", "send", "receive", "ack", "follow"];
/// Letters of `follow` that `dht-client bench` does not count.
const FOLLOW_WARM_UP: f64 = 16.0;

/// How much is done at each number in flight: enough for a phase to take tenths of a second.
struct Load {
    concurrency: usize,
    echoes: u64,
    solo: u64,
    network: u64,
    /// Letters, which go in batches of their own whatever is in flight besides.
    letters: u64,
}

const LOADS: [Load; 2] = [
    Load { concurrency: 1, echoes: 20_000, solo: 1_500, network: 500, letters: 0 },
    Load { concurrency: 64, echoes: 60_000, solo: 10_000, network: 3_000, letters: 1_000 },
];

/// What is running, to be asked round after round.
pub struct Rounds {
    echo: Running,
    echo_listen: String,
    solo: Node,
    network: Vec<Node>,
    dir: PathBuf,
}

impl Rounds {
    /// Starts everything that is asked; the nodes' data goes below `dir`, and so do the profiles of those
    /// who write letters.
    ///
    /// # Errors
    /// Where something does not start until `deadline`.
    pub fn start(dir: &Path, deadline: Instant) -> anyhow::Result<Self> {
        let mut echo = Running::start("quinn-echo", &["server"], Stdio::inherit())?;
        let (_, echo_listen) = echo.ready(deadline)?;
        let solo = Node::start(dir, None, deadline)?;
        let mut network = vec![Node::start(dir, None, deadline)?];
        while let (Some(first), true) = (network.first(), network.len() < NETWORK_NODES) {
            let next = Node::start(dir, Some(&first.listen), deadline)?;
            network.push(next);
        }
        for node in &network {
            node.peers_after(NETWORK_NODES as u64 - 1, deadline)?;
        }
        Ok(Rounds { echo, echo_listen, solo, network, dir: dir.to_owned() })
    }

    /// Runs up to `count` rounds, and begins none that would outlast `deadline` if it took as long
    /// as the longest so far.
    ///
    /// # Errors
    /// Where a process fails, or the first round does not end in time.
    pub fn run(&self, count: usize, deadline: Instant) -> anyhow::Result<Figures> {
        let mut figures = Figures::default();
        let mut longest = Duration::ZERO;
        for round in 0..count {
            let started = Instant::now();
            if started + longest > deadline {
                eprintln!("time for {round} of {count} rounds only; give more with --max-secs");
                break;
            }
            for load in &LOADS {
                self.round(load, &mut figures, deadline)?;
            }
            longest = longest.max(started.elapsed());
        }
        Ok(figures)
    }

    fn round(&self, load: &Load, figures: &mut Figures, deadline: Instant) -> anyhow::Result<()> {
        let (count, concurrency) = (load.echoes.to_string(), load.concurrency.to_string());
        let flags = ["--count", &count, "--concurrency", &concurrency];
        let args = [&["client", self.echo_listen.as_str()], flags.as_slice()].concat();
        let mut client = Running::start("quinn-echo", &args, Stdio::inherit())?;
        let mut ask = Ask { client: &mut client, servers: &[&self.echo], deadline };
        // The handshake and the first requests are not what is compared.
        ask.next_phase("connected")?;
        let mut cpu_before = ask.servers_cpu_secs()?;
        let phase = Phase { concurrency: load.concurrency, setup: Setup::Echo, op: ECHO };
        figures.add(phase, ask.next_sample(ECHO, 0.0, &mut cpu_before)?);
        ask.end()?;

        let network: Vec<&Node> = self.network.iter().collect();
        for (setup, nodes, count) in
            [(Setup::Solo, vec![&self.solo], load.solo), (Setup::Network, network, load.network)]
        {
            let phases = node_phases();
            let flags = ["--concurrency", &concurrency];
            let mut client = start_client(&nodes, &phases, count, &flags)?;
            let servers: Vec<&Running> = nodes.iter().map(|node| &node.process).collect();
            let mut ask = Ask { client: &mut client, servers: &servers, deadline };
            let mut cpu_before = ask.servers_cpu_secs()?;
            for op in OPS {
                let mut whole = Sample::default();
                for _ in phases.iter().filter(|phase| **phase == op) {
                    whole = whole.with(ask.next_sample(op, WARM_UP, &mut cpu_before)?);
                }
                figures.add(Phase { concurrency: load.concurrency, setup, op }, whole);
            }
            ask.end()?;
        }
        match load.letters {
            0 => Ok(()),
            _ => self.letters(load, figures, deadline),
        }
    }

    fn letters(&self, load: &Load, figures: &mut Figures, deadline: Instant) -> anyhow::Result<()> {
        let nodes: Vec<&Node> = self.network.iter().collect();
        let dir = self.dir.display().to_string();
        let mut client = start_client(&nodes, &LETTER_OPS, load.letters, &["--dir", &dir])?;
        let servers: Vec<&Running> = nodes.iter().map(|node| &node.process).collect();
        let mut ask = Ask { client: &mut client, servers: &servers, deadline };
        let [meet, letters @ ..] = LETTER_OPS;
        ask.next_phase(meet)?;
        let mut cpu_before = ask.servers_cpu_secs()?;
        for op in letters {
            let warm_up = if op == "follow" { FOLLOW_WARM_UP } else { 0.0 };
            let sample = ask.next_sample(op, warm_up, &mut cpu_before)?;
            let phase = Phase { concurrency: load.concurrency, setup: Setup::Network, op };
            figures.add(phase, sample);
        }
        ask.end()
    }
}

/// The client, which measures these phases against the first of some nodes.
fn start_client(
    nodes: &[&Node],
    phases: &[&str],
    count: u64,
    flags: &[&str],
) -> anyhow::Result<Running> {
    let listen = nodes.first().map_or("", |node| node.listen.as_str());
    let (ops, count) = (phases.join(","), count.to_string());
    let args = ["--bootstrap", listen, "--json", "bench", "--ops", &ops, "--size", VALUE_BYTES];
    let args = [args.as_slice(), &["--count", &count], flags].concat();
    Running::start("dht-client", &args, Stdio::inherit())
}

/// The operations of one run of the client: puts once, since they take long, reads repeatedly.
fn node_phases() -> Vec<&'static str> {
    let times = |op: &str| if op == "put" { 1 } else { REPEATS };
    OPS.into_iter().flat_map(|op| std::iter::repeat_n(op, times(op))).collect()
}

/// A client that works through its phases, and the servers that it asks.
struct Ask<'a> {
    client: &'a mut Running,
    servers: &'a [&'a Running],
    deadline: Instant,
}

impl Ask<'_> {
    fn servers_cpu_secs(&self) -> anyhow::Result<f64> {
        self.servers.iter().map(|server| server.cpu_secs()).sum()
    }

    /// The client's next line; `warm_up` operations before those that it tells of are left out of
    /// the servers' processor time.
    fn next_sample(
        &mut self,
        op: &str,
        warm_up: f64,
        cpu_before: &mut f64,
    ) -> anyhow::Result<Sample> {
        let line = self.next_phase(op)?;
        let cpu_now = self.servers_cpu_secs()?;
        let counted = line.get("count").and_then(Value::as_f64).unwrap_or(0.0);
        let share = counted / (counted + warm_up.min(counted));
        let sample = Sample::new(&line, (cpu_now - *cpu_before) * share)?;
        *cpu_before = cpu_now;
        Ok(sample)
    }

    fn next_phase(&mut self, op: &str) -> anyhow::Result<Value> {
        let line = self.client.line(self.deadline)?;
        let (_, line) = line.with_context(|| format!("a client ended before {op}"))?;
        let line: Value = serde_json::from_str(&line)?;
        let told = line.get("op").and_then(Value::as_str);
        ensure!(told == Some(op), "a client measured {told:?} where {op} is due");
        Ok(line)
    }

    fn end(self) -> anyhow::Result<()> {
        let rest = self.client.line(self.deadline)?;
        ensure!(rest.is_none(), "a client measured more than it was asked to");
        Ok(())
    }
}
