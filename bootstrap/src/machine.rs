//! [`NodeMachine`]: what a node tells others of the machine that it runs on.
//!
//! Whoever asks a node how it is costs it no look at the disk and no file of the system's: the figures are
//! kept for some seconds. Its own status is read anew each time, since only its operator reads that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dht_context::vitals::{Machine, MachineFigures};

use crate::process;
use crate::store::RocksStore;

/// How old figures may be: as old as the writer's own look at the disk.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// The machine under a node.
pub struct NodeMachine {
    store: Arc<RocksStore>,
    store_limit_bytes: u64,
    last: Mutex<Option<(Instant, MachineFigures)>>,
}

impl NodeMachine {
    /// The machine under this store, which may charge its records so many bytes.
    #[must_use]
    pub fn new(store: Arc<RocksStore>, store_limit_bytes: u64) -> Self {
        NodeMachine { store, store_limit_bytes, last: Mutex::new(None) }
    }

    fn look(&self) -> MachineFigures {
        let disk = self.store.disk();
        MachineFigures {
            disk: disk.map(|disk| (disk.free_bytes, disk.total_bytes)),
            disk_is_short: disk.is_some_and(|disk| disk.is_short()),
            store_limit_bytes: Some(self.store_limit_bytes),
            memory_bytes: process::resident_bytes(),
            memory_limit_bytes: process::memory_limit_bytes(),
        }
    }
}

impl Machine for NodeMachine {
    fn figures(&self) -> MachineFigures {
        // Nothing that can panic happens under this lock.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((at, figures)) if at.elapsed() < KEPT_FOR => figures,
            _ => {
                let figures = self.look();
                *last = Some((Instant::now(), figures));
                figures
            }
        }
    }
}
