//! Names: claimed, looked up, renewed, released, and whose they are when several claim them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dht_client::names::{Judges, NameRules, NameWork};
use dht_client::{Client, ClientError, ErrorNumber, Identity, NameError};
use dht_context::DhtContext;
use dht_kad::time::DAY_MS;
use tokio::time::timeout;

use crate::people::{client_by_rules, live};
use crate::servers::{NETWORK, start_at};

/// The most that anything here may take: generous, since the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

/// Cheap work, and no tie, since tests are quicker than people.
fn rules() -> NameRules {
    NameRules { work: NameWork::uniform(6), tie_ms: 0, ..NameRules::default() }
}

/// Somebody new, and a client by these rules.
fn person(rules: NameRules) -> (Client, [u8; 32]) {
    let identity = Identity::generate().unwrap();
    (client_by_rules(&identity, rules), identity.public_key())
}

/// Rules by which nobody is proven: who goes by them sees no reason not to claim what is taken.
fn contentious() -> NameRules {
    let nobody = dht_client::NodeId::from_bytes([9; 32]);
    NameRules { judges: Judges::Registry(BTreeSet::from([nobody])), ..rules() }
}

async fn refused(client: &Client, name: &str) -> ClientError {
    client.lookup_name(name).await.unwrap_err()
}

#[test]
fn a_name_leads_to_who_claimed_it_first_and_back() {
    live(async {
        let ((alice, alices), (bob, bobs)) = (person(rules()), person(rules()));
        assert_eq!(refused(&bob, "first-come").await.number(), ErrorNumber::NotFound);
        let told = AtomicU64::new(0);
        let claimed = alice
            .claim_name("First-Come", |progress| {
                assert_eq!(progress.expected, 64);
                told.fetch_add(1, Ordering::Relaxed);
            })
            .await
            .unwrap();
        assert_eq!((claimed.signed, claimed.generations), (true, 1));
        assert_eq!(claimed.found.identity, alices);
        assert_eq!((claimed.found.vouched, claimed.found.judges), (3, 3), "every holder is asked");

        let late = bob.claim_name("first-come", |_| ()).await.unwrap_err();
        assert!(
            matches!(&late, ClientError::Name(NameError::Taken { identity, .. }) if *identity == alices),
            "{late}"
        );
        assert!(late.to_string().contains(&hex::encode(alices)));

        let found = bob.lookup_name("first-come").await.unwrap();
        assert_eq!((found.identity, found.trusted), (alices, true));
        assert!(found.since.is_some());
        let names = bob.reverse_names(&alices).await.unwrap();
        assert_eq!(names.len(), 1);
        assert_eq!((names[0].name.as_str(), names[0].verified), ("first-come", true));
        assert!(bob.reverse_names(&bobs).await.unwrap().is_empty(), "the loser left nothing");
        alice.stop().await;
        bob.stop().await;
    });
}

#[test]
fn of_two_that_claim_a_name_the_earlier_has_it_for_a_third() {
    live(async {
        let ((alice, alices), (bob, bobs)) = (person(rules()), person(contentious()));
        let (carol, _) = person(rules());
        alice.claim_name("two-of-them", |_| ()).await.unwrap();
        let contested = bob.claim_name("two-of-them", |_| ()).await.unwrap_err();
        assert_eq!(contested.number(), ErrorNumber::NameConflict, "he cannot tell: {contested}");
        assert_eq!(carol.lookup_name("two-of-them").await.unwrap().identity, alices);
        let names = carol.reverse_names(&bobs).await.unwrap();
        assert_eq!(
            (names.len(), names[0].verified),
            (1, false),
            "he says so, and it leads elsewhere"
        );

        // The same two claims by a reader for whom they came at one moment.
        let (patient, _) = person(NameRules { tie_ms: DAY_MS, ..rules() });
        match refused(&patient, "two-of-them").await {
            ClientError::Name(NameError::Conflict { claims, .. }) => {
                let both: BTreeSet<_> = claims.into_iter().map(|(_, identity)| identity).collect();
                assert_eq!(both, BTreeSet::from([alices, bobs]));
            }
            other => panic!("{other}"),
        }
        for client in [alice, bob, carol, patient] {
            client.stop().await;
        }
    });
}

