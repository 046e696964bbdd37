//! Peers that do not play by the rules, made of the parts that honest ones are made of.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dht_kad::codec::decode_response;
use dht_kad::message::Response;
use dht_kad::refusal::Refusal;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, ReadToEndError, TransportErrorCode};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

use super::dial::client_config;
use super::parameters::transport_config;
use super::tls::{self, SERVER_NAME};
use super::{QuicConfig, QuicTransport, TransportLimits};
use crate::node_key::NodeKey;
use crate::transport::{Answer, Asker, DialError, Service, Transport};

const PATIENCE: Duration = Duration::from_secs(20);

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("done within the test's patience")
}

fn bind(limits: TransportLimits) -> Arc<QuicTransport> {
    let key = NodeKey::generate().unwrap();
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    QuicTransport::bind(QuicConfig { key, network: network(), listen, limits }).unwrap()
}

fn network() -> dht_kad::NetworkName {
    "test".parse().unwrap()
}

fn addr_of(node: &QuicTransport) -> SocketAddr {
    node.local_addrs()[0]
}

/// The first datagram of a client's handshake, without a socket.
fn first_datagram(to: SocketAddr) -> Vec<u8> {
    let tls = tls::configs(&NodeKey::generate().unwrap(), &network()).unwrap();
    let mut endpoint = quinn_proto::Endpoint::new(Arc::default(), None, true, None);
    let now = tokio::time::Instant::now().into_std();
    let (_, mut connection) = endpoint.connect(now, client_config(&tls), to, SERVER_NAME).unwrap();
    let mut datagram = Vec::new();
    let sent = connection.poll_transmit(now, 1, &mut datagram).expect("a client speaks first");
    assert_eq!(sent.size, datagram.len());
    datagram
}

/// Whether a datagram is a Retry packet: long header, type 3 (RFC 9000, section 17.2.5).
fn is_retry(datagram: &[u8]) -> bool {
    datagram[0] & 0xb0 == 0xb0
}

/// Elsewhere, there was no limit or time-out on half-open connections.
#[tokio::test]
async fn handshake_flood() {
    let limits = TransportLimits {
        handshakes: 16,
        handshakes_before_retry: 8,
        ..TransportLimits::default()
    };
    let node = bind(limits);
    let early = bind(TransportLimits::default());
    let early_dial = early.dial(addr_of(&node), Some(node.local_id()));
    let (_early, accepted) = within(async { tokio::join!(early_dial, node.accept()) }).await;
    assert_eq!(accepted.unwrap().peer(), early.local_id());

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let flood = tokio::net::UdpSocket::from_std(socket).unwrap();
    for number in 0..200u8 {
        flood.send_to(&[number; 1200], addr_of(&node)).await.unwrap();
        flood.send_to(&first_datagram(addr_of(&node)), addr_of(&node)).await.unwrap();
    }
    let mut answer = [0; 2048];
    while !is_retry(&answer) {
        within(flood.recv(&mut answer)).await.unwrap();
    }

    for _ in 0..20 {
        let honest = bind(TransportLimits::default());
        let dial = honest.dial(addr_of(&node), Some(node.local_id()));
        let (dialled, accepted) = within(async { tokio::join!(dial, node.accept()) }).await;
        assert!(dialled.unwrap().is_open());
        assert_eq!(accepted.unwrap().peer(), honest.local_id());
    }
}

/// Says that it has a raw public key, and shows none when asked.
#[derive(Debug)]
struct NoKey;

impl ResolvesClientCert for NoKey {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_client_that_proves_no_key_is_refused() {
    let node = bind(TransportLimits::default());
    let anonymous = tls::client_showing(&network(), Arc::new(NoKey));
    let crypto = Arc::new(QuicClientConfig::try_from(anonymous).unwrap());
    let mut config = quinn::ClientConfig::new(crypto);
    config.transport_config(transport_config(true));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(config, addr_of(&node), SERVER_NAME).unwrap();
    // A client has done its part of the handshake before the server judges it.
    let error = match within(connecting).await {
        Ok(connection) => within(connection.closed()).await,
        Err(error) => error,
    };
    let ConnectionError::ConnectionClosed(close) = error else { panic!("{error}") };
    assert_eq!(close.error_code, TransportErrorCode::crypto(116), "certificate_required");

