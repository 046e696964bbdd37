//! Kill -9 under load, again and again, and what became of every put that was acknowledged.
//!
//! Each round puts through the client, many at once, into a network of three nodes, kills one of them
//! or all at a random moment, starts what was killed again, and asks *each node that acknowledged a
//! put* for that very record: another's copy does not make up for a loss. Some of the records of
//! earlier rounds are asked for too, and read through the network. After the last round all nodes are
//! killed once more, and every record of every round is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dht_client::Identity;
use dht_kad::codec::{decode_response, encode_request};
use dht_kad::message::{Found, RecordBytes, Request, Response};
use dht_kad::{NodeId, ValidRecord};
use futures_util::stream::{self, StreamExt};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use tokio::time::timeout;

use crate::network::Network;
use crate::user::{User, runtime, wait_for};
use crate::waiting::{self, LIMIT};
use crate::wire::{WirePeer, find_of};

/// Nodes of the network.
const NODES: usize = 3;
/// Puts at once.
const WRITERS: u64 = 16;
/// The earliest and the latest moment of a kill after the load began.
const KILL_AFTER_MS: (u64, u64) = (30, 300);
/// One round in so many kills all nodes.
const ALL_ONE_IN: u64 = 4;
/// How long puts that are under way at the kill may still succeed, before they are given up: those
/// that only wait for a dead node would wait for their time limit.
const GRACE: Duration = Duration::from_millis(300);
/// Records of earlier rounds that a round asks for again.
const SAMPLE: usize = 200;
/// Records that a round reads through the network.
const READ: usize = 20;
/// Requests at once when records are asked for.
const ASKED_AT_ONCE: usize = 64;

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CrashReport {
    /// Rounds that were done.
    pub rounds: u64,
    /// Nodes that were killed.
    pub kills: u64,
    /// Puts that were acknowledged.
    pub acknowledged: u64,
    /// Copies that nodes acknowledged and were asked for at least once.
    pub copies: u64,
    /// What was lost, a sentence each.
    pub lost: Vec<String>,
}

/// A put that was acknowledged, and by whom.
struct Acknowledged {
    record: ValidRecord,
    by: Vec<NodeId>,
}

/// A run: the network, the chance, and all that was acknowledged.
struct Run {
    network: Network,
    chance: ChaCha8Rng,
    kept: Vec<Acknowledged>,
    report: CrashReport,
}

/// Does so many rounds, or fewer if something is lost, and tells `progress` after each.
pub fn run(rounds: u64, seed: u64, mut progress: impl FnMut(&CrashReport)) -> CrashReport {
    let mut run = Run {
        network: Network::start(NODES),
        chance: ChaCha8Rng::seed_from_u64(seed),
        kept: Vec::new(),
        report: CrashReport::default(),
    };
    for round in 0..rounds {
        run.round(round);
        progress(&run.report);
        if !run.report.lost.is_empty() {
            return run.report;
        }
    }
    run.network.kill_all();
    run.network.start_all();
    let all: Vec<usize> = (0..run.kept.len()).collect();
    run.ask_holders(&all);
    run.report.copies = run.kept.iter().map(|kept| kept.by.len() as u64).sum();
    run.report
}

impl Run {
    fn round(&mut self, round: u64) {
        let mut secret = [0; 32];
        self.chance.fill_bytes(&mut secret);
        let user = User::with_identity(&Identity::from_root(&secret), &self.network.peers());
        let first_new = self.kept.len();
        let victims = self.victims();
        let new = self.load_and_kill(&user, round, &victims);
        self.kept.extend(new);
        for victim in &victims {
            self.network[*victim].spawn();
        }
        for victim in &victims {
            self.network[*victim].await_ready();
        }
        self.report.rounds += 1;
        self.report.kills += victims.len() as u64;
        self.report.acknowledged = self.kept.len() as u64;

        let mut asked: Vec<usize> = (first_new..self.kept.len()).collect();
        if first_new > 0 {
            asked.extend((0..SAMPLE).map(|_| self.below(first_new as u64) as usize));
        }
        self.ask_holders(&asked);
        self.read_through_the_network(&user, first_new);
    }

