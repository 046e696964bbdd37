//! `health`: the operators' question. A line a node, and an exit status that a timer or a script can act on.

use std::path::PathBuf;

use clap::Args;
use dht_client::health::{
    Canary, FLEET_MAX, Fault, Finding, Fleet, Health, HealthOptions, NodeAnswer, examine,
};
use dht_client::{NetworkName, PeerAddress};
use serde_json::{Value, json};

use super::failure::Failure;
use super::ping::mode_name;
use super::print;
use super::session::Session;

/// Hex digits of a node's id by which people tell the nodes of a fleet apart.
const ID_DIGITS: usize = 8;
/// What stands where nothing is known.
const UNKNOWN: &str = "-";
/// The columns for people; what is wrong with a node, if anything is, follows them.
const COLUMNS: [&str; 12] = [
    "HEALTH",
    "PEER",
    "NODE",
    "VERSION",
    "RTT",
    "CLOCK",
    "DISK",
    "ROOM",
    "MEMORY",
    "UNREPAIRED",
    "SERVERS",
    "CANARY",
];

/// Arguments of `health`.
#[derive(Args)]
pub(crate) struct HealthArgs {
    /// Ask the nodes that this file names: peers, and network or network_file.
    #[arg(long, value_name = "FLEET", conflicts_with = "peers")]
    config: Option<PathBuf>,
    /// Whom to ask: host:port, or NODEID@host:port to pin who answers.
    #[arg(value_name = "PEER", required_unless_present = "config")]
    peers: Vec<PeerAddress>,
}

impl HealthArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        if session.has_bootstrap_peers() {
            let sentence = "health asks the nodes that it is given and no other; name them without --bootstrap";
            return Err(Failure::usage(sentence));
        }
        let (network, peers) = self.fleet(session)?;
        if peers.len() > FLEET_MAX {
            let sentence =
                format!("at most {FLEET_MAX} nodes are asked at once; ask the others after");
            return Err(Failure::usage(&sentence));
        }
        let options = HealthOptions {
            limit: session.timeout(),
            identity: session.given_identity()?,
            dns_server: session.dns_server(),
        };
        let findings = examine(&network, &peers, &options).await?;
        if session.json() {
            findings.iter().try_for_each(|finding| print::object(&object(finding)))?;
        } else {
            table(&findings)?;
        }
        for sentence in remarks(&findings) {
            print::note(&sentence);
        }
        match findings.iter().map(Finding::health).max().unwrap_or(Health::Down) {
            Health::Well => Ok(()),
            ill => Err(Failure::told(ill.exit_status())),
        }
    }

    /// The network, and whom to ask of it.
    fn fleet(self, session: &Session) -> Result<(NetworkName, Vec<PeerAddress>), Failure> {
        let Some(path) = self.config else {
            return Ok((session.network().clone(), self.peers));
        };
        let fleet =
            Fleet::read(&path).map_err(|error| Failure::new(error.number(), error.to_string()))?;
        if let Some(named) = session.named_network().filter(|named| **named != fleet.network) {
            let sentence = format!(
                "the network «{named}» is not «{}», that of {}; give the same, or leave it out",
                fleet.network,
                path.display()
            );
            return Err(Failure::usage(&sentence));
        }
        Ok((fleet.network, fleet.peers))
    }
}

/// What is worth a word and no fault.
fn remarks(findings: &[Finding]) -> Vec<String> {
    let mut versions: Vec<&str> = findings
        .iter()
        .filter_map(|found| Some(found.answer.as_ref()?.pong.version.as_str()))
        .collect();
    versions.sort_unstable();
    versions.dedup();
    let mut remarks = Vec::new();
    if versions.len() > 1 {
        remarks.push(format!("the nodes run different versions: {}", versions.join(", ")));
    }
    if let [only] = findings
        && matches!(only.canary, Canary::ReadAlone)
    {
        let sentence =
            "one node was given: nobody else could be asked for the value that was put on it";
        remarks.push(sentence.to_owned());
    }
    remarks
}

