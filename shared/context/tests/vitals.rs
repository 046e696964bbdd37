//! What a node says of how it is, and what is asked of one node by its name.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that finds nothing there has failed"
)]

mod node;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use dht_context::Put;
use dht_context::requests::AskError;
use dht_context::vitals::{Machine, MachineFigures};
use dht_kad::message::{NodeInfo, VitalSigns};
use dht_kad::refusal::FullScope;
use dht_kad::{RecordId, Refusal, domain};
use ed25519_dalek::SigningKey;

use node::{Node, NodeOptions, network, within};

/// A machine whose disk fills.
#[derive(Default)]
struct SmallMachine {
    full: AtomicBool,
}

impl Machine for SmallMachine {
    fn figures(&self) -> MachineFigures {
        let full = self.full.load(Ordering::Relaxed);
        MachineFigures {
            disk: Some((if full { 1 } else { 500 }, 1_000)),
            disk_is_short: full,
            store_limit_bytes: Some(1 << 30),
            memory_bytes: Some(100 << 20),
            memory_limit_bytes: None,
        }
    }
}

fn info(node: &Node) -> NodeInfo {
    NodeInfo { id: node.context.node_id(), addrs: node.context.local_addrs().to_vec() }
}

/// A server alone, and a client of its.
async fn two() -> (Node, Node) {
    let server = Node::start(NodeOptions { solo: true, ..NodeOptions::server() }).await;
    within(server.context.ready()).await;
    let client = Node::start(NodeOptions::client(vec![server.address()])).await;
    within(client.context.ready()).await;
    (server, client)
}

async fn signs(client: &Node, of: &Node) -> VitalSigns {
    within(client.context.vitals(&info(of))).await.unwrap()
}

#[tokio::test]
async fn a_node_says_what_it_knows_and_leaves_out_what_nobody_told_it() {
    let (server, client) = two().await;
    let before = signs(&client, &server).await;
    let known = VitalSigns { ready: true, ..VitalSigns::default() };
    assert_eq!(before, VitalSigns { up_secs: before.up_secs, ..known });

    let machine = Arc::new(SmallMachine::default());
    server.context.tell_of(machine.clone());
    let label = domain::label(&network(), "counted");
    let signer = SigningKey::from_bytes(&[1; 32]);
    client.context.put(&signer, Put::owned(label, Bytes::from("value"))).await.unwrap();
    let told = signs(&client, &server).await;
    assert_eq!((told.disk_free_percent, told.store_free_percent), (Some(50), Some(99)));
    assert_eq!((told.memory_mib, told.memory_limit_mib), (Some(100), None));
    assert_eq!((told.records, told.ready, told.refuses.len()), (1, true, 0));

    machine.full.store(true, Ordering::Relaxed);
    let full = signs(&client, &server).await;
    assert_eq!(full.refuses, [Refusal::Full { scope: FullScope::Total }]);
    assert_eq!((full.ready, full.disk_free_percent), (false, Some(0)));
    server.context.refuse_puts();
    let stopping = signs(&client, &server).await;
    assert_eq!(stopping.refuses[0], Refusal::Restarting);
    let counted = server.context.stats().answered;
    assert!(
        counted.iter().any(|(kind, counts)| *kind == "vitals" && counts.ok == 4),
        "{counted:?}"
    );
}

#[tokio::test]
async fn who_knows_others_counts_them() {
    let (first, client) = two().await;
    let joining = NodeOptions { bootstrap: vec![first.address()], ..NodeOptions::server() };
    let second = Node::start(joining).await;
    within(second.context.ready()).await;
    within(second.whole()).await;
    let told = signs(&client, &second).await;
    assert_eq!((told.servers, told.neighbours, told.ready), (1, 1, true), "{told:?}");
}

#[tokio::test]
async fn a_client_says_nothing_of_how_it_is() {
    let (server, client) = two().await;
    let asked = within(server.context.vitals(&info(&client))).await;
    assert_eq!(asked, Err(AskError::Refused(Refusal::NotAServer)));
}

#[tokio::test]
async fn what_one_node_is_given_is_on_that_one_alone_under_a_receipt_that_holds() {
    let (first, client) = two().await;
    let joining = NodeOptions { bootstrap: vec![first.address()], ..NodeOptions::server() };
    let forger = NodeOptions { forges_receipts: true, ..joining };
    let forger = Node::start(forger).await;
    within(forger.context.ready()).await;
    let label = domain::label(&network(), "given");
    let signer = SigningKey::from_bytes(&[1; 32]);
    // The forger's acknowledgement does not count.
    let put = Put { quorum: Some(1), ..Put::owned(label, Bytes::from("value")) };
    let record = client.context.put(&signer, put).await.unwrap().record;

    let receipt = within(client.context.store_on_node(&info(&first), &record)).await.unwrap();
    assert_eq!(receipt.verify(&network(), &record, &first.context.node_id()), Ok(()));
    let shown = within(client.context.held_by(&info(&first), record.id())).await.unwrap();
    assert_eq!(shown, Some(record.clone()));
    let forged = within(client.context.store_on_node(&info(&forger), &record)).await;
    assert_eq!(forged, Err(AskError::WrongAnswer(forger.context.node_id())));
    first.context.refuse_puts();
    let refused = within(client.context.store_on_node(&info(&first), &record)).await;
    assert_eq!(refused, Err(AskError::Refused(Refusal::Restarting)));
    let elsewhere = RecordId { slot: 7, ..*record.id() };
    let shown = within(client.context.held_by(&info(&first), &elsewhere)).await;
    assert_eq!(shown, Ok(None));
}
