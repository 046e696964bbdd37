//! `status`: what a running node says of itself on its admin address.

use std::net::SocketAddr;

use clap::Args;
use dht_bootstrap::config::ADMIN;
use dht_bootstrap::status::NodeStatus;

use super::{Failure, admin_address, print, watch};

#[derive(Debug, Args)]
pub(super) struct Status {
    /// The node's admin address
    #[arg(long, value_name = "ADDR:PORT", default_value = ADMIN)]
    admin: SocketAddr,
    /// Print the answer as one JSON object
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// Show it live on the whole terminal, until q is pressed
    #[arg(long)]
    watch: bool,
}

impl Status {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.watch {
            return watch::run(self.admin);
        }
        let text = admin_address::ask(self.admin, "/status")?;
        if self.json {
            return print::line(text.trim_end());
        }
        let status: NodeStatus = admin_address::read(self.admin, &text)?;
        print::text(status)
    }
}
