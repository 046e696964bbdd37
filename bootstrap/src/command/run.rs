//! `run`: the node itself, until a signal ends it.
//!
//! ```text
//! start ─▶ ready ─▶ SIGHUP: the configuration is read again ─▶ … ─▶ SIGTERM or SIGINT ─▶ stop
//!   └─ SIGTERM or SIGINT: stops as soon as what was begun is whole
//! ```

use std::convert::Infallible;
use std::future;
use std::pin::pin;

use clap::Args;
use dht_bootstrap::config::{Config, RunFlags, RunMode};
use dht_bootstrap::logging::{self, LogLevel};
use dht_bootstrap::node::{Node, StartError};
use dht_bootstrap::reload::Reload;
use dht_bootstrap::service_manager::{ServiceManager, watchdog_limit};
use dht_bootstrap::watchdog::Watchdog;
use dht_kad::ErrorNumber;
use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook_tokio::Signals;
use tokio::runtime::Runtime;

use super::{Failure, print};

/// The signals that end the process in order.
pub(super) const ENDING: [i32; 2] = [SIGTERM, SIGINT];

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    flags: RunFlags,
    /// For tests of watchdogs: block the network thread for ever on SIGUSR2
    #[arg(long, hide = true)]
    debug_wedge_on_usr2: bool,
}

impl Run {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let (config, level) = prepare(&self.flags)?;
        runtime()?.block_on(self.serve(config, level))
    }

    async fn serve(&self, config: Config, level: LogLevel) -> Result<(), Failure> {
        // Before anything is opened, so that a signal during the start ends it in order, too.
        let mut signals = signals(&[&ENDING[..], &[SIGHUP]].concat())?;
        let mut wedge = match self.debug_wedge_on_usr2 {
            true => Some(self::signals(&[SIGUSR2])?),
            false => None,
        };
        let manager = ServiceManager::new();
        let Some((node, mut reload)) = self.start(config, level, &mut signals, &manager).await?
        else {
            return Ok(());
        };
        let signal = tokio::select! {
            biased;
            signal = end_of(&node, &mut reload, &mut signals, &manager) => signal?,
            never = wedged(&mut wedge) => match never {},
            never = manager.keep_saying(|| node.status()) => match never {},
        };
        stop(node, signal, &manager).await;
        Ok(())
    }

    /// Starts the node. A signal meanwhile ends the process once the start is over: what was begun, such
    /// as the replay of the store's log, is not torn apart; nothing is returned then.
    async fn start(
        &self,
        config: Config,
        level: LogLevel,
        signals: &mut Signals,
        manager: &ServiceManager,
    ) -> Result<Option<(Node, Reload)>, Failure> {
        let refused = |error: StartError| Failure::new(error.number(), error);
        manager.say("starting: the store is opened");
        let mut starting = pin!(Node::start(config.clone()));
        let node = tokio::select! {
            biased;
            signal = next_ending(signals) => {
                manager.stopping();
                manager.say("stopping as soon as the store is open");
                let node = manager.patient(starting).await.map_err(refused)?;
                stop(node, signal, manager).await;
                return Ok(None);
            }
            node = &mut starting => node.map_err(refused)?,
        };
        let context = node.context().clone();
        let reload = Reload::new(self.flags.clone(), config, level, context);
        Ok(Some((node, reload)))
    }
}

/// The configuration, checked; from here on the process logs, and ends with the first fault.
pub(super) fn prepare(flags: &RunFlags) -> Result<(Config, LogLevel), Failure> {
    let config = Config::load(flags).map_err(|error| Failure::new(error.number(), error))?;
    if config.mode == RunMode::Auto {
        let sentence = "mode auto is not built yet; choose server or client";
        return Err(Failure::new(ErrorNumber::NotBuiltYet, sentence));
    }
    let level = logging::start(config.log);
    let level = level.map_err(|error| Failure::new(ErrorNumber::Internal, error))?;
    // A node that goes on after a fault of its own would promise what it cannot know.
    abort_on_panic();
    Ok((config, level))
}

/// One network thread: with two workers the same request costs several times the CPU.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        let sentence = format!("no runtime could be started ({error}); check the limits on files");
        Failure::new(ErrorNumber::Internal, sentence)
    })
}

/// These signals, which do nothing else from here on.
pub(super) fn signals(which: &[i32]) -> Result<Signals, Failure> {
    Signals::new(which).map_err(|error| {
        let sentence = format!("signals cannot be handled ({error}); start it again");
        Failure::new(ErrorNumber::Internal, sentence)
    })
}

/// Says that the node is ready when it is, keeps a watchdog from then on, and obeys signals until one
/// ends the process; returns that.
async fn end_of(
    node: &Node,
    reload: &mut Reload,
    signals: &mut Signals,
    manager: &ServiceManager,
) -> Result<i32, Failure> {
    loop {
        tokio::select! {
            biased;
            signal = signals.next() => match signal {
                // The service manager is not told: it takes the end of a reload for readiness.
                Some(SIGHUP) => reload.reload(),
                signal => return Ok(signal.unwrap_or(SIGTERM)),
            },
            () = node.ready() => break,
        }
    }
    announce(node, manager);
    let _until_the_end = watch(node, manager)?;
    loop {
        match signals.next().await {
            Some(SIGHUP) => {
                manager.reloading();
                reload.reload();
                manager.ready();
            }
            signal => return Ok(signal.unwrap_or(SIGTERM)),
        }
    }
}

/// Has the node watched, if the service manager asks for it.
fn watch(node: &Node, manager: &ServiceManager) -> Result<Option<Watchdog>, Failure> {
    let Some(limit) = watchdog_limit() else { return Ok(None) };
    let watchdog = Watchdog::start(node.watched(), limit, manager.clone()).map_err(|error| {
        let sentence = format!("the watchdog cannot start ({error}); raise the limit on tasks");
        Failure::new(ErrorNumber::Internal, sentence)
    })?;
    Ok(Some(watchdog))
}

/// The next signal that ends the process. One that asks for the configuration to be read is not needed
/// yet: that has just been done.
async fn next_ending(signals: &mut Signals) -> i32 {
    loop {
        match signals.next().await {
            Some(SIGHUP) => {}
            signal => return signal.unwrap_or(SIGTERM),
        }
    }
}

async fn stop(node: Node, signal: i32, manager: &ServiceManager) {
    let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
    tracing::info!(signal = name, "stopping");
    manager.stopping();
    manager.say("stopping: what was put last is handed over, and the store is written out");
    manager.patient(node.stop()).await;
    tracing::info!("stopped; everything acknowledged is on disk");
}

/// Tells the terminal and systemd that the node is usable.
fn announce(node: &Node, manager: &ServiceManager) {
    let listen: Vec<String> = node.listen().iter().map(ToString::to_string).collect();
    let listen = listen.join(",");
    if let Err(failure) = print::line(format_args!("ready node={} listen={listen}", node.id())) {
        tracing::warn!(error = %failure, "the ready line could not be written");
    }
    tracing::info!(node = %node.id(), %listen, "ready");
    manager.ready();
}

/// Blocks this thread, the network's, for ever when the signal comes; never, if it is not looked for.
async fn wedged(signals: &mut Option<Signals>) -> Infallible {
    match signals {
        None => future::pending().await,
        Some(signals) => {
            signals.next().await;
            tracing::warn!("the network thread is blocked for ever, as SIGUSR2 asked for");
            loop {
                std::thread::park();
            }
        }
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
