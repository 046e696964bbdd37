//! What was measured: samples by phase, and their medians and ratios.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The field of a client's JSON that has its processor time, in microseconds an operation.
pub const CLIENT_CPU_FIELD: &str = "cpu_us_per_op_client";

/// What is measured together in one round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Setup {
    /// The bare echo.
    Echo,
    /// One node.
    Solo,
    /// Three nodes that replicate.
    Network,
}

impl Setup {
    fn name(self) -> &'static str {
        match self {
            Setup::Echo => "echo",
            Setup::Solo => "solo",
            Setup::Network => "3 nodes",
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Phase {
    /// Operations in flight.
    pub concurrency: usize,
    /// Against what.
    pub setup: Setup,
    /// The operation, in the order of the table.
    pub op: &'static str,
}

/// One phase in one round.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sample {
    ops: f64,
    secs: f64,
    client_cpu_secs: f64,
    server_cpu_secs: f64,
    p50_us: f64,
    p99_us: f64,
    faults: u64,
}

impl Sample {
    /// A client's line, and what the servers spent for the operations that it counts.
    ///
    /// # Errors
    /// Where the line lacks a figure.
    pub fn new(line: &Value, server_cpu_secs: f64) -> anyhow::Result<Self> {
        let figure = |name: &str| line.get(name).and_then(Value::as_f64);
        let needed = |name: &str| {
            figure(name).ok_or_else(|| anyhow::anyhow!("a client's line lacks «{name}»: {line}"))
        };
        let count = |name: &str| line.get(name).and_then(Value::as_u64).unwrap_or(0);
        let ops = needed("count")?;
        Ok(Sample {
            ops,
            secs: ops / needed("ops_per_sec")?.max(f64::MIN_POSITIVE),
            client_cpu_secs: ops * needed(CLIENT_CPU_FIELD)? / 1e6,
            server_cpu_secs,
            p50_us: figure("p50_us").unwrap_or(0.0),
            p99_us: figure("p99_us").unwrap_or(0.0),
            faults: count("errors") + count("wrong"),
        })
    }

    /// Both together: the same phase, repeated within a round. Of latencies the greater stays.
    #[must_use]
    pub fn with(self, other: Sample) -> Sample {
        Sample {
            ops: self.ops + other.ops,
            secs: self.secs + other.secs,
            client_cpu_secs: self.client_cpu_secs + other.client_cpu_secs,
            server_cpu_secs: self.server_cpu_secs + other.server_cpu_secs,
            p50_us: self.p50_us.max(other.p50_us),
            p99_us: self.p99_us.max(other.p99_us),
            faults: self.faults + other.faults,
        }
    }

    fn rate(&self) -> f64 {
        self.ops / self.secs
    }

    fn client_us(&self) -> f64 {
        self.client_cpu_secs * 1e6 / self.ops
    }

    fn server_us(&self) -> f64 {
        self.server_cpu_secs * 1e6 / self.ops
    }
}

/// All samples: one a phase and round.
#[derive(Default)]
pub struct Figures {
    order: Vec<&'static str>,
    samples: BTreeMap<Phase, Vec<Sample>>,
}

/// Medians over the rounds of one phase, and of its ratios to the echo of the same round.
struct Row {
    phase: Phase,
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    client_us: f64,
    server_us: f64,
    rate_ratio: f64,
    client_ratio: f64,
    server_ratio: f64,
    rounds: usize,
    faults: u64,
}

impl Figures {
    /// Adds a round's sample.
    pub fn add(&mut self, phase: Phase, sample: Sample) {
        if !self.order.contains(&phase.op) {
            self.order.push(phase.op);
        }
        self.samples.entry(phase).or_default().push(sample);
    }

    /// How many operations failed or returned something wrong.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.samples.values().flatten().map(|sample| sample.faults).sum()
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> =
            self.samples.iter().map(|(phase, samples)| self.row(*phase, samples)).collect();
        let place = |op| self.order.iter().position(|known| *known == op);
        rows.sort_by_key(|row| (row.phase.concurrency, row.phase.setup, place(row.phase.op)));
        rows
    }

