//! The write queue: what is put while nobody answers is delivered later, in order, and never over
//! what somebody else has written meanwhile.

use std::net::UdpSocket;
use std::time::Duration;

use dht_client::entropy::Entropy;
use dht_client::profile::Profile;
use dht_client::writes::{Author, Change, Write, WriteState};
use dht_client::{Client, Delete, ErrorNumber, GetOptions, Identity, Put, Slot, Space};

use crate::people::{client_of, live};
use crate::servers::{NETWORK, start_alone_at};

/// The most that anything here may take: generous, since the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it should have come within a minute")
}

fn sequence(state: &WriteState) -> u64 {
    match state {
        WriteState::Done { seq, .. } => *seq,
        other => panic!("it should be done: {other:?}"),
    }
}

#[test]
fn what_is_put_before_any_server_is_there_is_delivered_in_order_when_one_comes() {
    live(async {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let place = silent.local_addr().unwrap();
        let (alice, network) = (Identity::generate().unwrap(), NETWORK.parse().unwrap());
        let entropy = Entropy::system();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile");
        let profile = || Profile::open(&path, &alice.public_key(), &network, &entropy).unwrap();
        let client = |profile| {
            let builder = Client::builder(network.clone()).bootstrap(place.into());
            builder.identity(alice.clone()).profile(profile).start().unwrap()
        };
        let early = client(profile());
        let label = early.label("diary");
        let put = |text: &'static str| Put::owned(label, text.into());
        let mut ids: Vec<_> =
            ["one", "two", "three"].map(|text| early.enqueue(put(text)).unwrap()).into();
        ids.push(early.enqueue(Put { slot: 1, ..put("beside") }).unwrap());
        assert!(early.write_state(ids[0]).unwrap().is_waiting());
        early.stop().await;
        drop(early);

        // Another process, and a server that comes while it runs.
        let late = client(profile());
        assert_eq!(late.writes().unwrap().len(), 4);
        drop(silent);
        start_alone_at(place);
        let mut seqs = Vec::new();
        for id in &ids {
            seqs.push(sequence(&within(late.settled(*id)).await.unwrap()));
        }
        assert!(seqs[..3].is_sorted_by(|a, b| a < b), "each supersedes the one before: {seqs:?}");
        let slot = |slot| Slot::Owned { publisher: alice.public_key(), label, slot };
        let last = late.get(&slot(0), GetOptions::default()).await.unwrap().record;
        assert_eq!((last.body().as_deref(), last.seq()), (Some(b"three".as_slice()), seqs[2]));
        let beside = late.get(&slot(1), GetOptions::default()).await.unwrap().record;
        assert_eq!(beside.body().as_deref(), Some(b"beside".as_slice()));
        late.stop().await;
    });
}

#[test]
fn a_newer_edit_from_elsewhere_is_reported_and_not_overwritten() {
    live(async {
        let alice = Identity::generate().unwrap();
        let (laptop, phone) = (client_of(&alice), client_of(&alice));
        let label = laptop.label("shared");
        let put =
            |text: &'static str, base| Put { expected_seq: base, ..Put::owned(label, text.into()) };
        let first = laptop.put(put("first", None)).await.unwrap().record.seq();
        let newer = phone.put(put("newer", None)).await.unwrap().record.seq();
        let stale = laptop.enqueue(put("stale", Some(first))).unwrap();
        // Based on what the one before it should have become, it shares its fate.
        let behind = laptop.enqueue(put("behind", None)).unwrap();
        for id in [stale, behind] {
            let state = within(laptop.settled(id)).await.unwrap();
            assert_eq!(state, WriteState::Conflict { stored: newer });
        }
        let slot = Slot::Owned { publisher: alice.public_key(), label, slot: 0 };
        let kept = phone.get(&slot, GetOptions::default()).await.unwrap().record;
        assert_eq!(kept.body().as_deref(), Some(b"newer".as_slice()));
        let based = laptop.enqueue(put("based", Some(newer))).unwrap();
        assert!(sequence(&within(laptop.settled(based)).await.unwrap()) > newer);
        laptop.stop().await;
        phone.stop().await;
    });
}

#[test]
fn a_delete_goes_through_the_queue_and_what_is_not_there_is_refused() {
    live(async {
        let alice = Identity::generate().unwrap();
        let client = client_of(&alice);
        let label = client.label("gone");
        let delete =
            Delete { space: Space::Owned, label, slot: 0, expected_seq: None, quorum: None };
        let nothing = client.enqueue(delete).unwrap();
        match within(client.settled(nothing)).await.unwrap() {
            WriteState::Refused { number, .. } => assert_eq!(number, ErrorNumber::NotFound),
            other => panic!("there is nothing to delete: {other:?}"),
        }
        let put = client.enqueue(Put::owned(label, "x".into())).unwrap();
        let delete = client.enqueue(delete).unwrap();
        let put = sequence(&within(client.settled(put)).await.unwrap());
        assert!(sequence(&within(client.settled(delete)).await.unwrap()) > put);
        let report = client.write_report(delete).unwrap().unwrap();
        assert!(report.outcome.stored.len() >= 2);
        let slot = Slot::Owned { publisher: alice.public_key(), label, slot: 0 };
        let gone = client.get(&slot, GetOptions::default()).await.unwrap_err();
        assert_eq!(gone.number(), ErrorNumber::NotFound);
        client.stop().await;
    });
}

#[test]
fn the_author_that_is_named_signs() {
    live(async {
        let alice = Identity::generate().unwrap();
        let client = client_of(&alice);
        let label = client.label("authors");
        let mut publishers = Vec::new();
        for author in [Author::Identity, Author::Contacts, Author::Blinded("word".to_owned())] {
            let change = Change::Put(Put::owned(label, "x".into()));
            let id = client.enqueue(Write { author, change }).unwrap();
            within(client.settled(id)).await.unwrap();
            publishers.push(*client.write_report(id).unwrap().unwrap().record.publisher());
        }
        assert_eq!(publishers[0], alice.public_key());
        let blinded = alice.blinded(client.network(), "word");
        assert_eq!(publishers[2], dht_kad::record::RecordSigner::publisher(&blinded));
        assert!(publishers[1] != publishers[0] && publishers[1] != publishers[2]);
        client.stop().await;
    });
}

#[test]
fn a_value_that_fits_no_record_and_a_client_without_profile_are_told_at_once() {
    live(async {
        let alice = Identity::generate().unwrap();
        let client = client_of(&alice);
        let large = Put::owned([0; 32], vec![0; 65_537].into());
        assert_eq!(client.enqueue(large.clone()).unwrap_err().number(), ErrorNumber::TooLarge);
        client.stop().await;
        let place = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let builder = Client::builder(NETWORK.parse().unwrap()).bootstrap(place.into());
        let forgetful = builder.identity(alice).start().unwrap();
        assert_eq!(forgetful.enqueue(large).unwrap_err().number(), ErrorNumber::TooLarge);
        let small = forgetful.enqueue(Put::owned([0; 32], "x".into()));
        assert_eq!(small.unwrap_err().number(), ErrorNumber::Usage);
    });
}
