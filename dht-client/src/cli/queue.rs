//! `queue`, and how `put` and `delete` go through the write queue.

use clap::Args;
use dht_client::writes::{QueuedWrite, Write, WriteId, WriteKind, WriteState};
use dht_client::{Client, ClientError, ErrorNumber, PutReport};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::failure::Failure;
use super::print;
use super::session::Session;

/// Arguments of `queue`.
#[derive(Args)]
pub(crate) struct QueueArgs {
    /// Deliver what waits, within the time limit; then show the queue.
    #[arg(long, conflicts_with = "drop")]
    flush: bool,
    /// Take this write out of the queue; then show the rest.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    drop: Option<u64>,
}

impl QueueArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.person()?;
        if let Some(id) = self.drop {
            client.drop_write(WriteId(id))?;
        }
        let flushed = match self.flush {
            true => flush(session, &client).await?,
            false => Ok(()),
        };
        let writes = client.writes()?;
        match session.json() {
            true => {
                let writes: Vec<Value> = writes.iter().map(of_write).collect();
                print::object(&json!({ "writes": writes }))?;
            }
            false => writes.iter().try_for_each(|write| print::line(&in_words(write)))?,
        }
        flushed
    }
}

/// A client for a command that writes: with a profile, unless it is not to queue.
pub(crate) fn client(session: &Session, no_queue: bool) -> Result<Client, Failure> {
    match no_queue {
        true => session.writer(session.identity()?),
        false => session.person(),
    }
}

/// Puts a write in the queue and waits within the time limit until it is delivered.
pub(crate) async fn delivered(
    client: &Client,
    write: impl Into<Write>,
) -> Result<PutReport, Failure> {
    let id = client.enqueue(write)?;
    client.delivered(id).await?;
    client.write_report(id)?.ok_or_else(|| {
        // It is there; only who acknowledged it is known to the other process alone.
        let sentence = format!(
            "another process has delivered it as {id}, and its report; see `dht-client queue`"
        );
        Failure::new(ErrorNumber::Internal, sentence)
    })
}

/// Delivers what waits, as far as the time limit allows.
async fn flush(session: &Session, client: &Client) -> Result<Result<(), Failure>, Failure> {
    client.hurry_writes()?;
    let waiting: Vec<_> =
        client.writes()?.into_iter().filter(|write| write.state.is_waiting()).collect();
    let all = async {
        for write in &waiting {
            client.settled(write.id).await?;
        }
        Ok::<_, ClientError>(())
    };
    match timeout(session.timeout(), all).await {
        Ok(done) => Ok(Ok(done?)),
        Err(_) => {
            let left = client.writes()?.iter().filter(|write| write.state.is_waiting()).count();
            let sentence = format!(
                "{left} writes still wait; they go out when the network takes them, or allow more time"
            );
            Ok(Err(Failure::new(ErrorNumber::Queued, sentence)))
        }
    }
}

fn in_words(write: &QueuedWrite) -> String {
    let state = match &write.state {
        WriteState::Waiting { attempts, last_error, .. } => {
            let error = last_error.as_deref().unwrap_or("not tried yet");
            format!("waiting after {attempts} attempts: {error}")
        }
        WriteState::Done { targets: 0, .. } => "done: the network had it".to_owned(),
        WriteState::Done { seq, stored, targets } => {
            format!("done: seq {seq} stored {stored} of {targets}")
        }
        WriteState::Conflict { stored: 0 } => "conflict: no version is stored".to_owned(),
        WriteState::Conflict { stored } => format!("conflict: version {stored} is stored"),
        WriteState::Refused { number, reason } => format!("refused: {reason} ({number})"),
        other => other.name().to_owned(),
    };
    let what = match write.kind {
        WriteKind::Contact(identity) => format!("contact {}", hex::encode(identity)),
        WriteKind::Put | WriteKind::Delete => format!(
            "{} label {} slot {} bytes {}",
            write.kind.name(),
            hex::encode(write.label),
            write.slot,
            write.bytes
        ),
        other => other.name().to_owned(),
    };
    format!("{}: {what} since {} {state}", write.id, print::utc(write.enqueued_at))
}

fn of_write(write: &QueuedWrite) -> Value {
    let mut object = json!({
        "id": write.id.0,
        "action": write.kind.name(),
        "contact": match write.kind {
            WriteKind::Contact(identity) => json!(hex::encode(identity)),
            _ => Value::Null,
        },
        "label": hex::encode(write.label),
        "slot": write.slot,
        "bytes": write.bytes,
        "enqueued_at_ms": write.enqueued_at.0,
        "state": write.state.name(),
    });
    let more = match &write.state {
        WriteState::Waiting { attempts, next_at, last_error } => json!({
            "attempts": attempts,
            "next_at_ms": next_at.map(|moment| moment.0),
            "last_error": last_error,
        }),
        WriteState::Done { seq, stored, targets } => {
            json!({ "seq": seq, "stored": stored, "targets": targets })
        }
        WriteState::Conflict { stored } => json!({ "stored_seq": stored }),
        WriteState::Refused { number, reason } => {
            json!({ "number": *number as u8, "error": reason })
        }
        _ => json!({}),
    };
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}
