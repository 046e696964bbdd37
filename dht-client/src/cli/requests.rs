//! `requests`, `accept` and `block`.

use clap::Args;
use dht_client::{ContactRequest, contacts::RequestsReport};
use serde_json::{Value, json};

use super::contacts::{fields, print_contact};
use super::failure::Failure;
use super::print;
use super::session::Session;

/// Arguments of `accept`.
#[derive(Args)]
pub(crate) struct AcceptArgs {
    /// The request's id, or its sender's identity.
    request: String,
    /// What to call the contact. [default: what it calls itself]
    #[arg(long)]
    name: Option<String>,
}

/// Arguments of `block`.
#[derive(Args)]
pub(crate) struct BlockArgs {
    /// A contact's name, a request's id, or an identity.
    who: String,
}

impl AcceptArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.person()?;
        let contact = client.accept(&self.request, self.name.as_deref()).await?;
        print_contact(session, &client, &contact)
    }
}

impl BlockArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.person()?;
        print_contact(session, &client, &client.block(&self.who).await?)
    }
}

/// Runs `requests`.
pub(crate) async fn run(session: &Session) -> Result<(), Failure> {
    let client = session.person()?;
    // Whoever looks for requests wants to get some: they need the key bundle.
    client.renew_own_bundle().await?;
    let RequestsReport { requests, accepted, ignored, truncated } =
        client.contact_requests().await?;
    if session.json() {
        let own = client.identity()?.public_key();
        let requests: Vec<Value> = requests.iter().map(request).collect();
        let accepted: Vec<Value> =
            accepted.iter().map(|contact| fields(contact, &own, session.network())).collect();
        return print::object(&json!({
            "requests": requests,
            "accepted": accepted,
            "ignored": {
                "forged": ignored.forged,
                "foreign": ignored.foreign,
                "stale": ignored.stale,
                "blocked": ignored.blocked,
                "seen": ignored.seen,
            },
            "truncated": truncated,
        }));
    }
    for contact in &accepted {
        print::line(&format!("accepted: {}", print::one_line(contact.name.as_bytes())))?;
    }
    for ContactRequest { id, sender, name, text, created_at, work } in &requests {
        let called = match name.as_str() {
            "" => String::new(),
            name => format!(" ({})", print::one_line(name.as_bytes())),
        };
        print::line(&format!(
            "{} from {}{called} work {work} written {}: {}",
            hex::encode(id),
            hex::encode(sender),
            print::utc(*created_at),
            print::one_line(text.as_bytes()),
        ))?;
    }
    Ok(())
}

/// What programs are told of a request.
fn request(request: &ContactRequest) -> Value {
    json!({
        "id": hex::encode(request.id),
        "identity": hex::encode(request.sender),
        "name": request.name,
        "text": request.text,
        "created_at_ms": request.created_at.0,
        "work": request.work,
    })
}
