//! What a node says of itself: read from the running parts, sent as JSON, shown as text.

use std::fmt;

use dht_context::membership::Stage;
use dht_context::replication::ReplicationFigures;
use dht_context::sources::{ListStatus, SourceStatus};
use dht_context::stats::CountsSnapshot;
use dht_context::watch::WatchFigures;
use serde::{Deserialize, Serialize};

/// A node's state at a moment. Times are in milliseconds or, where named so, seconds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node's id: 64 hex digits.
    pub node: String,
    /// The network's name.
    pub network: String,
    /// The daemon's version.
    pub version: String,
    /// `server` or `client`.
    pub mode: String,
    /// `joining`, `cutoff`, `joined` or `settled`: see [`stage_name`].
    pub stage: String,
    /// Whether a put that comes now can succeed.
    pub ready: bool,
    /// Why it is not ready, in a sentence, if it is not.
    pub not_ready_because: Option<String>,
    /// Whether it holds what it should, as far as it knows; until then its word counts in no put.
    pub whole: bool,
    /// Why no put is taken, in a sentence, if none is.
    pub refusing_writes: Option<String>,
    /// UDP addresses it is bound to.
    pub listen: Vec<String>,
    /// When it started, by this machine's clock: Unix time in milliseconds.
    pub started_at_ms: u64,
    /// Seconds since the start.
    pub uptime_secs: u64,
    /// Peers known.
    pub peers: usize,
    /// Servers in the routing table.
    pub table: usize,
    /// Live connections.
    pub connections: usize,
    /// Records kept.
    pub records: u64,
    /// Bytes that they are charged.
    pub bytes: u64,
    /// The most bytes that it may be charged, as configured.
    pub limit_bytes: u64,
    /// Records kept by class of lifetime.
    pub records_by_retention: Vec<(String, u64)>,
    /// Bytes that they are charged, by class of lifetime.
    pub bytes_by_retention: Vec<(String, u64)>,
    /// The number of the last commit.
    pub commit_no: u64,
    /// Bytes free on the disk of the data directory; `None` if the system does not tell.
    pub disk_free_bytes: Option<u64>,
    /// Bytes free under which puts are refused, as configured.
    pub disk_floor_bytes: u64,
    /// Bytes of memory that the process has in RAM; `None` if the system does not tell.
    pub memory_bytes: Option<u64>,
    /// By how many milliseconds this machine's clock is ahead of those of its long-lived peers, behind
    /// if negative; `None` while too few of them answer.
    pub clock_difference_ms: Option<i64>,
    /// Requests asked, by kind.
    pub asked: Vec<(String, CountsSnapshot)>,
    /// Requests answered, by kind.
    pub answered: Vec<(String, CountsSnapshot)>,
    /// Requests and single records refused, by the name of the reason's number; all reasons.
    pub refusals: Vec<(String, u64)>,
    /// Dials that led to a connection.
    pub dials_ok: u64,
    /// Dials that failed.
    pub dials_failed: u64,
    /// Connections that others dialled.
    pub accepted: u64,
    /// False things in answers.
    pub lies: u64,
    /// The copies of what it holds: how they stand, and what keeping them cost.
    pub replication: ReplicationFigures,
    /// Who watches it, and what they were shown.
    pub watches: WatchFigures,
    /// Where it asks for peers, in that order, and what came of it.
    pub sources: Vec<SourceStatus>,
}

/// What a stage is called in [`NodeStatus::stage`] and in the metrics.
#[must_use]
pub const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Joining => "joining",
        Stage::CutOff => "cutoff",
        Stage::Joined => "joined",
        Stage::Settled => "settled",
    }
}

