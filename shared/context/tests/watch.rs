//! Watching a node: what is written there is told at once, and nothing is missed or told twice.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that finds nothing there has failed"
)]

mod node;

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use dht_context::clock::{Clock, SystemClock};
use dht_context::requests::AskError;
use dht_context::store::{RecordStore, Submission};
use dht_context::watch::{News, Subscription, WatchLimits};
use dht_kad::admission::Path;
use dht_kad::message::NodeInfo;
use dht_kad::message::watch::{Cursor, WatchKey};
use dht_kad::record::{Kind, RecordDraft, Retention, Space};
use dht_kad::{Key, Refusal, UnixMs, ValidRecord, domain};
use ed25519_dalek::SigningKey;
use tokio::time::Instant;

use node::{Node, NodeOptions, network, within};

fn draft(label: u8, slot: u64, seq: u64, body: impl Into<Bytes>) -> RecordDraft {
    RecordDraft {
        space: Space::Topic,
        kind: Kind::Value,
        retention: Retention::Days7,
        label: [label; 32],
        slot,
        seq,
        created_at: UnixMs(start_ms() + seq),
        guard_until: UnixMs(0),
        work_bits: 0,
        ext: Bytes::new(),
        body: body.into(),
    }
}

/// A minute before these tests began: the same drafts give the same records.
fn start_ms() -> u64 {
    static START: OnceLock<u64> = OnceLock::new();
    *START.get_or_init(|| SystemClock.now().0 - 60_000)
}

fn sign(draft: &RecordDraft) -> ValidRecord {
    draft.sign(&SigningKey::from_bytes(&[1; 32]), &network()).unwrap()
}

fn value(label: u8, slot: u64, seq: u64) -> ValidRecord {
    sign(&draft(label, slot, seq, "x"))
}

/// The key of a topic's label.
fn topic(label: u8) -> WatchKey {
    WatchKey { key: domain::topic_key(&network(), &[label; 32]), publisher: None }
}

/// A server alone, and a client that knows it.
async fn pair(watch: WatchLimits) -> (Node, Node, NodeInfo) {
    let server = NodeOptions { solo: true, watch, ..NodeOptions::server() };
    let server = Node::start(server).await;
    let (client, info) = client_of(&server).await;
    (server, client, info)
}

async fn client_of(server: &Node) -> (Node, NodeInfo) {
    let client = Node::start(NodeOptions::client(vec![server.address()])).await;
    within(client.context.ready()).await;
    let addrs = server.context.local_addrs().to_vec();
    (client, NodeInfo { id: server.context.node_id(), addrs })
}

async fn take(server: &Node, record: &ValidRecord, path: Path) {
    let results = server.store.submit(vec![Submission { record: record.clone(), path }]).await;
    assert!(results[0].is_ok(), "{results:?}");
}

async fn put(server: &Node, record: &ValidRecord) {
    take(server, record, Path::Store { expected_seq: None }).await;
}

/// The next records that are told, past news that only move the cursor.
async fn told(subscription: &mut Subscription) -> Vec<ValidRecord> {
    loop {
        match within(subscription.next()).await.unwrap() {
            News::Changed(records) if records.is_empty() => {}
            News::Changed(records) => return records,
            News::Missed => panic!("nothing is missed"),
        }
    }
}

/// What is told until so many records have come.
async fn told_in_all(subscription: &mut Subscription, count: usize) -> Vec<ValidRecord> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(told(subscription).await);
    }
    all
}

#[tokio::test]
async fn a_change_is_told_as_soon_as_its_put_is_acknowledged_whatever_way_it_came() {
    let (server, client, info) = pair(WatchLimits::default()).await;
    let alice = SigningKey::from_bytes(&[7; 32]);
    let label = domain::label(&network(), "followed");
    let publisher = *alice.verifying_key().as_bytes();
    let key = domain::owned_key(&network(), &publisher, &label);
    let keys = vec![WatchKey { key, publisher: None }, topic(1)];
    let mut watch = client.context.subscribe(&info, keys, None).await.unwrap();
    assert!(!watch.resumed());
    let mut slowest = Duration::ZERO;
    for number in 0..50_u64 {
        let body = Bytes::from(number.to_string());
        let report =
            client.context.put(&alice, dht_context::Put::owned(label, body)).await.unwrap();
        let acknowledged = Instant::now();
        let records = told(&mut watch).await;
        slowest = slowest.max(acknowledged.elapsed());
        assert_eq!(records, [report.record]);
    }
    println!("told {slowest:?} after its put was acknowledged, at most");
    assert!(slowest < Duration::from_millis(100), "{slowest:?}");

    let repaired = value(1, 0, 1);
    take(&server, &repaired, Path::Repair).await;
    assert_eq!(told(&mut watch).await, [repaired]);
    let offered = value(1, 1, 1);
    take(&server, &offered, Path::Offered).await;
    assert_eq!(told(&mut watch).await, [offered]);
    let delete = sign(&RecordDraft {
        kind: Kind::Tombstone,
        guard_until: UnixMs(start_ms() + 8 * 86_400_000),
        ..draft(1, 0, 2, "")
    });
    put(&server, &delete).await;
    assert_eq!(told(&mut watch).await, [delete]);
}