fn table(findings: &[Finding]) -> Result<(), Failure> {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(findings.iter().map(row));
    let mut widths = [0; COLUMNS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let faults = std::iter::once(String::new()).chain(findings.iter().map(faults_of));
    for (row, faults) in rows.iter().zip(faults) {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        print::line(format!("{}  {faults}", cells.join("  ")).trim_end())?;
    }
    Ok(())
}

fn faults_of(finding: &Finding) -> String {
    let faults: Vec<String> = finding.faults.iter().map(Fault::to_string).collect();
    faults.join("; ")
}

fn row(finding: &Finding) -> [String; COLUMNS.len()] {
    let known = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    let answer = finding.answer.as_ref();
    let signs = answer.and_then(|answer| answer.signs.as_ref().ok());
    let percent = |part: Option<u8>| known(part.map(|percent| format!("{percent}%")));
    let memory = signs.and_then(|signs| match (signs.memory_mib?, signs.memory_limit_mib) {
        (used, Some(limit)) => Some(format!("{used}/{limit} MiB")),
        (used, None) => Some(format!("{used} MiB")),
    });
    let unrepaired = signs.map(|signs| {
        signs.oldest_unrepaired_secs.map_or_else(|| "none".to_owned(), |secs| format!("{secs} s"))
    });
    let id = answer.map(|answer| answer.node.id.to_string().chars().take(ID_DIGITS).collect());
    let (host, port) = (&finding.peer.host, finding.peer.port);
    [
        finding.health().to_string(),
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") },
        known(id),
        known(answer.map(|answer| answer.pong.version.clone())),
        known(answer.and_then(|answer| Some(format!("{} us", answer.rtt?.as_micros())))),
        known(answer.map(|answer| format!("{:+} ms", answer.clock_difference_ms))),
        percent(signs.and_then(|signs| signs.disk_free_percent)),
        percent(signs.and_then(|signs| signs.store_free_percent)),
        known(memory),
        known(unrepaired),
        known(signs.map(|signs| signs.servers.to_string())),
        canary_word(&finding.canary).to_owned(),
    ]
}

/// What became of a canary, in a word.
fn canary_word(canary: &Canary) -> &'static str {
    match canary {
        Canary::NotSent => "not_sent",
        Canary::Read { .. } => "read",
        Canary::ReadAlone => "read_alone",
        Canary::NotTaken(_) => "not_taken",
        Canary::Lost => "lost",
        Canary::NotShown(_) => "not_shown",
        Canary::NotFound { .. } => "not_found",
        Canary::Late(_) => "late",
    }
}

fn object(finding: &Finding) -> Value {
    let mut object = json!({
        "peer": finding.peer.to_string(),
        "health": finding.health().to_string(),
        "canary": canary_word(&finding.canary),
        "faults": finding.faults.iter().map(Fault::to_string).collect::<Vec<_>>(),
    });
    let (Some(fields), Some(answer)) = (object.as_object_mut(), &finding.answer) else {
        return object;
    };
    if let Canary::Read { through } = finding.canary {
        fields.insert("read_through".to_owned(), json!(through.to_string()));
    }
    let Value::Object(more) = answered(answer) else { return object };
    fields.extend(more);
    object
}

/// What programs are told of an answer. What the node did not say is null.
fn answered(answer: &NodeAnswer) -> Value {
    let signs = answer.signs.as_ref().ok();
    json!({
        "node": answer.node.id.to_string(),
        "address": answer.node.addrs.first().map(ToString::to_string),
        "version": answer.pong.version,
        "mode": mode_name(answer.pong.mode),
        "settled": answer.pong.settled,
        "whole": answer.pong.whole,
        "rtt_us": answer.rtt.map(|rtt| rtt.as_micros()),
        "clock_difference_ms": answer.clock_difference_ms,
        "ready": signs.map(|signs| signs.ready),
        "refuses": signs.map(|signs| signs.refuses.iter().map(ToString::to_string).collect::<Vec<_>>()),
        "uptime_secs": signs.map(|signs| signs.up_secs),
        "disk_free_percent": signs.map(|signs| signs.disk_free_percent),
        "store_free_percent": signs.map(|signs| signs.store_free_percent),
        "memory_mib": signs.map(|signs| signs.memory_mib),
        "memory_limit_mib": signs.map(|signs| signs.memory_limit_mib),
        "oldest_unrepaired_secs": signs.map(|signs| signs.oldest_unrepaired_secs),
        "servers": signs.map(|signs| signs.servers),
        "neighbours": signs.map(|signs| signs.neighbours),
        "records": signs.map(|signs| signs.records),
    })
}
