//! One of each: every form of record and every message, from fixed keys, for vectors and corpora.

#![allow(dead_code, reason = "each test file uses its part")]

use bytes::Bytes;
use dht_kad::admission::Existing;
use dht_kad::message::audit::{Challenge, Evidence, proof};
use dht_kad::message::reconcile::{
    GroupPrint, Holding, Offered, PartAnswer, PartAsk, Salted, Wanted, Whole,
};
use dht_kad::message::watch::{Cursor, WatchKey};
use dht_kad::message::*;
use dht_kad::reconcile::{Cut, Fingerprint, Group, Item, Part, Prefix};
use dht_kad::record::{Kind, Retention, Space};
use dht_kad::refusal::FullScope;
use dht_kad::{NetworkName, NodeId, RecordDraft, Refusal, UnixMs, ValidRecord, domain};
use ed25519_dalek::{Signer, SigningKey};

pub(crate) const NOW: UnixMs = UnixMs(1_800_000_000_000);

pub(crate) fn network() -> NetworkName {
    "vectors".parse().unwrap()
}

/// The identity whose secret key is 32 times this byte.
pub(crate) fn identity(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

pub(crate) fn draft() -> RecordDraft {
    RecordDraft {
        space: Space::Owned,
        kind: Kind::Value,
        retention: Retention::Days7,
        label: domain::label(&network(), "profile"),
        slot: 3,
        seq: 5,
        created_at: NOW,
        guard_until: UnixMs(0),
        work_bits: 0,
        ext: Bytes::new(),
        body: Bytes::from_static(b"hello"),
    }
}

pub(crate) fn sign(draft: &RecordDraft) -> ValidRecord {
    draft.sign(&identity(1), &network()).unwrap()
}

/// Every form of record, by name.
pub(crate) fn records() -> Vec<(&'static str, ValidRecord)> {
    let owned = draft();
    let topic = RecordDraft { space: Space::Topic, retention: Retention::Hours8, ..draft() };
    let content = RecordDraft {
        space: Space::Content,
        retention: Retention::Days365,
        label: [0; 32],
        slot: 0,
        seq: 0,
        ..draft()
    };
    let guard_until = NOW.after(Retention::Days365.lifetime_ms());
    let deleted = |draft: &RecordDraft| {
        let kind = Kind::Tombstone;
        sign(&RecordDraft { kind, guard_until, seq: 6, body: Bytes::new(), ..draft.clone() })
    };
    let ext = Bytes::from_static(b"kept unread");
    vec![
        ("owned_value", sign(&owned)),
        ("owned_head", sign(&owned).head_only()),
        ("owned_tombstone", deleted(&owned)),
        ("owned_empty_value", sign(&RecordDraft { body: Bytes::new(), ..owned.clone() })),
        ("owned_guarded_value", sign(&RecordDraft { guard_until, ..owned.clone() })),
        ("owned_with_ext", sign(&RecordDraft { ext: ext.clone(), ..owned.clone() })),
        ("owned_with_work", sign(&RecordDraft { work_bits: 10, ..owned.clone() })),
        ("topic_value", sign(&topic)),
        ("topic_head", sign(&topic).head_only()),
        ("topic_tombstone", deleted(&topic)),
        ("topic_with_ext_and_work", sign(&RecordDraft { ext, work_bits: 10, ..topic })),
        ("content_value", sign(&content)),
        ("content_head", sign(&content).head_only()),
    ]
}

pub(crate) fn node(byte: u8) -> NodeInfo {
    let addrs = ["192.0.2.7:4400", "[2001:db8::7]:65535"];
    NodeInfo {
        id: NodeId::from_public_key(&[byte; 32]),
        addrs: addrs.map(|addr| addr.parse().unwrap()).into(),
    }
}

/// The node whose secret key is 32 times this byte.
pub(crate) fn node_id(byte: u8) -> NodeId {
    NodeId::from_public_key(identity(byte).verifying_key().as_bytes())
}

/// A receipt that this node signs, whatever it says.
pub(crate) fn receipt_by(
    byte: u8,
    record: &ValidRecord,
    expires_at: UnixMs,
    accepted_at: UnixMs,
) -> Receipt {
    let key = identity(byte);
    let message = Receipt::message(&network(), record, expires_at, accepted_at);
    Receipt {
        expires_at,
        accepted_at,
        node_key: key.verifying_key().to_bytes(),
        signature: key.sign(&message).to_bytes(),
    }
}

/// The receipt of node 2 for the owned value, a second after it was made.
pub(crate) fn receipt() -> Receipt {
    let record = sign(&draft());
    receipt_by(2, &record, record.expires_at(), NOW.after(1_000))
}

/// The nonce of every challenge.
pub(crate) const NONCE: [u8; 32] = [6; 32];

/// The owned value as holders compare it.
fn item() -> (Group, Item) {
    let record = sign(&draft());
    let row = dht_kad::admission::row_key(record.id());
    (Group::of(&Existing::of(&record)), Item { row, version: record.precedence() })
}

/// The part of the owned value that is told apart by so many half bytes.
fn part(half_bytes: usize) -> Part {
    let (group, item) = item();
    Part { group, prefix: Prefix::of(&item.row, half_bytes) }
}

fn reconcile_requests() -> Vec<(&'static str, Request)> {
    let (group, item) = item();
    let print = Fingerprint::of(&item.version.digest).print();
    let range = vec![part(1).prefix, part(4).prefix.child(0xf)];
    let all = Whole { cut: Cut::at(NOW), range: vec![Prefix::all()], print };
    let asks = [part(0), part(3)].map(|part| PartAsk { part, print });
    let wanted = Wanted { part: part(2), shorts: vec![item.short(), 250] };
    let offered = Offered::new(group, &item);
    vec![
        ("reconcile_whole_of_all", Reconcile::Whole(all.clone())),
        ("reconcile_whole_of_a_range", Reconcile::Whole(Whole { range, ..all })),
        ("reconcile_parts", Reconcile::Parts(asks.into())),
        ("reconcile_listing", Reconcile::Listing(part(7))),
        ("reconcile_salted", Reconcile::Salted(Salted { part: part(2), salt: [5; 32] })),
        ("reconcile_records", Reconcile::Records(vec![wanted, offered.wanted()])),
        ("reconcile_offer", Reconcile::Offer(vec![offered])),
        ("reconcile_leaving", Reconcile::Leaving),
    ]
    .into_iter()
    .map(|(name, reconcile)| (name, Request::Reconcile(reconcile)))
    .collect()
}

fn reconcile_responses() -> Vec<(&'static str, Response)> {
    let (group, item) = item();
    let print = Fingerprint::of(&item.version.digest).print();
    let of_none = Fingerprint::default().print();
    let children = vec![(0, of_none), (15, print)];
    let answers = vec![
        PartAnswer::Same,
        PartAnswer::Children { at: part(5).prefix, children },
        PartAnswer::Items(vec![item.short(), u64::MAX]),
        PartAnswer::Later,
    ];
    let holdings = vec![Holding::Held, Holding::Wanted, Holding::Declined];
    vec![
        ("reconciled_equal", Reconciled::Equal),
        ("reconciled_other_cut", Reconciled::OtherCut(Cut::at(NOW))),
        ("reconciled_groups", Reconciled::Groups(vec![GroupPrint { group, print }])),
        ("reconciled_parts", Reconciled::Parts(answers)),
        ("reconciled_items", Reconciled::Items(vec![item.short()])),
        ("reconciled_salted_print", Reconciled::Salted(print)),
        ("reconciled_records", Reconciled::Records(vec![record_bytes()])),
        ("reconciled_holdings", Reconciled::Holdings(holdings)),
        ("reconciled_noted", Reconciled::Noted),
        ("reconciled_too_large", Reconciled::TooLarge),
    ]
    .into_iter()
    .map(|(name, reconciled)| (name, Response::Reconciled(reconciled)))
    .collect()
}

fn audit_results() -> AuditResults {
    let record = sign(&draft());
    let head = RecordBytes(record.head_bytes());
    let holds = Evidence::Holds { head, proof: proof(&NONCE, record.bytes()) };
    AuditResults { evidence: vec![holds, Evidence::Nothing, Evidence::Later] }
}

/// A node that is full, and has been behind for five minutes.
pub(crate) fn vital_signs() -> VitalSigns {
    VitalSigns {
        up_secs: 86_400,
        ready: false,
        refuses: vec![Refusal::ReadOnly, Refusal::Full { scope: FullScope::Total }],
        disk_free_percent: Some(3),
        store_free_percent: Some(100),
        memory_mib: Some(240),
        memory_limit_mib: Some(1_024),
        oldest_unrepaired_secs: Some(300),
        servers: 2,
        neighbours: 2,
        records: 70_000,
    }
}

fn record_bytes() -> RecordBytes {
    RecordBytes(sign(&draft()).bytes().clone())
}

/// Every request, by name, with its optional fields absent and present.
pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    let key = sign(&draft()).id().key;
    let publisher = identity(1).verifying_key().to_bytes();
    let all = Find {
        key,
        publisher: None,
        slots: None,
        after: None,
        heads_only: false,
        min_work: 0,
        limit: 256,
        want_closer: false,
    };
    let some = Find {
        publisher: Some(PublisherKey(publisher)),
        slots: Some((1, u64::MAX)),
        after: Some(Position { publisher, slot: 250 }),
        heads_only: true,
        min_work: 20,
        limit: 1,
        want_closer: true,
        ..all.clone()
    };
    let item = |expected_seq| StoreItem { record: record_bytes(), expected_seq };
    let challenges = vec![Challenge::new(sign(&draft()).id(), NONCE)];
    let of_all = WatchKey { key, publisher: None };
    let of_one = WatchKey { publisher: Some(PublisherKey(publisher)), ..of_all };
    let mut requests = vec![
        ("ping_by_server", Request::Ping(Ping { mode: Mode::Server })),
        ("ping_by_client", Request::Ping(Ping { mode: Mode::Client })),
        ("find_node", Request::FindNode(FindNode { target: key })),
        ("find_all", Request::Find(all)),
        ("find_some", Request::Find(some)),
        ("store_nothing", Request::Store(Store { items: vec![] })),
        ("store", Request::Store(Store { items: vec![item(None), item(Some(4))] })),
        ("audit", Request::Audit(Audit { challenges })),
        ("watch_anew", Request::Watch(Watch { keys: vec![of_all], cursor: None })),
        ("watch_on", Request::Watch(Watch { keys: vec![of_all, of_one], cursor: Some(CURSOR) })),
        ("vitals", Request::Vitals(Vitals {})),
    ];
    requests.extend(reconcile_requests());
    requests
}

