//! Contacts: asked, accepted, blocked, and brought back from the words.

use dht_client::contacts::IgnoredRequests;
use dht_client::{
    Client, Contact, ContactState, ErrorNumber, Identity, Introduction, NetworkName, Put, Space,
};
use tokio::join;

use crate::people::{client_of, live};
use crate::servers::NETWORK;

/// The bits of work that the people here ask for: enough to see that they are asked for.
const WORK: u8 = 6;

/// Somebody new, who can be asked for `work` bits.
async fn somebody_asking(work: u8) -> (Identity, Client) {
    let identity = Identity::generate().unwrap();
    let client = client_of(&identity);
    // The client publishes a bundle by itself; what follows is to be the last word.
    client.renew_own_bundle().await.unwrap();
    client.publish_bundle_asking(work).await.unwrap();
    (identity, client)
}

async fn somebody() -> (Identity, Client) {
    somebody_asking(WORK).await
}

/// The contact of `client` that is `identity`.
fn contact(client: &Client, identity: &Identity) -> Contact {
    let all = client.contacts().unwrap();
    all.into_iter().find(|contact| contact.identity == identity.public_key()).unwrap()
}

/// What `client` and that contact can compare: the same on both sides if and only if each has the
/// other's secrets.
fn code(client: &Client, identity: &Identity) -> String {
    let own = client.identity().unwrap().public_key();
    contact(client, identity).pair_code(&own, client.network()).unwrap()
}

fn hex_of(identity: &Identity) -> String {
    hex::encode(identity.public_key())
}

async fn stop(clients: &[&Client]) {
    for client in clients {
        client.stop().await;
    }
}

/// `bob` accepts what `alice` asks, and she reads his answer.
async fn befriend(alice: (&Identity, &Client), bob: (&Identity, &Client)) {
    alice.1.request_contact(&bob.0.public_key(), "hello").await.unwrap();
    bob.1.contact_requests().await.unwrap();
    bob.1.accept(&hex_of(alice.0), None).await.unwrap();
    let answered = alice.1.contact_requests().await.unwrap();
    assert_eq!(answered.accepted.len(), 1);
}

#[test]
fn who_is_asked_and_accepts_shares_both_secrets_with_the_one_who_asked() {
    live(async {
        let ((alice, of_alice), (bob, of_bob)) = join!(somebody(), somebody());
        let words = Introduction { text: "from the bus", own_name: "Alice", name: Some("bobby") };
        let asked = of_alice.introduce(&bob.public_key(), &words).await.unwrap();
        assert_eq!((asked.name.as_str(), asked.state()), ("bobby", ContactState::Requested));
        assert_eq!(asked.pair_code(&alice.public_key(), of_alice.network()), None);

        let report = of_bob.contact_requests().await.unwrap();
        assert_eq!(report.ignored, IgnoredRequests::default());
        let [request] = report.requests.as_slice() else { panic!("{report:?}") };
        assert_eq!(request.sender, alice.public_key());
        assert_eq!((request.name.as_str(), request.text.as_str()), ("Alice", "from the bus"));
        assert!(request.work >= u32::from(WORK));
        assert!(of_bob.contacts().unwrap().is_empty(), "nobody is a contact unasked");

        let accepted = of_bob.accept(&hex::encode(request.id), None).await.unwrap();
        assert_eq!((accepted.name.as_str(), accepted.state()), ("Alice", ContactState::Accepted));
        assert!(of_bob.contact_requests().await.unwrap().requests.is_empty());
        let answered = of_alice.contact_requests().await.unwrap();
        assert_eq!(answered.accepted.len(), 1);
        assert!(answered.requests.is_empty());
        assert_eq!(contact(&of_alice, &bob).state(), ContactState::Accepted);
        assert_eq!(code(&of_alice, &bob), code(&of_bob, &alice));

        let again = of_alice.request_contact(&bob.public_key(), "").await.unwrap_err();
        assert!(again.to_string().contains("a contact already"), "{again}");
        stop(&[&of_alice, &of_bob]).await;
    });
}

