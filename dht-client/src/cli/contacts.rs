//! `contacts`.

use clap::{Args, Subcommand};
use dht_client::contacts::RecoverReport;
use dht_client::{Client, ClientError, Contact, Contacts, Introduction, NetworkName};
use serde_json::{Value, json};

use super::arguments;
use super::failure::Failure;
use super::print;
use super::session::Session;

/// Arguments of `contacts`.
#[derive(Args)]
pub(crate) struct ContactsArgs {
    #[command(subcommand)]
    command: Option<ContactsCommand>,
}

/// What is done with contacts; without one they are listed, which asks nobody.
#[derive(Subcommand)]
enum ContactsCommand {
    /// Ask somebody to become a contact; does the work that he asks for, about a second.
    Request(RequestArgs),
    /// Call a contact otherwise.
    Rename {
        /// The contact's name, or its identity.
        contact: String,
        /// What it is to be called.
        name: String,
    },
    /// Take a block back.
    Unblock {
        /// The contact's name, or its identity.
        contact: String,
    },
    /// Bring back the contacts that the network keeps for this identity.
    Recover,
}

/// Arguments of `contacts request`.
#[derive(Args)]
struct RequestArgs {
    /// Whom to ask: the public key.
    #[arg(value_name = "IDENTITY", value_parser = arguments::publisher)]
    whom: [u8; 32],
    /// What to say, at most 1024 bytes.
    #[arg(default_value = "")]
    text: String,
    /// What to call the contact. [default: the beginning of its identity]
    #[arg(long)]
    name: Option<String>,
    /// What to call oneself, at most 64 bytes: a proposal to the other.
    #[arg(long = "as", value_name = "NAME", default_value = "")]
    own_name: String,
}

impl ContactsArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(command) = self.command else { return list(session) };
        let client = session.person()?;
        match command {
            ContactsCommand::Request(RequestArgs { whom, text, name, own_name }) => {
                let introduction =
                    Introduction { text: &text, own_name: &own_name, name: name.as_deref() };
                print_contact(session, &client, &client.introduce(&whom, &introduction).await?)
            }
            ContactsCommand::Rename { contact, name } => {
                print_contact(session, &client, &client.rename_contact(&contact, &name).await?)
            }
            ContactsCommand::Unblock { contact } => {
                print_contact(session, &client, &client.unblock(&contact).await?)
            }
            ContactsCommand::Recover => recover(session, &client).await,
        }
    }
}

fn list(session: &Session) -> Result<(), Failure> {
    let (identity, profile) = session.own()?;
    let contacts = Contacts::of(&profile).list().map_err(ClientError::from)?;
    let own = identity.public_key();
    if session.json() {
        let contacts: Vec<Value> =
            contacts.iter().map(|contact| fields(contact, &own, session.network())).collect();
        return print::object(&json!({ "contacts": contacts }));
    }
    contacts.iter().try_for_each(|contact| print::line(&text(contact, &own, session.network())))
}

async fn recover(session: &Session, client: &Client) -> Result<(), Failure> {
    let RecoverReport { found, new, written, queued, unreadable } = client.recover().await?;
    match session.json() {
        true => print::object(&json!({
            "found": found, "new": new, "written": written, "queued": queued, "unreadable": unreadable,
        })),
        false => print::line(&format!(
            "recovered: {found} contacts found, {new} new here, {written} written, {queued} queued, {unreadable} unreadable"
        )),
    }
}

/// Prints a contact as the command left it.
pub(super) fn print_contact(
    session: &Session,
    client: &Client,
    contact: &Contact,
) -> Result<(), Failure> {
    let own = client.identity()?.public_key();
    match session.json() {
        true => print::object(&fields(contact, &own, session.network())),
        false => print::line(&text(contact, &own, session.network())),
    }
}

/// What programs are told of a contact.
pub(super) fn fields(contact: &Contact, own: &[u8; 32], network: &NetworkName) -> Value {
    json!({
        "identity": hex::encode(contact.identity),
        "name": contact.name,
        "state": contact.state().name(),
        "since_ms": contact.since.0,
        "pair_code": contact.pair_code(own, network),
    })
}

fn text(contact: &Contact, own: &[u8; 32], network: &NetworkName) -> String {
    let name = print::one_line(contact.name.as_bytes());
    let code = contact.pair_code(own, network).map(|code| format!(" pair code {code}"));
    let (state, identity) = (contact.state(), hex::encode(contact.identity));
    format!("{name} {state} {identity}{}", code.unwrap_or_default())
}
