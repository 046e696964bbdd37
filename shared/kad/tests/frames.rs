//! What a frame is, and what is refused before it costs anything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

use bytes::{BufMut, Bytes, BytesMut};
use dht_kad::codec::{
    CodecError, FrameHeader, decode_request, decode_response, encode_request, encode_response,
    split_frame,
};
use dht_kad::message::audit::{CHALLENGES_MAX, Challenge, Evidence};
use dht_kad::message::reconcile::{
    GROUPS_MAX, GroupPrint, Holding, OFFER_MAX, Offered, PARTS_MAX, PartAnswer, PartAsk, RANGE_MAX,
    SHORTS_MAX, Wanted, Whole,
};
use dht_kad::message::vitals::{PERCENT_MAX, REFUSES_MAX};
use dht_kad::message::watch::{Cursor, WATCH_KEYS_MAX, WatchKey};
use dht_kad::message::*;
use dht_kad::reconcile::{Cut, Fingerprint, Group, PREFIX_MAX, Part, Prefix};
use dht_kad::record::Retention;
use dht_kad::record::layout::RECORD_MAX;
use dht_kad::{Key, Refusal, UnixMs};
use proptest::prelude::*;
use samples::{node, refusals, requests, responses, vital_signs};

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
    for kind in [TYPE_REFUSED, 7, 10, u16::MAX] {
        let told = decode_request(&frame(kind, b"what is not yet known"));
        assert_eq!(told, Err(CodecError::UnknownType(kind)));
        assert_eq!(Refusal::from(told.unwrap_err()), Refusal::UnknownRequest(kind));
    }
    assert_eq!(decode_response(&frame(7, b"")), Err(CodecError::UnknownType(7)));
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
    for kind in [TYPE_FIND_NODE, TYPE_FIND, TYPE_STORE, TYPE_AUDIT] {
        assert_eq!(decode_response(&frame(kind, &HUGE)), Err(CodecError::Malformed(kind)));
    }
    let challenges = decode_request(&frame(TYPE_AUDIT, &HUGE));
    assert_eq!(challenges, Err(CodecError::Malformed(TYPE_AUDIT)));
    let keys = decode_request(&frame(TYPE_WATCH, &HUGE));
    assert_eq!(keys, Err(CodecError::Malformed(TYPE_WATCH)));
    let changed = decode_response(&frame(TYPE_WATCH, &[&[1][..], &HUGE].concat()));
    assert_eq!(changed, Err(CodecError::Malformed(TYPE_WATCH)));
    for variant in 0..10 {
        let huge = frame(TYPE_RECONCILE, &[&[variant][..], &HUGE].concat());
        assert!(decode_request(&huge).is_err(), "{variant}");
        assert!(decode_response(&huge).is_err(), "{variant}");
    }
    let refuses = decode_response(&frame(TYPE_VITALS, &[&[0, 1][..], &HUGE].concat()));
    assert_eq!(refuses, Err(CodecError::Malformed(TYPE_VITALS)));
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

/// The message of a list with so many alike elements, from its frames with none and with one.
fn with_elements(none: &Bytes, one: &Bytes, count: usize) -> Bytes {
    let ((kind, none), (_, one)) = (split_frame(none).unwrap(), split_frame(one).unwrap());
    let at = none.iter().zip(&one).position(|(none, one)| none != one).unwrap_or(none.len() - 1);
    assert_eq!((none[at], one[at]), (0, 1), "the list's length");
    let (before, after) = (&none[..at], &none[at + 1..]);
    let element = &one[at + 1..one.len() - after.len()];
    let length = match u16::try_from(count).unwrap() {
        few @ 0..=250 => vec![few as u8],
        many => [&[251][..], &many.to_le_bytes()].concat(),
    };
    frame(kind, &[before, &length, &element.repeat(count), after].concat())
}

/// Makes an answer with so many elements.
type MakeResponse<'a> = Box<dyn Fn(usize) -> Response + 'a>;

fn a_group() -> Group {
    Group { span: Retention::Days7, period: 500_000 }
}

fn a_part() -> Part {
    Part { group: a_group(), prefix: Prefix::of_key(&Key([0xab; 32]), 7) }
}

