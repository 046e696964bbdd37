//! `name`: claiming names, and finding out whose they are.

use std::io::IsTerminal;

use clap::{Args, Subcommand};
use dht_client::Client;
use dht_client::names::{ClaimedName, FoundName, NameProgress, ReverseName};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::arguments;
use super::failure::Failure;
use super::print;
use super::session::Session;

/// What is done with a name.
#[derive(Subcommand)]
pub(crate) enum NameCommand {
    /// Claim a name for the identity; takes seconds of work, most for short names.
    Claim(OneName),
    /// Renew a name of one's own if it is due, and ask new servers to vouch for it; all names if none
    /// is given.
    Renew(MaybeName),
    /// Give a name of one's own up.
    Release(OneName),
    /// Find out whose a name is.
    Lookup(OneName),
    /// Find out which names an identity has.
    Reverse(OneIdentity),
    /// Trust an identity with a name from now on, whoever was trusted before.
    Trust(NameAndIdentity),
}

/// A name.
#[derive(Args)]
pub(crate) struct OneName {
    /// 3 to 36 letters a to z and digits, with «.», «_» or «-» between them.
    name: String,
}

/// A name, or all of one's own.
#[derive(Args)]
pub(crate) struct MaybeName {
    /// Which name.
    name: Option<String>,
}

/// An identity.
#[derive(Args)]
pub(crate) struct OneIdentity {
    /// The 64 hex digits of its public key.
    #[arg(value_name = "IDENTITY", value_parser = arguments::publisher)]
    whose: [u8; 32],
}

/// A name and an identity.
#[derive(Args)]
pub(crate) struct NameAndIdentity {
    /// The name.
    name: String,
    /// The 64 hex digits of the public key of whom to trust.
    #[arg(value_name = "IDENTITY", value_parser = arguments::publisher)]
    whom: [u8; 32],
}

impl NameCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            NameCommand::Claim(OneName { name }) => {
                let client = session.person()?;
                let work = Work::new();
                let claimed =
                    Box::pin(client.claim_name(&name, |progress| work.show(progress))).await;
                work.end();
                report(session, &[claimed?])
            }
            NameCommand::Renew(MaybeName { name }) => renew(session, name).await,
            NameCommand::Release(OneName { name }) => {
                let client = session.person()?;
                client.release_name(&name).await?;
                match session.json() {
                    true => print::object(&json!({ "released": name })),
                    false => print::line(&format!("released {name}")),
                }
            }
            NameCommand::Lookup(OneName { name }) => {
                let found = session.reader_who_remembers()?.lookup_name(&name).await?;
                match session.json() {
                    true => print::object(&object(&found)),
                    false => print::line(&line(&found)),
                }
            }
            NameCommand::Reverse(OneIdentity { whose }) => {
                let names = session.reader()?.reverse_names(&whose).await?;
                reverse(session, &whose, &names)
            }
            NameCommand::Trust(NameAndIdentity { name, whom }) => {
                let client = session.person()?;
                client.trust_name(&name, &whom)?;
                let trusted = hex::encode(whom);
                match session.json() {
                    true => print::object(&json!({ "name": name, "trusted": trusted })),
                    false => print::line(&format!("{name} is {trusted} from now on")),
                }
            }
        }
    }
}

async fn renew(session: &Session, name: Option<String>) -> Result<(), Failure> {
    let client = session.person()?;
    let own = client.identity()?.public_key();
    let names = match name {
        Some(name) => vec![name],
        None => own_names(&client, &own).await?,
    };
    let mut claimed = Vec::with_capacity(names.len());
    for name in names {
        let work = Work::new();
        let renewed = Box::pin(client.renew_name(&name, |progress| work.show(progress))).await;
        work.end();
        claimed.push(renewed?);
    }
    report(session, &claimed)
}

async fn own_names(client: &Client, own: &[u8; 32]) -> Result<Vec<String>, Failure> {
    let names = client.reverse_names(own).await?;
    let verified = names.into_iter().filter(|entry| entry.verified);
    Ok(verified.map(|entry| entry.name.to_string()).collect())
}

fn report(session: &Session, claimed: &[ClaimedName]) -> Result<(), Failure> {
    if session.json() {
        let names: Vec<Value> = claimed
            .iter()
            .map(|claimed| {
                let mut object = object(&claimed.found);
                if let Value::Object(fields) = &mut object {
                    fields.insert("signed".to_owned(), json!(claimed.signed));
                    fields.insert("generations".to_owned(), json!(claimed.generations));
                }
                object
            })
            .collect();
        return print::object(&json!({ "names": names }));
    }
    for claimed in claimed {
        let done = if claimed.signed { "claimed until" } else { "lasts until" };
        let FoundName { name, expires_at, vouched, judges, .. } = &claimed.found;
        let until = print::utc(*expires_at);
        print::line(&format!("{name} {done} {until}, {vouched} of {judges} servers vouch for it"))?;
    }
    Ok(())
}

fn reverse(session: &Session, identity: &[u8; 32], names: &[ReverseName]) -> Result<(), Failure> {
    if session.json() {
        let names: Vec<Value> = names
            .iter()
            .map(|entry| json!({ "name": entry.name.as_str(), "verified": entry.verified }))
            .collect();
        return print::object(&json!({ "identity": hex::encode(identity), "names": names }));
    }
    for ReverseName { name, verified } in names {
        let word = if *verified { "" } else { " (says so, and does not have it)" };
        print::line(&format!("{name}{word}"))?;
    }
    Ok(())
}

fn line(found: &FoundName) -> String {
    let since = match found.since {
        Some(since) => format!("since {}", print::utc(since)),
        None => "unproven".to_owned(),
    };
    format!(
        "{} {since}, {} of {} servers vouch for it, until {}",
        hex::encode(found.identity),
        found.vouched,
        found.judges,
        print::utc(found.expires_at)
    )
}

fn object(found: &FoundName) -> Value {
    json!({
        "name": found.name.as_str(),
        "identity": hex::encode(found.identity),
        "since_ms": found.since.map(|since| since.0),
        "expires_at_ms": found.expires_at.0,
        "vouched": found.vouched,
        "judges": found.judges,
        "false_evidence": found.false_evidence,
        "trusted": found.trusted,
    })
}

/// The bar that shows how far the work is, if anybody watches.
struct Work(ProgressBar);

impl Work {
    fn new() -> Self {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(0),
            false => ProgressBar::hidden(),
        };
        // Luck has no end: the bar is full when it took as long as it does on average.
        let style =
            ProgressStyle::with_template("work {bar:40} {pos} of about {len} tried, {elapsed}");
        Work(style.map_or(bar.clone(), |style| bar.with_style(style)))
    }

    fn show(&self, NameProgress { tried, expected }: NameProgress) {
        self.0.set_length(expected);
        self.0.set_position(tried);
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}