/// Up to where a watch was shown everything.
const CURSOR: Cursor = Cursor { incarnation: 0x0123_4567_89ab_cdef, commit_no: 70_000 };

/// Every answer but refusals, by name.
pub(crate) fn responses() -> Vec<(&'static str, Response)> {
    let pong = Pong {
        mode: Mode::Server,
        version: "dht-bootstrap 0.1.0".to_owned(),
        settled: true,
        whole: true,
        observed: "192.0.2.1:250".parse().unwrap(),
        clock: NOW,
    };
    let observed = "[2001:db8::1]:251".parse().unwrap();
    let pong_v6 =
        Pong { mode: Mode::Client, settled: false, whole: false, observed, ..pong.clone() };
    let nodes = Nodes { nodes: vec![node(1), node(2)], settled: true, whole: false };
    let found = Found {
        records: vec![record_bytes(), RecordBytes(sign(&draft()).head_bytes())],
        next: Some(Position { publisher: [7; 32], slot: 70_000 }),
        closer: vec![node(3)],
        settled: false,
        whole: true,
    };
    let nothing = Found { records: vec![], next: None, closer: vec![], settled: true, whole: true };
    let results = vec![Ok(receipt()), Err(Refusal::SeqConflict)];
    let changed = Watched::Changed { records: vec![record_bytes()], cursor: CURSOR };
    let nothing_changed = Watched::Changed { records: vec![], cursor: CURSOR };
    let mut responses = vec![
        ("pong", Response::Pong(pong)),
        ("pong_over_ipv6", Response::Pong(pong_v6)),
        ("nodes", Response::Nodes(nodes)),
        ("found", Response::Found(found)),
        ("found_nothing", Response::Found(nothing)),
        ("store_results", Response::StoreResults(StoreResults { results })),
        ("audit_results", Response::AuditResults(audit_results())),
        ("watching", Response::Watched(Watched::Watching { cursor: CURSOR, resumed: true })),
        ("changed", Response::Watched(changed)),
        ("changed_nothing", Response::Watched(nothing_changed)),
        ("vital_signs", Response::VitalSigns(vital_signs())),
        ("vital_signs_unknown", Response::VitalSigns(VitalSigns::default())),
    ];
    responses.extend(reconcile_responses());
    responses
}

