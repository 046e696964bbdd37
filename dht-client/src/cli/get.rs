//! `get`.

use std::io::{self, IsTerminal};

use clap::Args;
use dht_client::{Consistency, GetOptions, GetReport};
use serde_json::{Value, json};

use super::arguments::{self, OwnedOrTopic};
use super::failure::Failure;
use super::print;
use super::session::Session;

/// Arguments of `get`.
#[derive(Args)]
pub(crate) struct GetArgs {
    /// Whose value: the public key that `identity show` prints.
    #[arg(value_parser = arguments::publisher)]
    publisher: [u8; 32],
    /// The publisher's own name for it.
    label: String,
    /// Which of the records under this label.
    #[arg(long, value_name = "N", default_value_t = 0)]
    slot: u64,
    /// How many holders are asked: one, default (five, drawn by lot) or quorum (a majority of those
    /// responsible, which sees what a majority acknowledged).
    #[arg(long, value_name = "HOW", default_value = "default", value_parser = arguments::consistency)]
    consistency: Consistency,
    /// Where it was put.
    #[arg(long, value_enum, default_value = "owned")]
    space: OwnedOrTopic,
}

impl GetArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.reader()?;
        let slot = self.space.slot(self.publisher, client.label(&self.label), self.slot);
        let options = GetOptions { consistency: self.consistency, ..GetOptions::default() };
        report(session, &client.get(&slot, options).await?)
    }
}

/// Prints what was got: the bytes as they are, or everything that is known of them.
pub(crate) fn report(session: &Session, report: &GetReport) -> Result<(), Failure> {
    let record = &report.record;
    if !session.json() {
        let body = record.body().unwrap_or_default();
        print::to_stdout(&body)?;
        // At a terminal the prompt is to begin a line; elsewhere the bytes stay as they are.
        let unfinished = io::stdout().is_terminal() && !body.ends_with(b"\n");
        return if unfinished { print::line("") } else { Ok(()) };
    }
    let mut fields = print::record(record);
    fields.insert("holders".to_owned(), json!(report.holders));
    fields.insert("answered".to_owned(), json!(report.answered));
    print::object(&Value::Object(fields))
}
