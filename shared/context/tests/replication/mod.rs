//! Copies come to where they belong, on real sockets, without anybody putting anything again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot put or find something has failed"
)]

use std::time::Duration;

use bytes::Bytes;
use dht_context::node_key::NodeKey;
use dht_context::{DhtContext, Put, PutError, Timing};
use dht_kad::put::quorum_of;
use dht_kad::routing::K;
use dht_kad::{NodeId, Refusal, ValidRecord, domain};
use ed25519_dalek::SigningKey;
use tokio::time::Instant;

use crate::node::{Node, NodeOptions, network, within};

/// Repair that is in a hurry, so that a test takes a second or two.
const HURRIED: Timing = Timing {
    repair_wait: Duration::from_millis(50),
    repair_every: Duration::from_secs(1),
    repair_soon: Duration::from_millis(50),
    tick: Duration::from_millis(50),
    ..Timing::DEFAULT
};
/// Repair that compares once, at the beginning, and then not for as long as a test takes.
const ONCE: Timing = Timing { repair_every: Duration::from_secs(3_600), ..HURRIED };

fn server(timing: Timing) -> NodeOptions {
    NodeOptions { timing, ..NodeOptions::server() }
}

async fn solo(timing: Timing) -> Node {
    let node = Node::start(NodeOptions { solo: true, ..server(timing) }).await;
    within(node.context.ready()).await;
    node
}

async fn joining(first: &Node, timing: Timing) -> Node {
    let node =
        Node::start(NodeOptions { bootstrap: vec![first.address()], ..server(timing) }).await;
    within(node.context.ready()).await;
    node
}

/// Puts records that differ, of one publisher each; all of them are acknowledged.
async fn put(context: &DhtContext, numbers: std::ops::Range<u8>) -> Vec<ValidRecord> {
    let mut records = Vec::new();
    for number in numbers {
        let publisher = SigningKey::from_bytes(&[number; 32]);
        let label = domain::label(&network(), &format!("label {number}"));
        let put = Put::owned(label, Bytes::from(vec![number; 100]));
        records.push(context.put(&publisher, put).await.unwrap().record);
    }
    records
}

/// Waits until something holds: there is nobody who could say when.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    within(async {
        while !holds().await {
            looks.tick().await;
        }
    })
    .await;
}

async fn until_all_held(node: &Node, records: &[ValidRecord]) {
    until(async || {
        for record in records {
            if !node.store.holds(record).await {
                return false;
            }
        }
        true
    })
    .await;
}

async fn until_neighbours(node: &Node, count: u64) {
    until(async || node.context.stats().replication.neighbours == count).await;
}

/// Waits until a node has compared itself with so many others and lacks nothing.
async fn until_compared(node: &Node, rounds: u64) {
    until(async || node.context.stats().replication.rounds_ok >= rounds).await;
}

#[tokio::test]
async fn what_two_of_three_acknowledged_reaches_the_third_when_it_is_back() {
    let first = solo(HURRIED).await;
    let second = joining(&first, HURRIED).await;
    let key = NodeKey::generate().unwrap();
    let options = || NodeOptions {
        key: Some(key.clone()),
        bootstrap: vec![first.address()],
        ..server(HURRIED)
    };
    let third = Node::start(options()).await;
    within(third.context.ready()).await;
    third.context.stop().await;
    let records = put(&first.context, 1..4).await;
    assert!(second.store.holds(&records[0]).await);
    let third = Node::start(options()).await;
    until_all_held(&third, &records).await;
}

#[tokio::test]
async fn a_newcomer_is_filled_and_counts_what_that_cost() {
    let first = solo(HURRIED).await;
    let _second = joining(&first, HURRIED).await;
    let records = put(&first.context, 1..60).await;
    let third = joining(&first, HURRIED).await;
    until_all_held(&third, &records).await;
    until(async || {
        let figures = third.context.stats().replication;
        let counted = figures.fetched >= 59;
        counted && figures.neighbours == 2 && figures.oldest_unrepaired_ms == 0
    })
    .await;
    let figures = third.context.stats().replication;
    assert!(figures.fetched_bytes > 59 * 100, "{figures:?}");
    assert_eq!((figures.under_replicated, figures.rounds_failed), (0, 0), "{figures:?}");
}

