//! What nodes can notice of the simulated network: the same as of QUIC.

#![allow(clippy::unwrap_used, reason = "a helper of tests panics as they do")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dht_context::node_key::NodeKey;
use dht_context::transport::{
    Answer, Asker, CloseReason, Connection, DialError, RequestError, Service, Transport,
};
use dht_kad::NodeId;
use dht_sim::dice::Seed;
use dht_sim::transport::{LinkModel, Links, Network, SimTransport};
use tokio::time::Instant;

/// Silence after which a connection is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

struct Echo;

impl Service for Echo {
    fn answer(&self, _: Asker, frame: Bytes) -> Answer {
        Answer::Ready(frame)
    }
}

fn network() -> Arc<Network> {
    let links = Links::new(LinkModel::default(), Seed(1).dice("links", 0));
    let network = Network::new(links, Seed(1).dice("network", 0));
    tokio::spawn(Arc::clone(&network).carry());
    network
}

fn addr(host: u8) -> SocketAddr {
    SocketAddr::from(([20, 0, host, 1], 4222))
}

fn id(host: u8) -> NodeId {
    NodeKey::from_seed([host; 32]).id()
}

/// Binds a host that takes every connection and echoes what it is asked.
fn echo(network: &Arc<Network>, host: u8) -> Arc<SimTransport> {
    network.place(addr(host));
    let transport = SimTransport::bind(network, addr(host), id(host));
    let accepting = Arc::clone(&transport);
    tokio::spawn(async move {
        while let Some(connection) = accepting.accept().await {
            tokio::spawn(async move { connection.serve(Arc::new(Echo)).await });
        }
    });
    transport
}

async fn connect(from: &SimTransport, host: u8) -> Arc<dyn Connection> {
    from.dial(addr(host), Some(id(host))).await.unwrap()
}

fn hello() -> Bytes {
    Bytes::from_static(b"hello")
}

#[tokio::test(start_paused = true)]
async fn a_dial_and_a_request_take_a_round_trip_each() {
    let network = network();
    let (one, _two) = (echo(&network, 1), echo(&network, 2));
    let began = Instant::now();
    let connection = connect(&one, 2).await;
    let dialled = began.elapsed();
    assert_eq!(connection.request(hello()).await, Ok(hello()));
    let least = LinkModel::default().nearest * 2;
    assert!(dialled >= least && began.elapsed() - dialled >= least, "{dialled:?}");
    assert_eq!((connection.peer(), connection.in_flight()), (id(2), 0));
}

#[tokio::test(start_paused = true)]
async fn a_dial_says_who_is_there_instead_or_that_nobody_is() {
    let network = network();
    let (one, _two) = (echo(&network, 1), echo(&network, 2));
    let wrong = one.dial(addr(2), Some(id(3))).await.err().unwrap();
    let expected = DialError::WrongNode { addr: addr(2), expected: id(3), found: id(2) };
    assert_eq!(wrong, expected);
    let nobody = one.dial(addr(3), None).await.err().unwrap();
    assert_eq!(nobody, DialError::TimedOut(addr(3)));
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_tells_the_other_side_why() {
    let network = network();
    let (one, two) = (echo(&network, 1), echo(&network, 2));
    let connection = connect(&one, 2).await;
    let served = connection.serve(Arc::new(Echo));
    two.close().await;
    assert_eq!(served.await, CloseReason::Stopping);
    assert!(!connection.is_open());
    let late = connection.request(hello()).await;
    assert_eq!(late, Err(RequestError::ConnectionLost(CloseReason::Stopping)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_died_is_silent_until_the_idle_timeout() {
    let network = network();
    let (one, _two) = (echo(&network, 1), echo(&network, 2));
    let connection = connect(&one, 2).await;
    network.crash(addr(2));
    let began = Instant::now();
    let lost = connection.request(hello()).await;
    assert_eq!(lost, Err(RequestError::ConnectionLost(CloseReason::Lost)));
    assert!(began.elapsed() >= IDLE_TIMEOUT, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_died_and_came_back_says_that_the_connection_is_no_more() {
    let network = network();
    let (one, _two) = (echo(&network, 1), echo(&network, 2));
    let connection = connect(&one, 2).await;
    network.crash(addr(2));
    let _two = echo(&network, 2);
    let began = Instant::now();
    let lost = connection.request(hello()).await;
    assert_eq!(lost, Err(RequestError::ConnectionLost(CloseReason::Lost)));
    assert!(began.elapsed() < IDLE_TIMEOUT / 10, "{:?}", began.elapsed());
    assert_eq!(connect(&one, 2).await.request(hello()).await, Ok(hello()));
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_into_a_short_cut_arrives_after_it_and_a_long_one_ends_the_connection() {
    let network = network();
    let (one, _two) = (echo(&network, 1), echo(&network, 2));
    let connection = connect(&one, 2).await;
    network.split(&[addr(1)], &[addr(2)]);
    let request = connection.request(hello());
    let within = tokio::time::timeout(IDLE_TIMEOUT / 3, request);
    let healing = async {
        tokio::time::advance(IDLE_TIMEOUT / 6).await;
        network.heal();
    };
    assert_eq!(tokio::join!(within, healing).0.unwrap(), Ok(hello()));

    network.block(addr(2), addr(1));
    let reason = connection.serve(Arc::new(Echo)).await;
    assert_eq!(reason, CloseReason::Lost);
}