#[test]
fn lists_of_reconciliation_and_audits_keep_their_bounds_in_requests() {
    let print = Fingerprint::of(&[7; 32]).print();
    let offered = Offered {
        key: Key([1; 32]),
        publisher: [2; 32],
        slot: 3,
        group: a_group(),
        keep_until: UnixMs(4),
        seq: 5,
        digest: [6; 32],
    };
    let whole = |count| Whole { cut: Cut([1; 3]), range: vec![Prefix::all(); count], print };
    let ask = PartAsk { part: a_part(), print };
    let wanted = |shorts| Wanted { part: a_part(), shorts: vec![7; shorts] };
    let challenge = Challenge { key: Key([1; 32]), publisher: [2; 32], slot: 3, nonce: [4; 32] };
    let bounded: [(usize, &dyn Fn(usize) -> Request); 6] = [
        (RANGE_MAX, &|count| Request::Reconcile(Reconcile::Whole(whole(count)))),
        (PARTS_MAX, &|count| Request::Reconcile(Reconcile::Parts(vec![ask.clone(); count]))),
        (PAGE_RECORDS, &|count| Request::Reconcile(Reconcile::Records(vec![wanted(1); count]))),
        (PAGE_RECORDS, &|count| Request::Reconcile(Reconcile::Records(vec![wanted(count)]))),
        (OFFER_MAX, &|count| Request::Reconcile(Reconcile::Offer(vec![offered.clone(); count]))),
        (CHALLENGES_MAX, &|count| {
            Request::Audit(Audit { challenges: vec![challenge.clone(); count] })
        }),
    ];
    for (max, request) in bounded {
        let kind = request(0).frame_type();
        let [none, one] = [0, 1].map(|count| encode_request(&request(count)).unwrap());
        assert_eq!(decode_request(&with_elements(&none, &one, max)), Ok(request(max)));
        let malformed = CodecError::Malformed(kind);
        assert_eq!(decode_request(&with_elements(&none, &one, max + 1)), Err(malformed), "{max}");
        assert_eq!(encode_request(&request(max + 1)), Err(malformed), "{max}");
    }
    let halves = vec![wanted(PAGE_RECORDS / 2), wanted(PAGE_RECORDS / 2), wanted(1)];
    let told = encode_request(&Request::Reconcile(Reconcile::Records(halves)));
    assert_eq!(told, Err(CodecError::Malformed(TYPE_RECONCILE)), "256 in the whole request");
}

