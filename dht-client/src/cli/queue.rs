//! `queue`, and how `put` and `delete` go through the write queue.

use clap::Args;
use dht_client::writes::{QueuedWrite, Write, WriteId, WriteState};
use dht_client::{Client, ClientError, ErrorNumber, PutError, PutReport};
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
    session: &Session,
    client: &Client,
    write: impl Into<Write>,
) -> Result<PutReport, Failure> {
    let id = client.enqueue(write)?;
    let settled = async {
        tokio::select! {
            biased;
            state = client.settled(id) => Ok(state?),
            // Why the network cannot be joined, if waiting does not help.
            error = hopeless(client) => Err(error),
        }
    };
    let reason = match timeout(session.timeout(), settled).await {
        Ok(Ok(state)) => return of_state(client, id, state),
        Ok(Err(error)) => error.to_string(),
        Err(_) => match client.write_state(id)? {
            WriteState::Waiting { last_error: Some(error), .. } => error,
            WriteState::Waiting { .. } => match client.peers().is_empty() {
                true => "no node answers".to_owned(),
                false => format!("not done within {:?}", session.timeout()),
            },
            state => return of_state(client, id, state),
        },
    };
    Err(Failure::new(
        ErrorNumber::Queued,
        format!(
            "it is queued as {id} and goes out when the network takes it ({reason}); see `dht-client queue`"
        ),
    ))
}

/// What keeps the client from joining the network for good; waits for ever if nothing does.
async fn hopeless(client: &Client) -> ClientError {
    match client.ready().await {
        Err(error) if matches!(error, ClientError::Ask(_)) => error,
        _ => std::future::pending().await,
    }
}

/// The report of a write that ended well, or why it did not.
fn of_state(client: &Client, id: WriteId, state: WriteState) -> Result<PutReport, Failure> {
    match state {
        WriteState::Done { .. } => client.write_report(id)?.ok_or_else(|| {
            // It is there; only who acknowledged it is known to the other process alone.
            let sentence = format!(
                "another process has delivered it as {id}, and its report; see `dht-client queue`"
            );
            Failure::new(ErrorNumber::Internal, sentence)
        }),
        WriteState::Conflict { stored } => {
            Err(ClientError::from(PutError::UnexpectedSeq { stored }).into())
        }
        WriteState::Refused { number, reason } => Err(Failure::new(number, reason)),
        other => {
            let sentence = format!("it was not delivered ({}); give it again", other.name());
            Err(Failure::new(ErrorNumber::TimedOut, sentence))
        }
    }
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
    let what = if write.deletes { "delete" } else { "put" };
    let state = match &write.state {
        WriteState::Waiting { attempts, last_error, .. } => {
            let error = last_error.as_deref().unwrap_or("not tried yet");
            format!("waiting after {attempts} attempts: {error}")
        }
        WriteState::Done { seq, stored, targets } => {
            format!("done: seq {seq} stored {stored} of {targets}")
        }
        WriteState::Conflict { stored: 0 } => "conflict: no version is stored".to_owned(),
        WriteState::Conflict { stored } => format!("conflict: version {stored} is stored"),
        WriteState::Refused { number, reason } => format!("refused: {reason} ({number})"),
        other => other.name().to_owned(),
    };
    format!(
        "{}: {what} label {} slot {} bytes {} since {} {state}",
        write.id,
        hex::encode(write.label),
        write.slot,
        write.bytes,
        print::utc(write.enqueued_at),
    )
}

fn of_write(write: &QueuedWrite) -> Value {
    let mut object = json!({
        "id": write.id.0,
        "action": if write.deletes { "delete" } else { "put" },
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
