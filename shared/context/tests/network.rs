//! Contexts on real sockets: they find each other, and what one is given all others find.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that finds nothing there has failed"
)]

mod node;
mod replication;

use std::time::Duration;

use bytes::Bytes;
use dht_context::operations::GetError;
use dht_context::store::{RecordStore, Submission};
use dht_context::{Delete, GetOptions, ListError, PeerAddress, Put, PutError, Slot};
use dht_kad::admission::Path;
use dht_kad::domain;
use dht_kad::lookup::Consistency;
use dht_kad::record::{Kind, RecordDraft, Retention, Space};
use ed25519_dalek::SigningKey;

use node::{Node, NodeOptions, network, within};

fn identity(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn slot_of(identity: &SigningKey, label: [u8; 32], slot: u64) -> Slot {
    Slot::Owned { publisher: *identity.verifying_key().as_bytes(), label, slot }
}

/// Starts `count` servers, each of which only knows the first.
async fn start_network(count: usize) -> Vec<Node> {
    let first = Node::start(NodeOptions { solo: true, ..NodeOptions::server() }).await;
    let mut nodes = vec![first];
    for _ in 1..count {
        let bootstrap = vec![nodes[0].address()];
        nodes.push(Node::start(NodeOptions { bootstrap, ..NodeOptions::server() }).await);
    }
    for node in &nodes {
        within(node.context.ready()).await;
        within(node.whole()).await;
    }
    nodes
}

#[tokio::test]
async fn a_value_put_through_one_node_is_read_through_every_other() {
    let nodes = start_network(3).await;
    let alice = identity(1);
    let label = domain::label(&network(), "greeting");
    let report =
        nodes[0].context.put(&alice, Put::owned(label, Bytes::from("hello"))).await.unwrap();
    assert!(report.outcome.stored.len() >= 2);
    for node in &nodes {
        for consistency in [Consistency::One, Consistency::Default, Consistency::Quorum] {
            let options = GetOptions { consistency, verify: true };
            let got = node.context.get(&slot_of(&alice, label, 0), options).await.unwrap();
            assert_eq!(got.record.bytes(), report.record.bytes(), "bit for bit");
        }
    }
}

#[tokio::test]
async fn versions_replace_each_other_and_a_delete_ends_them() {
    let nodes = start_network(3).await;
    let alice = identity(2);
    let label = domain::label(&network(), "profile");
    let slot = slot_of(&alice, label, 7);
    let put = |text: &'static str| Put { slot: 7, ..Put::owned(label, Bytes::from(text)) };
    let mut seqs = Vec::new();
    for (node, text) in [(0, "one"), (1, "two"), (2, "three")] {
        let report = nodes[node].context.put(&alice, put(text)).await.unwrap();
        seqs.push(report.record.seq());
        let got = nodes[0].context.get(&slot, GetOptions::default()).await.unwrap();
        assert_eq!(got.record.body().unwrap(), text);
    }
    assert!(seqs.is_sorted_by(|a, b| a < b));
    let stale = Put { expected_seq: Some(seqs[0]), ..put("four") };
    match nodes[1].context.put(&alice, stale).await {
        Err(PutError::UnexpectedSeq { stored }) => assert_eq!(stored, seqs[2]),
        other => panic!("a stale writer must be told: {other:?}"),
    }
    let delete =
        Delete { space: Space::Owned, label, slot: 7, expected_seq: None, quorum: Some(3) };
    nodes[2].context.delete(&alice, delete).await.unwrap();
    for node in &nodes {
        let got = node.context.get(&slot, GetOptions::default()).await;
        assert_eq!(got.unwrap_err(), GetError::Deleted);
    }
    let again = nodes[0].context.delete(&alice, delete).await;
    assert_eq!(again.unwrap_err(), PutError::NothingToDelete);
    let report = nodes[0].context.put(&alice, put("after")).await.unwrap();
    assert!(report.record.seq() > seqs[2]);
}

#[tokio::test]
async fn topics_list_every_writers_slots_and_content_is_found_by_its_key() {
    let nodes = start_network(3).await;
    let label = domain::label(&network(), "room");
    for number in 1..=5 {
        for slot in 0..3 {
            let body = Bytes::from(format!("{number}-{slot}"));
            let put = Put { space: Space::Topic, slot, ..Put::owned(label, body) };
            nodes[slot as usize].context.put(&identity(number), put).await.unwrap();
        }
    }
    let list = nodes[1].context.list_topic(&label).await.unwrap();
    assert_eq!(list.records.len(), 15);
    assert!(list.records.iter().all(|record| record.has_body()));

    let body = Bytes::from(vec![7; 64 * 1024]);
    let content = Put {
        space: Space::Content,
        retention: Retention::Days365,
        ..Put::owned([0; 32], body.clone())
    };
    let report = nodes[0].context.put(&identity(9), content).await.unwrap();
    let key = report.record.id().key;
    let got = nodes[2].context.get(&Slot::Content { key }, GetOptions::default()).await.unwrap();
    assert_eq!(got.record.body().unwrap(), body);
}

#[tokio::test]
async fn a_hundred_contexts_in_one_process_find_every_record() {
    let nodes = start_network(100).await;
    let label = domain::label(&network(), "of-a-hundred");
    let mut expected = Vec::new();
    for number in 0..100_u8 {
        let publisher = identity(number);
        let put = Put::owned(label, Bytes::from(vec![number; 100]));
        let node = &nodes[usize::from(number)];
        let report = within(node.context.put(&publisher, put)).await.unwrap();
        assert!(report.outcome.stored.len() > 10, "a majority of the twenty closest");
        expected.push((slot_of(&publisher, label, 0), report.record));
    }
    for (number, node) in nodes.iter().enumerate() {
        for step in [1, 17, 50] {
            let (slot, record) = &expected[(number + step) % expected.len()];
            let options = GetOptions { consistency: Consistency::Quorum, verify: true };
            let got = within(node.context.get(slot, options)).await.unwrap();
            assert_eq!(got.record.bytes(), record.bytes());
        }
    }
    for node in &nodes {
        let asked = node.context.stats().asked;
        let pings =
            asked.iter().find(|(kind, _)| *kind == "ping").map_or(0, |(_, counts)| counts.ok);
        assert!(
            pings < 1000,
            "nodes that have no room for each other do not ping for ever: {pings}"
        );
    }
}

#[tokio::test]
async fn a_client_asks_and_serves_nothing() {
    let nodes = start_network(2).await;
    let client = Node::start(NodeOptions::client(vec![nodes[1].address()])).await;
    within(client.context.ready()).await;
    let bob = identity(3);
    let label = domain::label(&network(), "from-a-client");
    client.context.put(&bob, Put::owned(label, Bytes::from("x"))).await.unwrap();
    let got = client.context.get(&slot_of(&bob, label, 0), GetOptions::default()).await.unwrap();
    assert_eq!(got.record.body().unwrap(), "x");
    assert_eq!(client.context.store_usage().total.records, 0);
    for node in &nodes {
        let peers = node.context.peers();
        let client = peers.iter().find(|peer| peer.id == client.context.node_id());
        assert!(client.is_none_or(|peer| !peer.in_table), "clients are in nobody's table");
    }
}

/// Elsewhere two ends dialled each other at once, frames were interleaved, or a live connection was
/// replaced. Here one connection stays, and no request is lost.
#[tokio::test]
async fn duplicate_connections() {
    for _round in 0..5 {
        let left = Node::start(NodeOptions { solo: true, ..NodeOptions::server() }).await;
        let right = Node::start(NodeOptions { solo: true, ..NodeOptions::server() }).await;
        let (to_right, to_left) = (right.address(), left.address());
        let mut pings = Vec::new();
        for _ in 0..50 {
            for (from, to) in [(&left, &to_right), (&right, &to_left)] {
                let (context, to) = (from.context.clone(), to.clone());
                pings.push(tokio::spawn(async move { context.ping(&to).await }));
            }
        }
        for ping in pings {
            within(ping).await.unwrap().expect("no request is lost");
        }
        within(async {
            while left.open_connections() != 1 || right.open_connections() != 1 {
                tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>())
                    .await
                    .unwrap_err();
            }
        })
        .await;
        left.context.ping(&to_right).await.expect("the one that stays carries requests");
        right.context.ping(&to_left).await.expect("in both directions");
    }
}

