//! One of three nodes away under load, and how long after its return all three hold the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dht_client::{Identity, Put, Retention};
use dht_kad::ValidRecord;
use futures_util::stream::{self, StreamExt};
use tokio::time::{MissedTickBehavior, interval};

use crate::network::Network;
use crate::sets::held_alike;
use crate::user::{User, runtime, wait_for};
use crate::waiting;
use crate::wire::WirePeer;

/// The node that is away.
const AWAY: usize = 2;
/// Bytes of each value.
const BODY_BYTES: usize = 1_024;
/// Values under one label.
const AT_ONE_KEY: u64 = 1_000;
/// Puts that are under way at once, at most: more than a second's load that is late.
const TOGETHER: usize = 256;
/// Of the records that were put meanwhile so many are read from the node that was away, evenly
/// spread over them.
const READ: usize = 1_000;

/// The load while the node is away.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How long.
    pub span: Duration,
    /// Puts a second.
    pub rate: u32,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Return {
    /// Puts that were acknowledged meanwhile.
    pub acknowledged: usize,
    /// Puts that failed meanwhile.
    pub failed: u64,
    /// Records that all three hold in the end.
    pub held: u64,
    /// From the start of the process that was away until it was ready.
    pub ready_after: Duration,
    /// From the start of the process that was away until all three held the same.
    pub alike_after: Duration,
}

/// Kills one of three nodes, loads the others, starts it again and waits until all are alike.
///
/// # Errors
/// A sentence: if they are not alike within `limit`, or the node lacks what it should have.
pub fn run(load: Load, limit: Duration) -> Result<Return, String> {
    let mut network = Network::start(3);
    let user = User::with_identity(&Identity::from_root(&[9; 32]), &network.peers());
    network[AWAY].kill();
    let (records, failed) = put_for(&user, load);

    let returned = Instant::now();
    network[AWAY].spawn();
    network[AWAY].await_ready();
    let ready_after = returned.elapsed();
    let held = loop {
        if let Some(held) = held_alike(network.nodes()) {
            break held;
        }
        if returned.elapsed() > limit {
            return Err(format!(
                "the nodes still differ {} s after the return: {}",
                limit.as_secs(),
                network[AWAY].status()
            ));
        }
        waiting::pause();
    };
    let alike_after = returned.elapsed();
    let node = WirePeer::to(&network[AWAY]);
    for record in records.iter().step_by((records.len() / READ).max(1)) {
        if node.find(record.id()).as_ref() != Some(record.bytes()) {
            return Err(format!("the node that was away lacks slot {}", record.slot()));
        }
    }
    if held < records.len() as u64 {
        return Err(format!("all hold {held} records, and {} were put", records.len()));
    }
    Ok(Return { acknowledged: records.len(), failed, held, ready_after, alike_after })
}

/// Puts values of every class, so many a second, and returns those that were acknowledged.
fn put_for(user: &User, load: Load) -> (Vec<ValidRecord>, u64) {
    let client = user.client().clone();
    let failed = Arc::new(AtomicU64::new(0));
    let failures = Arc::clone(&failed);
    let count = u64::from(load.rate) * load.span.as_secs();
    let task = runtime().spawn(async move {
        let mut tick = interval(Duration::from_secs(1) / load.rate);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let puts = stream::unfold((tick, 0), |(mut tick, slot)| async move {
            if slot == count {
                return None;
            }
            tick.tick().await;
            Some((slot, (tick, slot + 1)))
        });
        puts.map(|slot| {
            let (client, failures) = (client.clone(), Arc::clone(&failures));
            let retention = Retention::ALL[(slot % 3) as usize];
            let body = Bytes::from(vec![slot as u8; BODY_BYTES]);
            // Fewer at one key than it may hold.
            let label = client.label(&format!("away {}", slot / AT_ONE_KEY));
            let put = Put { slot, retention, first_version: true, ..Put::owned(label, body) };
            async move {
                let report = client.put(put).await;
                failures.fetch_add(u64::from(report.is_err()), Ordering::Relaxed);
                report.ok().map(|report| report.record)
            }
        })
        .buffer_unordered(TOGETHER)
        .filter_map(std::future::ready)
        .collect()
        .await
    });
    let records = wait_for(task).expect("the load");
    (records, failed.load(Ordering::Relaxed))
}
