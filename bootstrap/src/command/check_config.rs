//! `check-config`: is this file usable, and what does it come to?

use std::path::PathBuf;

use clap::Args;
use dht_bootstrap::config::{Config, RunFlags};

use super::Failure;

#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl CheckConfig {
    pub(super) fn run(self) -> Result<(), Failure> {
        let flags = RunFlags { config: Some(self.config.clone()), ..RunFlags::default() };
        let config = Config::load(&flags).map_err(|error| Failure::new(error.number(), error))?;
        println!("{} is usable:", self.config.display());
        println!("{config:#?}");
        Ok(())
    }
}
