//! `watch`.

use std::num::NonZeroU64;

use clap::Args;
use dht_client::Change;
use dht_client::watch::{owned, topic};
use dht_kad::message::PublisherKey;
use dht_kad::message::watch::WatchKey;
use serde_json::{Value, json};

use super::failure::Failure;
use super::list::{Whose, whose};
use super::print;
use super::session::Session;

/// Arguments of `watch`.
#[derive(Args)]
pub(crate) struct WatchArgs {
    /// A publisher's public key, or the word topic for everyone's records.
    #[arg(value_name = "PUBLISHER | topic", value_parser = whose)]
    whose: Whose,
    /// The name under which they are kept.
    label: String,
    /// Only this one of the records under this label.
    #[arg(long, value_name = "N")]
    slot: Option<u64>,
    /// The publisher's records under the topic of this name, not under its own label.
    #[arg(long)]
    topic: bool,
    /// Remember under this name what was printed, in the identity's profile: the next time only what
    /// is new since is printed, and nothing of it is missed.
    #[arg(long, value_name = "NAME")]
    state: Option<String>,
    /// End after so many changes.
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
}

impl WatchArgs {
    /// Prints what is there, and then each change, until it is interrupted.
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = match &self.state {
            Some(_) => session.person()?,
            None => session.reader()?,
        };
        let (network, label) = (client.network(), client.label(&self.label));
        let key = match self.whose {
            Whose::Topic => topic(network, &label),
            Whose::Publisher(publisher) if self.topic => {
                WatchKey { publisher: Some(PublisherKey(publisher)), ..topic(network, &label) }
            }
            Whose::Publisher(publisher) => owned(network, &publisher, &label),
        };
        let mut watch = match &self.state {
            Some(name) => client.watch_as(name, &[key]).await?,
            None => client.watch(&[key]).await?,
        };
        let mut left = self.count.map(NonZeroU64::get);
        while left != Some(0) {
            let change = watch.next().await?;
            if self.slot.is_none_or(|slot| slot == change.record.slot()) {
                report(session, &change)?;
                left = left.map(|left| left - 1);
            }
        }
        Ok(watch.save()?)
    }
}

fn report(session: &Session, change: &Change) -> Result<(), Failure> {
    let record = &change.record;
    if session.json() {
        let mut fields = print::record(record);
        fields.insert("deleted".to_owned(), json!(change.is_delete()));
        return print::object(&Value::Object(fields));
    }
    let slot =
        format!("{} slot {} seq {}", hex::encode(record.publisher()), record.slot(), record.seq());
    if change.is_delete() {
        return print::line(&format!("{slot} deleted"));
    }
    let value = print::one_line(&record.body().unwrap_or_default());
    print::line(&format!("{slot} expires {} value {value}", print::utc(record.expires_at())))
}
