//! `audit`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use dht_client::receipts::{Entry, KeptReceipt, ProvenReceipt, ReceiptBook};
use dht_client::{Audited, ErrorNumber, NodeId, PeerAddress, Verdict};
use dht_context::clock::{Clock, SystemClock};
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::print;
use super::session::Session;

/// Arguments of `audit`.
#[derive(Args)]
pub(crate) struct AuditArgs {
    /// The file that --receipts named when values were put.
    file: PathBuf,
    /// Remove the receipts that have expired from the file.
    #[arg(long)]
    prune: bool,
}

/// A receipt and what became of it.
struct Finding<'a> {
    line: usize,
    receipt: &'a ProvenReceipt,
    audited: Audited,
}

/// A line that is no promise, and was skipped.
struct Skipped {
    line: usize,
    why: String,
}

/// Words for what became of a receipt, in the order in which they are counted.
const WORDS: [&str; 6] = ["kept", "newer", "expired", "broken", "unknown", "unanswered"];

/// How many of a node's receipts each word is true of.
type Counts = BTreeMap<&'static str, usize>;

impl AuditArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let book = ReceiptBook::open(&self.file)?;
        let (mut lines, mut proven, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        book.read(|Entry { line, receipt }| {
            let proof = receipt.map_err(|fault| fault.to_string());
            match proof.and_then(|kept| kept.prove().map_err(|fault| fault.to_string())) {
                Ok(receipt) => {
                    lines.push(line);
                    proven.push(receipt);
                }
                Err(why) => skipped.push(Skipped { line, why }),
            }
        })?;
        let audited = ask(session, &proven).await?;
        let findings: Vec<Finding<'_>> = lines
            .into_iter()
            .zip(&proven)
            .zip(audited)
            .map(|((line, receipt), audited)| Finding { line, receipt, audited })
            .collect();
        let pruned = if self.prune { Some(prune(&book)?) } else { None };
        if session.json() {
            print::object(&object(&findings, &skipped, pruned))?;
        } else {
            plain(&findings, &skipped, pruned)?;
        }
        conclude(&findings, &skipped)
    }
}

/// Asks the nodes; the first of them serves as the peer to join by if no other is given.
async fn ask(session: &Session, proven: &[ProvenReceipt]) -> Result<Vec<Audited>, Failure> {
    let Some(first) = proven.iter().find_map(|receipt| receipt.kept().node.addrs.first()) else {
        return Ok(Vec::new());
    };
    let client = session.reader_beside(&PeerAddress::from(*first))?;
    Ok(client.audit(proven).await)
}

/// Removes what has expired. What is no promise stays: it may be a damaged one.
fn prune(book: &ReceiptBook) -> Result<usize, Failure> {
    let now = SystemClock.now();
    let expired = |kept: &KeptReceipt| {
        kept.receipt.expires_at <= now && kept.clone().prove().is_ok_and(|it| it.has_expired(now))
    };
    Ok(book.retain(|kept| !expired(kept))?)
}

/// One of [`WORDS`], and what more there is to say.
fn words(audited: &Audited) -> (&'static str, Option<String>) {
    match audited {
        Audited::Judged(Verdict::Kept) => ("kept", None),
        Audited::Judged(Verdict::Newer { seq }) => ("newer", Some(format!("it holds seq {seq}"))),
        Audited::Judged(Verdict::Expired) => ("expired", None),
        Audited::Judged(Verdict::Broken(breach)) => ("broken", Some(breach.to_string())),
        Audited::Judged(Verdict::Unknown) => {
            ("unknown", Some("it cannot say at present; ask again".to_owned()))
        }
        Audited::Unanswered(error) => ("unanswered", Some(error.to_string())),
        Audited::OtherNetwork => {
            ("unanswered", Some("it is of another network; name it with --network".to_owned()))
        }
    }
}

