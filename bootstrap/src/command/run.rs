//! `run`: the node itself, until a signal ends it.

use std::io::Write;

use dht_bootstrap::config::{Config, RunFlags, RunMode};
use dht_bootstrap::logging;
use dht_bootstrap::node::{Node, StartError};
use dht_kad::ErrorNumber;
use futures_util::StreamExt;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::runtime::Runtime;

use super::Failure;

pub(super) fn run(flags: &RunFlags) -> Result<(), Failure> {
    let config = prepare(flags)?;
    runtime()?.block_on(serve(config))
}

/// The configuration, checked; from here on the process logs, and ends with the first fault.
pub(super) fn prepare(flags: &RunFlags) -> Result<Config, Failure> {
    let config = Config::load(flags).map_err(|error| Failure::new(error.number(), error))?;
    if config.mode == RunMode::Auto {
        let sentence = "mode auto is not built yet; choose server or client";
        return Err(Failure::new(ErrorNumber::NotBuiltYet, sentence));
    }
    logging::start(config.log).map_err(|error| Failure::new(ErrorNumber::Internal, error))?;
    // A node that goes on after a fault of its own would promise what it cannot know.
    abort_on_panic();
    Ok(config)
}

/// One network thread: with two workers the same request costs several times the CPU.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        let sentence = format!("no runtime could be started ({error}); check the limits on files");
        Failure::new(ErrorNumber::Internal, sentence)
    })
}

/// SIGTERM and SIGINT, which end the process in order from here on.
pub(super) fn signals() -> Result<Signals, Failure> {
    Signals::new([SIGTERM, SIGINT]).map_err(|error| {
        let sentence = format!("signals cannot be handled ({error}); start it again");
        Failure::new(ErrorNumber::Internal, sentence)
    })
}

async fn serve(config: Config) -> Result<(), Failure> {
    // Before anything is opened, so that a signal during the start ends it in order, too.
    let mut signals = signals()?;
    let node = Node::start(config)
        .await
        .map_err(|error: StartError| Failure::new(error.number(), error))?;
    let signal = tokio::select! {
        biased;
        signal = signals.next() => signal,
        () = node.ready() => {
            announce(&node);
            signals.next().await
        }
    };
    let name = signal.and_then(signal_hook::low_level::signal_name).unwrap_or("a signal");
    tracing::info!(signal = name, "stopping");
    notify(&[NotifyState::Stopping]);
    node.stop().await;
    tracing::info!("stopped; everything acknowledged is on disk");
    Ok(())
}

/// Tells the terminal and systemd that the node is usable.
fn announce(node: &Node) {
    let listen: Vec<String> = node.listen().iter().map(ToString::to_string).collect();
    let listen = listen.join(",");
    println!("ready node={} listen={listen}", node.id());
    // Whoever reads the line through a pipe is waiting for it.
    if let Err(error) = std::io::stdout().flush() {
        tracing::warn!(%error, "the ready line could not be written");
    }
    tracing::info!(node = %node.id(), %listen, "ready");
    notify(&[NotifyState::Ready]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        tracing::error!(%info, "a fault of this program; it ends, systemd starts it again");
        report(info);
        std::process::abort();
    }));
}
