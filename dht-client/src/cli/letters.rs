//! `send`, `inbox`, `ack` and `outbox`: letters.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use clap::Args;
use dht_client::contacts::Contacts;
use dht_client::letters::{
    AckReport, LetterId, MESSAGE_MAX, OutboxLetter, OutboxState, ReceivedLetter,
};
use dht_client::{Client, ClientError, ErrorNumber};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::failure::Failure;
use super::print;
use super::put;
use super::session::Session;

/// Arguments of `send`.
#[derive(Args)]
pub(crate) struct SendArgs {
    /// To whom: a contact's name, or its identity.
    contact: String,
    /// The message, or - to read it from stdin; at most 16 MiB.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    text: Option<OsString>,
    /// Read the message from a file.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Send each line as a letter of its own.
    #[arg(long)]
    lines: bool,
}

/// Arguments of `inbox`.
#[derive(Args)]
pub(crate) struct InboxArgs {
    /// Go on, and show letters as they come.
    #[arg(long)]
    follow: bool,
}

/// Arguments of `ack`.
#[derive(Args)]
pub(crate) struct AckArgs {
    /// Which letters, as `inbox` shows them.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All that are here.
    #[arg(long)]
    all: bool,
}

impl SendArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let message = match (&self.file, self.text) {
            (Some(path), _) => put::read_file(path, MESSAGE_MAX)?,
            (None, Some(text)) if text == "-" => put::read_stdin(MESSAGE_MAX)?,
            (None, Some(text)) => text.into_vec(),
            (None, None) => {
                return Err(Failure::usage("a message is missing; give one, or --file"));
            }
        };
        let client = session.person()?;
        let contact =
            Contacts::of(client.profile()?).get(&self.contact).map_err(ClientError::from)?;
        let messages: Vec<&[u8]> = match self.lines {
            true => message.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect(),
            false => vec![&message],
        };
        let numbers = client.send_all(&contact.identity, &messages).await?;
        // Whatever it came to, the letters' own states say it best.
        let _ = timeout(session.timeout(), client.deliver_letters()).await;
        let sent = |letter: &OutboxLetter| {
            letter.contact == contact.identity && numbers.contains(&letter.number)
        };
        let letters: Vec<OutboxLetter> = client.outbox()?.into_iter().filter(sent).collect();
        delivered(&letters)?;
        letters.iter().try_for_each(|letter| match session.json() {
            true => print::object(&Value::Object(outbox_fields(&client, letter)?)),
            false => print::line(&format!("sent: {}", outbox_line(&client, letter)?)),
        })
    }
}

/// Whether all of these letters were delivered; if one was not, why.
fn delivered(letters: &[OutboxLetter]) -> Result<(), Failure> {
    let queued = letters.iter().filter(|letter| letter.state.name() == "queued").count();
    for letter in letters {
        let number = letter.number;
        match &letter.state {
            OutboxState::Refused { reason } => {
                let sentence = format!("letter {number} was refused: {reason}");
                return Err(Failure::new(ErrorNumber::Blocked, sentence));
            }
            OutboxState::Queued { last_error, .. } => {
                let why = last_error.as_deref().unwrap_or("nobody answered in time");
                let sentence = format!(
                    "letter {number} is queued and not delivered yet ({why}; {queued} in all); `dht-client outbox` tries again"
                );
                return Err(Failure::new(ErrorNumber::Queued, sentence));
            }
            OutboxState::Stored { .. } | OutboxState::Fetched | OutboxState::Expired => {}
        }
    }
    Ok(())
}

impl InboxArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.person()?;
        if self.follow {
            let mut stream = client.follow_letters();
            loop {
                let letter = stream.next().await?;
                show(session, &client, &letter)?;
            }
        }
        let fetched = within(session, client.fetch_letters()).await;
        // What came earlier is shown even if nobody answers now.
        let mut letters = client.letters()?;
        loop {
            let page = client.letters_after(last_arrival(&letters))?;
            if page.is_empty() {
                break;
            }
            letters.extend(page);
        }
        if session.json() {
            let mut fields = Map::new();
            let shown: Result<Vec<Value>, Failure> =
                letters.iter().map(|letter| letter_fields(&client, letter)).collect();
            fields.insert("letters".to_owned(), Value::from(shown?));
            if let Ok(report) = &fetched {
                fields.insert("ready".to_owned(), json!(report.ready));
                fields.insert("missed".to_owned(), json!(report.missed));
                fields.insert("damaged".to_owned(), json!(report.damaged));
                fields.insert("rejected".to_owned(), json!(report.rejected));
                fields.insert("awaited".to_owned(), json!(report.awaited));
                fields.insert("left".to_owned(), json!(report.left));
                fields.insert("failed".to_owned(), json!(report.failed));
                fields.insert("last_error".to_owned(), json!(report.last_error));
            }
            print::object(&Value::Object(fields))?;
        } else {
            for letter in &letters {
                show(session, &client, letter)?;
            }
        }
        fetched.map(drop)
    }
}

impl AckArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.person()?;
        let mut report = AckReport::default();
        if self.all {
            loop {
                let ids: Vec<LetterId> = client.letters()?.iter().map(|letter| letter.id).collect();
                if ids.is_empty() {
                    break;
                }
                report.add(within(session, client.ack(&ids)).await?);
            }
        } else {
            let contacts = Contacts::of(client.profile()?);
            let ids: Result<Vec<_>, ClientError> =
                self.ids.iter().map(|text| id(&contacts, text)).collect();
            report.add(within(session, client.ack(&ids?)).await?);
        }
        let AckReport { acknowledged, pruned, untold } = report;
        if session.json() {
            return print::object(&json!({
                "acknowledged": acknowledged,
                "pruned": pruned,
                "untold": untold,
            }));
        }
        let untold = untold.map(|why| format!(", their senders are told later ({why})"));
        print::line(&format!("acknowledged: {acknowledged}{}", untold.unwrap_or_default()))
    }
}

