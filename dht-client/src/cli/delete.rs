//! `delete`.

use std::path::PathBuf;

use clap::Args;
use dht_client::Delete;

use super::arguments::OwnedOrTopic;
use super::failure::Failure;
use super::session::Session;
use super::{put, queue};

/// Arguments of `delete`.
#[derive(Args)]
pub(crate) struct DeleteArgs {
    /// The application's own name for it.
    label: String,
    /// Which of the records under this label.
    #[arg(long, value_name = "N", default_value_t = 0)]
    slot: u64,
    /// Where it was put.
    #[arg(long, value_enum, default_value = "owned")]
    space: OwnedOrTopic,
    /// Keep the receipts of the nodes that acknowledge in this file, for audit.
    #[arg(long, value_name = "FILE")]
    receipts: Option<PathBuf>,
    /// If the network does not take it in time, do not keep it in the queue.
    #[arg(long)]
    no_queue: bool,
}

impl DeleteArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let book = put::open_book(self.receipts.as_deref())?;
        let client = queue::client(session, self.no_queue)?;
        let delete = Delete {
            space: self.space.into(),
            label: client.label(&self.label),
            slot: self.slot,
            expected_seq: None,
            quorum: None,
        };
        let deleted = match self.no_queue {
            true => client.delete(delete).await?,
            false => queue::delivered(&client, delete).await?,
        };
        put::report(session, "deleted", &deleted, book.as_ref())
    }
}
