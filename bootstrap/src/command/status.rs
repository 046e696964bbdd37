//! `status`: what a running node says of itself on its admin address.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use dht_bootstrap::config::ADMIN;
use dht_bootstrap::status::NodeStatus;
use dht_kad::ErrorNumber;

use super::Failure;

/// A node on the same machine that does not answer within this is not well.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct Status {
    /// The node's admin address
    #[arg(long, value_name = "ADDR:PORT", default_value = ADMIN)]
    admin: SocketAddr,
    /// Print the answer as one JSON object
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self) -> Result<(), Failure> {
        let unreachable = |reason: String| {
            let sentence = format!(
                "the admin address {} does not answer ({reason}); check that the node runs and --admin",
                self.admin
            );
            Failure::new(ErrorNumber::AdminUnreachable, sentence)
        };
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(LIMIT)).build().into();
        let text = agent
            .get(format!("http://{}/status", self.admin))
            .call()
            .and_then(|mut answer| answer.body_mut().read_to_string())
            .map_err(|error| unreachable(error.to_string()))?;
        if self.json {
            println!("{}", text.trim_end());
            return Ok(());
        }
        let status: NodeStatus =
            serde_json::from_str(&text).map_err(|error| unreachable(error.to_string()))?;
        print!("{status}");
        Ok(())
    }
}