impl fmt::Display for NodeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "node      {} ({}, {})", self.node, self.mode, self.version)?;
        writeln!(f, "network   {}, on {}", self.network, self.listen.join(" "))?;
        let ready = if self.ready { "ready" } else { "not ready" };
        let whole = if self.whole { "whole" } else { "being filled" };
        writeln!(f, "state     {ready}, {}, {whole}, up {} s", self.stage, self.uptime_secs)?;
        if let Some(reason) = &self.not_ready_because {
            writeln!(f, "not ready {reason}")?;
        }
        if self.refusing_writes != self.not_ready_because
            && let Some(reason) = &self.refusing_writes
        {
            writeln!(f, "writes    refused: {reason}")?;
        }
        let (peers, table, connections) = (self.peers, self.table, self.connections);
        writeln!(f, "peers     {peers} known, {table} in the table, {connections} connected")?;
        for source in &self.sources {
            write_source(f, source)?;
        }
        write!(f, "records   {} in {} bytes", self.records, self.bytes)?;
        for (class, records) in &self.records_by_retention {
            write!(f, ", {records} of {class}")?;
        }
        writeln!(f, ", {} commits", self.commit_no)?;
        self.write_machine(f)?;
        write_replication(f, &self.replication)?;
        let WatchFigures { streams, keys, shown, cut, refused, .. } = self.watches;
        writeln!(
            f,
            "watched   {keys} keys by {streams} watchers; {shown} changes shown, \
             {cut} slow watchers cut off, {refused} refused"
        )?;
        let refused: Vec<String> = self
            .refusals
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        if !refused.is_empty() {
            writeln!(f, "refused   {}", refused.join(", "))?;
        }
        for (way, counted) in [("asked", &self.asked), ("answered", &self.answered)] {
            for (kind, counts) in counted {
                writeln!(
                    f,
                    "{way:<9} {kind}: {} ok, {} refused, {} failed, p50 {} us, p99 {} us",
                    counts.ok, counts.refused, counts.failed, counts.p50_us, counts.p99_us
                )?;
            }
        }
        Ok(())
    }
}

impl NodeStatus {
    fn write_machine(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |bytes: Option<u64>| {
            bytes.map_or_else(|| "unknown".to_owned(), |bytes| format!("{bytes} bytes"))
        };
        let (disk, memory) = (told(self.disk_free_bytes), told(self.memory_bytes));
        let clock = self.clock_difference_ms.map_or_else(
            || "not compared yet".to_owned(),
            |ahead_ms| format!("{ahead_ms:+} ms against its peers"),
        );
        writeln!(f, "machine   disk free {disk}, memory {memory}, clock {clock}")
    }
}

fn write_source(f: &mut fmt::Formatter<'_>, status: &SourceStatus) -> fmt::Result {
    let SourceStatus { source, peers, answered, refused, problem, list } = status;
    write!(f, "source    {source}: {answered} of {peers} answered")?;
    if *refused > 0 {
        write!(f, ", {refused} refused")?;
    }
    if let Some(ListStatus { seq, nodes, ends_at_ms }) = list {
        write!(f, ", list {seq} of {nodes} nodes until {ends_at_ms}")?;
    }
    match problem {
        Some(problem) => writeln!(f, "; {problem}"),
        None => writeln!(f),
    }
}

fn write_replication(f: &mut fmt::Formatter<'_>, figures: &ReplicationFigures) -> fmt::Result {
    let ReplicationFigures { neighbours, under_replicated, .. } = figures;
    let (lag, unrepaired) = (figures.lag_ms / 1_000, figures.oldest_unrepaired_ms / 1_000);
    writeln!(
        f,
        "copies    {neighbours} neighbours, lag {lag} s, {under_replicated} records lack copies, \
         oldest unrepaired {unrepaired} s"
    )?;
    writeln!(
        f,
        "repair    {} rounds, {} failed, {} salted parts, {} of them differed; {} records fetched, \
         {} served",
        figures.rounds_ok,
        figures.rounds_failed,
        figures.salted_equal + figures.salted_differed,
        figures.salted_differed,
        figures.fetched,
        figures.served
    )?;
    writeln!(
        f,
        "repaired  bytes: {} compared, {} offered, {} fetched, {} served",
        figures.compare_bytes, figures.offer_bytes, figures.fetched_bytes, figures.served_bytes
    )
}