#[tokio::test]
async fn a_thousand_keys_fit_one_watch_and_only_what_was_asked_for_is_told() {
    let (server, client, info) = pair(WatchLimits::default()).await;
    let mut keys: Vec<_> = (0..1_023_u64)
        .map(|number| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            WatchKey { key: Key(key), publisher: None }
        })
        .collect();
    let other = SigningKey::from_bytes(&[2; 32]);
    let publisher = dht_kad::message::PublisherKey(*other.verifying_key().as_bytes());
    keys.push(WatchKey { publisher: Some(publisher), ..topic(1) });
    let mut watch = client.context.subscribe(&info, keys.clone(), None).await.unwrap();
    assert_eq!(server.context.stats().watches.keys, 1_024);
    put(&server, &value(1, 0, 1)).await;
    put(&server, &value(2, 0, 1)).await;
    let of_other = draft(1, 0, 1, "y").sign(&other, &network()).unwrap();
    put(&server, &of_other).await;
    assert_eq!(told(&mut watch).await, [of_other], "not another's, and not elsewhere");
    drop(watch);
    within(async {
        while server.context.stats().watches.streams > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.context.stats().watches.keys, 0, "who goes leaves nothing behind");
}

#[tokio::test]
async fn a_watch_goes_on_from_its_cursor_without_loss_or_repetition() {
    let (server, client, info) = pair(WatchLimits::default()).await;
    let mut watch = client.context.subscribe(&info, vec![topic(1)], None).await.unwrap();
    put(&server, &value(1, 0, 1)).await;
    assert_eq!(told(&mut watch).await, [value(1, 0, 1)]);
    let cursor = watch.cursor();
    drop(watch);
    for slot in 1..=400 {
        put(&server, &value(1, slot, 1)).await;
    }
    put(&server, &value(1, 400, 2)).await;
    put(&server, &value(2, 0, 1)).await;

    let mut again = client.context.subscribe(&info, vec![topic(1)], Some(cursor)).await.unwrap();
    assert!(again.resumed());
    put(&server, &value(1, 401, 1)).await;
    let all = told_in_all(&mut again, 401).await;
    let mut slots: Vec<_> = all.iter().map(|record| record.slot()).collect();
    assert_eq!(slots.pop(), Some(401), "what is new comes after what was missed");
    slots.sort_unstable();
    assert_eq!(slots, (1..=400).collect::<Vec<_>>());
    assert!(all.iter().any(|record| record.slot() == 400 && record.seq() == 2));

    let cursor = again.cursor();
    // Another connection and another node key: a cursor belongs to the store.
    let (stranger, info) = client_of(&server).await;
    let mut last = stranger.context.subscribe(&info, vec![topic(1)], Some(cursor)).await.unwrap();
    assert!(last.resumed());
    put(&server, &value(1, 402, 1)).await;
    assert_eq!(told(&mut last).await, [value(1, 402, 1)], "nothing is told twice");
}

#[tokio::test]
async fn a_node_with_another_store_says_that_its_watchers_have_to_look_for_themselves() {
    let (server, client, info) = pair(WatchLimits::default()).await;
    let watch = client.context.subscribe(&info, vec![topic(1)], None).await.unwrap();
    let Cursor { incarnation, commit_no } = watch.cursor();
    drop(watch);
    for cursor in [
        Cursor { incarnation: incarnation ^ 1, commit_no },
        Cursor { incarnation, commit_no: commit_no + 1 },
    ] {
        let watch = client.context.subscribe(&info, vec![topic(1)], Some(cursor)).await.unwrap();
        assert!(!watch.resumed());
        assert_eq!(watch.cursor(), Cursor { incarnation, commit_no });
    }
    let other = NodeOptions { solo: true, ..NodeOptions::server() };
    let other = Node::start(other).await;
    let addrs = other.context.local_addrs().to_vec();
    let info = NodeInfo { id: other.context.node_id(), addrs };
    let cursor = Some(Cursor { incarnation, commit_no });
    let watch = client.context.subscribe(&info, vec![topic(1)], cursor).await.unwrap();
    assert!(!watch.resumed(), "another store's cursor");
    drop(server);
}

