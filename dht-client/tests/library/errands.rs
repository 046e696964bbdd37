//! What merges and was made while nobody answers: it holds on this device at once, is brought to the
//! network by whichever process comes next, and overwrites nothing that another device did meanwhile.

use std::net::UdpSocket;
use std::time::Duration;

use dht_client::entropy::Entropy;
use dht_client::profile::Profile;
use dht_client::writes::{WriteError, WriteKind, WriteState};
use dht_client::{Client, ClientError, Contact, ContactState, ErrorNumber, Identity};

use crate::people::{client_of, client_with, live};
use crate::servers::NETWORK;

/// The bits of work that the people here ask for.
const WORK: u8 = 6;
/// The most that anything here may take: generous, since the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

fn profile_of(identity: &Identity) -> Profile {
    let network = NETWORK.parse().unwrap();
    Profile::in_memory(&identity.public_key(), &network, &Entropy::system()).unwrap()
}

/// A client of this profile to whom nobody answers, and what keeps it so.
fn offline(identity: &Identity, profile: &Profile) -> (Client, UdpSocket) {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let builder = Client::builder(NETWORK.parse().unwrap())
        .identity(identity.clone())
        .profile(profile.clone())
        .bootstrap(silent.local_addr().unwrap().into())
        .timeout(Duration::from_millis(300));
    (builder.start().unwrap(), silent)
}

/// The kind of what is queued by now, from the error that says so.
fn queued(client: &Client, error: &ClientError) -> WriteKind {
    assert_eq!(error.number(), ErrorNumber::Queued, "{error}");
    let ClientError::Write(WriteError::Queued { id, .. }) = error else { panic!("{error}") };
    let write = client.writes().unwrap().into_iter().find(|write| write.id == *id).unwrap();
    assert!(write.state.is_waiting());
    write.kind
}

fn contact(client: &Client, identity: &Identity) -> Contact {
    let all = client.contacts().unwrap();
    all.into_iter().find(|contact| contact.identity == identity.public_key()).unwrap()
}

/// Waits until the queue of a client that is online has nothing left.
async fn all_done(client: &Client) {
    let writes = client.writes().unwrap();
    for write in writes {
        let settled = tokio::time::timeout(LIMIT, client.settled(write.id)).await;
        let state = settled.expect("it should have been delivered within a minute").unwrap();
        assert!(matches!(state, WriteState::Done { .. }), "{state:?}");
    }
}

fn hex_of(identity: &Identity) -> String {
    hex::encode(identity.public_key())
}

#[test]
fn who_is_accepted_while_nobody_answers_is_a_contact_and_told_later() {
    live(async {
        let (alice, bob) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let of_alice = client_of(&alice);
        of_alice.publish_bundle_asking(WORK).await.unwrap();
        let profile = profile_of(&bob);
        let before = client_with(&bob, profile.clone());
        before.publish_bundle_asking(WORK).await.unwrap();
        of_alice.request_contact(&bob.public_key(), "hello").await.unwrap();
        assert_eq!(before.contact_requests().await.unwrap().requests.len(), 1);
        before.stop().await;
        drop(before);

        let (away, _silent) = offline(&bob, &profile);
        let error = away.accept(&hex_of(&alice), Some("alice")).await.unwrap_err();
        assert_eq!(queued(&away, &error), WriteKind::Contact(alice.public_key()));
        let accepted = contact(&away, &alice);
        assert_eq!((accepted.name.as_str(), accepted.state()), ("alice", ContactState::Accepted));
        let again = away.accept(&hex_of(&alice), None).await.unwrap_err();
        assert_eq!(again.number(), ErrorNumber::NotFound, "the request is answered: {again}");
        away.stop().await;
        drop(away);
        let none = of_alice.contact_requests().await.unwrap();
        assert!(none.accepted.is_empty(), "nothing left the machine");

        let back = client_with(&bob, profile);
        all_done(&back).await;
        let answered = of_alice.contact_requests().await.unwrap();
        assert_eq!(answered.accepted.len(), 1);
        let code = |client: &Client, own: &Identity, other: &Identity| {
            contact(client, other).pair_code(&own.public_key(), client.network()).unwrap()
        };
        assert_eq!(code(&back, &bob, &alice), code(&of_alice, &alice, &bob));
        // The words alone know it, too.
        let anew = client_of(&bob);
        assert_eq!(anew.recover().await.unwrap().found, 1);
        assert_eq!(contact(&anew, &alice).state(), ContactState::Accepted);
        for client in [of_alice, back, anew] {
            client.stop().await;
        }
    });
}

#[test]
fn who_is_asked_while_nobody_answers_gets_the_request_later_as_it_was_written() {
    live(async {
        let (alice, bob) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let of_bob = client_of(&bob);
        of_bob.publish_bundle_asking(WORK).await.unwrap();
        let profile = profile_of(&alice);
        let (away, _silent) = offline(&alice, &profile);
        let error = away.request_contact(&bob.public_key(), "from afar").await.unwrap_err();
        assert_eq!(queued(&away, &error), WriteKind::Contact(bob.public_key()));
        assert_eq!(contact(&away, &bob).state(), ContactState::Requested);
        away.stop().await;
        drop(away);
        let back = client_with(&alice, profile);
        all_done(&back).await;
        let requests = of_bob.contact_requests().await.unwrap().requests;
        assert_eq!((requests.len(), requests[0].text.as_str()), (1, "from afar"));
        back.stop().await;
        of_bob.stop().await;
    });
}

#[test]
fn what_two_devices_did_to_a_contact_is_merged_and_no_conflict() {
    live(async {
        let (alice, eve) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let profile = profile_of(&alice);
        let (phone, laptop) = (client_of(&alice), client_with(&alice, profile.clone()));
        phone.block(&hex_of(&eve)).await.unwrap();
        laptop.recover().await.unwrap();
        laptop.stop().await;
        drop(laptop);

        let (away, _silent) = offline(&alice, &profile);
        let error = away.unblock(&hex_of(&eve)).await.unwrap_err();
        assert_eq!(queued(&away, &error), WriteKind::Contact(eve.public_key()));
        let error = away.rename_contact(&hex_of(&eve), "an earlier name").await.unwrap_err();
        queued(&away, &error);
        away.stop().await;
        drop(away);
        // Written after what waits on the laptop was made, and before it is delivered.
        phone.rename_contact(&hex_of(&eve), "a later name").await.unwrap();

        let laptop = client_with(&alice, profile);
        all_done(&laptop).await;
        phone.recover().await.unwrap();
        for device in [&phone, &laptop] {
            let known = contact(device, &eve);
            assert_eq!(
                (known.name.as_str(), known.state()),
                ("a later name", ContactState::Requested)
            );
        }
        phone.stop().await;
        laptop.stop().await;
    });
}

#[test]
fn what_is_asked_of_a_bundle_while_nobody_answers_is_published_later() {
    live(async {
        let (alice, bob) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let profile = profile_of(&alice);
        let (away, _silent) = offline(&alice, &profile);
        for work in [9, 7] {
            let error = away.publish_bundle_asking(work).await.unwrap_err();
            assert_eq!(queued(&away, &error), WriteKind::Bundle);
        }
        away.stop().await;
        drop(away);
        let back = client_with(&alice, profile);
        all_done(&back).await;
        let of_bob = client_of(&bob);
        assert_eq!(of_bob.bundle_of(&alice.public_key()).await.unwrap().request_work, 7);
        back.stop().await;
        of_bob.stop().await;
    });
}
