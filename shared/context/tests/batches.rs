//! Many records at one key: put in few requests, listed by ranges of slots, without a lookup each time.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that finds nothing there has failed"
)]

mod node;

use std::sync::atomic::Ordering;

use bytes::Bytes;
use dht_context::clock::{Clock, SystemClock};
use dht_context::operations::RANGES_MAX;
use dht_context::store::{RecordStore, Submission};
use dht_context::{DhtContext, ListError, PutError};
use dht_kad::admission::Path;
use dht_kad::lookup::Consistency;
use dht_kad::message::{PAGE_RECORDS, Receipt};
use dht_kad::record::{Kind, RecordDraft, Retention, Space};
use dht_kad::{Refusal, UnixMs, ValidRecord, domain};
use ed25519_dalek::SigningKey;

use node::{Node, NodeOptions, network, within};

const EVERYTHING: [(u64, u64); 1] = [(0, u64::MAX)];

/// What one writer keeps under one label.
struct Mailbox {
    key: SigningKey,
    label: [u8; 32],
}

impl Mailbox {
    fn new(name: &str) -> Self {
        let label = domain::label(&network(), name);
        Mailbox { key: SigningKey::from_bytes(&label), label }
    }

    fn publisher(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    fn record(&self, kind: Kind, slot: u64, seq: u64, size: usize) -> ValidRecord {
        let created_at = SystemClock.now().after(seq);
        let draft = RecordDraft {
            space: Space::Owned,
            kind,
            retention: Retention::Days7,
            label: self.label,
            slot,
            seq,
            created_at,
            guard_until: if seq > 1 { created_at.after(7 * 86_400_000) } else { UnixMs(0) },
            work_bits: 0,
            ext: Bytes::new(),
            body: Bytes::from(vec![u8::try_from(slot % 251).unwrap(); size]),
        };
        draft.sign(&self.key, &network()).unwrap()
    }

    fn letters(&self, count: u64, size: usize) -> Vec<ValidRecord> {
        (0..count).map(|slot| self.record(Kind::Value, slot, 1, size)).collect()
    }

    async fn slots(
        &self,
        reader: &DhtContext,
        ranges: &[(u64, u64)],
        consistency: Consistency,
    ) -> (Vec<u64>, Vec<u64>) {
        let publisher = self.publisher();
        let listed = reader.list_slots(&publisher, &self.label, ranges, consistency);
        let listed = within(listed).await.unwrap();
        assert!(!listed.truncated && listed.records.iter().all(|record| record.has_body()));
        let slots =
            |records: Vec<ValidRecord>| records.iter().map(|record| record.slot()).collect();
        (slots(listed.records), slots(listed.deleted))
    }
}

async fn start_server(first: Option<&Node>) -> Node {
    let bootstrap: Vec<_> = first.iter().map(|first| first.address()).collect();
    let solo = bootstrap.is_empty();
    let node = Node::start(NodeOptions { bootstrap, solo, ..NodeOptions::server() }).await;
    within(node.context.ready()).await;
    within(node.whole()).await;
    node
}

/// Servers that are whole, and a client that asks the first.
async fn start_network(servers: usize) -> (Vec<Node>, Node) {
    let mut nodes = vec![start_server(None).await];
    for _ in 1..servers {
        nodes.push(start_server(Some(&nodes[0])).await);
    }
    let client = Node::start(NodeOptions::client(vec![nodes[0].address()])).await;
    within(client.context.ready()).await;
    (nodes, client)
}

/// Waits until every server has all of these, those that a majority did not wait for among them.
async fn everywhere(nodes: &[Node], records: &[ValidRecord]) {
    for node in nodes {
        for record in records {
            while !node.store.holds(record).await {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// How many requests of this kind were answered.
fn asked(node: &Node, kind: &str) -> u64 {
    let asked = node.context.stats().asked;
    asked.iter().find(|(name, _)| *name == kind).map_or(0, |(_, counts)| counts.ok)
}

#[tokio::test]
async fn a_batch_goes_out_in_few_requests_and_every_record_is_acknowledged() {
    let (nodes, client) = start_network(3).await;
    let mailbox = Mailbox::new("few requests");
    let count = 2 * PAGE_RECORDS + 7;
    let records = mailbox.letters(count as u64, 40);
    let results = within(client.context.put_batch(records.clone())).await.unwrap();
    assert_eq!(results.len(), count);
    for (record, result) in records.iter().zip(results) {
        let outcome = result.unwrap();
        assert!(outcome.stored.len() >= 2 && outcome.targets == 3);
        for (node, receipt) in &outcome.stored {
            assert_eq!(Receipt::verify(receipt, &network(), record, &node.id), Ok(()));
        }
    }
    assert!(asked(&client, "store") <= 9, "three pages to each of three servers");
    within(everywhere(&nodes, &records)).await;
    for node in &nodes {
        for consistency in [Consistency::One, Consistency::Default, Consistency::Quorum] {
            let (slots, deleted) = mailbox.slots(&node.context, &EVERYTHING, consistency).await;
            assert!(slots.iter().copied().eq(0..count as u64) && deleted.is_empty());
        }
    }
}

#[tokio::test]
async fn large_records_are_cut_into_pages_that_fit_a_frame() {
    let (_nodes, client) = start_network(3).await;
    let mailbox = Mailbox::new("large");
    let results = within(client.context.put_batch(mailbox.letters(9, 64 * 1024))).await.unwrap();
    assert!(results.iter().all(Result::is_ok));
    let (slots, _) = mailbox.slots(&client.context, &[(2, 4), (7, 8)], Consistency::Quorum).await;
    assert_eq!(slots, [2, 3, 4, 7, 8]);
}

#[tokio::test]
async fn each_signature_is_checked_once_whoever_shows_the_record_first() {
    let (nodes, client) = start_network(3).await;
    let mailbox = Mailbox::new("checked once");
    // Several pages with bodies, and one of heads: whichever of them comes first.
    let records = mailbox.letters(200, 2_000);
    within(client.context.put_batch(records.clone())).await.unwrap();
    within(everywhere(&nodes, &records)).await;
    let before = client.verified.load(Ordering::Relaxed);
    let (slots, _) = mailbox.slots(&client.context, &EVERYTHING, Consistency::Quorum).await;
    assert_eq!(slots.len(), 200);
    assert_eq!(client.verified.load(Ordering::Relaxed) - before, 200);
}

#[tokio::test]
async fn a_server_takes_part_in_its_own_batch() {
    let (nodes, _client) = start_network(3).await;
    let mailbox = Mailbox::new("own");
    let results = within(nodes[1].context.put_batch(mailbox.letters(30, 100))).await.unwrap();
    assert!(results.iter().all(|result| result.as_ref().unwrap().targets == 3));
    let (slots, _) = mailbox.slots(&nodes[1].context, &EVERYTHING, Consistency::Quorum).await;
    assert_eq!(slots.len(), 30);
}

#[tokio::test]
async fn each_record_of_a_batch_has_a_result_of_its_own() {
    let (_nodes, client) = start_network(3).await;
    let mailbox = Mailbox::new("results");
    let newer = mailbox.record(Kind::Value, 1, 9, 10);
    client.context.put_record(&newer, None, Some(3)).await.unwrap();
    let results = within(client.context.put_batch(mailbox.letters(3, 10))).await.unwrap();
    assert!(results[0].is_ok() && results[2].is_ok());
    match &results[1] {
        Err(PutError::Refused { refusal: Refusal::SeqTooLow { stored }, .. }) => {
            assert_eq!(*stored, 9);
        }
        other => panic!("the newer version stays: {other:?}"),
    }
    let unchanged = vec![newer.clone(), newer];
    let again = within(client.context.put_batch(unchanged)).await.unwrap();
    assert!(again.iter().all(Result::is_ok), "the same content again is a success");

    let elsewhere = Mailbox::new("elsewhere").letters(1, 10);
    let mixed = [mailbox.letters(1, 10), elsewhere].concat();
    assert_eq!(client.context.put_batch(mixed).await.unwrap_err(), PutError::KeysDiffer);
    assert!(client.context.put_batch(Vec::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn receipts_that_are_forged_acknowledge_nothing_in_a_batch_either() {
    let honest = start_server(None).await;
    let forger = || NodeOptions {
        bootstrap: vec![honest.address()],
        forges_receipts: true,
        ..NodeOptions::server()
    };
    let forgers = [Node::start(forger()).await, Node::start(forger()).await];
    for node in &forgers {
        within(node.context.ready()).await;
        within(node.whole()).await;
    }
    let client = Node::start(NodeOptions::client(vec![honest.address()])).await;
    within(client.context.ready()).await;
    let results = within(client.context.put_batch(Mailbox::new("forged").letters(5, 10))).await;
    for result in results.unwrap() {
        let expected = PutError::QuorumNotReached { stored: 1, quorum: 2, targets: 3 };
        assert_eq!(result.unwrap_err(), expected);
    }
    assert!(client.context.stats().lies >= 5);
}

#[tokio::test]
async fn deleted_slots_are_told_apart_from_empty_ones_and_only_the_ranges_are_listed() {
    let (_nodes, client) = start_network(3).await;
    let mailbox = Mailbox::new("ranges");
    let mut records = mailbox.letters(20, 10);
    records.push(mailbox.record(Kind::Tombstone, 5, 2, 0));
    records.push(mailbox.record(Kind::Tombstone, 15, 2, 0));
    let results = within(client.context.put_batch(records)).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "versions of one slot, in their order: {results:?}");
    let ranges = [(3, 6), (14, 15), (19, 40)];
    for consistency in [Consistency::Default, Consistency::Quorum] {
        let (slots, deleted) = mailbox.slots(&client.context, &ranges, consistency).await;
        assert_eq!((slots, deleted), (vec![3, 4, 6, 14, 19], vec![5, 15]));
    }
    let (slots, deleted) = mailbox.slots(&client.context, &[], Consistency::Quorum).await;
    assert!(slots.is_empty() && deleted.is_empty());
    let many = vec![(0, 0); RANGES_MAX + 1];
    let publisher = mailbox.publisher();
    let refused = client.context.list_slots(&publisher, &mailbox.label, &many, Consistency::One);
    assert_eq!(refused.await.unwrap_err(), ListError::TooManyRanges(RANGES_MAX + 1));
}

#[tokio::test]
async fn a_version_that_only_some_holders_have_wins_with_its_body() {
    let (nodes, client) = start_network(3).await;
    let mailbox = Mailbox::new("some have it");
    let put = within(client.context.put_batch(mailbox.letters(3, 10))).await.unwrap();
    assert!(put.iter().all(Result::is_ok));
    for (node, slot) in nodes.iter().zip(0..) {
        let record = mailbox.record(Kind::Value, slot, 2, 500);
        node.store.submit(vec![Submission { record, path: Path::Repair }]).await;
    }
    let listed = client
        .context
        .list_slots(&mailbox.publisher(), &mailbox.label, &EVERYTHING, Consistency::Default)
        .await
        .unwrap();
    let bodies: Vec<_> = listed.records.iter().map(|r| r.body().unwrap().len()).collect();
    assert_eq!(bodies, [500; 3]);
}

#[tokio::test]
async fn a_repeated_operation_on_a_key_needs_no_lookup() {
    let (_nodes, client) = start_network(3).await;
    let mailbox = Mailbox::new("remembered");
    within(client.context.put_batch(mailbox.letters(1, 10))).await.unwrap();
    let before = asked(&client, "find_node");
    for _ in 0..20 {
        mailbox.slots(&client.context, &EVERYTHING, Consistency::Default).await;
    }
    assert_eq!(asked(&client, "find_node"), before, "nobody is asked who is closest");
    let other = Mailbox::new("another key");
    other.slots(&client.context, &EVERYTHING, Consistency::Default).await;
    assert!(asked(&client, "find_node") > before, "of another key nothing is remembered");
}

#[tokio::test]
async fn remembered_holders_are_refreshed_when_a_nearer_server_has_come() {
    let (nodes, client) = start_network(2).await;
    let mailbox = Mailbox::new("newcomer");
    let first = within(client.context.put_batch(mailbox.letters(1, 10))).await.unwrap();
    assert_eq!(first[0].as_ref().unwrap().targets, 2);
    let newcomer = start_server(Some(&nodes[0])).await;
    within(async {
        while nodes.iter().any(|node| {
            !node
                .context
                .peers()
                .iter()
                .any(|peer| peer.id == newcomer.context.node_id() && peer.in_table)
        }) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let record = mailbox.record(Kind::Value, 7, 1, 10);
    let put = within(client.context.put_batch(vec![record.clone()])).await.unwrap();
    assert_eq!(put[0].as_ref().unwrap().targets, 3, "the newcomer is of T now");
    within(async {
        while !newcomer.store.holds(&record).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_majority_of_t_is_needed_however_t_is_known() {
    let (nodes, client) = start_network(3).await;
    let mailbox = Mailbox::new("majority");
    within(client.context.put_batch(mailbox.letters(1, 10))).await.unwrap();
    nodes[2].context.stop().await;
    let put = |slot| client.context.put_batch(vec![mailbox.record(Kind::Value, slot, 1, 10)]);
    let one_away = within(put(1)).await.unwrap();
    assert!(one_away.iter().all(Result::is_ok), "two of three: {one_away:?}");
    let (slots, _) = mailbox.slots(&client.context, &EVERYTHING, Consistency::Quorum).await;
    assert_eq!(slots, [0, 1]);
    nodes[1].context.stop().await;
    let two_away = within(put(2)).await;
    let refused = two_away.map(|results| results.into_iter().all(|result| result.is_err()));
    assert!(refused.unwrap_or(true), "one of three is no majority");
}
