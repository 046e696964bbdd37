//! `delete`.

use clap::Args;
use dht_client::Delete;

use super::arguments::OwnedOrTopic;
use super::failure::Failure;
use super::put;
use super::session::Session;

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
}

impl DeleteArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.writer(session.identity()?)?;
        let delete = Delete {
            space: self.space.into(),
            label: client.label(&self.label),
            slot: self.slot,
            expected_seq: None,
            quorum: None,
        };
        put::report(session, "deleted", &client.delete(delete).await?)
    }
}
