//! What a frame is, and what is refused before it costs anything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

use bytes::{BufMut, Bytes, BytesMut};
use dht_kad::Refusal;
use dht_kad::codec::{
    CodecError, FrameHeader, decode_request, decode_response, encode_request, encode_response,
    split_frame,
};
use dht_kad::message::*;
use dht_kad::record::layout::RECORD_MAX;
use proptest::prelude::*;
use samples::{node, refusals, requests, responses};

fn frame(kind: u16, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u16(kind);
    frame.put_u32(u32::try_from(payload.len()).unwrap());
    frame.put_slice(payload);
    frame.freeze()
}

#[test]
fn a_longer_frame_than_allowed_is_refused_by_its_header_alone() {
    let header = |len: u32| {
        let [a, b, c, d] = len.to_be_bytes();
        FrameHeader::read([0, 4, a, b, c, d])
    };
    let max = u32::try_from(FRAME_MAX).unwrap();
    assert_eq!(header(max), Ok(FrameHeader { frame_type: TYPE_STORE, payload_len: FRAME_MAX }));
    for len in [max + 1, u32::MAX] {
        assert_eq!(header(len), Err(CodecError::TooLong(len.into())));
        let announced = [&[0, 4][..], &len.to_be_bytes()].concat();
        assert_eq!(decode_request(&Bytes::from(announced)), Err(CodecError::TooLong(len.into())));
    }
    assert_eq!(Refusal::from(CodecError::TooLong(7)), Refusal::FrameTooLong(7));
}

#[test]
fn a_cut_or_trailed_frame_is_refused() {
    for (name, request) in requests() {
        let whole = encode_request(&request).unwrap();
        for len in 0..whole.len() {
            assert_eq!(
                decode_request(&whole.slice(..len)),
                Err(CodecError::Truncated),
                "{name} {len}"
            );
        }
        let trailed = Bytes::from([&whole[..], &[0]].concat());
        assert_eq!(decode_request(&trailed), Err(CodecError::Malformed(request.frame_type())));
    }
}

#[test]
fn a_payload_with_bytes_more_or_less_is_refused() {
    for (name, request) in requests() {
        let (kind, payload) = split_frame(&encode_request(&request).unwrap()).unwrap();
        let malformed = Err(CodecError::Malformed(kind));
        for len in 0..payload.len() {
            assert_eq!(decode_request(&frame(kind, &payload[..len])), malformed, "{name} {len}");
        }
        assert_eq!(
            decode_request(&frame(kind, &[&payload[..], &[0]].concat())),
            malformed,
            "{name}"
        );
    }
    for (name, response) in responses() {
        let (kind, payload) = split_frame(&encode_response(&response).unwrap()).unwrap();
        let malformed = Err(CodecError::Malformed(kind));
        for len in 0..payload.len() {
            assert_eq!(decode_response(&frame(kind, &payload[..len])), malformed, "{name} {len}");
        }
        assert_eq!(
            decode_response(&frame(kind, &[&payload[..], &[0]].concat())),
            malformed,
            "{name}"
        );
    }
}

#[test]
fn an_unknown_type_is_told_apart() {
    for kind in [TYPE_REFUSED, 5, 7, 9, u16::MAX] {
        let told = decode_request(&frame(kind, b"what is not yet known"));
        assert_eq!(told, Err(CodecError::UnknownType(kind)));
        assert_eq!(Refusal::from(told.unwrap_err()), Refusal::UnknownRequest(kind));
    }
    assert_eq!(decode_response(&frame(5, b"")), Err(CodecError::UnknownType(5)));
}

/// 2^60 elements or bytes in the form of bincode's varint: 253, then eight bytes.
const HUGE: [u8; 9] = [253, 0, 0, 0, 0, 0, 0, 0, 0x10];

#[test]
fn hostile_lengths_allocate_nothing() {
    let items = decode_request(&frame(TYPE_STORE, &HUGE));
    assert_eq!(items, Err(CodecError::Malformed(TYPE_STORE)));
    let record = decode_request(&frame(TYPE_STORE, &[&[1][..], &HUGE].concat()));
    assert_eq!(record, Err(CodecError::Malformed(TYPE_STORE)));
    let target = decode_request(&frame(TYPE_FIND_NODE, &HUGE));
    assert_eq!(target, Err(CodecError::Malformed(TYPE_FIND_NODE)));
    for kind in [TYPE_FIND_NODE, TYPE_FIND, TYPE_STORE] {
        assert_eq!(decode_response(&frame(kind, &HUGE)), Err(CodecError::Malformed(kind)));
    }
    let version = decode_response(&frame(TYPE_PING, &[&[0][..], &HUGE].concat()));
    assert_eq!(version, Err(CodecError::Malformed(TYPE_PING)));
    let text = decode_response(&frame(TYPE_REFUSED, &[&[0][..], &HUGE].concat()));
    assert_eq!(text, Err(CodecError::Malformed(TYPE_REFUSED)));
}