/// Who kept what, node by node.
fn by_node(findings: &[Finding<'_>]) -> BTreeMap<NodeId, Counts> {
    let mut nodes: BTreeMap<NodeId, Counts> = BTreeMap::new();
    for finding in findings {
        let counts = nodes.entry(finding.receipt.kept().node.id).or_default();
        *counts.entry(words(&finding.audited).0).or_default() += 1;
    }
    nodes
}

fn plain(
    findings: &[Finding<'_>],
    skipped: &[Skipped],
    pruned: Option<usize>,
) -> Result<(), Failure> {
    for Finding { receipt, audited, .. } in findings {
        let (word, more) = words(audited);
        let record = receipt.record();
        print::line(&format!(
            "{word} by {}: key {} slot {} seq {} until {}{}",
            receipt.kept().node.id,
            record.id().key,
            record.slot(),
            record.seq(),
            print::utc(receipt.kept().receipt.expires_at),
            more.map(|more| format!(" ({more})")).unwrap_or_default(),
        ))?;
    }
    for Skipped { line, why } in skipped {
        print::line(&format!("skipped line {line}: {why}"))?;
    }
    for (node, counts) in by_node(findings) {
        let told: Vec<String> = WORDS
            .iter()
            .filter_map(|word| counts.get(word).map(|count| format!("{count} {word}")))
            .collect();
        print::line(&format!("node {node}: {}", told.join(", ")))?;
    }
    match pruned {
        Some(pruned) => print::line(&format!("removed {pruned} expired")),
        None => Ok(()),
    }
}

fn object(findings: &[Finding<'_>], skipped: &[Skipped], pruned: Option<usize>) -> Value {
    let receipts: Vec<Value> = findings
        .iter()
        .map(|Finding { line, receipt, audited }| {
            let (word, more) = words(audited);
            let (kept, record) = (receipt.kept(), receipt.record());
            json!({
                "line": line,
                "node": kept.node.id.to_string(),
                "key": record.id().key.to_string(),
                "publisher": hex::encode(record.publisher()),
                "slot": record.slot(),
                "seq": record.seq(),
                "digest": hex::encode(record.digest()),
                "accepted_at_ms": kept.receipt.accepted_at.0,
                "expires_at_ms": kept.receipt.expires_at.0,
                "result": word,
                "why": more,
            })
        })
        .collect();
    let nodes: Vec<Value> = by_node(findings)
        .into_iter()
        .map(|(node, counts)| {
            let mut fields = Map::from_iter([("node".to_owned(), json!(node.to_string()))]);
            for word in WORDS {
                fields.insert(word.to_owned(), json!(counts.get(word).unwrap_or(&0)));
            }
            Value::Object(fields)
        })
        .collect();
    let skipped: Vec<Value> =
        skipped.iter().map(|Skipped { line, why }| json!({ "line": line, "why": why })).collect();
    json!({ "receipts": receipts, "nodes": nodes, "skipped": skipped, "removed": pruned })
}

/// How the command ends: a broken promise is told before what could not be found out.
fn conclude(findings: &[Finding<'_>], skipped: &[Skipped]) -> Result<(), Failure> {
    let count = |is: &dyn Fn(&str) -> bool| {
        findings.iter().filter(|finding| is(words(&finding.audited).0)).count()
    };
    let broken = count(&|word| word == "broken");
    let unanswered = count(&|word| matches!(word, "unknown" | "unanswered"));
    if broken > 0 {
        let sentence =
            format!("{broken} of {} receipts are broken; put those values again", findings.len());
        return Err(Failure::new(ErrorNumber::PromiseBroken, sentence));
    }
    if unanswered + skipped.len() > 0 {
        let sentence = format!(
            "{unanswered} receipts are unanswered and {} lines are none; ask again, or see what is wrong with them",
            skipped.len()
        );
        return Err(Failure::new(ErrorNumber::AuditIncomplete, sentence));
    }
    Ok(())
}