    /// Puts with many writers, kills in the midst of it, and returns what was acknowledged.
    fn load_and_kill(&mut self, user: &User, round: u64, victims: &[usize]) -> Vec<Acknowledged> {
        let ended = Arc::new(AtomicBool::new(false));
        let sizes: Vec<usize> = (0..WRITERS).map(|_| self.size()).collect();
        let writers: Vec<_> = (0..WRITERS)
            .zip(sizes)
            .map(|(writer, size)| {
                let puts = write(user, round, writer, size, Arc::clone(&ended));
                runtime().spawn(puts)
            })
            .collect();
        let (first, last) = KILL_AFTER_MS;
        let kill_at = Instant::now() + Duration::from_millis(first + self.below(last - first));
        while Instant::now() < kill_at {
            waiting::pause();
        }
        for victim in victims {
            self.network[*victim].kill();
        }
        ended.store(true, Ordering::SeqCst);
        writers.into_iter().flat_map(|writer| wait_for(writer).expect("a writer")).collect()
    }

    fn victims(&mut self) -> Vec<usize> {
        match self.below(ALL_ONE_IN) {
            0 => (0..NODES).collect(),
            _ => vec![self.below(NODES as u64) as usize],
        }
    }

    /// Mostly small values, some that the store keeps apart from their heads.
    fn size(&mut self) -> usize {
        match self.below(8) {
            0 => 8_000 + self.below(20_000) as usize,
            _ => self.below(1_500) as usize,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.chance.next_u64() % bound
    }

    /// Asks each node that acknowledged one of these records for its copy.
    fn ask_holders(&mut self, numbers: &[usize]) {
        let peers: BTreeMap<NodeId, WirePeer> =
            self.network.nodes().iter().map(|node| (node.id(), WirePeer::to(node))).collect();
        let kept = &self.kept;
        let copies = numbers.iter().flat_map(|number| {
            let Acknowledged { record, by } = &kept[*number];
            by.iter().map(move |node| (node, record))
        });
        let answers = copies.map(|(node, record)| {
            let request = encode_request(&Request::Find(find_of(record.id()))).expect("a request");
            let answer = peers[node].connection().request(request);
            async move {
                let answer = timeout(LIMIT, answer).await.expect("an answer within the limit");
                let held = held_in(&answer.expect("an answer"));
                (held.as_ref() != Some(record.bytes())).then(|| {
                    let found = if held.is_some() { "another version" } else { "nothing" };
                    format!(
                        "{node} acknowledged slot {} of {} and has {found}",
                        record.slot(),
                        record.id().key
                    )
                })
            }
        });
        let lost: Vec<Option<String>> =
            wait_for(stream::iter(answers).buffer_unordered(ASKED_AT_ONCE).collect());
        self.report.lost.extend(lost.into_iter().flatten());
    }

    /// Reads some of the newest records as any user would.
    fn read_through_the_network(&mut self, user: &User, first_new: usize) {
        for Acknowledged { record, .. } in self.kept[first_new..].iter().rev().take(READ) {
            let slot = dht_client::Slot::Owned {
                publisher: *record.publisher(),
                label: *record.label(),
                slot: record.slot(),
            };
            let found = user.get(&slot).map(|report| report.record.bytes().clone());
            if found.as_ref() != Ok(record.bytes()) {
                let sentence =
                    format!("slot {} is not found through the network: {found:?}", record.slot());
                self.report.lost.push(sentence);
            }
        }
    }
}

/// One writer: puts until it is told to end, and gives up what is then under way too long.
fn write(
    user: &User,
    round: u64,
    writer: u64,
    size: usize,
    ended: Arc<AtomicBool>,
) -> impl Future<Output = Vec<Acknowledged>> + Send + 'static {
    let (client, label) = (user.client().clone(), format!("round {round} writer {writer}"));
    let label = client.label(&label);
    async move {
        let mut acknowledged = Vec::new();
        for slot in 0.. {
            let put = dht_client::Put {
                slot,
                first_version: true,
                ..dht_client::Put::owned(label, Bytes::from(vec![slot as u8; size]))
            };
            let mut putting = Box::pin(client.put(put));
            let report = loop {
                match timeout(GRACE, &mut putting).await {
                    Ok(report) => break report.ok(),
                    Err(_) if ended.load(Ordering::SeqCst) => break None,
                    Err(_) => {}
                }
            };
            if let Some(report) = report {
                let by = report.outcome.stored.iter().map(|(node, _)| node.id).collect();
                acknowledged.push(Acknowledged { record: report.record, by });
            }
            if ended.load(Ordering::SeqCst) {
                return acknowledged;
            }
        }
        acknowledged
    }
}

/// The record in an answer to a find of one.
fn held_in(answer: &Bytes) -> Option<Bytes> {
    match decode_response(answer) {
        Ok(Response::Found(Found { records, .. })) => {
            records.into_iter().next().map(|RecordBytes(bytes)| bytes)
        }
        other => panic!("not an answer to a find: {other:?}"),
    }
}
