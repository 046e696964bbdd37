//! Rules of what stays: saved peers, and everything after the store was closed.

use bytes::Bytes;
use dht_kad::record::{Retention, Space};
use dht_kad::time::DAY_MS;
use dht_kad::{NodeId, RecordDraft, Refusal};

use super::{
    NO_LIMITS, NOW, Opened, STORE, Subject, Submission, content, draft, sign, sign_by, tombstone,
};
use crate::registry::SavedPeer;
use crate::store::RecordStore;

fn peers() -> Vec<SavedPeer> {
    let v4 = "192.0.2.1:4400".parse().expect("an address");
    let v6 = "[2001:db8::1]:4400".parse().expect("an address");
    let id = |byte| NodeId::from_bytes([byte; 32]);
    vec![
        SavedPeer { id: id(9), addrs: vec![v6, v4] },
        SavedPeer { id: id(1), addrs: vec![v4] },
        SavedPeer { id: id(5), addrs: Vec::new() },
    ]
}

/// Peers come back as they were saved, in their order; the last saving is the one that counts.
pub async fn saved_peers_are_read_back<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    assert_eq!(opened.store.saved_peers(), []);
    opened.store.save_peers(peers()).await.expect("saved");
    assert_eq!(opened.store.saved_peers(), peers());
    opened.store.save_peers(peers()[1..].to_vec()).await.expect("saved");
    assert_eq!(opened.store.saved_peers(), peers()[1..]);
    opened.store.save_peers(Vec::new()).await.expect("saved");
    assert_eq!(opened.store.saved_peers(), []);
}

/// A store that closes says `Restarting` to every write, and may be told to close twice.
pub async fn a_closed_store_takes_no_writes<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    assert_eq!(opened.store.writable(), Ok(()));
    let record = sign(&draft(1, "value"));
    let under_way = opened.store.submit(vec![Submission { record, path: STORE }]);
    opened.store.close().await;
    assert!(under_way.await[0].is_ok(), "what was submitted before the end is finished");
    assert_eq!(opened.store.writable(), Err(Refusal::Restarting));
    assert_eq!(opened.put(&sign(&draft(2, "late"))).await, Err(Refusal::Restarting));
    assert_eq!(opened.store.save_peers(peers()).await, Err(Refusal::Restarting));
    opened.store.close().await;
}

/// What was acknowledged is there after a restart, bit for bit, charged as before.
pub async fn a_reopened_store_holds_the_same<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let guard_until = NOW.after(20 * DAY_MS);
    let large = Bytes::from(vec![5; 65_536]);
    let records = [
        sign(&draft(1, "owned")),
        sign(&RecordDraft { slot: 1, guard_until, ..draft(3, "guarded") }),
        sign(&RecordDraft { slot: 2, ..tombstone(2, guard_until) }),
        sign(&RecordDraft {
            slot: 3,
            work_bits: 6,
            ext: Bytes::from_static(b"ext"),
            ..draft(1, "")
        }),
        sign(&RecordDraft { slot: 4, retention: Retention::Days365, body: large, ..draft(1, "") }),
        sign(&RecordDraft { slot: 5, retention: Retention::Hours8, ..draft(1, "announcement") }),
        sign_by(2, &RecordDraft { space: Space::Topic, ..draft(1, "topic") }),
        sign_by(3, &content("content")),
    ];
    for record in &records {
        opened.put(record).await.expect("stored");
    }
    opened.store.save_peers(peers()).await.expect("saved");
    let usage = opened.store.usage();
    opened.store.close().await;
    let clock = std::sync::Arc::clone(&opened.clock);
    let Some(store) = subject.reopen(opened.store, clock, NO_LIMITS).await else { return };
    let opened: Opened<S> = Opened { store, clock: opened.clock };
    assert_eq!(opened.store.writable(), Ok(()));
    assert_eq!(opened.store.saved_peers(), peers());
    let found = opened.store.usage();
    assert_eq!((found.total, found.classes), (usage.total, usage.classes));
    assert!(found.commit_no >= usage.commit_no, "commit numbers never go back");
    let mut at_owned = opened.at(records[0].id().key).await;
    for record in &records[6..] {
        opened.holds(record).await;
    }
    at_owned.sort_by_key(|bytes| bytes.len());
    let mut expected: Vec<_> = records[..6].iter().map(|record| record.bytes().clone()).collect();
    expected.sort_by_key(|bytes| bytes.len());
    assert_eq!(at_owned, expected);
    let stale = opened.put(&sign(&RecordDraft { slot: 1, ..draft(2, "stale") })).await;
    assert_eq!(stale, Err(Refusal::SeqTooLow { stored: 3 }));
    opened.clock.set(guard_until);
    opened.sweep(subject).await;
    assert_eq!(opened.store.usage().total.records, 1, "what was stored before is swept, too");
    assert_eq!(opened.at(records[0].id().key).await, [records[4].bytes().clone()]);
}
