//! What must hold for any bytes whatever: one function a fuzz target.
//!
//! The fuzzer looks for bytes that break it, and the crate's own tests replay the committed corpora
//! through the same functions.

#![allow(clippy::expect_used, clippy::panic, reason = "to panic is how a check fails")]

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use dht_kad::admission::{Amount, Existing, Limits, Path, Plan, Usage, plan_put};
use dht_kad::bootstrap_list::{BootstrapList, NODES_MAX};
use dht_kad::codec::{
    FrameHeader, decode_request, decode_response, encode_request, encode_response, split_frame,
};
use dht_kad::message::{FRAME_HEADER, FRAME_MAX};
use dht_kad::record::layout::{BODY_MAX, EMPTY_BODY_HASH, RECORD_MAX};
use dht_kad::record::{Kind, Retention};
use dht_kad::{NetworkName, ParsedRecord, RecordId, UnixMs, ValidRecord};

/// Panics if the bytes break what must hold.
pub(crate) type Check = fn(&[u8]);

/// Every target, by name.
pub(crate) const TARGETS: [(&str, Check); 6] = [
    ("record_parse", record_parse),
    ("request", request),
    ("response", response),
    ("frame_header", frame_header),
    ("plan_put", plan_puts),
    ("bootstrap_list", bootstrap_list),
];

fn network() -> NetworkName {
    "vectors".parse().expect("a network's name")
}

/// What parses is bounded and comes out bit for bit, whole and as a head; checking it is safe.
pub(crate) fn record_parse(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(record) = ParsedRecord::parse(bytes.clone()) else { return };
    assert_eq!(record.bytes(), &bytes);
    assert!(bytes.len() <= RECORD_MAX);
    let head = ParsedRecord::parse(record.head_bytes()).expect("a record's head parses alone");
    assert_eq!(head, record.without_body());
    assert_eq!(head.head_bytes(), record.head_bytes());
    if let Some(body) = record.body() {
        assert_eq!([record.head_bytes(), body].concat(), data);
    }
    assert!(record.expires_at() <= record.keep_until());
    let id = record.claimed_id(&network());
    if let Ok(valid) = record.clone().verify(&network()) {
        assert_eq!(*valid.id(), id);
        let read_back = ValidRecord::from_own_store(bytes, &network()).expect("it was parsed");
        assert_eq!(valid, read_back);
        assert_eq!(valid.head_only().precedence(), valid.precedence());
        let head = head.verify(&network()).expect("a valid record's head verifies alone");
        assert_eq!(head, valid.head_only());
    }
}

/// What decodes as a request encodes again, to the same request and no more bytes.
pub(crate) fn request(data: &[u8]) {
    let frame = Bytes::copy_from_slice(data);
    let Ok(request) = decode_request(&frame) else { return };
    let encoded = encode_request(&request).expect("what was decoded can be encoded");
    assert!(encoded.len() <= frame.len());
    assert_eq!(decode_request(&encoded), Ok(request));
}

/// What decodes as an answer encodes again, to the same answer and no more bytes.
pub(crate) fn response(data: &[u8]) {
    let frame = Bytes::copy_from_slice(data);
    let Ok(response) = decode_response(&frame) else { return };
    let encoded = encode_response(&response).expect("what was decoded can be encoded");
    assert!(encoded.len() <= frame.len());
    assert_eq!(decode_response(&encoded), Ok(response));
}

/// What decodes as a list of bootstrap nodes is bounded, and encodes to the very same bytes.
pub(crate) fn bootstrap_list(data: &[u8]) {
    let Ok(list) = BootstrapList::decode(data) else { return };
    assert_eq!(list.encode(), data);
    assert!(data.len() <= BODY_MAX && list.nodes().len() <= NODES_MAX);
    assert!(list.nodes().is_sorted_by(|one, next| one.id < next.id));
    for node in list.nodes() {
        assert!(node.addrs.iter().all(|addr| addr.id == Some(node.id)));
    }
}

/// A header never lets a payload in that is longer than allowed, and a frame is all there is.
pub(crate) fn frame_header(data: &[u8]) {
    if let Some(header) = data.first_chunk::<FRAME_HEADER>()
        && let Ok(header) = FrameHeader::read(*header)
    {
        assert!(header.payload_len <= FRAME_MAX);
    }
    let frame = Bytes::copy_from_slice(data);
    if let Ok((_, payload)) = split_frame(&frame) {
        assert_eq!(payload.len() + FRAME_HEADER, frame.len());
    }
}

/// The present of [`plan_puts`]' start.
const NOW: UnixMs = UnixMs(1_800_000_000_000);
/// Bytes of one step of [`plan_puts`].
const STEP: usize = 6;