    fn row(&self, phase: Phase, samples: &[Sample]) -> Row {
        let echo = Phase { setup: Setup::Echo, op: ECHO, ..phase };
        let echoes = self.samples.get(&echo).map_or(&[][..], Vec::as_slice);
        let of =
            |figure: fn(&Sample) -> f64| median(&samples.iter().map(figure).collect::<Vec<_>>());
        let ratio = |figure: fn(&Sample) -> f64| {
            let pairs = samples.iter().zip(echoes);
            median(&pairs.map(|(node, echo)| figure(node) / figure(echo)).collect::<Vec<_>>())
        };
        Row {
            phase,
            rate: of(Sample::rate),
            p50_us: of(|sample| sample.p50_us),
            p99_us: of(|sample| sample.p99_us),
            client_us: of(Sample::client_us),
            server_us: of(Sample::server_us),
            rate_ratio: ratio(Sample::rate),
            client_ratio: ratio(Sample::client_us),
            server_ratio: ratio(Sample::server_us),
            rounds: samples.len(),
            faults: samples.iter().map(|sample| sample.faults).sum(),
        }
    }

    /// One JSON object a phase.
    pub fn print_json(&self) {
        for row in self.rows() {
            println!(
                "{}",
                json!({
                    "setup": row.phase.setup.name(), "op": row.phase.op,
                    "concurrency": row.phase.concurrency, "rounds": row.rounds,
                    "ops_per_sec": rounded(row.rate), "p50_us": row.p50_us, "p99_us": row.p99_us,
                    CLIENT_CPU_FIELD: rounded(row.client_us),
                    "cpu_us_per_op_server": rounded(row.server_us),
                    "rate_to_echo": rounded(row.rate_ratio),
                    "client_cpu_to_echo": rounded(row.client_ratio),
                    "server_cpu_to_echo": rounded(row.server_ratio),
                    "faults": row.faults,
                })
            );
        }
    }

    /// The table.
    pub fn print_table(&self) {
        println!(
            "{:>9}  {:<8} {:<7} {:>9} {:>8} {:>8} {:>8} {:>8}   {:>5} {:>6} {:>6}",
            "in flight",
            "against",
            "op",
            "ops/s",
            "p50 us",
            "p99 us",
            "client",
            "server",
            "ops/s",
            "client",
            "server"
        );
        println!("{:>55} {:>17}   {:>20}", "", "CPU us per op", "against the echo");
        for row in self.rows() {
            println!(
                "{:>9}  {:<8} {:<7} {:>9.0} {:>8.0} {:>8.0} {:>8.1} {:>8.1}   {:>5.2} {:>6.2} {:>6.2}",
                row.phase.concurrency,
                row.phase.setup.name(),
                row.phase.op,
                row.rate,
                row.p50_us,
                row.p99_us,
                row.client_us,
                row.server_us,
                row.rate_ratio,
                row.client_ratio,
                row.server_ratio,
            );
        }
    }
}

/// The echo's only operation.
pub const ECHO: &str = "echo";

/// The middle one; of an even number the mean of the two in the middle; 0 of none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or(0.0);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => at(count / 2),
        count => (at(count / 2 - 1) + at(count / 2)) / 2.0,
    }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rate: f64, client_us: f64, server_us: f64) -> Sample {
        let line = json!({"count": 1000, "ops_per_sec": rate, CLIENT_CPU_FIELD: client_us});
        Sample::new(&line, server_us * 1000.0 / 1e6).unwrap()
    }

    #[test]
    fn a_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_ratio_compares_with_the_echo_of_the_same_round() {
        let mut figures = Figures::default();
        let echo = Phase { concurrency: 64, setup: Setup::Echo, op: ECHO };
        let get = Phase { setup: Setup::Solo, op: "get", ..echo };
        // The machine halves its speed in the second round, and the ratio stays.
        for speed in [2.0, 1.0, 2.0] {
            figures.add(echo, sample(100.0 * speed, 10.0 / speed, 5.0 / speed));
            figures.add(get, sample(50.0 * speed, 40.0 / speed, 10.0 / speed));
        }
        let rows = figures.rows();
        let row = rows.iter().find(|row| row.phase == get).unwrap();
        let close = |found: f64, expected: f64| (found - expected).abs() < 1e-9;
        assert!(close(row.rate_ratio, 0.5) && close(row.client_ratio, 4.0));
        assert!(close(row.server_ratio, 2.0) && close(row.rate, 100.0));
    }

    #[test]
    fn repeats_weigh_by_their_operations() {
        let both = sample(100.0, 10.0, 1.0).with(sample(300.0, 20.0, 3.0));
        assert!((both.rate() - 150.0).abs() < 1e-9);
        assert!((both.client_us() - 15.0).abs() < 1e-9 && (both.server_us() - 2.0).abs() < 1e-9);
    }
}
