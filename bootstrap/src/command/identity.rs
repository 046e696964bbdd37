//! `identity`: the name under which the node of a data directory is known.

use std::path::PathBuf;

use clap::Args;
use dht_bootstrap::node_identity;

use super::{Failure, print};

#[derive(Debug, Args)]
pub(super) struct Identity {
    /// The node's data directory
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

impl Identity {
    pub(super) fn run(self) -> Result<(), Failure> {
        let key = node_identity::load(&self.data_dir)
            .map_err(|error| Failure::new(error.number(), error))?;
        print::line(key.id())
    }
}
