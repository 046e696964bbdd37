//! `get-content`.

use clap::Args;
use dht_client::{Consistency, GetOptions, Key};

use super::failure::Failure;
use super::session::Session;
use super::{arguments, get};

/// Arguments of `get-content`.
#[derive(Args)]
pub(crate) struct GetContentArgs {
    /// The content's key, which `put --space content` prints.
    key: Key,
    /// How many holders are asked: one, default (five, drawn by lot) or quorum (a majority of those
    /// responsible, which sees what a majority acknowledged).
    #[arg(long, value_name = "HOW", default_value = "default", value_parser = arguments::consistency)]
    consistency: Consistency,
}

impl GetContentArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.reader()?;
        let options = GetOptions { consistency: self.consistency, ..GetOptions::default() };
        get::report(session, &client.get_content(self.key, options).await?)
    }
}