#[tokio::test]
async fn what_a_node_took_alone_is_found_at_those_who_join_later() {
    let first = solo(HURRIED).await;
    let records = put(&first.context, 1..20).await;
    let second = joining(&first, HURRIED).await;
    let third = joining(&second, HURRIED).await;
    until_all_held(&second, &records).await;
    until_all_held(&third, &records).await;
}

#[tokio::test]
async fn what_lies_outside_of_where_it_belongs_is_offered_to_those_who_should_hold_it() {
    let first = solo(HURRIED).await;
    let records = put(&first.context, 1..30).await;
    let mut nodes = vec![first];
    for _ in 0..K + 3 {
        nodes.push(joining(&nodes[0], HURRIED).await);
    }
    let ids: Vec<NodeId> = nodes.iter().map(|node| node.context.node_id()).collect();
    for record in &records {
        let mut closest: Vec<usize> = (0..nodes.len()).collect();
        closest.sort_by_key(|place| ids[*place].key().distance(&record.id().key));
        closest.truncate(K);
        until(async || {
            let mut copies = 0;
            for place in &closest {
                copies += usize::from(nodes[*place].store.holds(record).await);
            }
            copies >= quorum_of(K)
        })
        .await;
    }
    until(async || nodes[0].context.stats().replication.under_replicated == 0).await;
}

#[tokio::test]
async fn a_stop_hands_over_what_only_this_node_has() {
    let first = solo(ONCE).await;
    let second = joining(&first, ONCE).await;
    until_compared(&first, 1).await;
    until_compared(&second, 1).await;
    second.store.refuse_once();
    let publisher = SigningKey::from_bytes(&[1; 32]);
    let label = domain::label(&network(), "late");
    let late = Put { quorum: Some(1), ..Put::owned(label, Bytes::from("late")) };
    let record = first.context.put(&publisher, late).await.unwrap().record;
    assert!(first.store.holds(&record).await && !second.store.holds(&record).await);
    within(first.context.stop()).await;
    assert!(second.store.holds(&record).await);
}

#[tokio::test]
async fn a_node_with_nothing_to_hand_over_stops_at_once() {
    let first = solo(HURRIED).await;
    let second = joining(&first, HURRIED).await;
    let records = put(&first.context, 1..9).await;
    until_all_held(&second, &records).await;
    let rounds = first.context.stats().replication.rounds_ok;
    until_compared(&first, rounds + 2).await;
    let started = Instant::now();
    first.context.stop().await;
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

#[tokio::test]
async fn who_leaves_hands_all_over_takes_no_puts_and_counts_no_more() {
    let first = solo(HURRIED).await;
    let records = put(&first.context, 1..40).await;
    let second = joining(&first, HURRIED).await;
    let third = joining(&first, HURRIED).await;
    until_neighbours(&second, 2).await;
    let mut said = 0;
    let report = within(first.context.leave(|_| said += 1)).await;
    assert_eq!((report.handed_over, report.not_confirmed), (39, 0));
    assert!(said > 0);
    for node in [&second, &third] {
        until_all_held(node, &records).await;
        until_neighbours(node, 1).await;
    }
    let publisher = SigningKey::from_bytes(&[1; 32]);
    let put = Put { quorum: Some(3), ..Put::owned([1; 32], Bytes::from("late")) };
    match first.context.put(&publisher, put).await {
        Err(PutError::Refused { refusal: Refusal::Restarting, .. }) => {}
        other => panic!("a node that leaves takes no puts: {other:?}"),
    }
}

#[tokio::test]
async fn a_difference_that_the_fingerprints_hide_is_found_under_a_salt() {
    let salted = Timing { salted_every: Duration::from_secs(1), ..HURRIED };
    let first = solo(salted).await;
    let second = joining(&first, salted).await;
    let before = put(&first.context, 1..9).await;
    until_all_held(&second, &before).await;
    second.store.mirror(&first.store);
    second.store.refuse_once();
    let publisher = SigningKey::from_bytes(&[9; 32]);
    let label = domain::label(&network(), "hidden");
    let hidden = Put { quorum: Some(1), ..Put::owned(label, Bytes::from("hidden")) };
    let hidden = first.context.put(&publisher, hidden).await.unwrap().record;
    until_all_held(&second, &[hidden]).await;
    let figures = second.context.stats().replication;
    assert!(figures.salted_differed >= 1, "{figures:?}");
}
