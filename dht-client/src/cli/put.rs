//! `put`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use dht_client::receipts::{KeptReceipt, ReceiptBook};
use dht_client::{ErrorNumber, Put, PutReport};
use dht_kad::record::layout::BODY_MAX;
use serde_json::{Value, json};

use super::arguments::{AnySpace, RetentionName};
use super::failure::Failure;
use super::session::Session;
use super::{print, queue};

/// Arguments of `put`.
#[derive(Args)]
pub(crate) struct PutArgs {
    /// The application's own name for it.
    label: String,
    /// The value, or - to read it from stdin; at most 64 KiB.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    value: Option<OsString>,
    /// Read the value from a file.
    #[arg(long)]
    file: Option<PathBuf>,
    /// How long it is kept.
    #[arg(long, value_enum, default_value = "7d")]
    retention: RetentionName,
    /// Which of the records under this label.
    #[arg(long, value_name = "N", default_value_t = 0)]
    slot: u64,
    /// Only if this version is the newest; 0 means that there is none.
    #[arg(long, value_name = "N")]
    expect_seq: Option<u64>,
    /// How many nodes have to acknowledge. [default: a majority]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    quorum: Option<u16>,
    /// Where it is put.
    #[arg(long, value_enum, default_value = "owned")]
    space: AnySpace,
    /// Keep the receipts of the nodes that acknowledge in this file, for audit.
    #[arg(long, value_name = "FILE")]
    receipts: Option<PathBuf>,
    /// If the network does not take it in time, do not keep it in the queue.
    #[arg(long)]
    no_queue: bool,
}

impl PutArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        // First, as the identity's password may be the first line of stdin.
        let client = queue::client(session, self.no_queue)?;
        let body = self.body()?;
        let book = open_book(self.receipts.as_deref())?;
        let put = Put {
            space: self.space.into(),
            label: client.label(&self.label),
            slot: self.slot,
            retention: self.retention.into(),
            body,
            expected_seq: self.expect_seq,
            quorum: self.quorum.map(usize::from),
            first_version: false,
        };
        let put = match self.no_queue {
            true => client.put(put).await?,
            false => queue::delivered(&client, put).await?,
        };
        report(session, "put", &put, book.as_ref())
    }

    /// The value, read before anything is asked of the network.
    fn body(&self) -> Result<Bytes, Failure> {
        let body = match (&self.file, &self.value) {
            (Some(path), _) => read_file(path, BODY_MAX)?,
            (None, Some(value)) if value == "-" => read_stdin(BODY_MAX)?,
            (None, Some(value)) => value.clone().into_vec(),
            (None, None) => return Err(Failure::usage("a value is missing; give one, or --file")),
        };
        if body.len() > BODY_MAX {
            let sentence = format!(
                "the value has more than the {BODY_MAX} bytes that fit one record; put it in parts"
            );
            return Err(Failure::new(ErrorNumber::TooLarge, sentence));
        }
        Ok(body.into())
    }
}

/// The file for receipts, opened before anything is put: if they cannot be kept there, nothing is.
pub(crate) fn open_book(path: Option<&Path>) -> Result<Option<ReceiptBook>, Failure> {
    Ok(path.map(ReceiptBook::create).transpose()?)
}

/// Keeps the receipts of a put or delete, and says what became of it, kept or not.
pub(crate) fn report(
    session: &Session,
    done: &str,
    report: &PutReport,
    book: Option<&ReceiptBook>,
) -> Result<(), Failure> {
    let PutReport { record, outcome } = report;
    let receipts = KeptReceipt::of(session.network(), record, outcome);
    let kept = book.map_or(Ok(()), |book| book.add(&receipts));
    print_report(session, done, report)?;
    kept.map_err(|error| {
        let sentence = format!("it was {done}, and its receipts are lost: {error}");
        Failure::new(error.number(), sentence)
    })
}

fn print_report(session: &Session, done: &str, report: &PutReport) -> Result<(), Failure> {
    let PutReport { record, outcome } = report;
    if !session.json() {
        return print::line(&format!(
            "{done}: key {} seq {} stored {} of {} expires {}",
            record.id().key,
            record.seq(),
            outcome.stored.len(),
            outcome.targets,
            print::utc(record.expires_at()),
        ));
    }
    let refused: Vec<Value> = outcome
        .refused
        .iter()
        .map(|(node, why)| {
            json!({
                "node": node.to_string(),
                "number": why.number() as u8,
                "error": why.to_string(),
            })
        })
        .collect();
    let nodes = |nodes: Vec<String>| Value::from(nodes);
    print::object(&json!({
        "key": record.id().key.to_string(),
        "publisher": hex::encode(record.publisher()),
        "label": hex::encode(record.label()),
        "slot": record.slot(),
        "seq": record.seq(),
        "created_at_ms": record.created_at().0,
        "expires_at_ms": record.expires_at().0,
        "digest": hex::encode(record.digest()),
        "record": hex::encode(record.bytes()),
        "stored": outcome.stored.len(),
        "targets": outcome.targets,
        "quorum": outcome.quorum,
        "stored_on": nodes(outcome.stored.iter().map(|(node, _)| node.id.to_string()).collect()),
        "refused": refused,
        "silent": nodes(outcome.silent.iter().map(ToString::to_string).collect()),
    }))
}

/// What a file holds, and of more than `most` bytes one more.
pub(crate) fn read_file(path: &Path, most: usize) -> Result<Vec<u8>, Failure> {
    let read = File::open(path).and_then(|file| read_bounded(file, most));
    read.map_err(|error| {
        let sentence = format!("{} cannot be read ({error}); check the path", path.display());
        Failure::new(ErrorNumber::FileAccess, sentence)
    })
}

/// What stdin gives, and of more than `most` bytes one more.
pub(crate) fn read_stdin(most: usize) -> Result<Vec<u8>, Failure> {
    read_bounded(io::stdin().lock(), most).map_err(|error| {
        let sentence = format!("stdin cannot be read ({error}); check where it comes from");
        Failure::new(ErrorNumber::FileAccess, sentence)
    })
}

/// Reads one byte more than fits, so that what is too large is noticed without reading it all.
fn read_bounded(from: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
