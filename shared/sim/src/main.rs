//! `dht-sim`: plays a scenario, prints what became of it, and fails if the promise was broken.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use dht_sim::disk::DiskModel;
use dht_sim::transport::{LinkModel, Purpose};
use dht_sim::{Failure, Fault, Run, Sent, Settings, report, scenario, simulate, simulate_watched};

/// Plays scenarios in simulated networks of real nodes. One seed always gives one run.
#[derive(Parser)]
#[command(name = "dht-sim", version)]
struct Arguments {
    /// The scenario to play
    #[arg(required_unless_present = "list")]
    scenario: Option<String>,
    /// Say which scenarios there are
    #[arg(long)]
    list: bool,
    /// The number that everything left to chance follows from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many nodes; as many as the scenario is meant for unless given
    #[arg(long)]
    nodes: Option<usize>,
    /// Of a thousand packets so many are lost
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=500))]
    loss: u32,
    /// The slowest fsync, in milliseconds; the quickest takes a twentieth
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    sync_ms: u64,
    /// Put a fault back that other systems had; --list names them
    #[arg(long)]
    fault: Option<Fault>,
    /// Write a page with plots over time into this directory
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.list {
        for scenario in scenario::ALL {
            println!("{}: {}", scenario.name(), scenario.about());
        }
        for fault in Fault::ALL {
            println!("--fault {fault}: {}", fault.about());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let name = arguments.scenario.as_deref().unwrap_or_default();
    let story = scenario::find(name)
        .with_context(|| format!("there is no scenario «{name}»; --list names them"))?;
    let settings = Settings {
        links: LinkModel { loss_permille: arguments.loss, ..LinkModel::default() },
        disks: DiskModel {
            sync_shortest: Duration::from_millis(arguments.sync_ms) / 20,
            sync_longest: Duration::from_millis(arguments.sync_ms),
        },
        fault: arguments.fault,
        ..Settings::new(arguments.seed, arguments.nodes.unwrap_or(story.nodes()))
    };
    let no_runtime = "the system gives no runtime; close other programs and try again";
    let mut run = match &arguments.report {
        None => simulate(story, settings).context(no_runtime)?,
        Some(dir) => {
            let (run, samples) = simulate_watched(story, settings).context(no_runtime)?;
            let name = format!("{}-{}.html", run.scenario, settings.seed);
            std::fs::create_dir_all(dir)
                .and_then(|()| std::fs::write(dir.join(name), report::page(&run, &samples)))
                .with_context(|| format!("{} cannot be written to", dir.display()))?;
            run
        }
    };
    // Whoever tells other stories with this library may judge them by something else.
    if run.verdict.is_ok() && run.acknowledged == 0 {
        let nothing = "nothing was acknowledged, so nothing was shown; give more nodes";
        run.verdict = Err(Failure::Expected(nothing.to_owned()));
    }
    if arguments.json {
        print_json(&run)
    } else {
        print_lines(&run)
    }
    if let Err(failure) = &run.verdict {
        eprintln!("broken with --seed {} --nodes {}: {failure}", settings.seed, settings.nodes);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_lines(run: &Run) {
    println!("scenario={} seed={} nodes={}", run.scenario, run.settings.seed, run.settings.nodes);
    println!(
        "acknowledged={} checked={} lost_writes={} letters={} lived_secs={}",
        run.acknowledged,
        run.checked,
        run.lost_writes,
        run.letters,
        run.lived.as_secs()
    );
    for purpose in Purpose::ALL {
        let (bytes, requests) = (run.sent.bytes(purpose), run.sent.requests(purpose));
        if bytes > 0 {
            println!("sent for {}: {requests} requests, {bytes} bytes", purpose.name());
        }
    }
    for note in &run.notes {
        println!("{note}");
    }
    println!("trace={}", run.trace);
    println!("{}", if run.verdict.is_ok() { "kept" } else { "broken" });
}

fn print_json(run: &Run) {
    let object = serde_json::json!({
        "scenario": run.scenario,
        "seed": run.settings.seed,
        "nodes": run.settings.nodes,
        "kept": run.verdict.is_ok(),
        "broken": run.verdict.as_ref().err().map(ToString::to_string),
        "acknowledged": run.acknowledged,
        "checked": run.checked,
        "lost_writes": run.lost_writes,
        "letters": run.letters,
        "reads_found": run.reads.found,
        "reads_missed": run.reads.missed,
        "fault": run.settings.fault.map(Fault::name),
        "sent": sent_json(&run.sent),
        "lived_secs": run.lived.as_secs(),
        "notes": run.notes,
        "trace": run.trace,
    });
    println!("{object}");
}

/// Requests and bytes by purpose.
fn sent_json(sent: &Sent) -> serde_json::Value {
    let figures = |purpose: Purpose| {
        let (requests, bytes) = (sent.requests(purpose), sent.bytes(purpose));
        (purpose.name().to_owned(), serde_json::json!({ "requests": requests, "bytes": bytes }))
    };
    serde_json::Value::Object(Purpose::ALL.into_iter().map(figures).collect())
}
