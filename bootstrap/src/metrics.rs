//! `/metrics`: a [`Reading`] in the OpenMetrics text format, which Prometheus scrapes.
//!
//! Names begin with `dht_`, units are seconds and bytes and stand last, counters end in `_total`.
//! What any process may tell has the names that Prometheus' own libraries give it (`process_…`).
//! Each label has a fixed set of values (a kind of request, a reason, a class of lifetime), so a node
//! has always the same series, and all of them from its start on: a peer can add none.

use std::fmt;

use dht_context::membership::Stage;
use dht_context::replication::ReplicationFigures;
use dht_context::stats::{CountsSnapshot, Latencies};
use dht_context::watch::WatchFigures;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::reading::Reading;
use crate::status::{NodeStatus, stage_name};

/// What the text is, for whoever scrapes it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The stages of membership.
const STAGES: [Stage; 4] = [Stage::Joining, Stage::CutOff, Stage::Joined, Stage::Settled];

/// Writes a reading as text.
///
/// # Errors
/// None but those of writing into a string, which has none.
pub fn encode(reading: Reading) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(NodeCollector(reading)));
    let mut written = String::new();
    text::encode(&mut written, &registry)?;
    Ok(written)
}

#[derive(Debug)]
struct NodeCollector(Reading);

impl Collector for NodeCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        let Reading { status, asked_latencies, answered_latencies, .. } = &self.0;
        encode_process(&mut families, &self.0)?;
        encode_state(&mut families, status)?;
        encode_peers(&mut families, status)?;
        encode_store(&mut families, status)?;
        encode_requests(&mut families, "answered", &status.answered, answered_latencies)?;
        encode_requests(&mut families, "asked", &status.asked, asked_latencies)?;
        families.counters(
            "dht_refusals",
            "Requests and single records that this node refused, by reason",
            None,
            ["reason"],
            status.refusals.iter().map(|(reason, count)| ([reason.as_str()], *count)),
        )?;
        encode_replication(&mut families, &status.replication)?;
        encode_watches(&mut families, &status.watches)
    }
}

fn encode_process(families: &mut Families<'_>, reading: &Reading) -> fmt::Result {
    let status = &reading.status;
    families.info("dht_build", "The program that runs", [("version", &status.version)])?;
    families.info(
        "dht_node",
        "Which node of which network it is",
        [("node", &status.node), ("network", &status.network), ("mode", &status.mode)],
    )?;
    families.gauge(
        "process_start_time",
        "When the process started, in seconds since the Unix epoch",
        Some(Unit::Seconds),
        seconds(status.started_at_ms),
    )?;
    families.gauge(
        "dht_uptime",
        "Time since the node started",
        Some(Unit::Seconds),
        status.uptime_secs,
    )?;
    families.counter(
        "process_cpu",
        "Time that the process has spent on processors",
        Some(Unit::Seconds),
        reading.cpu_time.as_secs_f64(),
    )?;
    families.gauge_if_known(
        "process_resident_memory",
        "Memory that the process has in RAM",
        Unit::Bytes,
        status.memory_bytes,
    )
}

fn encode_state(families: &mut Families<'_>, status: &NodeStatus) -> fmt::Result {
    families.gauge(
        "dht_ready",
        "Whether a put that comes now can succeed: 1 or 0",
        None,
        u64::from(status.ready),
    )?;
    families.gauges(
        "dht_stage",
        "How far the node has come into the network: 1 for the stage that it is in",
        None,
        ["stage"],
        STAGES.map(stage_name).map(|stage| ([stage], u64::from(status.stage == stage))),
    )?;
    families.gauge(
        "dht_whole",
        "Whether the node holds what it should, as far as it knows: 1 or 0",
        None,
        u64::from(status.whole),
    )?;
    families.gauge(
        "dht_refusing_writes",
        "Whether the node takes no puts at all: 1 or 0",
        None,
        u64::from(status.refusing_writes.is_some()),
    )?;
    families.gauge_if_known(
        "dht_clock_difference",
        "How far this machine's clock is ahead of those of long-lived peers; absent while too few answer",
        Unit::Seconds,
        // Exact for differences below 285,000 years.
        status.clock_difference_ms.map(|ahead_ms| ahead_ms as f64 / 1e3),
    )
}

