//! Audits of receipts whose nodes do not answer, and of such as have ended.

use std::net::{SocketAddr, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

use dht_client::receipts::{KeptReceipt, ReceiptBook};
use dht_kad::message::{NodeInfo, Receipt};
use dht_kad::record::{Kind, RecordDraft, Retention, Space};
use dht_kad::time::{DAY_MS, HOUR_MS};
use dht_kad::{NodeId, UnixMs};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::Value;

use crate::program::{Ended, Program};

const AUDIT_INCOMPLETE: i32 = 68;
const NETWORK: &str = "test";

/// The promise of a node at this address to keep for 7 days what was made so long ago.
fn promised(age_ms: u64, addr: SocketAddr) -> KeptReceipt {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let created_at = UnixMs(now - age_ms);
    let network = NETWORK.parse().unwrap();
    let draft = RecordDraft {
        space: Space::Owned,
        kind: Kind::Value,
        retention: Retention::Days7,
        label: [1; 32],
        slot: 0,
        seq: 1,
        created_at,
        guard_until: UnixMs(0),
        work_bits: 0,
        ext: bytes::Bytes::new(),
        body: bytes::Bytes::from_static(b"value"),
    };
    let record = draft.sign(&SigningKey::from_bytes(&[1; 32]), &network).unwrap();
    let key = SigningKey::from_bytes(&[2; 32]);
    let (expires_at, accepted_at) = (record.expires_at(), created_at.after(10));
    let message = Receipt::message(&network, &record, expires_at, accepted_at);
    let node_key = key.verifying_key().to_bytes();
    KeptReceipt {
        network,
        record: record.bytes().clone(),
        node: NodeInfo { id: NodeId::from_public_key(&node_key), addrs: vec![addr] },
        receipt: Receipt {
            expires_at,
            accepted_at,
            node_key,
            signature: key.sign(&message).to_bytes(),
        },
    }
}

fn object(ended: &Ended) -> Value {
    serde_json::from_slice(&ended.stdout).unwrap()
}

#[test]
fn a_node_that_does_not_answer_neither_kept_nor_broke_its_promise() {
    // Bound, so that nobody else is there, and never answered.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let program = Program::new(&["--network", NETWORK, "--timeout", "1", "--json"]);
    let book = ReceiptBook::create(&program.path("book")).unwrap();
    book.add(&[promised(HOUR_MS, silent.local_addr().unwrap())]).unwrap();
    let ended = program.run(&["audit", "book"]);
    assert_eq!(ended.status, AUDIT_INCOMPLETE, "{ended:?}");
    let told = object(&ended);
    assert_eq!(told["receipts"][0]["result"], "unanswered");
    assert_eq!(
        (&told["nodes"][0]["unanswered"], &told["nodes"][0]["broken"]),
        (&1.into(), &0.into())
    );

    let elsewhere = Program::new(&["--network", "elsewhere", "--timeout", "1", "--json"]);
    let book = ReceiptBook::create(&elsewhere.path("book")).unwrap();
    book.add(&[promised(HOUR_MS, silent.local_addr().unwrap())]).unwrap();
    let ended = elsewhere.run(&["audit", "book"]);
    assert_eq!(ended.status, AUDIT_INCOMPLETE, "{ended:?}");
    let why = object(&ended)["receipts"][0]["why"].to_string();
    assert!(why.contains("--network"), "{why}");
}

#[test]
fn what_has_expired_is_told_without_asking_and_removed_if_wanted() {
    let nobody = "192.0.2.1:1".parse().unwrap();
    let program = Program::new(&["--network", NETWORK]);
    let path = program.path("book");
    let book = ReceiptBook::create(&path).unwrap();
    book.add(&[promised(8 * DAY_MS, nobody)]).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert_eq!(program.json(&["audit", "book"])["nodes"][0]["expired"], 1);
    assert_eq!(std::fs::read(&path).unwrap(), before, "kept until its removal is asked for");
    assert_eq!(program.json(&["audit", "book", "--prune"])["removed"], 1);
    assert_eq!(std::fs::read(&path).unwrap(), b"");
    let told = program.json(&["audit", "book"]);
    assert_eq!(told["receipts"], Value::Array(Vec::new()), "an empty file is one of no receipts");
}
