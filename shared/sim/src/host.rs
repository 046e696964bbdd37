//! [`Hosts`]: the machines of a world, and what of them outlives their nodes.
//!
//! ```text
//! Host ─┬─ address, node key, disk, clock     outlive its node
//!       └─ Life: DhtContext, errands          one start of the node until its end
//! ```

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dht_context::DhtContext;
use dht_context::node_key::NodeKey;
use tokio::task::AbortHandle;

use crate::clock::HostClock;
use crate::disk::SimDisk;

/// A host's place in the world's list.
pub type HostId = usize;

/// All machines, for all who look at them.
#[derive(Default)]
pub(crate) struct Hosts(Mutex<Vec<Host>>);

/// A machine, and what of it outlives its node.
pub(crate) struct Host {
    pub(crate) addr: SocketAddr,
    pub(crate) key: NodeKey,
    pub(crate) disk: Arc<SimDisk>,
    pub(crate) clock: Arc<HostClock>,
    /// How often its node was started.
    pub(crate) lives: u64,
    /// How often it was given another node key.
    pub(crate) names: u64,
    pub(crate) life: Option<Life>,
}

/// A node from its start to its end.
pub(crate) struct Life {
    pub(crate) context: DhtContext,
    /// What was asked of it from outside; ends with it.
    pub(crate) errands: Vec<AbortHandle>,
}

impl Hosts {
    /// All of them, for a moment: the guard is never held while anything is waited for.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Host>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at one of them, if it is there.
    pub(crate) fn at<T>(&self, id: HostId, look: impl FnOnce(&mut Host) -> T) -> Option<T> {
        self.lock().get_mut(id).map(look)
    }
}