#[test]
fn lists_beyond_their_bound_are_refused_on_both_sides() {
    let refused = Err(Refusal::Busy);
    let results =
        |count| Response::StoreResults(StoreResults { results: vec![refused.clone(); count] });
    let nodes = |count, addrs| {
        let mut info = node(1);
        info.addrs.resize(addrs, info.addrs[0]);
        Response::Nodes(Nodes { nodes: vec![info; count], settled: true, whole: true })
    };
    let pong = |version: String| {
        let Response::Pong(pong) = responses().remove(0).1 else { panic!("the first is a pong") };
        Response::Pong(Pong { version, ..pong })
    };
    let text = |text: String| Response::Refused(Refusal::MalformedRecord(text));
    for fits in [
        results(PAGE_RECORDS),
        nodes(NODES_MAX, ADDRS_MAX),
        pong("v".repeat(VERSION_TEXT_MAX)),
        text("t".repeat(256)),
    ] {
        let frame = encode_response(&fits).unwrap();
        assert_eq!(decode_response(&frame), Ok(fits));
    }
    for exceeds in [
        results(PAGE_RECORDS + 1),
        nodes(NODES_MAX + 1, 1),
        nodes(1, ADDRS_MAX + 1),
        pong("v".repeat(VERSION_TEXT_MAX + 1)),
        pong("\u{1b}[2J".to_owned()),
        text("t".repeat(257)),
    ] {
        let kind = exceeds.frame_type();
        assert_eq!(encode_response(&exceeds), Err(CodecError::Malformed(kind)));
    }
    let busy = [1_u8, 20];
    let announced = [251_u8, 1, 1];
    let too_many = [&announced[..], &busy.repeat(257)].concat();
    let told = decode_response(&frame(TYPE_STORE, &too_many));
    assert_eq!(told, Err(CodecError::Malformed(TYPE_STORE)));
    let allowed = [&[251, 0, 1][..], &busy.repeat(256)].concat();
    assert_eq!(decode_response(&frame(TYPE_STORE, &allowed)), Ok(results(256)));
    let escape = [&[0, 4][..], b"\x1b[2J"].concat();
    let told = decode_response(&frame(TYPE_REFUSED, &escape));
    assert_eq!(told, Err(CodecError::Malformed(TYPE_REFUSED)));
}

#[test]
fn one_maximal_record_fits_and_a_batch_is_bounded_by_bytes() {
    let item =
        |len: usize| StoreItem { record: RecordBytes(vec![1; len].into()), expected_seq: None };
    let store = |items| Request::Store(Store { items });
    let found = |records: Vec<usize>| {
        let records = records.into_iter().map(|len| RecordBytes(vec![1; len].into())).collect();
        Response::Found(Found {
            records,
            next: None,
            closer: vec![node(1); NODES_MAX],
            settled: true,
            whole: true,
        })
    };
    for fits in [vec![RECORD_MAX], vec![PAGE_BYTES], vec![PAGE_BYTES / PAGE_RECORDS; PAGE_RECORDS]]
    {
        let request = store(fits.iter().map(|len| item(*len)).collect());
        let frame = encode_request(&request).unwrap();
        assert_eq!(decode_request(&frame), Ok(request));
        let response = found(fits);
        let frame = encode_response(&response).unwrap();
        assert_eq!(decode_response(&frame), Ok(response));
    }
    let malformed = CodecError::Malformed(TYPE_STORE);
    let too_large = store(vec![item(RECORD_MAX), item(RECORD_MAX)]);
    assert_eq!(encode_request(&too_large), Err(malformed));
    assert_eq!(encode_response(&found(vec![PAGE_BYTES, 1])), Err(CodecError::Malformed(TYPE_FIND)));
    let too_many = [&[251, 1, 1][..], &[0, 0].repeat(257)].concat();
    assert_eq!(decode_request(&frame(TYPE_STORE, &too_many)), Err(malformed));
}

#[test]
fn every_refusal_reads_back() {
    for (name, refusal) in refusals() {
        let response = Response::Refused(refusal);
        let frame = encode_response(&response).unwrap();
        assert_eq!(decode_response(&frame), Ok(response), "{name}");
    }
}

proptest! {
    #[test]
    fn any_payload_is_read_safely(
        kind in 0..8_u16,
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let frame = frame(kind, &payload);
        if let Ok(request) = decode_request(&frame) {
            prop_assert_eq!(decode_request(&encode_request(&request).unwrap()), Ok(request));
        }
        if let Ok(response) = decode_response(&frame) {
            prop_assert_eq!(decode_response(&encode_response(&response).unwrap()), Ok(response));
        }
    }
}
