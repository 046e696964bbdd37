//! [`NodeReader`]: how the state of a running node is read, for all who show it.
//!
//! ```text
//! context, store, operating system ─▶ NodeReader ─▶ Reading ─┬▶ its status ─▶ /status, /readyz
//!                                                            ├▶ metrics ────▶ /metrics
//!                                                            └▶ history ────▶ /history
//! ```

use std::sync::Arc;
use std::time::Duration;

use dht_context::DhtContext;
use dht_context::stats::{Latencies, StatsSnapshot};
use dht_context::store::StoreUsage;
use dht_kad::record::Retention;
use dht_kad::{Refusal, UnixMs};
use tokio::time::Instant;

use crate::config::StoreSettings;
use crate::node::VERSION;
use crate::process;
use crate::status::{NodeStatus, stage_name};
use crate::store::{DiskSpace, RocksStore};

/// A node's state at a moment: what it says of itself, and what is too long for that.
#[derive(Clone, PartialEq, Debug)]
pub struct Reading {
    /// What it says of itself.
    pub status: NodeStatus,
    /// How long the requests took that it asked, by kind.
    pub asked_latencies: Vec<(&'static str, Latencies)>,
    /// How long the requests took that it answered, by kind.
    pub answered_latencies: Vec<(&'static str, Latencies)>,
    /// Time that the process has spent on processors.
    pub cpu_time: Duration,
}

/// Reads a running node's state. It asks nobody and waits for nothing.
pub struct NodeReader {
    context: DhtContext,
    store: Arc<RocksStore>,
    settings: StoreSettings,
    started: Instant,
    started_at: UnixMs,
}

impl NodeReader {
    /// Reads this node, which starts now, and whose store has these settings.
    #[must_use]
    pub fn new(context: DhtContext, store: Arc<RocksStore>, settings: StoreSettings) -> Self {
        let (started, started_at) = (Instant::now(), context.now());
        NodeReader { context, store, settings, started, started_at }
    }

    /// The state right now.
    #[must_use]
    pub fn read(&self) -> Reading {
        let stats = self.context.stats();
        let disk = self.store.disk();
        let refusing_writes = self.refusing_writes(disk);
        let not_ready = self.context.not_ready_because().map(|reason| reason.to_string());
        let not_ready_because = not_ready.or_else(|| refusing_writes.clone());
        Reading {
            asked_latencies: stats.asked_latencies.clone(),
            answered_latencies: stats.answered_latencies.clone(),
            cpu_time: process::cpu_time(),
            status: NodeStatus {
                ready: not_ready_because.is_none(),
                not_ready_because,
                refusing_writes,
                disk_free_bytes: disk.map(|disk| disk.free_bytes),
                ..self.counted(stats, &self.context.store_usage())
            },
        }
    }

    /// Why no put of others is taken, if none is: what holds for each of them, whatever it is.
    fn refusing_writes(&self, disk: Option<DiskSpace>) -> Option<String> {
        // A client takes no puts, and nobody expects it to; its own go elsewhere.
        let refusal = self.context.takes_puts().err();
        if let Some(refusal) = refusal {
            return Some(match refusal {
                Refusal::Restarting => {
                    "the node is stopping, and takes no puts any more".to_owned()
                }
                other => other.to_string(),
            });
        }
        let DiskSpace { free_bytes, floor_bytes, .. } = disk.filter(DiskSpace::is_short)?;
        Some(format!(
            "the disk has {free_bytes} bytes free and the store keeps {floor_bytes}; free some, and puts are taken \
             again"
        ))
    }

    fn counted(&self, stats: StatsSnapshot, usage: &StoreUsage) -> NodeStatus {
        let context = &self.context;
        let named = |counts: Vec<(&'static str, _)>| {
            counts.into_iter().map(|(kind, counts)| (kind.to_owned(), counts)).collect()
        };
        let by_retention = |amounts: [u64; 3]| {
            let named = Retention::ALL.iter().map(|class| class.name().to_owned());
            named.zip(amounts).collect()
        };
        NodeStatus {
            node: context.node_id().to_string(),
            network: context.network().to_string(),
            version: VERSION.to_owned(),
            mode: format!("{:?}", context.mode()).to_lowercase(),
            stage: stage_name(context.stage()).to_owned(),
            ready: false,
            not_ready_because: None,
            whole: context.is_whole(),
            refusing_writes: None,
            listen: context.local_addrs().iter().map(ToString::to_string).collect(),
            started_at_ms: self.started_at.0,
            uptime_secs: self.started.elapsed().as_secs(),
            peers: stats.peers,
            table: stats.table,
            connections: stats.connections,
            records: usage.total.records,
            bytes: usage.total.bytes,
            limit_bytes: self.settings.max_bytes,
            records_by_retention: by_retention(usage.classes.map(|amount| amount.records)),
            bytes_by_retention: by_retention(usage.classes.map(|amount| amount.bytes)),
            commit_no: usage.commit_no,
            disk_free_bytes: None,
            disk_floor_bytes: self.settings.min_free_bytes,
            memory_bytes: process::resident_bytes(),
            clock_difference_ms: context.clock_ahead_ms(),
            asked: named(stats.asked),
            answered: named(stats.answered),
            refusals: stats.refusals.into_iter().map(|(why, n)| (why.to_owned(), n)).collect(),
            dials_ok: stats.dials_ok,
            dials_failed: stats.dials_failed,
            accepted: stats.accepted,
            lies: stats.lies,
            replication: stats.replication,
            watches: stats.watches,
            sources: self.context.sources(),
        }
    }
}
