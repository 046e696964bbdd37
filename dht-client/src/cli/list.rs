//! `list`.

use clap::Args;
use dht_client::ListReport;
use serde_json::{Value, json};

use super::arguments;
use super::failure::Failure;
use super::print;
use super::session::Session;

/// Whose records are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whose {
    /// One publisher's, under its own label.
    Publisher([u8; 32]),
    /// Everyone's, under a topic.
    Topic,
}

/// Arguments of `list`.
#[derive(Args)]
pub(crate) struct ListArgs {
    /// A publisher's public key, or the word topic for everyone's records.
    #[arg(value_name = "PUBLISHER | topic", value_parser = whose)]
    whose: Whose,
    /// The name under which they are kept.
    label: String,
}

/// What names whose records are meant.
pub(crate) fn whose(text: &str) -> Result<Whose, String> {
    match text {
        "topic" => Ok(Whose::Topic),
        _ => arguments::publisher(text).map(Whose::Publisher),
    }
}

impl ListArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.reader()?;
        let label = client.label(&self.label);
        let ListReport { records, answered, truncated, .. } = match self.whose {
            Whose::Publisher(publisher) => client.list(&publisher, &label).await?,
            Whose::Topic => client.list_topic(&label).await?,
        };
        if session.json() {
            let records: Vec<Value> =
                records.iter().map(|record| Value::Object(print::record(record))).collect();
            return print::object(
                &json!({ "records": records, "answered": answered, "truncated": truncated }),
            );
        }
        for record in &records {
            print::line(&format!(
                "{} slot {} seq {} expires {} value {}",
                hex::encode(record.publisher()),
                record.slot(),
                record.seq(),
                print::utc(record.expires_at()),
                print::one_line(&record.body().unwrap_or_default()),
            ))?;
        }
        Ok(())
    }
}