#[tokio::test]
async fn who_reads_too_slowly_is_cut_off_and_delays_nobody() {
    let (server, slow, info) = pair(WatchLimits::default()).await;
    let (quick, _) = client_of(&server).await;
    let mut lazy = slow.context.subscribe(&info, vec![topic(1)], None).await.unwrap();
    let mut eager = quick.context.subscribe(&info, vec![topic(1)], None).await.unwrap();
    let large = |slot| sign(&draft(1, slot, 1, vec![7; 60_000]));
    let mut slot = 0;
    within(async {
        while server.context.stats().watches.cut == 0 {
            put(&server, &large(slot)).await;
            assert_eq!(told(&mut eager).await, [large(slot)]);
            slot += 1;
        }
    })
    .await;
    assert!(slot > 15, "it had room for a MiB: {slot}");
    let mut before = 0;
    let reason = loop {
        match within(lazy.next()).await {
            Ok(News::Changed(records)) => before += records.len(),
            Ok(News::Missed) => panic!("it ends instead"),
            Err(reason) => break reason,
        }
    };
    assert_eq!(reason, AskError::Refused(Refusal::Busy));
    let cursor = lazy.cursor();
    let mut again = slow.context.subscribe(&info, vec![topic(1)], Some(cursor)).await.unwrap();
    let rest = told_in_all(&mut again, usize::try_from(slot).unwrap() - before).await;
    assert!(rest.iter().all(|record| record.has_body()), "it comes back with its cursor");
    let missed = u64::try_from(before).unwrap()..slot;
    let mut slots: Vec<_> = rest.iter().map(|record| record.slot()).collect();
    slots.sort_unstable();
    assert_eq!(slots, missed.collect::<Vec<_>>());
}

#[tokio::test]
async fn limits_are_refused_as_busy_and_the_next_watch_takes_the_place_of_the_last() {
    let limits = WatchLimits { streams: 2, keys: 5, ..WatchLimits::default() };
    let (server, first, info) = pair(limits).await;
    let (second, _) = client_of(&server).await;
    let (third, _) = client_of(&server).await;
    let keys = |from: u8, count: u8| (from..from + count).map(topic).collect::<Vec<_>>();
    let mut of_first = first.context.subscribe(&info, keys(1, 3), None).await.unwrap();
    let busy = Some(AskError::Refused(Refusal::Busy));
    assert_eq!(second.context.subscribe(&info, keys(1, 3), None).await.err(), busy, "six keys");
    let _second = second.context.subscribe(&info, keys(1, 2), None).await.unwrap();
    assert_eq!(third.context.subscribe(&info, keys(1, 0), None).await.err(), busy, "a third");
    assert_eq!(server.context.stats().watches.refused, 2);

    let mut instead = first.context.subscribe(&info, keys(8, 3), None).await.unwrap();
    let ended = AskError::Ended(server.context.node_id());
    assert_eq!(within(of_first.next()).await, Err(ended));
    put(&server, &value(1, 0, 1)).await;
    put(&server, &value(9, 0, 1)).await;
    assert_eq!(told(&mut instead).await, [value(9, 0, 1)]);
}

#[tokio::test]
async fn a_watch_holds_up_no_stop_and_is_told_of_it() {
    let (server, client, info) = pair(WatchLimits::default()).await;
    let mut watch = client.context.subscribe(&info, vec![topic(1)], None).await.unwrap();
    put(&server, &value(1, 0, 1)).await;
    let stopping = Instant::now();
    let (told, ()) = tokio::join!(
        async {
            let first = told(&mut watch).await;
            (first, within(watch.next()).await)
        },
        within(server.context.stop()),
    );
    assert_eq!(told.0, [value(1, 0, 1)]);
    assert_eq!(told.1, Err(AskError::Refused(Refusal::Restarting)));
    assert!(stopping.elapsed() < Duration::from_secs(5), "{:?}", stopping.elapsed());
}

#[tokio::test]
async fn a_client_is_not_watched() {
    let (server, client, _) = pair(WatchLimits::default()).await;
    let (other, _) = client_of(&server).await;
    let addrs = client.context.local_addrs().to_vec();
    let info = NodeInfo { id: client.context.node_id(), addrs };
    let refused = other.context.subscribe(&info, vec![topic(1)], None).await;
    assert_eq!(refused.err(), Some(AskError::Refused(Refusal::NotAServer)));
}
