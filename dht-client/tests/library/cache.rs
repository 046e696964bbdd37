//! The cache: what was got is not asked for again, and never is an older version served.

use bytes::Bytes;
use dht_client::writes::{Author, Change, Write};
use dht_client::{Client, Delete, ErrorNumber, Identity, Put, Slot, Space, watch};
use dht_kad::ValidRecord;
use dht_kad::record::{RecordDraft, RecordSigner};

use crate::people::{client_of, live};
use crate::servers::NETWORK;

async fn text_of(client: &Client, slot: &Slot) -> Vec<u8> {
    client.get_cached(slot).await.unwrap().body().unwrap().to_vec()
}

#[test]
fn a_value_is_served_from_memory_until_it_is_invalidated() {
    live(async {
        let alice = Identity::generate().unwrap();
        let (writer, reader) = (client_of(&alice), client_of(&Identity::generate().unwrap()));
        let label = writer.label("cached");
        let slot = Slot::Owned { publisher: alice.public_key(), label, slot: 0 };
        let put = |text: &'static str| writer.put(Put::owned(label, text.into()));
        put("one").await.unwrap();
        for _ in 0..3 {
            assert_eq!(text_of(&reader, &slot).await, b"one");
        }
        put("two").await.unwrap();
        assert_eq!(text_of(&reader, &slot).await, b"one", "its time has not passed");
        let stats = reader.cache_stats();
        assert_eq!((stats.hits, stats.misses, stats.entries), (3, 1, 1));
        reader.invalidate(&slot);
        assert_eq!(text_of(&reader, &slot).await, b"two");
        writer.stop().await;
        reader.stop().await;
    });
}

#[test]
fn what_is_noted_is_served_at_once_and_nothing_older_ever() {
    live(async {
        let alice = Identity::generate().unwrap();
        let (writer, reader) = (client_of(&alice), client_of(&Identity::generate().unwrap()));
        let label = writer.label("noted");
        let slot = Slot::Owned { publisher: alice.public_key(), label, slot: 0 };
        let put = |text: &'static str| writer.put(Put::owned(label, text.into()));
        let one = put("one").await.unwrap().record;
        assert_eq!(text_of(&reader, &slot).await, b"one");
        let two = put("two").await.unwrap().record;
        reader.note(&two).unwrap();
        assert_eq!(text_of(&reader, &slot).await, b"two");
        reader.note(&one).unwrap();
        assert_eq!(text_of(&reader, &slot).await, b"two", "an older one changes nothing");
        reader.invalidate(&slot);
        reader.note(&one).unwrap();
        assert_eq!(text_of(&reader, &slot).await, b"two", "nor after the entry has gone");
        writer.stop().await;
        reader.stop().await;
    });
}

#[test]
fn what_a_watch_has_shown_is_served_from_memory_though_the_older_version_has_time_left() {
    live(async {
        let alice = Identity::generate().unwrap();
        let (writer, reader) = (client_of(&alice), client_of(&Identity::generate().unwrap()));
        let label = writer.label("watched");
        let slot = Slot::Owned { publisher: alice.public_key(), label, slot: 0 };
        let put = |text: &'static str| writer.put(Put::owned(label, text.into()));
        put("one").await.unwrap();
        assert_eq!(text_of(&reader, &slot).await, b"one");
        let key = watch::owned(reader.network(), &alice.public_key(), &label);
        let mut changes = reader.watch(&[key]).await.unwrap();
        assert_eq!(changes.next().await.unwrap().record.body().as_deref(), Some(b"one".as_slice()));
        put("two").await.unwrap();
        assert_eq!(changes.next().await.unwrap().record.body().as_deref(), Some(b"two".as_slice()));
        let asked = reader.cache_stats().misses;
        assert_eq!(text_of(&reader, &slot).await, b"two");
        writer
            .delete(Delete {
                space: Space::Owned,
                label,
                slot: 0,
                expected_seq: None,
                quorum: None,
            })
            .await
            .unwrap();
        assert!(changes.next().await.unwrap().is_delete());
        let gone = reader.get_cached(&slot).await.unwrap_err();
        assert_eq!(gone.number(), ErrorNumber::NotFound);
        let stats = reader.cache_stats();
        assert_eq!((asked, stats.misses), (1, 1), "nobody was asked again");
        writer.stop().await;
        reader.stop().await;
    });
}