#[test]
fn what_reads_like_a_name_is_refused_to_claim_and_to_look_up() {
    live(async {
        let ((alice, alices), (bob, _)) = (person(rules()), person(rules()));
        alice.claim_name("modern.times", |_| ()).await.unwrap();
        for alike in ["modem.times", "moderntimes", "m0dern-t1mes"] {
            for error in [
                bob.claim_name(alike, |_| ()).await.unwrap_err(),
                alice.claim_name(alike, |_| ()).await.unwrap_err(),
                refused(&bob, alike).await,
            ] {
                assert_eq!(error.number(), ErrorNumber::NameConfusable, "{error}");
                let sentence = error.to_string();
                assert!(sentence.contains("«modern.times»"), "{sentence}");
                assert!(sentence.contains(&hex::encode(alices)), "{sentence}");
            }
        }
        assert_eq!(refused(&bob, "a b").await.number(), ErrorNumber::BadName);
        assert_eq!(refused(&bob, "s-u-p-p-0-r-t").await.number(), ErrorNumber::BadName);
        alice.stop().await;
        bob.stop().await;
    });
}

#[test]
fn another_holder_of_a_known_name_is_an_error_until_he_is_trusted() {
    live(async {
        let ((alice, alices), (bob, bobs)) = (person(rules()), person(rules()));
        let (carol, _) = person(rules());
        alice.claim_name("change-of-hands", |_| ()).await.unwrap();
        assert_eq!(carol.lookup_name("change-of-hands").await.unwrap().identity, alices);
        alice.release_name("change-of-hands").await.unwrap();
        assert_eq!(refused(&carol, "change-of-hands").await.number(), ErrorNumber::NotFound);
        bob.claim_name("change-of-hands", |_| ()).await.unwrap();
        for _ in 0..2 {
            match refused(&carol, "change-of-hands").await {
                ClientError::Name(NameError::Changed { trusted, found, .. }) => {
                    assert_eq!((trusted, found), (alices, bobs));
                }
                other => panic!("{other}"),
            }
        }
        carol.trust_name("change-of-hands", &bobs).unwrap();
        assert_eq!(carol.lookup_name("change-of-hands").await.unwrap().identity, bobs);
        for client in [alice, bob, carol] {
            client.stop().await;
        }
    });
}

#[test]
fn who_released_a_name_cannot_go_on_from_the_claim_that_was() {
    live(async {
        let ((alice, alices), (bob, bobs)) = (person(contentious()), person(rules()));
        let (carol, _) = person(rules());
        alice.claim_name("gone-for-good", |_| ()).await.unwrap();
        alice.release_name("gone-for-good").await.unwrap();
        let twice = alice.release_name("gone-for-good").await.unwrap_err();
        assert_eq!(twice.number(), ErrorNumber::NotFound, "{twice}");
        bob.claim_name("gone-for-good", |_| ()).await.unwrap();
        // Her client sees nothing proven, and claims it again.
        let _ = alice.claim_name("gone-for-good", |_| ()).await.unwrap_err();
        assert_eq!(carol.lookup_name("gone-for-good").await.unwrap().identity, bobs);
        let names = carol.reverse_names(&alices).await.unwrap();
        assert_eq!((names.len(), names[0].verified), (1, false));
        for client in [alice, bob, carol] {
            client.stop().await;
        }
    });
}

#[test]
fn a_renewal_keeps_the_place_and_is_done_when_it_is_due() {
    live(async {
        let always = NameRules { renew_before_ms: 366 * DAY_MS, ..rules() };
        let identity = Identity::generate().unwrap();
        let (early, due) =
            (client_by_rules(&identity, rules()), client_by_rules(&identity, always.clone()));
        let (bob, _) = person(contentious());
        let (carol, _) = person(rules());
        let first = early.claim_name("here-to-stay", |_| ()).await.unwrap();
        let _ = bob.claim_name("here-to-stay", |_| ()).await.unwrap_err();
        let attested = early.renew_name("here-to-stay", |_| ()).await.unwrap();
        assert_eq!((attested.signed, attested.generations), (false, 1), "it is not due");

        let renewed = due.renew_name("here-to-stay", |_| ()).await.unwrap();
        // By itself it may have done so already.
        assert!(renewed.signed && renewed.generations >= 2, "{renewed:?}");
        assert!(renewed.found.expires_at > first.found.expires_at);
        let found = carol.lookup_name("here-to-stay").await.unwrap();
        assert_eq!((found.identity, found.since), (identity.public_key(), first.found.since));
        assert_eq!(found.expires_at, renewed.found.expires_at);

        let missing = bob.renew_name("nobody-has-this", |_| ()).await.unwrap_err();
        assert_eq!(missing.number(), ErrorNumber::NotFound);
        for client in [early, due, bob, carol] {
            client.stop().await;
        }
    });
}