/// Elsewhere failing to reach every bootstrap peer was logged once, and that was all. Here a node
/// keeps trying, and joins when one comes back.
#[tokio::test]
async fn join_with_bootstrap_down() {
    let reserved = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let place = reserved.local_addr().unwrap();
    let bootstrap = vec![PeerAddress::from(place)];
    let early = Node::start(NodeOptions { bootstrap, ..NodeOptions::server() }).await;
    within(async {
        while early.context.stats().dials_failed < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!early.context.is_ready());
    drop(reserved);
    let late = NodeOptions { listen: place, solo: true, ..NodeOptions::server() };
    let late = Node::start(late).await;
    within(early.context.ready()).await;
    within(late.context.ready()).await;
    assert!(early.context.lookup(late.context.node_id().key()).await.len() == 2);
}

/// A delete that reached too few nodes is not done: saying so again has to finish it.
#[tokio::test]
async fn a_delete_that_only_some_nodes_have_can_be_repeated() {
    let nodes = start_network(3).await;
    let alice = identity(6);
    let label = domain::label(&network(), "half-deleted");
    let put = Put { quorum: Some(3), ..Put::owned(label, Bytes::from("x")) };
    let value = nodes[0].context.put(&alice, put).await.unwrap().record;
    let tombstone = RecordDraft {
        space: Space::Owned,
        kind: Kind::Tombstone,
        retention: value.retention(),
        label,
        slot: 0,
        seq: value.seq() + 1,
        created_at: value.created_at().after(1),
        guard_until: value.keep_until(),
        work_bits: 0,
        ext: Bytes::new(),
        body: Bytes::new(),
    };
    let tombstone = tombstone.sign(&alice, &network()).unwrap();
    nodes[2].store.submit(vec![Submission { record: tombstone, path: Path::Repair }]).await;
    let delete =
        Delete { space: Space::Owned, label, slot: 0, expected_seq: None, quorum: Some(3) };
    nodes[2].context.delete(&alice, delete).await.expect("two nodes do not have it yet");
    let again = nodes[2].context.delete(&alice, delete).await;
    assert_eq!(again.unwrap_err(), PutError::NothingToDelete);
}

/// A version that nobody shows whole, because its put failed or because a holder withholds it, must
/// not hide the one before it.
#[tokio::test]
async fn a_head_without_its_body_does_not_hide_what_can_be_read() {
    let nodes = start_network(3).await;
    let alice = identity(7);
    let label = domain::label(&network(), "withheld");
    let put = |space| Put { space, quorum: Some(3), ..Put::owned(label, Bytes::from("whole")) };
    let value = nodes[0].context.put(&alice, put(Space::Owned)).await.unwrap().record;
    nodes[0].context.put(&alice, put(Space::Topic)).await.unwrap();
    for space in [Space::Owned, Space::Topic] {
        let later = RecordDraft {
            space,
            kind: Kind::Value,
            retention: value.retention(),
            label,
            slot: 0,
            seq: value.seq() + (1 << 24),
            created_at: value.created_at().after(1000),
            guard_until: value.keep_until(),
            work_bits: 0,
            ext: Bytes::new(),
            body: Bytes::from("withheld"),
        };
        nodes[1].store.withhold(later.sign(&alice, &network()).unwrap().head_only());
    }
    for node in &nodes {
        for consistency in [Consistency::Default, Consistency::Quorum] {
            let options = GetOptions { consistency, verify: true };
            let got = node.context.get(&slot_of(&alice, label, 0), options).await.unwrap();
            assert_eq!(got.record.body().unwrap(), "whole");
        }
        let list = node.context.list_topic(&label).await.unwrap();
        let bodies: Vec<_> = list.records.iter().map(|record| record.body().unwrap()).collect();
        assert_eq!(bodies, ["whole"]);
    }
}

#[tokio::test]
async fn a_listing_is_not_held_for_ever_by_pages_without_records() {
    let nodes = start_network(1).await;
    let client = Node::start(NodeOptions::client(vec![nodes[0].address()])).await;
    within(client.context.ready()).await;
    nodes[0].store.never_end();
    let listed = within(client.context.list_topic(&[1; 32])).await;
    assert_eq!(listed.unwrap_err(), ListError::Inconclusive { answered: 0, needed: 1 });
}

/// A put that is signed again meets the copies that its first attempt has left: these are its own, and
/// no other writer's.
#[tokio::test]
async fn a_compare_and_swap_does_not_lose_to_its_own_first_attempt() {
    let nodes = start_network(3).await;
    let alice = identity(8);
    let label = domain::label(&network(), "swapped");
    let put = |text| Put { quorum: Some(3), ..Put::owned(label, Bytes::from(text)) };
    let first = nodes[0].context.put(&alice, put("first")).await.unwrap().record.seq();
    for node in &nodes[1..] {
        node.store.refuse_once();
    }
    let swap = Put { expected_seq: Some(first), ..put("second") };
    let report = nodes[0].context.put(&alice, swap.clone()).await.unwrap();
    assert_eq!(report.outcome.stored.len(), 3);
    let stale = nodes[0].context.put(&alice, swap).await;
    assert_eq!(stale.unwrap_err(), PutError::UnexpectedSeq { stored: report.record.seq() });
}

#[tokio::test]
async fn a_node_tells_how_far_its_clock_is_from_its_peers() {
    const COMPARE_EVERY: Duration = Duration::from_millis(50);
    let nodes = start_network(4).await;
    let options = NodeOptions { bootstrap: vec![nodes[0].address()], ..NodeOptions::server() };
    let timing = dht_context::Timing { compare_clocks: COMPARE_EVERY, ..options.timing };
    let node = Node::start(NodeOptions { timing, ..options }).await;
    let ahead_ms = within(node.context.clock_compared()).await;
    // All of them have this machine's clock; what is left is half of what an answer takes.
    assert!(ahead_ms.abs() < 1_000);
}
