//! [`Settings`]: what a run starts from.

use crate::disk::DiskModel;
use crate::fault::Fault;
use crate::transport::LinkModel;

/// What a run starts from. The same settings give the same run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The number that everything left to chance follows from.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// What the network is like.
    pub links: LinkModel,
    /// What the disks are like.
    pub disks: DiskModel,
    /// A fault that is put back on purpose.
    pub fault: Option<Fault>,
}

impl Settings {
    /// A run of so many nodes in a good network.
    #[must_use]
    pub fn new(seed: u64, nodes: usize) -> Self {
        let (links, disks) = (LinkModel::default(), DiskModel::default());
        Settings { seed, nodes, links, disks, fault: None }
    }

    /// The same with a fault put back.
    #[must_use]
    pub fn with(self, fault: Fault) -> Self {
        Settings { fault: Some(fault), ..self }
    }
}
