//! Watching by three holders: nothing is missed, also when one of them dies.

use std::time::Duration;

use dht_client::watch::{owned, topic};
use dht_client::{Client, ErrorNumber, GetOptions, Identity, Put, Slot, Space, Watch};
use dht_context::DhtContext;
use dht_kad::message::watch::WatchKey;

use crate::people::{client_of, live};
use crate::servers::{NETWORK, start};

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it comes within a minute")
}

/// The next change's body; nothing for a delete.
async fn next(watch: &mut Watch) -> Option<String> {
    let change = within(watch.next()).await.unwrap();
    change
        .record
        .body()
        .filter(|_| !change.is_delete())
        .map(|body| String::from_utf8(body.to_vec()).unwrap())
}

fn slot(number: u64, label: [u8; 32], text: &str) -> Put {
    Put { slot: number, ..Put::owned(label, text.to_owned().into()) }
}

/// Three servers of this test alone, and a client of theirs.
async fn network_of_three(alice: &Identity) -> ([DhtContext; 3], Client) {
    let first = start(None);
    let others = [start(first.local_addrs()[0]), start(first.local_addrs()[0])];
    let [second, third] = others;
    let servers = [first, second, third];
    for server in &servers {
        within(server.ready()).await;
        // Until then it is not known to everybody.
        within(async {
            while !server.is_whole() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let builder = Client::builder(NETWORK.parse().unwrap()).identity(alice.clone());
    let client = servers
        .iter()
        .fold(builder, |builder, server| builder.bootstrap(server.local_addrs()[0].into()))
        .start()
        .unwrap();
    within(client.ready()).await.unwrap();
    (servers, client)
}

#[test]
fn what_is_there_comes_first_and_then_every_change_once() {
    live(async {
        let alice = Identity::generate().unwrap();
        let (writer, reader) = (client_of(&alice), client_of(&Identity::generate().unwrap()));
        let label = writer.label("watched");
        writer.put(slot(0, label, "there")).await.unwrap();
        let key = owned(reader.network(), &alice.public_key(), &label);
        let mut watch = within(reader.watch(&[key])).await.unwrap();
        within(watch.listed()).await.unwrap();
        assert_eq!(next(&mut watch).await.as_deref(), Some("there"));
        for number in 0..20 {
            let text = number.to_string();
            writer.put(slot(number % 3, label, &text)).await.unwrap();
            assert_eq!(next(&mut watch).await, Some(text));
        }
        let delete = dht_client::Delete {
            space: Space::Owned,
            label,
            slot: 0,
            expected_seq: None,
            quorum: None,
        };
        writer.delete(delete).await.unwrap();
        assert_eq!(next(&mut watch).await, None);

        // Two watches of one client share its subscriptions; keys come and go.
        let room = writer.label("a room");
        let mut other = within(reader.watch(&[topic(reader.network(), &room)])).await.unwrap();
        within(other.listed()).await.unwrap();
        let said = |text: &str| Put { space: Space::Topic, ..slot(0, room, text) };
        writer.put(said("hello")).await.unwrap();
        assert_eq!(next(&mut other).await.as_deref(), Some("hello"));
        writer.put(slot(1, label, "both go on")).await.unwrap();
        assert_eq!(next(&mut watch).await.as_deref(), Some("both go on"));
        drop(other);
        watch.set_keys(&[topic(reader.network(), &room)]).unwrap();
        assert_eq!(next(&mut watch).await.as_deref(), Some("hello"), "it is there");
        writer.put(slot(1, label, "nobody watches")).await.unwrap();
        writer.put(said("on")).await.unwrap();
        assert_eq!(next(&mut watch).await.as_deref(), Some("on"));
        writer.stop().await;
        reader.stop().await;
    });
}

#[test]
fn one_of_three_watched_servers_dies_and_nothing_is_missed() {
    live(async {
        let alice = Identity::generate().unwrap();
        let (servers, writer) = network_of_three(&alice).await;
        let builder = Client::builder(NETWORK.parse().unwrap());
        let reader = servers
            .iter()
            .fold(builder, |builder, server| builder.bootstrap(server.local_addrs()[0].into()))
            .start()
            .unwrap();
        let label = writer.label("watched");
        let key = owned(writer.network(), &alice.public_key(), &label);
        let mut watch = within(reader.watch(&[key])).await.unwrap();
        within(watch.listed()).await.unwrap();
        for server in &servers {
            assert_eq!(server.stats().watches.streams, 1, "all three are watched");
        }
        let mut expected = 0;
        for victim in [Some(&servers[2]), None] {
            for _ in 0..10 {
                let text = expected.to_string();
                writer.put(Put { quorum: Some(2), ..slot(expected, label, &text) }).await.unwrap();
                assert_eq!(next(&mut watch).await, Some(text), "in order, and once");
                expected += 1;
            }
            if let Some(victim) = victim {
                tokio::join!(within(victim.stop()), async {
                    for _ in 0..5 {
                        let text = expected.to_string();
                        writer.put(slot(expected, label, &text)).await.unwrap();
                        expected += 1;
                    }
                });
                let mut rest = Vec::new();
                for _ in 0..5 {
                    rest.push(next(&mut watch).await.unwrap().parse::<u64>().unwrap());
                }
                rest.sort_unstable();
                assert_eq!(rest, (expected - 5..expected).collect::<Vec<_>>());
            }
        }
        writer.put(slot(99, label, "at the end")).await.unwrap();
        assert_eq!(next(&mut watch).await.as_deref(), Some("at the end"));
        writer.stop().await;
        reader.stop().await;
    });
}

#[test]
fn a_named_watch_goes_on_where_it_was() {
    live(async {
        let alice = Identity::generate().unwrap();
        let writer = client_of(&alice);
        let label = writer.label("watched by name");
        let key = owned(writer.network(), &alice.public_key(), &label);
        writer.put(slot(0, label, "one")).await.unwrap();
        let mut watch = within(writer.watch_as("mine", &[key])).await.unwrap();
        assert_eq!(next(&mut watch).await.as_deref(), Some("one"));
        watch.save().unwrap();
        drop(watch);
        writer.put(slot(1, label, "two")).await.unwrap();
        writer.put(slot(1, label, "three")).await.unwrap();
        let mut again = within(writer.watch_as("mine", &[key])).await.unwrap();
        assert_eq!(next(&mut again).await.as_deref(), Some("three"), "the newest of each slot");
        writer.put(slot(0, label, "four")).await.unwrap();
        assert_eq!(next(&mut again).await.as_deref(), Some("four"), "and nothing twice");
        let found = Slot::Owned { publisher: alice.public_key(), label, slot: 0 };
        assert!(writer.get(&found, GetOptions::default()).await.is_ok());
        writer.stop().await;
    });
}

#[test]
fn too_many_keys_and_bad_names_are_refused() {
    live(async {
        let client = client_of(&Identity::generate().unwrap());
        let keys: Vec<WatchKey> = (0..1_025_u16)
            .map(|number| topic(client.network(), &client.label(&number.to_string())))
            .collect();
        let refused = client.watch(&keys).await.err().unwrap();
        assert_eq!(refused.number(), ErrorNumber::TooLarge);
        let mut watch = client.watch(&keys[..1_000]).await.unwrap();
        assert!(client.watch(&keys[990..]).await.is_err(), "1,025 together");
        assert!(watch.set_keys(&keys).is_err());
        drop(watch);
        let name = "n".repeat(65);
        let refused = client.watch_as(&name, &keys[..1]).await.err().unwrap();
        assert_eq!(refused.number(), ErrorNumber::Usage);
        client.stop().await;
    });
}
