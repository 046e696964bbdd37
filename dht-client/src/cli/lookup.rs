//! `lookup`.

use clap::Args;
use dht_client::Key;
use serde_json::{Value, json};

use super::failure::Failure;
use super::print;
use super::session::Session;

/// Arguments of `lookup`.
#[derive(Args)]
pub(crate) struct LookupArgs {
    /// The place in the keyspace: a record's key, or a node's id.
    key: Key,
}

impl LookupArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.reader()?;
        let found = client.lookup(&self.key).await?;
        if session.json() {
            let node = |id: String, addresses: Vec<String>| -> Value {
                json!({ "id": id, "addresses": addresses })
            };
            let nodes: Vec<Value> = found
                .iter()
                .map(|info| {
                    node(info.id.to_string(), info.addrs.iter().map(ToString::to_string).collect())
                })
                .collect();
            return print::object(&json!({ "key": self.key.to_string(), "nodes": nodes }));
        }
        for info in &found {
            let addresses: Vec<String> = info.addrs.iter().map(ToString::to_string).collect();
            print::line(&format!("{} {}", info.id, addresses.join(" ")))?;
        }
        Ok(())
    }
}
