//! Letters between people over real connections.

use std::time::Duration;

use dht_client::entropy::Entropy;
use dht_client::letters::{LetterId, MESSAGE_MAX, ReceivedLetter};
use dht_client::profile::Profile;
use dht_client::{Client, ErrorNumber, Identity};

use crate::people::{client_of, client_with, live};
use crate::servers::NETWORK;

/// Two who have accepted each other.
struct Friends {
    alice: Identity,
    bob: Identity,
    alices: Client,
    bobs: Client,
}

impl Friends {
    async fn meet() -> Self {
        let (alice, bob) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let (alices, bobs) = (client_of(&alice), client_of(&bob));
        befriend((&alice, &alices), (&bob, &bobs)).await;
        Friends { alice, bob, alices, bobs }
    }

    fn to_bob(&self) -> [u8; 32] {
        self.bob.public_key()
    }

    async fn stop(self) {
        self.alices.stop().await;
        self.bobs.stop().await;
    }
}

/// Bob accepts what Alice asks. He asks her for little work.
async fn befriend(alice: (&Identity, &Client), bob: (&Identity, &Client)) {
    for client in [alice.1, bob.1] {
        // The client publishes a bundle by itself; what follows is to be the last word.
        client.renew_own_bundle().await.unwrap();
        client.publish_bundle_asking(1).await.unwrap();
    }
    alice.1.request_contact(&bob.0.public_key(), "hello").await.unwrap();
    bob.1.contact_requests().await.unwrap();
    bob.1.accept(&hex::encode(alice.0.public_key()), Some("alice")).await.unwrap();
    alice.1.contact_requests().await.unwrap();
}

fn texts(numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    numbers.map(|number| number.to_be_bytes().to_vec()).collect()
}

fn payloads(letters: &[ReceivedLetter]) -> Vec<Vec<u8>> {
    letters.iter().map(|letter| letter.payload.clone()).collect()
}

fn ids(letters: &[ReceivedLetter]) -> Vec<LetterId> {
    letters.iter().map(|letter| letter.id).collect()
}

async fn deliver(client: &Client, expected: u64) {
    let delivery = client.deliver_letters().await.unwrap();
    assert_eq!(delivery.failed, 0, "{delivery:?}");
    // The client's own task may have been faster.
    assert!(delivery.stored <= expected);
    let outbox = client.outbox().unwrap();
    assert!(outbox.iter().all(|letter| letter.state.name() != "queued"));
}

#[test]
fn a_thousand_letters_while_the_other_is_away_arrive_once_and_in_order() {
    live(async {
        let friends = Friends::meet().await;
        let (sent, bob) = (texts(0..1_000), friends.to_bob());
        for some in sent.chunks(300) {
            friends.alices.send_all(&bob, some).await.unwrap();
        }
        deliver(&friends.alices, 1_000).await;
        let report = friends.bobs.fetch_letters().await.unwrap();
        assert_eq!((report.ready, report.missed, report.rejected), (1_000, 0, 0));
        let letters = friends.bobs.letters().unwrap();
        assert_eq!(payloads(&letters), sent);
        assert_eq!(friends.bobs.fetch_letters().await.unwrap().ready, 0);
        let ack = friends.bobs.ack(&ids(&letters)).await.unwrap();
        assert_eq!((ack.acknowledged, ack.pruned, ack.untold), (1_000, 1_000, None));
        assert_eq!(friends.bobs.letters().unwrap(), []);
        friends.alices.refresh_outbox().await.unwrap();
        let outbox = friends.alices.outbox().unwrap();
        assert!(outbox.iter().all(|letter| letter.state.name() == "fetched"));
        friends.stop().await;
    });
}

/// `second-device-loses-messages`, over the network: elsewhere two devices each rewrote the outbox.
#[test]
fn second_device_loses_no_messages_and_pruning_waits_for_it() {
    live(async {
        let friends = Friends::meet().await;
        let bob = friends.to_bob();
        let alices_phone = client_of(&friends.alice);
        assert_eq!(alices_phone.recover().await.unwrap().unreadable, 0);
        let bobs_phone = client_of(&friends.bob);
        bobs_phone.recover().await.unwrap();
        bobs_phone.fetch_letters().await.unwrap();
        for round in 0..5 {
            friends.alices.send_all(&bob, &texts(round * 10..round * 10 + 5)).await.unwrap();
            alices_phone.send_all(&bob, &texts(round * 10 + 5..round * 10 + 10)).await.unwrap();
        }
        deliver(&friends.alices, 25).await;
        deliver(&alices_phone, 25).await;
        for client in [&friends.bobs, &bobs_phone] {
            assert_eq!(client.fetch_letters().await.unwrap().ready, 50);
            let mut read = payloads(&client.letters().unwrap());
            read.sort();
            assert_eq!(read, texts(0..50));
        }
        let letters = friends.bobs.letters().unwrap();
        let ack = friends.bobs.ack(&ids(&letters)).await.unwrap();
        assert_eq!((ack.acknowledged, ack.pruned), (50, 0), "the phone has not read them");
        let ack = bobs_phone.ack(&ids(&letters)).await.unwrap();
        assert_eq!((ack.acknowledged, ack.pruned), (50, 50));
        for client in [&friends.bobs, &bobs_phone] {
            assert_eq!(client.fetch_letters().await.unwrap().ready, 0);
            client.stop().await;
        }
        alices_phone.stop().await;
        friends.alices.stop().await;
    });
}

