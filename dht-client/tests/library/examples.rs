//! The examples of the library's pages: the very text that is shown there is compiled and run here.
#![allow(dead_code, unreachable_pub, reason = "they are written as applications would have them")]

#[path = "../../src/bundle/example.rs"]
mod bundle;
#[path = "../../src/cache/example.rs"]
mod cache;
#[path = "../../src/contacts/example.rs"]
mod contacts;
#[path = "../../src/health/example.rs"]
mod health;
#[path = "../../src/identity/example.rs"]
mod identity;
#[path = "../../src/letters/example.rs"]
mod letters;
#[path = "../../src/names/example.rs"]
mod names;
#[path = "../../src/profile/example.rs"]
mod profile;
#[path = "../../src/receipts/example.rs"]
mod receipts;
#[path = "../../src/example.rs"]
mod values;
#[path = "../../src/watch/example.rs"]
mod watch;
#[path = "../../src/writes/example.rs"]
mod writes;

use std::error::Error;
use std::time::Duration;

use dht_client::{Client, Identity, NetworkName, PeerAddress};

use crate::people::{client_of, live};
use crate::servers::{NETWORK, servers};

/// The most that an example may take: generous, since the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

const README: &str = include_str!("../../../README.md");
const FRONT_PAGE: &str = include_str!("../../src/example.rs");

fn run<T>(example: impl Future<Output = Result<T, Box<dyn Error>>>) -> T {
    let done = async { tokio::time::timeout(LIMIT, example).await.expect("it ends") };
    live(done).unwrap()
}

/// Clients of two people who have not met, each with a profile.
fn two() -> (Client, Client) {
    let [alice, bob] = [(); 2].map(|()| client_of(&Identity::generate().unwrap()));
    (alice, bob)
}

fn network() -> NetworkName {
    NETWORK.parse().unwrap()
}

fn node() -> PeerAddress {
    servers()[0].addr.into()
}

#[test]
fn values_run() {
    run(values::values(network(), node()));
}

#[test]
fn a_look_at_nodes_runs() {
    let nodes = servers().map(|server| server.addr.into());
    assert!(run(health::watch_over(network(), &nodes)), "all of them are well");
}

#[test]
fn identities_run() {
    let folder = tempfile::tempdir().unwrap();
    identity::keep_and_carry(folder.path()).unwrap();
}

#[test]
fn the_write_queue_runs() {
    run(async { writes::write_offline(&two().0).await });
}

#[test]
fn the_cache_runs() {
    run(async {
        let (writer, reader) = two();
        cache::read_often(&writer, &reader).await
    });
}

#[test]
fn a_watch_runs() {
    run(async { watch::follow_a_value(&two().0).await });
}

#[test]
fn receipts_run() {
    let folder = tempfile::tempdir().unwrap();
    run(async { receipts::keep_and_audit(&two().0, &folder.path().join("receipts")).await });
}

#[test]
fn key_bundles_run() {
    run(async {
        let (alice, bob) = two();
        // What the client publishes by itself is out of the way then.
        bob.renew_own_bundle().await?;
        bundle::seal_to_bob(&alice, &bob).await
    });
}

#[test]
fn names_run() {
    run(async {
        let (alice, bob) = two();
        names::be_found(&alice, &bob).await
    });
}

/// One after the other, as in life: those who have met write to each other, and one of them begins anew
/// with nothing but the words.
#[test]
fn contacts_then_letters_then_a_new_machine_run() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let identity = Identity::generate()?;
        let (alice, bob) = (client_of(&identity), two().1);
        contacts::meet(&alice, &bob).await?;
        letters::correspond(&alice, &bob).await?;

        bob.send(&identity.public_key(), b"are you there?").await?;
        assert_eq!(bob.deliver_letters().await?.failed, 0);
        alice.stop().await;
        let words = &identity.words().unwrap().words.to_text();
        let anew = profile::begin_anew(words, folder.path(), network(), node()).await?;
        assert_eq!(anew.contacts()?[0].identity, bob.identity()?.public_key());
        assert_eq!(anew.letters()?[0].payload, b"are you there?");
        Ok(())
    });
}

/// The README shows less, and nothing else.
#[test]
fn the_readmes_client_is_that_of_the_front_page() {
    let shown = README.split_once("```rust\n").unwrap().1.split_once("```").unwrap().0;
    let mut page = FRONT_PAGE.lines().map(str::trim);
    for line in shown.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert!(page.any(|other| other == line), "«{line}» is not there, or elsewhere");
    }
}