fn encode_peers(families: &mut Families<'_>, status: &NodeStatus) -> fmt::Result {
    families.gauge("dht_peers", "Peers known", None, status.peers)?;
    families.gauge("dht_table_servers", "Servers in the routing table", None, status.table)?;
    families.gauge("dht_connections", "Live connections", None, status.connections)?;
    families.counters(
        "dht_dials",
        "Connections that this node tried to make, by outcome",
        None,
        ["outcome"],
        [(["ok"], status.dials_ok), (["failed"], status.dials_failed)],
    )?;
    families.counter(
        "dht_connections_accepted",
        "Connections that others made to this node",
        None,
        status.accepted,
    )?;
    families.counter(
        "dht_false_answers",
        "Records, nodes and receipts in others' answers that were false",
        None,
        status.lies,
    )
}

fn encode_store(families: &mut Families<'_>, status: &NodeStatus) -> fmt::Result {
    fn by_class(amounts: &[(String, u64)]) -> impl Iterator<Item = ([&str; 1], u64)> {
        amounts.iter().map(|(class, amount)| ([class.as_str()], *amount))
    }
    families.gauges(
        "dht_records",
        "Records kept, by class of lifetime",
        None,
        ["retention"],
        by_class(&status.records_by_retention),
    )?;
    families.gauges(
        "dht_store",
        "What the kept records are charged, by class of lifetime",
        Some(Unit::Bytes),
        ["retention"],
        by_class(&status.bytes_by_retention),
    )?;
    families.gauge(
        "dht_store_limit",
        "The most that all records may be charged, as configured",
        Some(Unit::Bytes),
        status.limit_bytes,
    )?;
    families.counter("dht_commits", "Commits since the store was made", None, status.commit_no)?;
    families.gauge_if_known(
        "dht_disk_free",
        "Room on the disk of the data directory",
        Unit::Bytes,
        status.disk_free_bytes,
    )?;
    families.gauge(
        "dht_disk_floor",
        "Room on the disk under which puts are refused, as configured",
        Some(Unit::Bytes),
        status.disk_floor_bytes,
    )
}

fn encode_requests(
    families: &mut Families<'_>,
    way: &str,
    counted: &[(String, CountsSnapshot)],
    latencies: &[(&'static str, Latencies)],
) -> fmt::Result {
    let outcomes = counted.iter().flat_map(|(kind, counts)| {
        let CountsSnapshot { ok, refused, failed, .. } = *counts;
        [("ok", ok), ("refused", refused), ("failed", failed)]
            .map(|(outcome, count)| ([kind.as_str(), outcome], count))
    });
    families.counters(
        &format!("dht_requests_{way}"),
        &format!("Requests that this node {way}, by kind and outcome"),
        None,
        ["kind", "outcome"],
        outcomes,
    )?;
    families.histograms(
        &format!("dht_requests_{way}_duration"),
        &format!("How long the requests took that this node {way}, by kind"),
        Unit::Seconds,
        "kind",
        latencies,
    )
}

fn encode_replication(families: &mut Families<'_>, figures: &ReplicationFigures) -> fmt::Result {
    families.gauge(
        "dht_replication_neighbours",
        "Neighbours present that should hold some of the same records",
        None,
        figures.neighbours,
    )?;
    families.gauge(
        "dht_replication_lag",
        "How long ago the neighbour that was longest not found equal was found so, or came",
        Some(Unit::Seconds),
        seconds(figures.lag_ms),
    )?;
    families.gauge(
        "dht_replication_oldest_unrepaired",
        "For how long something has been known to lack, here or at a neighbour; 0 if nothing is",
        Some(Unit::Seconds),
        seconds(figures.oldest_unrepaired_ms),
    )?;
    families.gauge(
        "dht_under_replicated_records",
        "Records known to lack copies",
        None,
        figures.under_replicated,
    )?;
    families.counters(
        "dht_replication",
        "What keeping copies moved between this node and others, both ways, by purpose",
        Some(Unit::Bytes),
        ["purpose"],
        [
            (["compare"], figures.compare_bytes),
            (["offer"], figures.offer_bytes),
            (["fetch"], figures.fetched_bytes),
            (["serve"], figures.served_bytes),
        ],
    )?;
    families.counters(
        "dht_replication_records",
        "Records fetched and stored, fetched without room for them, and sent to other holders",
        None,
        ["outcome"],
        [
            (["fetched"], figures.fetched),
            (["without_room"], figures.without_room),
            (["served"], figures.served),
        ],
    )?;
    families.counters(
        "dht_replication_rounds",
        "Comparisons with a neighbour, by outcome",
        None,
        ["outcome"],
        [(["ok"], figures.rounds_ok), (["failed"], figures.rounds_failed)],
    )?;
    families.counters(
        "dht_replication_salted_parts",
        "Parts compared under a salt, by outcome",
        None,
        ["outcome"],
        [(["equal"], figures.salted_equal), (["differed"], figures.salted_differed)],
    )
}

fn encode_watches(families: &mut Families<'_>, figures: &WatchFigures) -> fmt::Result {
    families.gauge("dht_watchers", "Who watches keys of this node", None, figures.streams)?;
    families.gauge("dht_watched_keys", "Keys that are watched", None, figures.keys)?;
    families.gauge(
        "dht_watch_queued",
        "Records that wait for watchers",
        Some(Unit::Bytes),
        figures.queued_bytes,
    )?;
    families.counter(
        "dht_watch_changes_shown",
        "Records shown, each counted for each watcher",
        None,
        figures.shown,
    )?;
    families.counters(
        "dht_watches_ended",
        "Watchers that were cut off for reading too slowly, and those that were refused",
        None,
        ["reason"],
        [(["slow"], figures.cut), (["refused"], figures.refused)],
    )
}

/// Milliseconds in the unit of metrics. Exact for 285,000 years.
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1e3
}

/// Writes families of series, one after another.
struct Families<'a>(DescriptorEncoder<'a>);

