//! Asking the admin address of a node on this machine.

use std::net::SocketAddr;
use std::time::Duration;

use dht_kad::ErrorNumber;
use serde::de::DeserializeOwned;

use super::Failure;

/// A node on the same machine that does not answer within this is not well.
const LIMIT: Duration = Duration::from_secs(5);
/// The longest answer that is read: several times a history of six hours.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// What `path` of the admin address answers.
pub(super) fn ask(admin: SocketAddr, path: &str) -> Result<String, Failure> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(LIMIT)).build().into();
    agent
        .get(format!("http://{admin}{path}"))
        .call()
        .and_then(|mut answer| {
            answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()
        })
        .map_err(|error| unreachable(admin, &error.to_string()))
}

/// An answer as what it says.
pub(super) fn read<T: DeserializeOwned>(admin: SocketAddr, text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| unreachable(admin, &error.to_string()))
}

fn unreachable(admin: SocketAddr, reason: &str) -> Failure {
    let sentence = format!(
        "the admin address {admin} does not answer ({reason}); check that the node runs and --admin"
    );
    Failure::new(ErrorNumber::AdminUnreachable, sentence)
}
