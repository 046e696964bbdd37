//! Key bundles: published under a blinded key, found by whoever knows the identity, renewed in time.

use std::time::Duration;

use dht_client::bundle::{BundleError, RENEW_BELOW_MS, REQUEST_WORK_DEFAULT};
use dht_client::identity::blinding::blinded_public;
use dht_client::{Client, ClientError, GetOptions, Identity, Put, Retention, Slot};
use dht_kad::UnixMs;
use dht_kad::record::RecordSigner;
use dht_kad::time::DAY_MS;
use tokio::time::timeout;

use crate::people::{client_of, client_without_profile, live};
use crate::servers::NETWORK;

fn refusal(error: ClientError) -> BundleError {
    match error {
        ClientError::Bundle(error) => error,
        other => panic!("{other}"),
    }
}

/// Where the nodes keep the bundle of this identity.
async fn stored(client: &Client, identity: &Identity) -> Option<dht_kad::ValidRecord> {
    let network = NETWORK.parse().unwrap();
    let publisher = blinded_public(&network, &identity.public_key(), "bundle").unwrap();
    let context = "dht 2026 v1 client key bundle label";
    // As docs/PROTOCOL.md describes it.
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(&[1]);
    for part in [NETWORK.as_bytes(), &identity.public_key()] {
        hasher.update(&u32::try_from(part.len()).unwrap().to_be_bytes());
        hasher.update(part);
    }
    let label = *hasher.finalize().as_bytes();
    let slot = Slot::Owned { publisher, label, slot: 0 };
    client.get(&slot, GetOptions::default()).await.ok().map(|report| report.record)
}

#[test]
fn whoever_knows_an_identity_finds_its_bundle_and_nodes_do_not_see_the_identity() {
    live(async {
        let (alice, bob) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let (hers, his) = (client_of(&alice), client_of(&bob));
        hers.publish_bundle_asking(7).await.unwrap();
        let bundle = his.bundle_of(&alice.public_key()).await.unwrap();
        assert_eq!(&bundle.sealing, alice.sealing_key().public());
        assert_eq!(bundle.request_work, 7);
        let record = stored(&his, &alice).await.unwrap();
        assert_eq!(record.expires_at(), bundle.expires_at);
        for secret in [alice.public_key().to_vec(), bundle.sealing.to_bytes()] {
            let seen = record.bytes().windows(secret.len()).any(|window| window == secret);
            assert!(!seen, "a node sees neither the identity nor its sealing key");
        }
        hers.stop().await;
        his.stop().await;
    });
}

/// Puts the bundle's own bytes again, for a week; returns when that ends.
async fn keep_for_days_7(client: &Client, identity: &Identity) -> UnixMs {
    let record = stored(client, identity).await.unwrap();
    let mut put = Put::owned(*record.label(), record.body().unwrap());
    put.retention = Retention::Days7;
    let signer = identity.blinded(client.network(), "bundle");
    client.put_by(&signer, put).await.unwrap().record.expires_at()
}

#[test]
fn a_bundle_with_less_than_120_days_left_is_renewed_as_it_was() {
    live(async {
        let alice = Identity::generate().unwrap();
        let first = client_of(&alice);
        let published = first.publish_bundle_asking(9).await.unwrap();
        let ends = keep_for_days_7(&first, &alice).await;
        assert!(ends.0 + RENEW_BELOW_MS < published.expires_at.0);
        // The profile of this installation knows that its bundle lasts: nobody is asked.
        assert_eq!(first.renew_own_bundle().await.unwrap(), published.expires_at);
        assert_eq!(stored(&first, &alice).await.unwrap().expires_at(), ends);

        // Another one has to ask, and finds that it is time.
        let second = client_of(&alice);
        let renewed = second.renew_own_bundle().await.unwrap();
        assert!(renewed.0 > now() + 364 * DAY_MS, "for a year again");
        let found = client_of(&alice).bundle_of(&alice.public_key()).await.unwrap();
        assert_eq!((found.expires_at, found.request_work), (renewed, 9));

        // A third finds that it was done, and leaves it alone.
        let third = client_of(&alice);
        let before = stored(&third, &alice).await.unwrap();
        assert_eq!(third.renew_own_bundle().await.unwrap(), renewed);
        assert_eq!(stored(&third, &alice).await.unwrap().seq(), before.seq());
        for client in [first, second, third] {
            client.stop().await;
        }
    });
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

#[test]
fn a_bundle_of_another_form_is_told_apart_and_replaced() {
    live(async {
        let alice = Identity::generate().unwrap();
        // Without a profile it does not renew the bundle by itself.
        let reader = client_without_profile(&alice);
        let writer = client_without_profile(&alice);
        writer.publish_bundle().await.unwrap();
        let label = *stored(&writer, &alice).await.unwrap().label();
        let signer = alice.blinded(writer.network(), "bundle");
        for body in [&b"no bundle"[..], &[0; 1258]] {
            writer.put_by(&signer, Put::owned(label, body.to_vec().into())).await.unwrap();
            let error = refusal(reader.bundle_of(&alice.public_key()).await.unwrap_err());
            assert_eq!(error, BundleError::Unreadable(alice.public_key()));
        }
        let ends = client_of(&alice).renew_own_bundle().await.unwrap();
        assert_eq!(reader.bundle_of(&alice.public_key()).await.unwrap().expires_at, ends);
        reader.stop().await;
        writer.stop().await;
    });
}

#[test]
fn any_word_gives_a_key_whose_records_servers_accept_and_readers_verify() {
    live(async {
        let alice = Identity::generate().unwrap();
        let client = client_without_profile(&alice);
        let label = client.label("something");
        for word in ["one", "two"] {
            let signer = alice.blinded(client.network(), word);
            let publisher = signer.publisher();
            let known = blinded_public(client.network(), &alice.public_key(), word);
            assert_eq!(known, Some(publisher));
            client.put_by(&signer, Put::owned(label, word.into())).await.unwrap();
            let slot = Slot::Owned { publisher, label, slot: 0 };
            let found = client.get(&slot, GetOptions::default()).await.unwrap();
            assert_eq!(found.record.body().as_deref(), Some(word.as_bytes()));
        }
        client.stop().await;
    });
}

#[test]
fn what_cannot_be_had_is_told_apart() {
    live(async {
        let alice = Identity::generate().unwrap();
        let client = client_of(&alice);
        let mut nobody = [0; 32];
        nobody[0] = 2;
        let error = refusal(client.bundle_of(&nobody).await.unwrap_err());
        assert_eq!(error, BundleError::NotAnIdentity(nobody));
        let silent = Identity::generate().unwrap().public_key();
        let error = refusal(client.bundle_of(&silent).await.unwrap_err());
        assert_eq!(error, BundleError::Missing(silent));
        let error = refusal(client.publish_bundle_asking(25).await.unwrap_err());
        assert_eq!(error, BundleError::TooMuchWork(25));
        client.stop().await;
    });
}

#[test]
fn a_client_with_identity_and_profile_publishes_its_bundle_by_itself() {
    live(async {
        let (alice, bob) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let (hers, his) = (client_of(&alice), client_of(&bob));
        hers.ready().await.unwrap();
        let published = async {
            loop {
                match his.bundle_of(&alice.public_key()).await {
                    Ok(found) => break found,
                    Err(error) => {
                        assert_eq!(refusal(error), BundleError::Missing(alice.public_key()));
                    }
                }
            }
        };
        let found = timeout(Duration::from_secs(30), published).await.expect("it is published");
        assert_eq!(found.request_work, REQUEST_WORK_DEFAULT);
        hers.stop().await;
        his.stop().await;
    });
}