#[test]
fn lists_of_reconciliation_and_audits_keep_their_bounds_in_answers() {
    let print = Fingerprint::of(&[7; 32]).print();
    let group = GroupPrint { group: a_group(), print };
    let part = |answer| Reconciled::Parts(vec![answer]);
    let children = |count| {
        let children = vec![(1, print); count];
        PartAnswer::Children { at: Prefix::all(), children }
    };
    let record = RecordBytes(Bytes::from_static(b"r"));
    let bounded: [(usize, &dyn Fn(usize) -> Reconciled); 7] = [
        (GROUPS_MAX, &|count| Reconciled::Groups(vec![group; count])),
        (PARTS_MAX, &|count| Reconciled::Parts(vec![PartAnswer::Same; count])),
        (16, &|count| part(children(count))),
        (SHORTS_MAX, &|count| part(PartAnswer::Items(vec![7; count]))),
        (SHORTS_MAX, &|count| Reconciled::Items(vec![7; count])),
        (PAGE_RECORDS, &|count| Reconciled::Records(vec![record.clone(); count])),
        (OFFER_MAX, &|count| Reconciled::Holdings(vec![Holding::Wanted; count])),
    ];
    let evidence =
        |count| Response::AuditResults(AuditResults { evidence: vec![Evidence::Later; count] });
    let mut all: Vec<(usize, MakeResponse<'_>)> = vec![(CHALLENGES_MAX, Box::new(evidence))];
    for (max, reconciled) in bounded {
        all.push((max, Box::new(move |count| Response::Reconciled(reconciled(count)))));
    }
    for (max, response) in all {
        let kind = response(0).frame_type();
        let [none, one] = [0, 1].map(|count| encode_response(&response(count)).unwrap());
        assert_eq!(decode_response(&with_elements(&none, &one, max)), Ok(response(max)));
        let malformed = CodecError::Malformed(kind);
        assert_eq!(decode_response(&with_elements(&none, &one, max + 1)), Err(malformed), "{max}");
        assert_eq!(encode_response(&response(max + 1)), Err(malformed), "{max}");
    }
}

#[test]
fn the_lists_of_a_watch_keep_their_bounds() {
    let cursor = Cursor { incarnation: 1, commit_no: 2 };
    let key = WatchKey { key: Key([1; 32]), publisher: None };
    let watch = |count| Request::Watch(Watch { keys: vec![key; count], cursor: None });
    let [none, one] = [0, 1].map(|count| encode_request(&watch(count)).unwrap());
    let max = WATCH_KEYS_MAX;
    assert_eq!(decode_request(&with_elements(&none, &one, max)), Ok(watch(max)));
    let malformed = CodecError::Malformed(TYPE_WATCH);
    assert_eq!(decode_request(&with_elements(&none, &one, max + 1)), Err(malformed));
    assert_eq!(encode_request(&watch(max + 1)), Err(malformed));

    let changed = |lens: Vec<usize>| {
        let records = lens.into_iter().map(|len| RecordBytes(vec![1; len].into())).collect();
        Response::Watched(Watched::Changed { records, cursor })
    };
    for fits in [vec![RECORD_MAX], vec![PAGE_BYTES / PAGE_RECORDS; PAGE_RECORDS], vec![]] {
        let frame = encode_response(&changed(fits.clone())).unwrap();
        assert_eq!(decode_response(&frame), Ok(changed(fits)));
    }
    for exceeds in [vec![PAGE_BYTES, 1], vec![1; PAGE_RECORDS + 1]] {
        assert_eq!(encode_response(&changed(exceeds)), Err(malformed));
    }
    let most = [&[1, 251, 0, 1][..], &[1, 7].repeat(PAGE_RECORDS), &[1, 2]].concat();
    assert!(decode_response(&frame(TYPE_WATCH, &most)).is_ok());
    let more = [&[1, 251, 1, 1][..], &[1, 7].repeat(PAGE_RECORDS + 1), &[1, 2]].concat();
    assert_eq!(decode_response(&frame(TYPE_WATCH, &more)), Err(malformed));
}

#[test]
fn vital_signs_keep_their_bounds() {
    let refusing = |count| {
        let refuses = vec![Refusal::ReadOnly; count];
        Response::VitalSigns(VitalSigns { refuses, ..vital_signs() })
    };
    let [none, one] = [0, 1].map(|count| encode_response(&refusing(count)).unwrap());
    let max = REFUSES_MAX;
    assert_eq!(decode_response(&with_elements(&none, &one, max)), Ok(refusing(max)));
    let malformed = CodecError::Malformed(TYPE_VITALS);
    assert_eq!(decode_response(&with_elements(&none, &one, max + 1)), Err(malformed));
    assert_eq!(encode_response(&refusing(max + 1)), Err(malformed));

    let disk = |disk_free_percent| VitalSigns { disk_free_percent, ..VitalSigns::default() };
    let store = |store_free_percent| VitalSigns { store_free_percent, ..VitalSigns::default() };
    for of in [&disk as &dyn Fn(Option<u8>) -> VitalSigns, &store] {
        let all = Response::VitalSigns(of(Some(PERCENT_MAX)));
        let frame = encode_response(&all).unwrap();
        assert_eq!(decode_response(&frame), Ok(all));
        let more = Response::VitalSigns(of(Some(PERCENT_MAX + 1)));
        assert_eq!(encode_response(&more), Err(malformed));
        let at = frame.iter().position(|byte| *byte == PERCENT_MAX).unwrap();
        let mut changed = frame.to_vec();
        changed[at] += 1;
        assert_eq!(decode_response(&changed.into()), Err(malformed));
    }
}

#[test]
fn the_heads_of_an_audits_answer_fit_a_page() {
    let holds =
        |len: usize| Evidence::Holds { head: RecordBytes(vec![1; len].into()), proof: [2; 32] };
    let answer = |evidence| Response::AuditResults(AuditResults { evidence });
    let fits = answer(vec![holds(PAGE_BYTES / CHALLENGES_MAX); CHALLENGES_MAX]);
    assert_eq!(decode_response(&encode_response(&fits).unwrap()), Ok(fits));
    let exceeds = answer(vec![holds(PAGE_BYTES), holds(1)]);
    assert_eq!(encode_response(&exceeds), Err(CodecError::Malformed(TYPE_AUDIT)));
}

#[test]
fn a_prefix_group_or_child_that_cannot_be_is_malformed() {
    let listing = |payload: &[u8]| decode_request(&frame(TYPE_RECONCILE, payload));
    // Listing (2): span, period, half bytes, packed bytes.
    assert!(listing(&[2, 1, 9, 3, 2, 0xab, 0xc0]).is_ok());
    let malformed = Err(CodecError::Malformed(TYPE_RECONCILE));
    for (why, payload) in [
        ("an unknown class of lifetime", &[2, 3, 9, 3, 2, 0xab, 0xc0][..]),
        ("a half byte left over", &[2, 1, 9, 3, 2, 0xab, 0xcd]),
        ("a byte left over", &[2, 1, 9, 3, 3, 0xab, 0xc0, 0]),
        ("a byte too few", &[2, 1, 9, 3, 1, 0xab]),
        ("more half bytes than a place has", &[&[2, 1, 9, 145, 73][..], &[0; 73]].concat()),
    ] {
        assert_eq!(listing(payload), malformed, "{why}");
    }
    let longest = [&[2, 1, 9, 144, 72][..], &[0xab; 72]].concat();
    let Ok(Request::Reconcile(Reconcile::Listing(part))) = listing(&longest) else {
        panic!("a whole place is a prefix");
    };
    assert_eq!(part.prefix.len(), PREFIX_MAX);
    let print = Fingerprint::default().print();
    let children = vec![(16, print)];
    let answer = vec![PartAnswer::Children { at: Prefix::all(), children }];
    let told = encode_response(&Response::Reconciled(Reconciled::Parts(answer)));
    assert_eq!(told, Err(CodecError::Malformed(TYPE_RECONCILE)), "no half byte is 16");
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
        kind in 0..11_u16,
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

#[test]
fn every_refusal_has_one_of_the_numbers_that_are_counted() {
    let mut numbers: Vec<_> = refusals().iter().map(|(_, refusal)| refusal.number()).collect();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers, Refusal::NUMBERS);
}
