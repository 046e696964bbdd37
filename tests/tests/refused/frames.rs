//! Frames that must not be taken: the node refuses them by number, and the connection goes on.

use bytes::Bytes;
use dht_kad::codec::{decode_response, encode_request};
use dht_kad::message::{FRAME_MAX, Mode, Ping, Request, Response, TYPE_STORE};
use dht_kad::{ErrorNumber, Refusal};
use dht_tests::{Network, WirePeer};

fn frame(frame_type: u16, announced: usize, payload: &[u8]) -> Bytes {
    let mut frame = frame_type.to_be_bytes().to_vec();
    frame.extend_from_slice(&u32::try_from(announced).unwrap().to_be_bytes());
    frame.extend_from_slice(payload);
    frame.into()
}

fn refusal_of(peer: &WirePeer, frame: Bytes) -> Refusal {
    match decode_response(&peer.send(frame).unwrap()).unwrap() {
        Response::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_frame_longer_than_allowed_is_refused_and_the_connection_stays() {
    let net = Network::start(1);
    let peer = WirePeer::to(&net[0]);
    for length in [FRAME_MAX + 1, 4 * FRAME_MAX] {
        let refusal = refusal_of(&peer, frame(TYPE_STORE, length, &vec![0; length]));
        assert_eq!(refusal, Refusal::FrameTooLong(length as u64));
    }
    // Announced only: nothing of it is waited for, let alone allocated.
    let refusal = refusal_of(&peer, frame(TYPE_STORE, u32::MAX as usize, b"short"));
    assert_eq!(refusal, Refusal::FrameTooLong(u64::from(u32::MAX)));
    assert!(peer.ping().settled);
}

#[test]
fn what_is_not_a_request_is_refused_and_the_connection_stays() {
    let net = Network::start(1);
    let peer = WirePeer::to(&net[0]);
    let ping = encode_request(&Request::Ping(Ping { mode: Mode::Client })).unwrap();
    let longer = Bytes::from([&ping[..], b"x"].concat());
    for sent in [Bytes::new(), ping.slice(..3), ping.slice(..ping.len() - 1), longer] {
        assert_eq!(refusal_of(&peer, sent), Refusal::MalformedFrame);
    }
    let garbage = frame(TYPE_STORE, 1_000, &[0xff; 1_000]);
    assert_eq!(refusal_of(&peer, garbage).number(), ErrorNumber::MalformedFrame);
    assert_eq!(refusal_of(&peer, frame(7_777, 0, b"")), Refusal::UnknownRequest(7_777));
    assert!(peer.ping().settled);
}