#[test]
fn a_device_with_only_the_words_gets_what_still_waits() {
    live(async {
        let friends = Friends::meet().await;
        let bob = friends.to_bob();
        friends.alices.send_all(&bob, &texts(0..3)).await.unwrap();
        deliver(&friends.alices, 3).await;
        friends.bobs.fetch_letters().await.unwrap();
        let letters = friends.bobs.letters().unwrap();
        assert_eq!(friends.bobs.ack(&ids(&letters[..2])).await.unwrap().pruned, 2);
        friends.bobs.stop().await;
        let fresh = client_of(&friends.bob);
        fresh.recover().await.unwrap();
        let report = fresh.fetch_letters().await.unwrap();
        assert_eq!((report.ready, report.missed, report.awaited), (1, 0, 0));
        assert_eq!(payloads(&fresh.letters().unwrap()), texts(2..3));
        fresh.stop().await;
        friends.alices.stop().await;
    });
}

#[test]
fn a_message_of_sixteen_mebibytes_arrives_whole() {
    live(async {
        let friends = Friends::meet().await;
        let bob = friends.to_bob();
        let message: Vec<u8> = (0..MESSAGE_MAX).map(|at| (at / 7_919) as u8).collect();
        friends.alices.send(&bob, &message).await.unwrap();
        friends.alices.send(&bob, b"short").await.unwrap();
        deliver(&friends.alices, 2).await;
        assert_eq!(friends.bobs.fetch_letters().await.unwrap().ready, 2);
        let letters = friends.bobs.letters().unwrap();
        assert!(letters[0].payload == message && letters[1].payload == b"short");
        let longer = friends.alices.send(&bob, &[message, vec![0]].concat()).await.unwrap_err();
        assert_eq!(longer.number(), ErrorNumber::TooLarge);
        friends.stop().await;
    });
}

/// A profile on disk, and a client that is gone in the middle of its work.
#[test]
fn whoever_is_stopped_in_the_middle_goes_on_with_the_same_profile() {
    let folder = tempfile::tempdir().unwrap();
    let network = NETWORK.parse().unwrap();
    let open = |owner: &Identity, name: &str| {
        let path = folder.path().join(name);
        Profile::open(&path, &owner.public_key(), &network, &Entropy::system()).unwrap()
    };
    let (alice, bob) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    live(async {
        let alices = client_with(&alice, open(&alice, "alice"));
        let bobs = client_with(&bob, open(&bob, "bob"));
        befriend((&alice, &alices), (&bob, &bobs)).await;
        alices.stop().await;
        bobs.stop().await;
    });
    // Each time with a runtime of its own, which takes everything with it when it is dropped.
    let mut sent = 0;
    for stop_after_ms in [0, 1, 3, 10, 30, 100] {
        live(async {
            let alices = client_with(&alice, open(&alice, "alice"));
            alices.send_all(&bob.public_key(), &texts(sent..sent + 200)).await.unwrap();
            sent += 200;
            let some_time = Duration::from_millis(stop_after_ms);
            let _ = tokio::time::timeout(some_time, alices.deliver_letters()).await;
        });
    }
    live(async {
        let alices = client_with(&alice, open(&alice, "alice"));
        deliver(&alices, u64::from(sent)).await;
        alices.stop().await;
    });
    for stop_after_ms in [0, 1, 3, 10, 30, 100, 300] {
        live(async {
            let bobs = client_with(&bob, open(&bob, "bob"));
            let some_time = Duration::from_millis(stop_after_ms);
            let _ = tokio::time::timeout(some_time, bobs.fetch_letters()).await;
        });
    }
    live(async {
        let bobs = client_with(&bob, open(&bob, "bob"));
        bobs.fetch_letters().await.unwrap();
        let first = bobs.letters().unwrap();
        let rest = bobs.letters_after(first.last().unwrap().arrival).unwrap();
        assert_eq!([payloads(&first), payloads(&rest)].concat(), texts(0..sent));
        bobs.stop().await;
    });
}

#[test]
fn letters_are_shown_as_they_come() {
    live(async {
        let friends = Friends::meet().await;
        let bob = friends.to_bob();
        friends.alices.send(&bob, b"one").await.unwrap();
        let mut stream = friends.bobs.follow_letters();
        assert_eq!(stream.next().await.unwrap().payload, b"one");
        friends.alices.send(&bob, b"two").await.unwrap();
        assert_eq!(stream.next().await.unwrap().payload, b"two");
        friends.stop().await;
    });
}

/// He who was asked answers and writes while she is away: to fetch is all that she has to do.
#[test]
fn who_has_accepted_meanwhile_is_read_at_once() {
    live(async {
        let (alice, bob) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let (alices, bobs) = (client_of(&alice), client_of(&bob));
        bobs.publish_bundle().await.unwrap();
        alices.request_contact(&bob.public_key(), "hello").await.unwrap();
        bobs.contact_requests().await.unwrap();
        bobs.accept(&hex::encode(alice.public_key()), Some("alice")).await.unwrap();
        bobs.send(&alice.public_key(), b"welcome").await.unwrap();
        deliver(&bobs, 1).await;
        assert_eq!(alices.fetch_letters().await.unwrap().ready, 1);
        assert_eq!(payloads(&alices.letters().unwrap()), [b"welcome"]);
        alices.stop().await;
        bobs.stop().await;
    });
}

#[test]
fn a_stranger_cannot_be_written_to() {
    live(async {
        let alices = client_of(&Identity::generate().unwrap());
        let unknown = alices.send(&[7; 32], b"x").await.unwrap_err();
        assert_eq!(unknown.number(), ErrorNumber::NotFound);
        alices.stop().await;
    });
}