/// Every refusal, by name, in the order of its number on the wire.
pub(crate) fn refusals() -> Vec<(&'static str, Refusal)> {
    let clock = NOW;
    let why = "the record ends within its head; send it whole".to_owned();
    vec![
        ("malformed_record", Refusal::MalformedRecord(why)),
        ("unknown_record_version", Refusal::UnknownRecordVersion(2)),
        ("too_large", Refusal::TooLarge),
        ("bad_signature", Refusal::BadSignature),
        ("from_the_future", Refusal::FromTheFuture { clock }),
        ("expired", Refusal::Expired { clock }),
        ("seq_too_low", Refusal::SeqTooLow { stored: 9 }),
        ("seq_conflict", Refusal::SeqConflict),
        ("guard_too_short", Refusal::GuardTooShort { needed: NOW }),
        ("unexpected_seq", Refusal::UnexpectedSeq { stored: 300 }),
        ("full_publisher", Refusal::Full { scope: FullScope::Publisher }),
        ("full_key", Refusal::Full { scope: FullScope::Key }),
        ("full_class", Refusal::Full { scope: FullScope::Class }),
        ("full_total", Refusal::Full { scope: FullScope::Total }),
        ("work_too_low", Refusal::WorkTooLow { needed: 20 }),
        ("read_only", Refusal::ReadOnly),
        ("clock_unsure", Refusal::ClockUnsure { clock }),
        ("blocked", Refusal::Blocked),
        ("restarting", Refusal::Restarting),
        ("body_missing", Refusal::BodyMissing),
        ("unknown_request", Refusal::UnknownRequest(5)),
        ("frame_too_long", Refusal::FrameTooLong(262_145)),
        ("malformed_frame", Refusal::MalformedFrame),
        ("busy", Refusal::Busy),
        ("not_a_server", Refusal::NotAServer),
        ("internal", Refusal::Internal),
    ]
}