    let honest = bind(TransportLimits::default());
    let dial = honest.dial(addr_of(&node), Some(node.local_id()));
    let (dialled, accepted) = within(async { tokio::join!(dial, node.accept()) }).await;
    assert_eq!(accepted.unwrap().peer(), honest.local_id(), "nobody was accepted before it");
    drop(dialled);
}

/// Echoes.
struct Echo;

impl Service for Echo {
    fn answer(&self, _asker: Asker, frame: Bytes) -> Answer {
        Answer::Ready(frame)
    }
}

/// Time is tokio's, and jumps to the next timer whenever nothing else is left to do.
#[tokio::test]
async fn requests_that_are_never_finished_are_given_up_and_their_bytes_forgotten() {
    let node = bind(TransportLimits { request_bytes: 4000, ..TransportLimits::default() });
    let tls = tls::configs(&NodeKey::generate().unwrap(), &network()).unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let dial = endpoint.connect_with(client_config(&tls), addr_of(&node), SERVER_NAME).unwrap();
    let (hostile, accepted) = within(async { tokio::join!(dial, node.accept()) }).await;
    let (hostile, accepted) = (hostile.unwrap(), accepted.unwrap());
    tokio::spawn(accepted.serve(Arc::new(Echo)));

    let mut unfinished = Vec::new();
    for _ in 0..4 {
        let (mut send, recv) = within(hostile.open_bi()).await.unwrap();
        send.write_all(&[0, 1, 0, 0, 16, 0]).await.unwrap();
        send.write_all(&[0; 900]).await.unwrap();
        unfinished.push((send, recv));
    }
    // There is no room for a fifth.
    let (mut send, mut recv) = within(hostile.open_bi()).await.unwrap();
    send.write_all(&[0, 1, 0, 0, 3, 232]).await.unwrap();
    send.write_all(&[0; 1000]).await.unwrap();
    let answer = within(recv.read_to_end(1000)).await.unwrap();
    assert_eq!(decode_response(&answer.into()), Ok(Response::Refused(Refusal::Busy)));
    drop(send);

    tokio::time::pause();
    for (send, mut recv) in unfinished {
        assert!(send.stopped().await.unwrap().is_some(), "the node stopped reading");
        assert!(matches!(recv.read_to_end(1).await, Err(ReadToEndError::Read(_))));
    }
    let (mut send, mut recv) = hostile.open_bi().await.unwrap();
    let whole = [&[0, 1, 0, 0, 3, 232][..], &[0; 1000]].concat();
    send.write_all(&whole).await.unwrap();
    send.finish().unwrap();
    assert_eq!(recv.read_to_end(2000).await.unwrap(), whole);
    while accepted.in_flight() > 0 {
        tokio::time::advance(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_full_node_refuses_and_says_why_and_has_room_again_later() {
    let node = bind(TransportLimits { connections: 1, ..TransportLimits::default() });
    let (first, second) = (bind(TransportLimits::default()), bind(TransportLimits::default()));
    let dial = first.dial(addr_of(&node), None);
    let (dialled, accepted) = within(async { tokio::join!(dial, node.accept()) }).await;
    assert!(dialled.unwrap().is_open());

    let refused = within(second.dial(addr_of(&node), None)).await.err().unwrap();
    let DialError::Refused { reason, .. } = refused else { panic!("{refused}") };
    assert_eq!(reason, "it takes no more connections at present");

    drop(accepted);
    let dial = second.dial(addr_of(&node), None);
    let (dialled, accepted) = within(async { tokio::join!(dial, node.accept()) }).await;
    assert!(dialled.unwrap().is_open());
    assert_eq!(accepted.unwrap().peer(), second.local_id());
}
