//! [`Network`]: several nodes in one temporary folder, each told of the others.

use std::ops::{Index, IndexMut};

use bytes::Bytes;
use dht_kad::RecordId;
use tempfile::TempDir;

use crate::node_process::{NodeOptions, NodeProcess};
use crate::waiting::eventually;
use crate::wire::WirePeer;
use crate::{ports, records};

/// How many others each node is told of: some may be down when it starts.
const TOLD_OF: usize = 3;

/// Nodes that run as processes. Their data goes with them.
#[derive(Debug)]
pub struct Network {
    nodes: Vec<NodeProcess>,
    // Last, so that the nodes have ended when it is removed.
    folder: TempDir,
}

impl Network {
    /// Starts `count` nodes at once, and waits until all are ready. None is solo unless it is alone.
    #[must_use]
    pub fn start(count: usize) -> Self {
        Self::start_with(count, &NodeOptions::default())
    }

    /// Starts nodes with further options; the peers to join by are added.
    #[must_use]
    pub fn start_with(count: usize, options: &NodeOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let addrs: Vec<_> = (0..count).map(|_| ports::free_address()).collect();
        let mut nodes = Vec::with_capacity(count);
        for (number, addr) in addrs.iter().enumerate() {
            // The next ones around the circle.
            let others = (1..count).take(TOLD_OF).map(|step| addrs[(number + step) % count]);
            let bootstrap = others.map(|addr| addr.to_string()).collect();
            let options = NodeOptions { bootstrap, solo: count == 1, ..options.clone() };
            let place = folder.path().join(format!("node{number}"));
            nodes.push(NodeProcess::place_at(place, *addr, options));
        }
        let mut network = Network { nodes, folder };
        network.start_all();
        network
    }

    /// Adds a node that joins by the first one, and waits until it is ready.
    pub fn add(&mut self) -> &mut NodeProcess {
        let options = NodeOptions::joining(vec![self.nodes[0].peer()]);
        let place = self.folder.path().join(format!("node{}", self.nodes.len()));
        self.nodes.push(NodeProcess::start(place, options));
        self.nodes.last_mut().expect("it was added")
    }

    /// Kills all nodes with -9.
    pub fn kill_all(&mut self) {
        self.nodes.iter_mut().for_each(NodeProcess::kill);
    }

    /// Starts all nodes, which do not run, at once, and waits until all are ready and whole, so that
    /// each counts in every put.
    pub fn start_all(&mut self) {
        self.nodes.iter_mut().for_each(NodeProcess::spawn);
        for node in &mut self.nodes {
            node.await_ready();
        }
        for node in &self.nodes {
            eventually("a node is whole", || (node.status()["whole"] == true).then_some(()));
        }
    }

    /// Kills all nodes, starts one while no other runs, so that nobody repairs it, and then the others;
    /// waits until all are ready, and for no repair. Returns what the one held of a record while it was
    /// alone: it was not ready, and answers all the same.
    pub fn return_alone_first(&mut self, number: usize, record: &RecordId) -> Option<Bytes> {
        self.kill_all();
        let first = &mut self.nodes[number];
        first.spawn();
        let (addr, id) = (first.addr(), first.id());
        let peer = eventually("a node takes connections", || {
            WirePeer::dial(addr, Some(id), records::network()).ok()
        });
        let held = peer.find(record);
        self.nodes.iter_mut().filter(|node| node.addr() != addr).for_each(NodeProcess::spawn);
        self.nodes.iter_mut().for_each(NodeProcess::await_ready);
        held
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[NodeProcess] {
        &self.nodes
    }

    /// The nodes, to kill and start.
    pub fn nodes_mut(&mut self) -> &mut [NodeProcess] {
        &mut self.nodes
    }

    /// How clients are told of all nodes.
    #[must_use]
    pub fn peers(&self) -> Vec<String> {
        self.nodes.iter().map(NodeProcess::peer).collect()
    }

    /// A folder for what a test keeps beside the nodes.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Index<usize> for Network {
    type Output = NodeProcess;

    fn index(&self, number: usize) -> &NodeProcess {
        &self.nodes[number]
    }
}

impl IndexMut<usize> for Network {
    fn index_mut(&mut self, number: usize) -> &mut NodeProcess {
        &mut self.nodes[number]
    }
}
