//! The tables that are printed.

use super::filling::{self, Fill};
use super::load::Span;
use super::rounds::{self, EqualRound, Figures, PARTS};

/// Prints what rounds cost.
pub fn print_rounds(sizes: rounds::Sizes, figures: &Figures) {
    let rounds::Sizes { records, differing, body_bytes } = sizes;
    println!("two holders of {records} records with bodies of {body_bytes} bytes");
    let equal = |name: &str, round: EqualRound| {
        let (bytes, cpu_ms) = (round.bytes, round.cpu_secs * 1e3);
        println!("  {name:42} {bytes:9} bytes  {cpu_ms:8.2} ms of CPU, both sides");
    };
    equal("identical, one round", figures.equal);
    equal(&format!("identical, one round over {PARTS} parts"), figures.equal_in_parts);
    let (found, fetched) = (figures.differing.compare_bytes, figures.differing.fetch_bytes);
    let (all, own) = (found + fetched, figures.lacking_bytes);
    let ratio = all as f64 / own.max(1) as f64;
    println!("  {:42} {found:9} bytes", format!("{differing} differ: found by"));
    println!("  {:42} {fetched:9} bytes", "  fetched by");
    println!("  {:42} {all:9} bytes  {ratio:8.2} times their own {own}", "  in all");
    let per_million = 1e6 / records.max(1) as f64;
    let (wall, cpu) = (figures.open_secs * per_million, figures.open_cpu_secs * per_million);
    println!("  {:42} {wall:9.2} s      {cpu:8.2} s of CPU", "fingerprints at open, per million");
}

/// Prints what filling new nodes did to the foreground.
pub fn print_fills(sizes: filling::Sizes, fills: &[Fill]) {
    let filling::Sizes { records, body_bytes, rate, .. } = sizes;
    println!(
        "{rate} puts and {rate} gets a second; new nodes take {records} records of {body_bytes} bytes"
    );
    println!("  span           s    done  failed   put p50   put p99   get p50   get p99  (ms)");
    for (number, fill) in (1..).zip(fills) {
        print_span(&format!("quiet {number}"), &fill.quiet);
        print_span(&format!("fill {number}"), &fill.during);
    }
    let all = |span: fn(&Fill) -> &Span| {
        fills.iter().map(span).cloned().reduce(|one, other| one.with(&other))
    };
    if let (Some(quiet), Some(during)) = (all(|fill| &fill.quiet), all(|fill| &fill.during)) {
        print_span("all quiet", &quiet);
        print_span("all fills", &during);
        let (puts, gets) = ratios(&during, &quiet);
        println!("  all fills: p99 of puts x {puts:.2}, of gets x {gets:.2}");
    }
    for (number, fill) in (1..).zip(fills) {
        let secs = fill.took.as_secs_f64();
        let mib = fill.fetched_bytes as f64 / f64::from(1 << 20) / secs;
        let (puts, gets) = ratios(&fill.during, &fill.quiet);
        println!(
            "  fill {number}: {secs:.1} s, {:.0} records and {mib:.2} MiB a second; p99 of puts x {puts:.2}, of gets x {gets:.2}",
            records as f64 / secs
        );
    }
}

fn print_span(name: &str, span: &Span) {
    let millis = |histogram: &hdrhistogram::Histogram<u64>, quantile| {
        histogram.value_at_quantile(quantile) as f64 / 1e3
    };
    let done = span.puts.len() + span.gets.len();
    println!(
        "  {name:10} {:6.1} {done:7} {:7} {:9.2} {:9.2} {:9.2} {:9.2}",
        span.lasted.as_secs_f64(),
        span.failed,
        millis(&span.puts, 0.5),
        millis(&span.puts, 0.99),
        millis(&span.gets, 0.5),
        millis(&span.gets, 0.99),
    );
}

/// By what the p99 of puts and of gets is longer.
fn ratios(during: &Span, quiet: &Span) -> (f64, f64) {
    let p99 = |histogram: &hdrhistogram::Histogram<u64>| histogram.value_at_quantile(0.99) as f64;
    let ratio = |during, quiet| p99(during) / p99(quiet).max(1.0);
    (ratio(&during.puts, &quiet.puts), ratio(&during.gets, &quiet.gets))
}