#[test]
fn what_was_only_watched_takes_no_room_in_the_cache() {
    live(async {
        let alice = Identity::generate().unwrap();
        let (writer, reader) = (client_of(&alice), client_of(&Identity::generate().unwrap()));
        let label = writer.label("only watched");
        let key = watch::owned(reader.network(), &alice.public_key(), &label);
        let mut changes = reader.watch(&[key]).await.unwrap();
        writer.put(Put::owned(label, "one".into())).await.unwrap();
        changes.next().await.unwrap();
        assert_eq!(reader.cache_stats().entries, 0);
        writer.stop().await;
        reader.stop().await;
    });
}

/// The network shows less than what was seen: as if a newer version had not been put there.
#[test]
fn an_older_version_than_one_seen_is_an_error_and_not_served() {
    live(async {
        let alice = Identity::generate().unwrap();
        let (writer, reader) = (client_of(&alice), client_of(&Identity::generate().unwrap()));
        let label = writer.label("older");
        let signer = alice.blinded(writer.network(), "older");
        let slot = Slot::Owned { publisher: signer.publisher(), label, slot: 0 };
        let change = Change::Put(Put::owned(label, "stored".into()));
        let author = Author::Blinded("older".to_owned());
        let put = writer.enqueue(Write { author, change }).unwrap();
        writer.settled(put).await.unwrap();
        let stored = writer.write_report(put).unwrap().unwrap().record;
        reader.note(&newer_than(&signer, &stored)).unwrap();
        assert_eq!(text_of(&reader, &slot).await, b"seen");
        reader.invalidate(&slot);
        let error = reader.get_cached(&slot).await.unwrap_err();
        assert_eq!(error.number(), ErrorNumber::QuorumNotReached);
        assert_eq!(reader.cache_stats().older, 2, "the usual holders, and a majority");
        writer.stop().await;
        reader.stop().await;
    });
}

/// A version that was seen somewhere, and is not on any server.
fn newer_than(signer: &dyn RecordSigner, stored: &ValidRecord) -> ValidRecord {
    let draft = RecordDraft {
        space: stored.space(),
        kind: stored.kind(),
        retention: stored.retention(),
        label: *stored.label(),
        slot: stored.slot(),
        seq: stored.seq() + (1 << 24),
        created_at: stored.created_at().after(1),
        guard_until: stored.keep_until(),
        work_bits: 0,
        ext: Bytes::new(),
        body: "seen".into(),
    };
    draft.sign(signer, &NETWORK.parse().unwrap()).unwrap()
}

#[test]
fn that_nothing_is_there_is_remembered_too_and_a_put_that_is_noted_ends_it() {
    live(async {
        let alice = Identity::generate().unwrap();
        let (writer, reader) = (client_of(&alice), client_of(&Identity::generate().unwrap()));
        let label = writer.label("missing");
        let slot = Slot::Owned { publisher: alice.public_key(), label, slot: 0 };
        for _ in 0..3 {
            let missing = reader.get_cached(&slot).await.unwrap_err();
            assert_eq!(missing.number(), ErrorNumber::NotFound);
        }
        assert_eq!((reader.cache_stats().misses, reader.cache_stats().hits_missing), (1, 2));
        let put = writer.put(Put::owned(label, "here".into())).await.unwrap().record;
        assert!(reader.get_cached(&slot).await.is_err(), "it is believed for a while");
        reader.note(&put).unwrap();
        assert_eq!(text_of(&reader, &slot).await, b"here");
        writer.stop().await;
        reader.stop().await;
    });
}