#[test]
fn two_who_ask_each_other_at_the_same_time_have_both_agreed() {
    live(async {
        let ((alice, of_alice), (bob, of_bob)) = join!(somebody(), somebody());
        let (to_bob, to_alice) = (bob.public_key(), alice.public_key());
        let (one, other) =
            join!(of_alice.request_contact(&to_bob, ""), of_bob.request_contact(&to_alice, ""));
        assert_eq!(one.unwrap().state(), ContactState::Requested);
        assert_eq!(other.unwrap().state(), ContactState::Requested);
        for client in [&of_alice, &of_bob] {
            let report = client.contact_requests().await.unwrap();
            assert_eq!((report.accepted.len(), report.requests.len()), (1, 0));
        }
        assert_eq!(code(&of_alice, &bob), code(&of_bob, &alice));
        stop(&[&of_alice, &of_bob]).await;
    });
}

#[test]
fn who_asks_somebody_who_asked_already_accepts() {
    live(async {
        let ((alice, of_alice), (bob, of_bob)) = join!(somebody(), somebody());
        of_alice.request_contact(&bob.public_key(), "").await.unwrap();
        of_bob.contact_requests().await.unwrap();
        let accepted = of_bob.request_contact(&alice.public_key(), "").await.unwrap();
        assert_eq!(accepted.state(), ContactState::Accepted);
        of_alice.contact_requests().await.unwrap();
        assert_eq!(code(&of_alice, &bob), code(&of_bob, &alice));
        stop(&[&of_alice, &of_bob]).await;
    });
}

