//! Running the lookup machines: who is asked next is decided in `dht-kad`, here it is asked.
//!
//! A lookup is one task that owns its machine. Questions are under way side by side; a slow one is
//! reported to the machine, which may then ask another node beside it.

use std::collections::VecDeque;
use std::time::Duration;

use dht_kad::NodeId;
use dht_kad::lookup::{ClosestLookup, Step, ValueLookup, ValueStep, Want};
use dht_kad::message::NodeInfo;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use crate::requests::AskError;

/// What both lookup machines have in common.
pub(crate) trait Machine {
    /// What one server is asked.
    type Question;
    /// What to do next.
    fn next_move(&mut self) -> Move<Self::Question>;
    /// An answer is late.
    fn slow(&mut self, from: &NodeId);
    /// No answer will come.
    fn failed(&mut self, from: &NodeId);
}

/// What a machine wants.
pub(crate) enum Move<Q> {
    /// Ask this node.
    Ask(NodeId, Q),
    /// An answer is needed first.
    Wait,
    /// It is over.
    Done,
}

impl Machine for ClosestLookup {
    type Question = NodeInfo;

    fn next_move(&mut self) -> Move<NodeInfo> {
        match self.next() {
            Step::Ask(node) => Move::Ask(node.id, node),
            Step::Wait => Move::Wait,
            Step::Done => Move::Done,
        }
    }

    fn slow(&mut self, from: &NodeId) {
        self.on_slow(from);
    }

    fn failed(&mut self, from: &NodeId) {
        self.on_failure(from);
    }
}

impl Machine for ValueLookup {
    type Question = (NodeInfo, Want);

    fn next_move(&mut self) -> Move<(NodeInfo, Want)> {
        match self.next() {
            ValueStep::Ask { node, want } => Move::Ask(node.id, (node, want)),
            ValueStep::Wait => Move::Wait,
            ValueStep::Done => Move::Done,
        }
    }

    fn slow(&mut self, from: &NodeId) {
        self.on_slow(from);
    }

    fn failed(&mut self, from: &NodeId) {
        self.on_failure(from);
    }
}

/// Runs a machine to its end. `ask` starts a question, `take` hands an answer to the machine.
pub(crate) async fn walk<M: Machine, A: Send + 'static>(
    machine: &mut M,
    slow: Duration,
    ask: impl Fn(M::Question) -> BoxFuture<'static, Result<A, AskError>>,
    mut take: impl FnMut(&mut M, NodeId, A),
) {
    let mut under_way = FuturesUnordered::new();
    let mut not_slow_yet: VecDeque<(Instant, NodeId)> = VecDeque::new();
    loop {
        match machine.next_move() {
            Move::Ask(id, question) => {
                let answer = ask(question);
                not_slow_yet.push_back((Instant::now() + slow, id));
                under_way.push(answer.map(move |answer| (id, answer)));
                continue;
            }
            Move::Done => return,
            Move::Wait => {}
        }
        let next_slow = not_slow_yet.front().map(|(at, _)| *at);
        tokio::select! {
            biased;
            answered = under_way.next() => match answered {
                Some((id, Ok(answer))) => take(machine, id, answer),
                Some((id, Err(error))) => {
                    tracing::debug!(peer = %id, %error, "a lookup got no answer");
                    machine.failed(&id);
                }
                // The machine waits for answers that nobody owes: a fault of ours, not an endless wait.
                None => return,
            },
            () = sleep_until(next_slow) => {
                if let Some((_, id)) = not_slow_yet.pop_front() {
                    machine.slow(&id);
                }
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits for `futures` until `enough` says so; the rest are dropped.
pub(crate) async fn gather<T>(
    futures: impl IntoIterator<Item = BoxFuture<'static, T>>,
    mut enough: impl FnMut(T) -> bool,
) {
    let mut under_way: FuturesUnordered<_> = futures.into_iter().collect();
    while let Some(result) = under_way.next().await {
        if enough(result) {
            return;
        }
    }
}