#[expect(clippy::needless_pass_by_value, reason = "units and values are made for the one call")]
impl Families<'_> {
    fn info<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: [(&str, &String); N],
    ) -> fmt::Result {
        let labels = labels.map(|(label, value)| (label, value.as_str()));
        self.0
            .encode_descriptor(name, &sentence(help), None, MetricType::Info)?
            .encode_info(&labels)
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        self.0
            .encode_descriptor(name, &sentence(help), unit.as_ref(), MetricType::Gauge)?
            .encode_gauge(&value)
    }

    fn gauge_if_known(
        &mut self,
        name: &str,
        help: &str,
        unit: Unit,
        value: Option<impl EncodeGaugeValue>,
    ) -> fmt::Result {
        let (help, unit) = (sentence(help), Some(unit));
        let mut family = self.0.encode_descriptor(name, &help, unit.as_ref(), MetricType::Gauge)?;
        value.map_or(Ok(()), |value| family.encode_gauge(&value))
    }

    fn gauges<'v, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        labels: [&str; N],
        values: impl IntoIterator<Item = ([&'v str; N], u64)>,
    ) -> fmt::Result {
        let help = sentence(help);
        let mut family = self.0.encode_descriptor(name, &help, unit.as_ref(), MetricType::Gauge)?;
        for (of, value) in values {
            family.encode_family(&labelled(labels, of))?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counter(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        self.0
            .encode_descriptor(name, &sentence(help), unit.as_ref(), MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn counters<'v, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        labels: [&str; N],
        values: impl IntoIterator<Item = ([&'v str; N], u64)>,
    ) -> fmt::Result {
        let help = sentence(help);
        let mut family =
            self.0.encode_descriptor(name, &help, unit.as_ref(), MetricType::Counter)?;
        for (of, value) in values {
            family
                .encode_family(&labelled(labels, of))?
                .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        unit: Unit,
        label: &str,
        values: &[(&'static str, Latencies)],
    ) -> fmt::Result {
        let (help, unit) = (sentence(help), Some(unit));
        let mut family =
            self.0.encode_descriptor(name, &help, unit.as_ref(), MetricType::Histogram)?;
        for (of, latencies) in values {
            let buckets: Vec<(f64, u64)> = latencies.buckets().collect();
            family.encode_family(&[(label, *of)])?.encode_histogram::<NoLabelSet>(
                latencies.sum().as_secs_f64(),
                latencies.count(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }
}

fn sentence(help: &str) -> String {
    format!("{help}.")
}

fn labelled<'a, const N: usize>(labels: [&'a str; N], of: [&'a str; N]) -> [(&'a str, &'a str); N] {
    let mut values = of.into_iter();
    labels.map(|label| (label, values.next().unwrap_or_default()))
}