/// Steps of six bytes, each a put of a made-up record or a passing of time, decided by `plan_put`:
/// what is stored only ever grows in the order of versions, usage stays within its limits, and
/// what is replayed backwards through repair ends in the same.
pub(crate) fn plan_puts(data: &[u8]) {
    let mut table = Table::default();
    let mut now = NOW;
    let mut taken = Vec::new();
    for step in data.chunks_exact(STEP).take(64) {
        let &[what, who, seq, age, guard, body] = step else { return };
        if what & 0x80 != 0 {
            now = now.after(u64::from(age) * 600_000);
            table.sweep(now);
            continue;
        }
        let Some(record) = made_up(what, who, seq, age, guard, body, now) else { continue };
        let path = match what & 0x40 {
            0 => Path::Repair,
            _ => Path::Store { expected_seq: (body & 0x80 != 0).then_some(u64::from(seq >> 4)) },
        };
        if table.put(&record, path, now) {
            taken.push(record);
        }
    }
    let mut forwards = Table { limits: no_limits(), ..Table::default() };
    let mut backwards = Table { limits: no_limits(), ..Table::default() };
    for record in &taken {
        forwards.put(record, Path::Repair, now);
    }
    for record in taken.iter().rev() {
        backwards.put(record, Path::Repair, now);
    }
    assert_eq!(forwards.rows, backwards.rows);
}

/// A record with the structure that the bytes ask for, unsigned: admission looks at no signature.
fn made_up(
    what: u8,
    who: u8,
    seq: u8,
    age: u8,
    guard: u8,
    body: u8,
    now: UnixMs,
) -> Option<ValidRecord> {
    let body = vec![0xbb; usize::from(body & 0x7f) * usize::from(what & 0x20 == 0)];
    // Of another body another hash, as it would be.
    let body_hash = if body.is_empty() { EMPTY_BODY_HASH } else { [body.len() as u8; 32] };
    let created_at = now.0 + 900_000 - u64::from(age) * 600_000;
    let guard_until = if guard == 0 { 0 } else { created_at + u64::from(guard) * 3_600_000 };
    let content = what % 4 == 2;
    let mut bytes = BytesMut::new();
    bytes.put_slice(&[1, what % 4, u8::from(what & 0x20 != 0), who >> 6]);
    bytes.put_slice(&[if content { 0 } else { who & 1 }; 32]);
    bytes.put_slice(&[who & 2; 32]);
    let plain = |number: u64| if content { 0 } else { number };
    for number in [plain(u64::from(who >> 2 & 3)), plain(u64::from(seq & 0x0f)), created_at] {
        bytes.put_u64(number);
    }
    bytes.put_u64(plain(guard_until));
    bytes.put_u64(0);
    bytes.put_u16(0);
    bytes.put_slice(&body_hash);
    bytes.put_slice(&[0; 64]);
    bytes.put_slice(&body);
    let record = ParsedRecord::parse(bytes.freeze()).ok()?;
    Some(record.trust_own_store(&network()))
}

fn no_limits() -> Limits {
    let max = Amount::MAX;
    Limits { publisher: max, key: max, classes: [max; 3], total: max, reserve_percent: 0 }
}

/// The plainest store that follows plan_put.
struct Table {
    rows: BTreeMap<RecordId, Existing>,
    limits: Limits,
}

impl Default for Table {
    fn default() -> Self {
        let few = |records| Amount { records, bytes: records * 400 };
        let limits = Limits {
            publisher: few(8),
            key: few(6),
            classes: [few(8), few(8), few(8)],
            total: few(20),
            reserve_percent: 20,
        };
        Table { rows: BTreeMap::new(), limits }
    }
}

impl Table {
    /// Puts a record; true if it was taken.
    fn put(&mut self, record: &ValidRecord, path: Path, now: UnixMs) -> bool {
        let held = self.rows.get(record.id()).copied();
        let usage = self.usage(record);
        let Ok(plan) = plan_put(held.as_ref(), record, path, &usage, &self.limits, now) else {
            return false;
        };
        let live = held.filter(|held| held.precedence.keep_until > now);
        let Plan::Write(changes) = plan else {
            assert!(live.is_some(), "only what is there can stay unchanged");
            return true;
        };
        assert_eq!(changes.replaced, held);
        assert_eq!(changes.written, Existing::of(&changes.record));
        assert!(changes.written.precedence.keep_until > now, "nothing is born dead");
        assert!(live.is_none_or(|live| changes.written.precedence >= live.precedence));
        let has_due_body = record.kind() == Kind::Value && record.expires_at() > now;
        assert_eq!(
            changes.record.has_body(),
            has_due_body || record.body_hash() == &EMPTY_BODY_HASH
        );
        self.rows.insert(*record.id(), changes.written);
        let total = self.usage(record).total;
        assert!(
            total.bytes <= self.limits.total.bytes && total.records <= self.limits.total.records
        );
        true
    }

    fn usage(&self, record: &ValidRecord) -> Usage {
        let sum = |counts: &dyn Fn(&Existing) -> bool| {
            let counted = self.rows.values().filter(|held| counts(held));
            counted.fold(Amount::default(), |sum, held| sum.plus(held.charge.bytes))
        };
        let class: Retention = record.retention();
        Usage {
            publisher: sum(&|held| held.charge.publisher == *record.publisher()),
            key: sum(&|held| held.charge.key == record.id().key),
            class: sum(&|held| held.charge.class == class),
            total: sum(&|_| true),
        }
    }

    fn sweep(&mut self, now: UnixMs) {
        self.rows.retain(|_, held| held.precedence.keep_until > now);
    }
}
