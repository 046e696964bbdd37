//! What is due on which day, by a clock that is set. The clients have no upkeep: nothing but what is
//! called here looks at names.

use std::net::SocketAddr;
use std::sync::Arc;

use dht_context::DhtContext;
use dht_context::clock::{Clock, ManualClock, SystemClock};
use dht_context::node_key::NodeKey;
use dht_kad::message::Mode;
use dht_kad::time::DAY_MS;
use tokio::runtime::Builder;

use crate::client::Client;
use crate::entropy::Entropy;
use crate::identity::Identity;
use crate::names::{NameRules, NameWork};
use crate::profile::Profile;
use crate::servers::{ANY_PORT, NETWORK, node, socket};

/// Longer than a claim lives: it is due at every look.
const ALWAYS_MS: u64 = 366 * DAY_MS;

fn start(mode: Mode, clock: &Arc<ManualClock>, first: Option<SocketAddr>) -> DhtContext {
    let key = NodeKey::generate().unwrap();
    let transport = socket(ANY_PORT, &key);
    node(mode, key, transport, Arc::<ManualClock>::clone(clock), first)
}

/// An installation of this identity, which renews claims that have less than this left.
fn installation(
    identity: &Identity,
    clock: &Arc<ManualClock>,
    server: SocketAddr,
    renew_before_ms: u64,
) -> Client {
    let network = NETWORK.parse().unwrap();
    let profile = Profile::in_memory(&identity.public_key(), &network, &Entropy::system());
    let work = NameWork::uniform(6);
    let rules = NameRules { work, tie_ms: 0, renew_before_ms, ..NameRules::default() };
    let client = Client::builder(network)
        .identity(identity.clone())
        .profile(profile.unwrap())
        .name_rules(rules)
        .over(start(Mode::Client, clock, Some(server)));
    // What was spawned for the other one ends before it has begun.
    client.without_tasks()
}

/// The names that a look saw to.
async fn seen_to(client: &Client) -> Vec<String> {
    let names = client.renew_due_names().await.unwrap();
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

#[test]
fn a_due_name_is_renewed_once_a_day_and_one_that_lasts_is_shown_once_a_week() {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let server = start(Mode::Server, &clock, None);
        server.ready().await;
        let place = server.local_addrs()[0];
        let identity = Identity::generate().unwrap();
        let of = |renew_before_ms| installation(&identity, &clock, place, renew_before_ms);
        let (claimant, eager, calm) = (of(1), of(ALWAYS_MS), of(1));
        Box::pin(claimant.claim_name("kept", |_| ())).await.unwrap();
        let generations =
            async || Box::pin(claimant.renew_name("kept", |_| ())).await.unwrap().generations;
        assert_eq!(generations().await, 1);

        // An installation knows of the name from the network alone.
        assert_eq!(seen_to(&eager).await, ["kept"]);
        assert_eq!(generations().await, 2);
        assert_eq!(seen_to(&calm).await, ["kept"], "it never showed the claim to its holders");
        assert_eq!(generations().await, 2, "and signed nothing");
        clock.advance(DAY_MS - 1);
        for client in [&eager, &calm] {
            assert!(seen_to(client).await.is_empty(), "not before tomorrow");
        }
        clock.advance(1);
        assert_eq!(seen_to(&eager).await, ["kept"]);
        assert_eq!(generations().await, 3);
        for _ in 1..7 {
            assert!(seen_to(&calm).await.is_empty(), "it lasts, and was shown this week");
            clock.advance(DAY_MS);
        }
        assert_eq!(seen_to(&calm).await, ["kept"]);
        assert_eq!(generations().await, 3);
        for client in [claimant, eager, calm] {
            client.stop().await;
        }
        server.stop().await;
    });
}
