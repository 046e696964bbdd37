//! Contexts on real sockets: only a promise that can be held against its node acknowledges a put, and
//! an audit finds out who keeps his.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that finds nothing there has failed"
)]

mod node;

use bytes::Bytes;
use dht_context::requests::AskError;
use dht_context::{Delete, Put, PutError};
use dht_kad::audit::{Breach, Verdict, judge};
use dht_kad::domain;
use dht_kad::message::audit::{CHALLENGES_MAX, Challenge, Evidence};
use dht_kad::message::{NodeInfo, Receipt};
use dht_kad::record::Space;
use dht_kad::{Refusal, ValidRecord};
use ed25519_dalek::SigningKey;

use node::{Node, NodeOptions, network, within};

const NONCE: [u8; 32] = [3; 32];

fn alice() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn put(text: &'static str, quorum: usize) -> Put {
    let label = domain::label(&network(), "promised");
    Put { quorum: Some(quorum), ..Put::owned(label, Bytes::from(text)) }
}

/// Starts an honest first server, which knows itself to be alone, and two that join it.
async fn start_network(last: NodeOptions) -> [Node; 3] {
    let first = Node::start(NodeOptions { solo: true, ..NodeOptions::server() }).await;
    let bootstrap = vec![first.address()];
    let second =
        Node::start(NodeOptions { bootstrap: bootstrap.clone(), ..NodeOptions::server() }).await;
    let third = Node::start(NodeOptions { bootstrap, ..last }).await;
    let nodes = [first, second, third];
    for node in &nodes {
        within(node.context.ready()).await;
    }
    nodes
}

async fn challenge(asker: &Node, node: &NodeInfo, record: &ValidRecord) -> Evidence {
    let challenges = vec![Challenge::new(record.id(), NONCE)];
    within(asker.context.audit(node, challenges)).await.unwrap().remove(0)
}

fn verdict(receipt: &Receipt, record: &ValidRecord, shown: &Evidence) -> Verdict {
    judge(receipt, record, &network(), &NONCE, shown, record.created_at())
}

#[tokio::test]
async fn who_acknowledges_without_a_receipt_that_holds_has_not_acknowledged() {
    let forger = NodeOptions { forges_receipts: true, ..NodeOptions::server() };
    let nodes = start_network(forger).await;
    let liar = nodes[2].context.node_id();
    let client = Node::start(NodeOptions::client(vec![nodes[0].address()])).await;
    within(client.context.ready()).await;

    let report = client.context.put(&alice(), put("two are honest", 2)).await.unwrap();
    assert!(report.outcome.stored.iter().all(|(node, _)| node.id != liar));
    let refused = client.context.put(&alice(), put("all three", 3)).await.unwrap_err();
    assert_eq!(refused, PutError::QuorumNotReached { stored: 2, quorum: 3, targets: 3 });
    assert!(client.context.stats().lies >= 1);
    assert_eq!(nodes[0].context.stats().lies, 0);

    // A liar still counts itself: it knows what it stored.
    let own = nodes[2].context.put(&alice(), put("its own", 3)).await.unwrap();
    assert_eq!(own.outcome.stored.len(), 3);
}

#[tokio::test]
async fn every_receipt_of_a_put_is_its_nodes_promise_the_own_nodes_among_them() {
    let nodes = start_network(NodeOptions::server()).await;
    let report = nodes[0].context.put(&alice(), put("value", 3)).await.unwrap();
    assert_eq!(report.outcome.stored.len(), 3);
    for (node, receipt) in &report.outcome.stored {
        assert_eq!(receipt.verify(&network(), &report.record, &node.id), Ok(()));
        let shown = challenge(&nodes[1], node, &report.record).await;
        assert_eq!(verdict(receipt, &report.record, &shown), Verdict::Kept);
    }
}

#[tokio::test]
async fn an_audit_tells_who_keeps_what_it_promised() {
    let nodes = start_network(NodeOptions::server()).await;
    let first = nodes[0].context.put(&alice(), put("value", 3)).await.unwrap();
    let withholder = nodes[1].context.node_id();
    nodes[1].store.withhold(first.record.head_only());
    for (node, receipt) in &first.outcome.stored {
        let shown = challenge(&nodes[0], node, &first.record).await;
        let only_the_head = Verdict::Broken(Breach::WrongProof);
        let expected = if node.id == withholder { only_the_head } else { Verdict::Kept };
        assert_eq!(verdict(receipt, &first.record, &shown), expected);
    }
    let label = domain::label(&network(), "promised");
    let delete =
        Delete { space: Space::Owned, label, slot: 0, expected_seq: None, quorum: Some(3) };
    let deleted = nodes[0].context.delete(&alice(), delete).await.unwrap();
    for (node, receipt) in first.outcome.stored.iter().filter(|(node, _)| node.id != withholder) {
        let shown = challenge(&nodes[0], node, &first.record).await;
        let newer = Verdict::Newer { seq: deleted.record.seq() };
        assert_eq!(verdict(receipt, &first.record, &shown), newer);
    }
    for (node, receipt) in deleted.outcome.stored.iter().filter(|(node, _)| node.id != withholder) {
        let shown = challenge(&nodes[0], node, &deleted.record).await;
        assert_eq!(verdict(receipt, &deleted.record, &shown), Verdict::Kept);
    }
}

#[tokio::test]
async fn a_client_promises_nothing_and_too_many_challenges_are_not_sent() {
    let nodes = start_network(NodeOptions::server()).await;
    let client = Node::start(NodeOptions::client(vec![nodes[0].address()])).await;
    within(client.context.ready()).await;
    let record = nodes[0].context.put(&alice(), put("value", 3)).await.unwrap().record;
    let node = |node: &Node| {
        let addrs = node.context.local_addrs().to_vec();
        NodeInfo { id: node.context.node_id(), addrs }
    };
    let challenges = |count| vec![Challenge::new(record.id(), NONCE); count];
    let asked = nodes[0].context.audit(&node(&client), challenges(1)).await;
    assert_eq!(asked, Err(AskError::Refused(Refusal::NotAServer)));
    let asked = client.context.audit(&node(&nodes[1]), challenges(CHALLENGES_MAX)).await;
    assert_eq!(asked.unwrap().len(), CHALLENGES_MAX);
    let asked = client.context.audit(&node(&nodes[1]), challenges(CHALLENGES_MAX + 1)).await;
    assert!(matches!(asked, Err(AskError::Codec(_))), "{asked:?}");
}
