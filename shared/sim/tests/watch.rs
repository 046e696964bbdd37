//! Watching in the simulated network: over letters that overtake each other and get lost, through
//! crashes that lose what was not synced, and with a disk that was replaced.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of tests panics as they do")]

use std::time::Duration;

use dht_context::requests::AskError;
use dht_context::watch::{News, Subscription};
use dht_context::{DhtContext, Put};
use dht_kad::ValidRecord;
use dht_kad::message::NodeInfo;
use dht_kad::message::watch::{Cursor, WatchKey};
use dht_kad::record::Space;
use dht_sim::transport::LinkModel;
use dht_sim::{HostId, Settings, World};
use ed25519_dalek::SigningKey;

const LABEL: [u8; 32] = [3; 32];

/// Three servers that are ready, in a network that mixes letters up and loses some.
async fn three() -> World {
    let links = LinkModel { detour_permille: 300, loss_permille: 20, ..LinkModel::default() };
    let mut world = World::new(Settings { links, ..Settings::new(7, 3) }).unwrap();
    let ids: Vec<HostId> = (0..world.host_count()).collect();
    for id in &ids {
        world.start(*id, &ids).unwrap();
    }
    for id in &ids {
        world.user(*id).unwrap().context().ready().await;
    }
    world
}

fn node(world: &World, id: HostId) -> NodeInfo {
    let context = world.user(id).unwrap().context().clone();
    NodeInfo { id: context.node_id(), addrs: context.local_addrs().to_vec() }
}

fn watched(context: &DhtContext) -> Vec<WatchKey> {
    let key = dht_kad::domain::topic_key(context.network(), &LABEL);
    vec![WatchKey { key, publisher: None }]
}

async fn subscribe(
    world: &World,
    from: HostId,
    to: HostId,
    cursor: Option<Cursor>,
) -> Subscription {
    let context = world.user(from).unwrap().context().clone();
    context.subscribe(&node(world, to), watched(&context), cursor).await.unwrap()
}

/// Puts to all three, and gives back what was put.
async fn put(world: &World, slot: u64) -> ValidRecord {
    let put = Put {
        space: Space::Topic,
        slot,
        quorum: Some(3),
        ..Put::owned(LABEL, slot.to_be_bytes().to_vec().into())
    };
    let identity = SigningKey::from_bytes(&[9; 32]);
    world.user(2).unwrap().put(&identity, put).await.unwrap().record
}

/// What is told until so many records have come.
async fn told(watch: &mut Subscription, count: usize) -> Vec<ValidRecord> {
    let mut all = Vec::new();
    while all.len() < count {
        match watch.next().await.unwrap() {
            News::Changed(records) => all.extend(records),
            News::Missed => panic!("nothing is missed"),
        }
    }
    all
}

#[tokio::test(start_paused = true)]
async fn changes_come_in_order_and_a_crash_loses_none_that_was_acknowledged() {
    let mut world = three().await;
    let mut watch = subscribe(&world, 0, 1, None).await;
    let mut expected = Vec::new();
    for slot in 0..30 {
        expected.push(put(&world, slot).await);
    }
    assert_eq!(told(&mut watch, 30).await, expected, "in the order of commits");
    let cursor = watch.cursor();
    let missed = [put(&world, 30).await, put(&world, 31).await];
    world.crash(&[1]).await;
    assert!(matches!(watch_end(&mut watch).await, AskError::Request(_) | AskError::Ended(_)));

    world.start(1, &[0, 2]).unwrap();
    world.user(1).unwrap().context().ready().await;
    let mut again = subscribe(&world, 0, 1, Some(cursor)).await;
    assert!(again.resumed());
    assert_eq!(told(&mut again, 2).await, missed);
    let cursor = again.cursor();
    world.stop(&[1]).await;
    let end = watch_end(&mut again).await;
    assert_eq!(end, AskError::Refused(dht_kad::Refusal::Restarting));

    world.wipe(1);
    world.start(1, &[0, 2]).unwrap();
    world.user(1).unwrap().context().ready().await;
    let anew = subscribe(&world, 0, 1, Some(cursor)).await;
    assert!(!anew.resumed(), "its disk is another one");
}

/// What ends a watch, after whatever it still tells.
async fn watch_end(watch: &mut Subscription) -> AskError {
    tokio::time::timeout(Duration::from_secs(120), async {
        loop {
            if let Err(error) = watch.next().await {
                return error;
            }
        }
    })
    .await
    .unwrap()
}