#[test]
fn two_installations_that_renew_at_once_keep_the_place() {
    live(async {
        let always = NameRules { renew_before_ms: 366 * DAY_MS, ..rules() };
        let identity = Identity::generate().unwrap();
        let early = client_by_rules(&identity, rules());
        let first = early.claim_name("both-of-mine", |_| ()).await.unwrap();
        let (one, other) =
            (client_by_rules(&identity, always.clone()), client_by_rules(&identity, always));
        for _ in 0..3 {
            let (one, other) = tokio::join!(
                one.renew_name("both-of-mine", |_| ()),
                other.renew_name("both-of-mine", |_| ())
            );
            for renewed in [one, other] {
                assert_eq!(renewed.unwrap().found.since, first.found.since);
            }
        }
        let last = early.renew_name("both-of-mine", |_| ()).await.unwrap();
        assert!(last.generations > 3, "{last:?}");
        for client in [early, one, other] {
            client.stop().await;
        }
    });
}

#[test]
fn a_client_renews_its_due_names_by_itself() {
    live(async {
        let always = NameRules { renew_before_ms: 366 * DAY_MS, ..rules() };
        let identity = Identity::generate().unwrap();
        let claimant = client_by_rules(&identity, rules());
        let first = claimant.claim_name("never-forgotten", |_| ()).await.unwrap();
        // Another installation, which knows of the name from the network alone.
        let other = client_by_rules(&identity, always);
        let renewed = async {
            loop {
                let found = claimant.lookup_name("never-forgotten").await.unwrap();
                if found.expires_at > first.found.expires_at {
                    break found;
                }
            }
        };
        let found = timeout(LIMIT, renewed).await.expect("nobody asked it to");
        assert_eq!(found.since, first.found.since);
        claimant.stop().await;
        other.stop().await;
    });
}

#[test]
fn a_claim_without_the_work_is_none() {
    live(async {
        let (cheap, cheaps) = person(NameRules { work: NameWork::uniform(1), ..rules() });
        let strict = NameRules { work: NameWork::uniform(20), ..rules() };
        let (carol, _) = person(strict);
        cheap.claim_name("too-cheap", |_| ()).await.unwrap();
        assert_eq!(refused(&carol, "too-cheap").await.number(), ErrorNumber::NotFound);
        let names = carol.reverse_names(&cheaps).await.unwrap();
        assert_eq!((names.len(), names[0].verified), (1, false));
        cheap.stop().await;
        carol.stop().await;
    });
}

#[test]
fn judges_of_a_registry_vouch_for_a_claim() {
    live(async {
        let nodes: BTreeSet<_> = crate::servers::servers().iter().map(|server| server.id).collect();
        let by_registry = NameRules { judges: Judges::Registry(nodes), ..rules() };
        let (alice, alices) = person(by_registry.clone());
        let (carol, _) = person(by_registry);
        let claimed = alice.claim_name("by-registry", |_| ()).await.unwrap();
        assert_eq!((claimed.found.vouched, claimed.found.judges), (3, 3));
        assert_eq!(carol.lookup_name("by-registry").await.unwrap().identity, alices);
        alice.stop().await;
        carol.stop().await;
    });
}

/// Servers of a network of their own, each on an address of its own, so that all know each other.
async fn many_servers(count: u8) -> Vec<DhtContext> {
    let mut servers: Vec<DhtContext> = Vec::new();
    for number in 0..count {
        let listen = SocketAddr::from(([127, 0, 1, number + 1], 0));
        let first = servers.first().map(|first| first.local_addrs()[0]);
        servers.push(start_at(listen, first));
    }
    for server in &servers {
        server.ready().await;
    }
    servers
}

#[test]
fn judges_of_a_registry_who_do_not_hold_the_claim_vouch_for_it_too() {
    /// More than lie closest to any key.
    const SERVERS: u8 = 23;
    live(async {
        let servers = many_servers(SERVERS).await;
        let nodes = servers.iter().map(DhtContext::node_id).collect();
        let by_registry = NameRules { judges: Judges::Registry(nodes), ..rules() };
        let somebody = || {
            let identity = Identity::generate().unwrap();
            let builder = Client::builder(NETWORK.parse().unwrap()).identity(identity.clone());
            let builder = builder.name_rules(by_registry.clone());
            let client = builder.bootstrap(servers[0].local_addrs()[0].into()).start().unwrap();
            (client, identity.public_key())
        };
        let ((alice, alices), (carol, _)) = (somebody(), somebody());
        let claimed = alice.claim_name("far-and-wide", |_| ()).await.unwrap();
        let all = usize::from(SERVERS);
        assert!(all > dht_kad::routing::K, "some are no holders");
        assert_eq!((claimed.found.vouched, claimed.found.judges), (all, all));
        let found = carol.lookup_name("far-and-wide").await.unwrap();
        assert_eq!((found.identity, found.vouched), (alices, all));
        alice.stop().await;
        carol.stop().await;
    });
}
