//! Who is at the other end, and who is not let in.

use std::sync::Arc;

use dht_context::node_key::NodeKey;
use dht_context::quic::{BindError, QuicConfig, QuicTransport, TransportLimits};
use dht_context::transport::{CloseReason, DialError, RequestError, Transport};
use dht_kad::ErrorNumber;

use crate::node::{Echo, LOOPBACK, addr_of, bind, connect, frame, node, serve_all, within};

#[tokio::test]
async fn each_end_knows_the_others_proven_id_and_address() {
    let (dialler, listener) = (node(), node());
    let (dialled, accepted) = connect(&dialler, &listener).await;
    assert_eq!(dialled.peer(), listener.local_id());
    assert_eq!(accepted.peer(), dialler.local_id());
    assert_eq!(dialled.remote_addr(), addr_of(&listener));
    assert_eq!(accepted.remote_addr(), addr_of(&dialler));
    assert!(dialled.dialled() && !accepted.dialled());
}

#[tokio::test]
async fn a_dial_without_a_pinned_id_learns_who_answers() {
    let (dialler, listener) = (node(), node());
    let dialled = within(dialler.dial(addr_of(&listener), None)).await.unwrap();
    assert_eq!(dialled.peer(), listener.local_id());
}

#[tokio::test]
async fn another_node_than_the_pinned_one_is_refused_by_name() {
    let (dialler, listener) = (node(), node());
    let expected = NodeKey::from_seed([1; 32]).id();
    let addr = addr_of(&listener);
    let error = within(dialler.dial(addr, Some(expected))).await.err().unwrap();
    let found = listener.local_id();
    assert_eq!(error, DialError::WrongNode { addr, expected, found });
    assert_eq!(error.number(), ErrorNumber::WrongNode);
}

#[tokio::test]
async fn a_node_of_another_network_is_refused_in_the_handshake_and_says_so() {
    let dialler = bind(NodeKey::generate().unwrap(), LOOPBACK, "other");
    let listener = node();
    let error = within(dialler.dial(addr_of(&listener), None)).await.err().unwrap();
    let DialError::Refused { reason, .. } = error else { panic!("{error}") };
    assert!(reason.contains("«other»"), "{reason}");

    let (_, accepted) = connect(&node(), &listener).await;
    assert_ne!(accepted.peer(), dialler.local_id(), "the refused one was never accepted");
}

#[tokio::test]
async fn dialling_a_dead_port_fails_within_the_callers_limit() {
    let dialler = node();
    let silent = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    let limit = std::time::Duration::from_millis(300);
    let dial = dialler.dial(silent.local_addr().unwrap(), None);
    assert!(within(tokio::time::timeout(limit, dial)).await.is_err(), "the caller gave up");

    let impossible = within(dialler.dial("[2001:db8::1]:9".parse().unwrap(), None)).await;
    assert!(matches!(impossible.err().unwrap(), DialError::Local { .. }));
}

#[tokio::test]
async fn a_dual_stack_socket_reaches_both_families_and_shows_ipv4_as_ipv4() {
    let listener = bind(NodeKey::generate().unwrap(), "[::]:0", "test");
    serve_all(&listener, Arc::new(Echo));
    let port = addr_of(&listener).port();
    let dialler = bind(NodeKey::generate().unwrap(), "[::]:0", "test");
    for ip in ["127.0.0.1", "[::1]"] {
        let addr = format!("{ip}:{port}").parse().unwrap();
        let dialled = within(dialler.dial(addr, Some(listener.local_id()))).await.unwrap();
        assert_eq!(dialled.remote_addr(), addr);
        assert_eq!(within(dialled.request(frame(b"hello"))).await.unwrap(), frame(b"hello"));
    }
}

#[tokio::test]
async fn with_a_socket_for_each_family_a_dial_takes_the_fitting_one() {
    let key = NodeKey::generate().unwrap();
    let network = "test".parse().unwrap();
    let listen = vec![LOOPBACK.parse().unwrap(), "[::1]:0".parse().unwrap()];
    let limits = TransportLimits::default();
    let both = QuicTransport::bind(QuicConfig { key, network, listen, limits }).unwrap();
    for (own, listen) in both.local_addrs().into_iter().zip([LOOPBACK, "[::1]:0"]) {
        let listener = bind(NodeKey::generate().unwrap(), listen, "test");
        let (_dialled, accepted) = connect(&both, &listener).await;
        assert_eq!(accepted.remote_addr(), own);
    }
}

#[tokio::test]
async fn the_reason_of_a_close_reaches_the_other_side() {
    let (dialler, listener) = (node(), node());
    let (dialled, accepted) = connect(&dialler, &listener).await;
    let serving = accepted.serve(Arc::new(Echo));
    dialled.close(CloseReason::Duplicate);
    assert_eq!(within(serving).await, CloseReason::Duplicate);
    assert!(!accepted.is_open() && !dialled.is_open());
    let lost = within(dialled.request(frame(b"too late"))).await;
    assert_eq!(lost, Err(RequestError::ConnectionLost(CloseReason::Duplicate)));
}

#[tokio::test]
async fn dropping_the_last_handle_closes_but_a_request_under_way_keeps_it_open() {
    let (dialler, listener) = (node(), node());
    let (dialled, accepted) = connect(&dialler, &listener).await;
    let serving = tokio::spawn(accepted.serve(Arc::new(Echo)));
    let request = dialled.request(frame(b"last words"));
    drop(dialled);
    assert_eq!(within(request).await, Ok(frame(b"last words")));
    assert_eq!(within(serving).await.unwrap(), CloseReason::Idle);
}

#[tokio::test]
async fn closing_a_transport_tells_every_peer_that_it_stops() {
    let (dialler, listener) = (node(), node());
    let (dialled, _accepted) = connect(&dialler, &listener).await;
    let serving = dialled.serve(Arc::new(Echo));
    let ((), reason) = within(async { tokio::join!(listener.close(), serving) }).await;
    assert_eq!(reason, CloseReason::Stopping);
    assert!(within(listener.accept()).await.is_none());
    let error = within(listener.dial(addr_of(&dialler), None)).await.err().unwrap();
    assert_eq!(error, DialError::Stopping);
}

#[tokio::test]
async fn each_reason_why_an_address_cannot_be_bound_has_its_sentence() {
    let holder = node();
    let bind = |listen: Vec<std::net::SocketAddr>| {
        let key = NodeKey::generate().unwrap();
        let network = "test".parse().unwrap();
        let limits = TransportLimits::default();
        QuicTransport::bind(QuicConfig { key, network, listen, limits }).err().unwrap()
    };
    let taken = addr_of(&holder);
    assert_eq!(bind(vec![taken]), BindError::AddressInUse(taken));
    assert_eq!(bind(vec![taken]).number(), ErrorNumber::AddressInUse);
    let foreign = "192.0.2.1:0".parse().unwrap();
    assert_eq!(bind(vec![foreign]), BindError::NotAvailable(foreign));
    assert_eq!(bind(vec![]), BindError::NoAddress);
}

#[test]
fn binding_outside_of_a_runtime_is_an_error_and_not_a_panic() {
    let key = NodeKey::generate().unwrap();
    let network = "test".parse().unwrap();
    let listen = vec![LOOPBACK.parse().unwrap()];
    let limits = TransportLimits::default();
    let error = QuicTransport::bind(QuicConfig { key, network, listen, limits }).err();
    assert_eq!(error, Some(BindError::NoRuntime));
}
