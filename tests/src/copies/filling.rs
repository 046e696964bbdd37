//! A new node that is filled while others ask the network: how much longer they wait, and how long it
//! takes.
//!
//! Three nodes hold the same from the start. A client puts and gets at a steady rate, first beside
//! nothing else, then while a fourth node joins and takes its copies, then beside nothing else again.
//! So each fill has two quiet spans around it to be compared with, and no node ever leaves.

use std::path::Path;
use std::time::{Duration, Instant};

use dht_client::Identity;
use tokio::runtime::Builder;

use super::corpus::Corpus;
use super::load::{Load, Span};
use crate::node_process::{NodeOptions, NodeProcess, copy_folder};
use crate::user::User;
use crate::{ports, waiting};

/// Nodes that hold everything from the start.
const NODES: usize = 3;
/// How often nodes are asked how far they are, in quiet spans as well: it costs a process each time.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Settings of the nodes' stores: a cache as an operator would have it.
const STORE: &str = "cache_bytes = 134217728";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Records that the three hold.
    pub records: u64,
    /// Bytes of each record's body.
    pub body_bytes: usize,
    /// Puts a second, and as many gets.
    pub rate: u32,
    /// How long a span without a fill lasts.
    pub quiet: Duration,
    /// How many nodes join, one after the other.
    pub fills: usize,
    /// How long a fill may take.
    pub limit: Duration,
}

/// A fill and what it did to the foreground.
#[derive(Clone, Debug)]
pub struct Fill {
    /// While the node was filled.
    pub during: Span,
    /// Before and after.
    pub quiet: Span,
    /// From the start of the process until it held as much as the others had at first.
    pub took: Duration,
    /// Bytes of records that it fetched.
    pub fetched_bytes: u64,
}

/// Measures all, with the nodes' data below `dir`.
///
/// # Errors
/// A sentence: if a node is not filled within the limit.
pub fn measure(dir: &Path, sizes: Sizes) -> Result<Vec<Fill>, String> {
    let corpus = Corpus::new(sizes.body_bytes);
    let mut nodes = start_full(dir, &corpus, sizes.records);
    let peers: Vec<String> = nodes.iter().map(NodeProcess::peer).collect();
    let user = User::with_identity(&Identity::from_root(&[9; 32]), &peers);
    let load = Load::start(user, &corpus, sizes.records, sizes.rate);
    wait_quietly(&nodes[0], sizes.quiet / 4);
    let _ = load.next_span();

    let mut fills: Vec<Fill> = Vec::new();
    wait_quietly(&nodes[0], sizes.quiet);
    let mut before = load.next_span();
    for number in 0..sizes.fills {
        let (node, took, fetched_bytes) = fill(dir, number, &peers, sizes)?;
        let during = load.next_span();
        nodes.push(node);
        wait_quietly(&nodes[0], sizes.quiet);
        let after = load.next_span();
        fills.push(Fill { during, quiet: before.with(&after), took, fetched_bytes });
        before = after;
    }
    Ok(fills)
}

/// Nodes that hold the corpus's first records, and have found each other.
fn start_full(dir: &Path, corpus: &Corpus, records: u64) -> Vec<NodeProcess> {
    let full = dir.join("full");
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(corpus.fill(&full, records));
    let addrs: Vec<_> = (0..NODES).map(|_| ports::free_address()).collect();
    let peers: Vec<String> = addrs.iter().map(ToString::to_string).collect();
    let place = |(number, addr): (usize, &std::net::SocketAddr)| {
        let bootstrap = peers.iter().filter(|peer| **peer != addr.to_string()).cloned().collect();
        let options = NodeOptions { store: STORE.to_owned(), ..NodeOptions::joining(bootstrap) };
        let node = NodeProcess::place_at(dir.join(format!("node{number}")), *addr, options);
        copy_folder(&full, &node.data_dir());
        node
    };
    let mut nodes: Vec<NodeProcess> = addrs.iter().enumerate().map(place).collect();
    // What the copies wrote must not be on its way to the disk while the nodes are measured.
    rustix::fs::sync();
    nodes.iter_mut().for_each(NodeProcess::spawn);
    nodes.iter_mut().for_each(NodeProcess::await_ready);
    nodes
}

/// Starts an empty node and waits until it has fetched as many records as the others had at first.
fn fill(
    dir: &Path,
    number: usize,
    peers: &[String],
    sizes: Sizes,
) -> Result<(NodeProcess, Duration, u64), String> {
    let options = NodeOptions { store: STORE.to_owned(), ..NodeOptions::joining(peers.to_vec()) };
    let started = Instant::now();
    let node = NodeProcess::start(dir.join(format!("new{number}")), options);
    loop {
        let fetched = replicated(&node, "fetched");
        if fetched >= sizes.records {
            let bytes = replicated(&node, "fetched_bytes");
            return Ok((node, started.elapsed(), bytes));
        }
        if started.elapsed() > sizes.limit {
            return Err(format!(
                "a new node has {fetched} of {} records after {} s; give it more with --limit-secs",
                sizes.records,
                sizes.limit.as_secs()
            ));
        }
        wait(LOOK_EVERY);
    }
}

fn wait_quietly(node: &NodeProcess, span: Duration) {
    let started = Instant::now();
    while started.elapsed() < span {
        let _ = replicated(node, "fetched");
        wait(LOOK_EVERY);
    }
}

fn wait(span: Duration) {
    let started = Instant::now();
    while started.elapsed() < span {
        waiting::pause();
    }
}

fn replicated(node: &NodeProcess, figure: &str) -> u64 {
    node.status()["replication"][figure].as_u64().unwrap_or_default()
}
