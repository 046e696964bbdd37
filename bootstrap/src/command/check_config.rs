//! `check-config`: is this file usable, and what does it come to?

use std::path::PathBuf;

use clap::Args;
use dht_bootstrap::config::{Config, RunFlags};
use serde_json::json;

use super::{Failure, print};

#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print where the node can be found, as one JSON object, for scripts
    #[arg(long)]
    json: bool,
}

impl CheckConfig {
    pub(super) fn run(self) -> Result<(), Failure> {
        let flags = RunFlags { config: Some(self.config.clone()), ..RunFlags::default() };
        let config = Config::load(&flags).map_err(|error| Failure::new(error.number(), error))?;
        if self.json {
            let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
            let place = json!({
                "network": config.network.to_string(),
                "network_file": config.network_file.map(|(path, _)| path),
                "data_dir": config.data_dir,
                "listen": listen,
                "admin": config.admin.to_string(),
            });
            return print::line(place);
        }
        print::line(format_args!("{} is usable:\n{config:#?}", self.config.display()))
    }
}
