//! Whether nodes are well: what is told of those that are, that are away, that are somebody else, that ask
//! only, and that lose what they gave a receipt for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dht_client::health::{
    CLOCK_OFF_MAX_MS, Canary, Fault, Finding, Health, HealthOptions, examine,
};
use dht_client::{Identity, PeerAddress};
use dht_context::DhtContext;
use dht_context::clock::{Clock, SystemClock};
use dht_context::node_key::NodeKey;
use dht_context::transport::Transport;
use dht_kad::UnixMs;
use dht_kad::message::Mode;

use crate::people::live;
use crate::servers::{ANY_PORT, NETWORK, node, servers, socket, start};

/// For nodes of this machine that are away.
const LIMIT: Duration = Duration::from_secs(5);

async fn ask(peers: &[PeerAddress]) -> Vec<Finding> {
    let options = HealthOptions { limit: LIMIT, ..HealthOptions::default() };
    examine(&NETWORK.parse().unwrap(), peers, &options).await.unwrap()
}

fn healths(findings: &[Finding]) -> Vec<Health> {
    findings.iter().map(Finding::health).collect()
}

fn place(node: &DhtContext) -> PeerAddress {
    node.local_addrs()[0].into()
}

/// A clock that is wrong by so many milliseconds.
struct Off(i64);

impl Clock for Off {
    fn now(&self) -> UnixMs {
        UnixMs(SystemClock.now().0.saturating_add_signed(self.0))
    }
}

fn with_clock(off_ms: i64, first: &DhtContext) -> DhtContext {
    let key = NodeKey::generate().unwrap();
    let transport = socket(ANY_PORT, &key);
    let clock = Arc::new(Off(off_ms));
    node(Mode::Server, key, transport, clock, Some(first.local_addrs()[0]))
}

#[test]
fn nodes_that_are_well_are_well_and_each_is_read_through_another() {
    let peers = servers().map(|server| PeerAddress::from(server.addr));
    let findings = live(ask(&peers));
    assert_eq!(healths(&findings), [Health::Well; 3], "{findings:?}");
    for (finding, server) in findings.iter().zip(servers()) {
        let answer = finding.answer.as_ref().unwrap();
        assert_eq!(answer.node.id, server.id);
        let Canary::Read { through } = &finding.canary else { panic!("{finding:?}") };
        assert_ne!(*through, server.id);
        let signs = answer.signs.as_ref().unwrap();
        assert!(signs.ready && signs.refuses.is_empty(), "{signs:?}");
        assert_eq!(signs.servers, 2, "{signs:?}");
    }
}

#[test]
fn the_dead_are_told_in_bounded_time_in_any_order_and_the_living_still_asked() {
    live(async {
        let silent = std::net::UdpSocket::bind(ANY_PORT).unwrap();
        let dead = PeerAddress::from(silent.local_addr().unwrap());
        let living = servers().map(|server| PeerAddress::from(server.addr));
        for at in [0, 3] {
            let mut peers = living.to_vec();
            peers.insert(at, dead.clone());
            let began = Instant::now();
            let findings = ask(&peers).await;
            // Its silence, the others' canaries, and taking leave.
            assert!(began.elapsed() < 4 * LIMIT, "{:?}", began.elapsed());
            let mut told = healths(&findings);
            assert_eq!(told.remove(at), Health::Down, "{findings:?}");
            assert_eq!(told, [Health::Well; 3], "{findings:?}");
            assert!(matches!(findings[at].faults[..], [Fault::NoAnswer(_)]), "{findings:?}");
        }
    });
}

#[test]
fn somebody_else_at_the_place_of_a_node_is_no_answer() {
    let [first, second, _] = servers();
    let peers = [format!("{}@{}", second.id, first.addr), second.addr.to_string()];
    let findings = live(ask(&peers.map(|peer| peer.parse().unwrap())));
    assert_eq!(findings[0].health(), Health::Down, "{findings:?}");
    // And who is left has nobody to be read through.
    assert_eq!(findings[1].faults, [Fault::NobodyElse]);
}

#[test]
fn one_node_is_well_only_if_it_may_be_the_only_one() {
    live(async {
        let alone = start(None);
        alone.ready().await;
        let findings = ask(&[place(&alone)]).await;
        assert_eq!(healths(&findings), [Health::Well], "{findings:?}");
        assert!(matches!(findings[0].canary, Canary::ReadAlone), "{findings:?}");
        let findings = ask(&[servers()[0].addr.into()]).await;
        assert_eq!(findings[0].faults, [Fault::NobodyElse]);
        // The same node at two places of a list is not another one.
        let findings = ask(&[place(&alone), place(&alone)]).await;
        assert!(findings.iter().all(|found| matches!(found.canary, Canary::ReadAlone)));
        alone.stop().await;
    });
}

#[test]
fn who_only_asks_is_told_for_it() {
    live(async {
        let key = NodeKey::generate().unwrap();
        let transport = socket(ANY_PORT, &key);
        let at = PeerAddress::from(transport.local_addrs()[0]);
        let first = Some(servers()[0].addr);
        let client = node(Mode::Client, key, transport, Arc::new(SystemClock), first);
        client.ready().await;
        let findings = ask(&[at, servers()[1].addr.into()]).await;
        assert_eq!(findings[0].faults, [Fault::NotAServer], "{findings:?}");
        client.stop().await;
    });
}

#[test]
fn a_wrong_clock_is_told_before_records_are_refused_for_it() {
    live(async {
        let first = start(None);
        let ahead = with_clock(CLOCK_OFF_MAX_MS.cast_signed() + 5_000, &first);
        for node in [&first, &ahead] {
            node.ready().await;
        }
        let findings = ask(&[place(&first), place(&ahead)]).await;
        assert_eq!(healths(&findings), [Health::Well, Health::Degraded], "{findings:?}");
        assert!(matches!(findings[1].faults[..], [Fault::Clock(_)]), "{findings:?}");
        for node in [first, ahead] {
            node.stop().await;
        }
    });
}

#[test]
fn canaries_of_one_identity_take_one_place_a_node_however_often_it_is_asked() {
    live(async {
        let alone = start(None);
        alone.ready().await;
        let options = HealthOptions {
            limit: LIMIT,
            identity: Some(Identity::generate().unwrap()),
            ..HealthOptions::default()
        };
        for _ in 0..3 {
            let network = NETWORK.parse().unwrap();
            let findings = examine(&network, &[place(&alone)], &options).await.unwrap();
            assert_eq!(healths(&findings), [Health::Well], "{findings:?}");
        }
        assert_eq!(alone.store_usage().total.records, 1);
        alone.stop().await;
    });
}