/// Where requests lie, as docs/PROTOCOL.md says it.
fn request_label(recipient: &Identity) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("dht 2026 v1 client request label");
    hasher.update(&[1]);
    for part in [NETWORK.as_bytes(), &recipient.public_key()] {
        hasher.update(&u32::try_from(part.len()).unwrap().to_be_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

#[test]
fn a_request_that_is_shown_again_or_copied_does_nothing() {
    live(async {
        let ((alice, of_alice), (bob, of_bob)) = join!(somebody(), somebody_asking(0));
        let of_eve = client_of(&Identity::generate().unwrap());
        of_alice.request_contact(&bob.public_key(), "once").await.unwrap();
        // Somebody who sees the inbox copies the request under a key of his own, changes it, and adds
        // what is none.
        let label = request_label(&bob);
        let records = of_eve.list_topic(&label).await.unwrap().records;
        let [record] = records.as_slice() else { panic!("one request, {}", records.len()) };
        let copy = record.body().unwrap();
        let mut changed = copy.to_vec();
        changed[2_000] ^= 1;
        for (slot, body) in [(1, copy), (2, changed.into()), (3, "no request".into())] {
            let mut put = Put::owned(label, body);
            (put.space, put.slot) = (Space::Topic, slot);
            of_eve.put(put).await.unwrap();
        }
        let report = of_bob.contact_requests().await.unwrap();
        assert_eq!(report.requests.len(), 1);
        let ignored = IgnoredRequests { forged: 1, foreign: 2, ..IgnoredRequests::default() };
        assert_eq!(report.ignored, ignored);

        of_bob.accept(&hex_of(&alice), None).await.unwrap();
        let before = of_bob.contacts().unwrap();
        let report = of_bob.contact_requests().await.unwrap();
        assert!(report.requests.is_empty() && report.accepted.is_empty());
        assert_eq!(report.ignored, IgnoredRequests { seen: 4, ..IgnoredRequests::default() });
        // Another device of Bob's, which has read none of them.
        let second = client_of(&bob);
        second.recover().await.unwrap();
        let report = second.contact_requests().await.unwrap();
        assert!(report.requests.is_empty() && report.accepted.is_empty());
        assert_eq!(report.ignored, ignored);
        assert_eq!(
            (of_bob.contacts().unwrap(), second.contacts().unwrap()),
            (before.clone(), before)
        );
        stop(&[&of_alice, &of_bob, &of_eve, &second]).await;
    });
}

#[test]
fn requests_that_show_too_little_work_are_not_even_read() {
    live(async {
        let ((_, of_alice), (bob, of_bob)) = join!(somebody(), somebody());
        let of_eve = client_of(&Identity::generate().unwrap());
        for slot in 0..20 {
            let mut put = Put::owned(request_label(&bob), vec![7; 3_184].into());
            (put.space, put.slot) = (Space::Topic, slot);
            of_eve.put(put).await.unwrap();
        }
        of_alice.request_contact(&bob.public_key(), "").await.unwrap();
        let report = of_bob.contact_requests().await.unwrap();
        assert_eq!((report.requests.len(), report.truncated), (1, false));
        assert_eq!(report.ignored, IgnoredRequests::default());
        stop(&[&of_alice, &of_bob, &of_eve]).await;
    });
}

#[test]
fn who_is_blocked_gets_no_answer_and_is_not_heard_until_unblocked() {
    live(async {
        let ((alice, of_alice), (bob, of_bob)) = join!(somebody(), somebody());
        let blocked = of_bob.block(&hex_of(&alice)).await.unwrap();
        assert_eq!(blocked.state(), ContactState::Blocked);
        of_alice.request_contact(&bob.public_key(), "").await.unwrap();
        let report = of_bob.contact_requests().await.unwrap();
        assert!(report.requests.is_empty() && report.accepted.is_empty());
        assert_eq!(report.ignored, IgnoredRequests { blocked: 1, ..IgnoredRequests::default() });
        let silence = of_alice.contact_requests().await.unwrap();
        assert!(silence.requests.is_empty() && silence.accepted.is_empty());
        assert_eq!(contact(&of_alice, &bob).state(), ContactState::Requested);
        let refused = of_bob.request_contact(&alice.public_key(), "").await.unwrap_err();
        assert!(refused.to_string().contains("is blocked"), "{refused}");

        // His other device knows it, too.
        let second = client_of(&bob);
        second.recover().await.unwrap();
        assert_eq!(contact(&second, &alice).state(), ContactState::Blocked);

        of_bob.unblock(&hex_of(&alice)).await.unwrap();
        assert_eq!(of_bob.contact_requests().await.unwrap().requests.len(), 1);
        stop(&[&of_alice, &of_bob, &second]).await;
    });
}

#[test]
fn the_root_alone_brings_back_contacts_with_their_secrets() {
    live(async {
        let root = [0x5a; 32];
        let alice = Identity::from_root(&root);
        let of_alice = client_of(&alice);
        of_alice.renew_own_bundle().await.unwrap();
        of_alice.publish_bundle_asking(WORK).await.unwrap();
        let ((bob, of_bob), (carol, of_carol)) = join!(somebody(), somebody());
        befriend((&alice, &of_alice), (&bob, &of_bob)).await;
        befriend((&carol, &of_carol), (&alice, &of_alice)).await;
        of_alice.rename_contact(&hex_of(&bob), "Bob from the bus").await.unwrap();
        let before = of_alice.contacts().unwrap();
        stop(&[&of_alice]).await;

        let anew = client_of(&Identity::from_root(&root));
        let report = anew.recover().await.unwrap();
        assert_eq!((report.found, report.unreadable, report.written), (2, 0, 0));
        assert_eq!(anew.contacts().unwrap(), before);
        assert_eq!(contact(&anew, &bob).name, "Bob from the bus");
        assert_eq!(code(&anew, &bob), code(&of_bob, &alice));
        assert_eq!(code(&anew, &carol), code(&of_carol, &alice));
        assert_eq!(anew.recover().await.unwrap().new, 0);
        stop(&[&anew, &of_bob, &of_carol]).await;
    });
}

/// `two-writers-one-key`: elsewhere a shared list was read, changed and written back, and the last
/// writer erased the others' changes. Here every contact has a slot of its own, and one that two
/// devices change is merged.
#[test]
fn two_writers_one_key() {
    live(async {
        let (alice, phone) = somebody().await;
        let laptop = client_of(&alice);
        laptop.renew_own_bundle().await.unwrap();
        let ((bob, of_bob), (carol, of_carol), (dave, of_dave)) =
            join!(somebody(), somebody(), somebody());
        for client in [&of_bob, &of_carol] {
            client.request_contact(&alice.public_key(), "").await.unwrap();
        }
        for device in [&phone, &laptop] {
            assert_eq!(device.contact_requests().await.unwrap().requests.len(), 2);
        }
        // Each accepts another one, and both ask the same third.
        let (to_bob, to_carol, to_dave) = (hex_of(&bob), hex_of(&carol), dave.public_key());
        let (one, other) = join!(phone.accept(&to_bob, None), laptop.accept(&to_carol, None));
        one.unwrap();
        other.unwrap();
        let (one, other) =
            join!(phone.request_contact(&to_dave, ""), laptop.request_contact(&to_dave, ""));
        one.unwrap();
        other.unwrap();
        assert_eq!(of_dave.contact_requests().await.unwrap().requests.len(), 1, "of one sender");
        of_dave.accept(&hex_of(&alice), None).await.unwrap();

        let fresh = client_of(&alice);
        for device in [&phone, &laptop, &fresh] {
            device.recover().await.unwrap();
            device.contact_requests().await.unwrap();
        }
        for device in [&phone, &laptop, &fresh] {
            device.recover().await.unwrap();
            assert_eq!(device.contacts().unwrap().len(), 3);
        }
        for client in [&of_bob, &of_carol] {
            client.contact_requests().await.unwrap();
        }
        for device in [&phone, &laptop, &fresh] {
            for (friend, of_friend) in [(&bob, &of_bob), (&carol, &of_carol), (&dave, &of_dave)] {
                assert_eq!(contact(device, friend).state(), ContactState::Accepted);
                assert_eq!(code(device, friend), code(of_friend, &alice));
            }
        }
        stop(&[&phone, &laptop, &fresh, &of_bob, &of_carol, &of_dave]).await;
    });
}

#[test]
fn who_cannot_be_asked_is_told_apart() {
    live(async {
        let (alice, of_alice) = somebody().await;
        let stranger = Identity::generate().unwrap();
        let missing = of_alice.request_contact(&stranger.public_key(), "").await.unwrap_err();
        assert_eq!(missing.number(), ErrorNumber::NotFound);
        assert!(missing.to_string().contains("key bundle"), "{missing}");
        let oneself = of_alice.request_contact(&alice.public_key(), "").await.unwrap_err();
        assert_eq!(oneself.number(), ErrorNumber::Usage);
        let long = "x".repeat(1_025);
        let too_long = of_alice.request_contact(&stranger.public_key(), &long).await.unwrap_err();
        assert_eq!(too_long.number(), ErrorNumber::TooLarge);
        let nobody = of_alice.accept("0011223344556677", None).await.unwrap_err();
        assert_eq!(nobody.number(), ErrorNumber::NotFound);
        assert!(of_alice.contacts().unwrap().is_empty(), "what failed leaves nobody behind");
        let network: NetworkName = NETWORK.parse().unwrap();
        let without = Client::builder(network)
            .bootstrap(crate::servers::servers()[0].addr.into())
            .identity(alice)
            .start()
            .unwrap();
        let refused = without.contact_requests().await.unwrap_err();
        assert!(refused.to_string().contains("profile"), "{refused}");
        stop(&[&of_alice, &without]).await;
    });
}
