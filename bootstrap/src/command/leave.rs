//! `leave`: the node's last run, in which it hands over all that it holds.

use std::time::Duration;

use dht_bootstrap::config::{Config, RunFlags, RunMode};
use dht_bootstrap::node::{Node, StartError};
use dht_context::replication::LeaveReport;
use dht_kad::ErrorNumber;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::run::{ENDING, prepare, runtime, signals};
use super::{Failure, print};

/// A line of progress is printed so often at most.
const SAY_EVERY: Duration = Duration::from_secs(2);
/// A network that was not reached within this is not handed anything.
const JOIN_LONGEST: Duration = Duration::from_secs(120);

pub(super) fn run(flags: &RunFlags) -> Result<(), Failure> {
    let (config, _) = prepare(flags)?;
    if config.mode != RunMode::Server || config.solo {
        let sentence = "only a server among others has something to hand over and somebody to take \
                        it; leave with mode server and without solo";
        return Err(Failure::new(ErrorNumber::Usage, sentence));
    }
    runtime()?.block_on(leave(config))
}

async fn leave(config: Config) -> Result<(), Failure> {
    let mut signals = signals(&ENDING)?;
    let node = Node::start(config).await.map_err(refuse)?;
    node.refuse_puts();
    let left = tokio::select! {
        biased;
        _ = signals.next() => {
            let sentence = "stopped before all was handed over; everything is still here, and leave \
                            can be started again";
            Err(Failure::new(ErrorNumber::QuorumNotReached, sentence))
        }
        left = hand_over(&node) => left,
    };
    node.stop().await;
    left
}

async fn hand_over(node: &Node) -> Result<(), Failure> {
    if tokio::time::timeout(JOIN_LONGEST, node.ready()).await.is_err() {
        let sentence = "the network was not reached, so nothing was handed over; check --bootstrap \
                        and start leave again";
        return Err(Failure::new(ErrorNumber::NoPeers, sentence));
    }
    print::line(format_args!("leaving node={}", node.id()))?;
    let mut said: Option<Instant> = None;
    let report = node
        .leave(|report| {
            if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
                said = Some(Instant::now());
                let LeaveReport { handed_over, not_confirmed } = report;
                // What is handed over does not depend on who reads this.
                let _ = print::line(format_args!(
                    "handing over: {handed_over} done, {not_confirmed} to go"
                ));
            }
        })
        .await;
    let LeaveReport { handed_over, not_confirmed } = report;
    if not_confirmed == 0 {
        return print::line(format_args!("left handed_over={handed_over}"));
    }
    let sentence = format!(
        "{handed_over} records were handed over and {not_confirmed} were not confirmed by enough \
         nodes; keep the data directory and start leave again when the network is well"
    );
    Err(Failure::new(ErrorNumber::QuorumNotReached, sentence))
}

fn refuse(error: StartError) -> Failure {
    if error.number() == ErrorNumber::DataDirInUse {
        let sentence = "the node runs still; stop the service first, then start leave again";
        return Failure::new(error.number(), sentence);
    }
    Failure::new(error.number(), error)
}