/// Runs `outbox`.
pub(crate) async fn outbox(session: &Session) -> Result<(), Failure> {
    let client = session.person()?;
    let asked = within(session, async {
        client.deliver_letters().await?;
        client.refresh_outbox().await
    });
    let asked = asked.await;
    let letters = client.outbox()?;
    if session.json() {
        let shown: Result<Vec<Value>, Failure> = letters
            .iter()
            .map(|letter| Ok(Value::Object(outbox_fields(&client, letter)?)))
            .collect();
        print::object(&json!({ "letters": shown? }))?;
    } else {
        for letter in &letters {
            print::line(&outbox_line(&client, letter)?)?;
        }
    }
    asked
}

/// Does something with the network, for as long as the command may take. Whatever it had done by
/// then stays done.
async fn within<T>(
    session: &Session,
    operation: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, Failure> {
    let limit = session.timeout();
    Ok(timeout(limit, operation).await.unwrap_or(Err(ClientError::TimedOut(limit)))?)
}

/// The letter that a text names: by its id, or with the contact's name in place of its identity.
fn id(contacts: &Contacts, text: &str) -> Result<LetterId, ClientError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let mut parts = text.rsplitn(3, ':');
    let (Some(counter), Some(tag), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Ok(text.parse::<LetterId>()?);
    };
    let contact = contacts.get(name)?;
    Ok(format!("{}:{tag}:{counter}", hex::encode(contact.identity)).parse::<LetterId>()?)
}

fn last_arrival(letters: &[ReceivedLetter]) -> u64 {
    letters.last().map_or(0, |letter| letter.arrival)
}

/// What a contact is called; its identity if it is none any more.
fn name_of(client: &Client, identity: &[u8; 32]) -> Result<String, Failure> {
    let contact =
        Contacts::of(client.profile()?).by_identity(identity).map_err(ClientError::from)?;
    Ok(contact.map_or_else(|| hex::encode(identity), |contact| contact.name))
}

/// Prints one letter that came.
fn show(session: &Session, client: &Client, letter: &ReceivedLetter) -> Result<(), Failure> {
    if session.json() {
        return print::object(&letter_fields(client, letter)?);
    }
    let name = name_of(client, &letter.id.contact)?;
    let missed = match letter.missed {
        0 => String::new(),
        missed => format!(" ({missed} before it never came)"),
    };
    print::line(&format!(
        "{}:{:06x}:{} {}{missed} {}",
        name.escape_debug(),
        letter.id.tag,
        letter.id.counter,
        print::utc(letter.sent_at),
        print::one_line(&letter.payload),
    ))
}

fn letter_fields(client: &Client, letter: &ReceivedLetter) -> Result<Value, Failure> {
    let mut fields = json!({
        "id": letter.id.to_string(),
        "contact": hex::encode(letter.id.contact),
        "name": name_of(client, &letter.id.contact)?,
        "arrival": letter.arrival,
        "sent_at_ms": letter.sent_at.0,
        "missed": letter.missed,
        "size": letter.payload.len(),
        "message_hex": hex::encode(&letter.payload),
    });
    if let (Ok(text), Some(fields)) = (std::str::from_utf8(&letter.payload), fields.as_object_mut())
    {
        fields.insert("message".to_owned(), json!(text));
    }
    Ok(fields)
}

fn outbox_line(client: &Client, letter: &OutboxLetter) -> Result<String, Failure> {
    let more = match &letter.state {
        OutboxState::Queued { attempts: 0, .. } => String::new(),
        OutboxState::Queued { attempts, last_error } => {
            let why = last_error.as_deref().unwrap_or_default();
            format!(" after {attempts} attempts ({why})")
        }
        OutboxState::Stored { nodes: 0 } => String::new(),
        OutboxState::Stored { nodes } => format!(" on {nodes} nodes"),
        OutboxState::Refused { reason } => format!(" ({reason})"),
        OutboxState::Fetched | OutboxState::Expired => String::new(),
    };
    let name = name_of(client, &letter.contact)?;
    Ok(format!(
        "letter {} to {} {} {} bytes {}{more}",
        letter.number,
        name.escape_debug(),
        print::utc(letter.accepted_at),
        letter.bytes,
        letter.state.name(),
    ))
}

fn outbox_fields(client: &Client, letter: &OutboxLetter) -> Result<Map<String, Value>, Failure> {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    add("contact", json!(hex::encode(letter.contact)));
    add("name", json!(name_of(client, &letter.contact)?));
    add("number", json!(letter.number));
    add("accepted_at_ms", json!(letter.accepted_at.0));
    add("size", json!(letter.bytes));
    add("state", json!(letter.state.name()));
    match &letter.state {
        OutboxState::Queued { attempts, last_error } => {
            add("attempts", json!(attempts));
            add("last_error", json!(last_error));
        }
        OutboxState::Stored { nodes } => {
            add("stored", json!(nodes));
        }
        OutboxState::Refused { reason } => {
            add("reason", json!(reason));
        }
        OutboxState::Fetched | OutboxState::Expired => {}
    }
    Ok(fields)
}
