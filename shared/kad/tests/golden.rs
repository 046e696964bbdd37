//! Golden vectors: the exact bytes of every record and message form, from fixed keys.
//!
//! A vector changes only with a new version of what it shows. `UPDATE_VECTORS=1` writes the files,
//! and the fuzz targets' corpora beside them, anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dht_kad::bootstrap_list::{self, BootstrapList, BootstrapNode};
use dht_kad::codec::{decode_request, decode_response, encode_request, encode_response};
use dht_kad::message::Response;
use dht_kad::message::audit::{Receipt, proof};
use dht_kad::{NodeId, ParsedRecord, Refusal, UnixMs, domain};
use samples::{NONCE, identity, network, node_id, receipt, records, refusals, requests, responses};

/// Named bytes.
type Vectors = Vec<(String, Vec<u8>)>;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn updating() -> bool {
    std::env::var_os("UPDATE_VECTORS").is_some()
}

/// Compares with the committed file of `name = hex` lines.
fn check(file: &str, about: &str, vectors: &Vectors) {
    let mut text = format!("# {about}\n");
    for (name, bytes) in vectors {
        text.push_str(&format!("{name} = {}\n", hex::encode(bytes)));
    }
    let path = here("tests/vectors").join(file);
    if updating() {
        fs::write(&path, &text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    for (ours, theirs) in text.lines().zip(committed.lines()) {
        assert_eq!(ours, theirs, "{file} has another vector; a wire or disk form has changed");
    }
    assert_eq!(text.lines().count(), committed.lines().count(), "{file} has other vectors");
}

fn derived_vectors() -> Vectors {
    let network = network();
    let publisher = identity(1).verifying_key().to_bytes();
    let label = domain::label(&network, "profile");
    let record = &records()[0].1;
    let hash = *record.body_hash();
    let receipt = receipt();
    let (expires_at, accepted_at) = (receipt.expires_at, receipt.accepted_at);
    let promised = Receipt::message(&network, record, expires_at, accepted_at);
    [
        ("secret_key", vec![1; 32]),
        ("publisher", publisher.to_vec()),
        ("node_id_of_publisher", NodeId::from_public_key(&publisher).as_bytes().to_vec()),
        ("domain_prefix_of_label", domain::prefix(domain::Purpose::Label, &network, 0)),
        ("label_profile", label.to_vec()),
        (
            "owned_key_of_publisher_and_label",
            domain::owned_key(&network, &publisher, &label).0.to_vec(),
        ),
        ("topic_key_of_label", domain::topic_key(&network, &label).0.to_vec()),
        ("body_hash_of_hello", hash.to_vec()),
        ("content_key_of_hello", domain::content_key(&network, &hash).0.to_vec()),
        ("digest_of_owned_value", record.digest().to_vec()),
        ("node_id_of_receipt", node_id(2).as_bytes().to_vec()),
        ("receipt_message_of_owned_value", promised),
        ("receipt_signature_of_owned_value", receipt.signature.to_vec()),
        ("proof_of_owned_value", proof(&NONCE, record.bytes()).to_vec()),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

fn record_vectors() -> Vectors {
    let named =
        |(name, record): (&str, dht_kad::ValidRecord)| (name.to_owned(), record.bytes().to_vec());
    records().into_iter().map(named).collect()
}

fn request_vectors() -> Vectors {
    let named =
        |(name, request)| (format!("request_{name}"), encode_request(&request).unwrap().to_vec());
    requests().into_iter().map(named).collect()
}

fn response_vectors() -> Vectors {
    let refused = refusals()
        .into_iter()
        .map(|(name, refusal)| (format!("refused_{name}"), Response::Refused(refusal)));
    let answered =
        responses().into_iter().map(|(name, response)| (format!("response_{name}"), response));
    answered
        .chain(refused)
        .map(|(name, response)| (name, encode_response(&response).unwrap().to_vec()))
        .collect()
}

fn list_node(number: u8, addrs: &[&str], tags: &str) -> BootstrapNode {
    let addrs = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
    BootstrapNode { id: NodeId::from_bytes([number; 32]), addrs, tags: tags.to_owned() }
}

fn list_vectors() -> Vectors {
    let (two, one) = (
        list_node(2, &["node.example.org:4400", "[2001:db8::1]:4400"], ""),
        list_node(1, &["192.0.2.1:4400"], "Vienna"),
    );
    let four = list_node(3, &["a:1", "b:2", "c:3", "d:65535"], &"x".repeat(64));
    [
        ("list_empty", vec![]),
        ("list_of_one", vec![one.clone()]),
        ("list_of_two", vec![two.clone(), one.clone()]),
        ("list_full_node", vec![four.clone()]),
        ("list_of_three", vec![four, two, one]),
    ]
    .map(|(name, nodes)| (name.to_owned(), BootstrapList::new(nodes).unwrap().encode().to_vec()))
    .into()
}

#[test]
fn every_form_of_a_bootstrap_list_is_as_it_ever_was() {
    let lists = list_vectors();
    for (name, body) in &lists {
        let list = BootstrapList::decode(body).unwrap();
        assert_eq!(list.encode(), body, "{name}");
    }
    let list = BootstrapList::decode(&lists[2].1).unwrap();
    let now = UnixMs(1_800_000_000_000);
    let record = list.draft(&network(), now).sign(&identity(1), &network()).unwrap();
    let publisher = identity(1).verifying_key().to_bytes();
    let key = bootstrap_list::key(&network(), &publisher);
    assert_eq!(record.id().key, key);
    let signed = [("key", key.0.to_vec()), ("record_of_two", record.bytes().to_vec())];
    let signed = signed.map(|(name, bytes)| (name.to_owned(), bytes));
    let about = "Lists of bootstrap nodes; the record is signed by 32 bytes 01 in \"vectors\".";
    check("bootstrap_lists.txt", about, &[lists, signed.into()].concat());
}

#[test]
fn derived_values_are_as_they_ever_were() {
    let about = "Keys, labels and digests in the network \"vectors\".";
    check("derived.txt", about, &derived_vectors());
}

#[test]
fn every_record_form_is_as_it_ever_was() {
    let about = "Canonical bytes of records in the network \"vectors\", signed by 32 bytes 01.";
    check("records.txt", about, &record_vectors());
    for (name, record) in records() {
        let parsed = ParsedRecord::parse(record.bytes().clone()).unwrap();
        assert_eq!(parsed.verify(&network()).unwrap(), record, "{name}");
    }
}

#[test]
fn every_message_form_is_as_it_ever_was() {
    let about = "Whole frames: type, length, payload.";
    let vectors = [request_vectors(), response_vectors()].concat();
    check("messages.txt", about, &vectors);
    for (name, request) in requests() {
        let frame = encode_request(&request).unwrap();
        assert_eq!(decode_request(&frame), Ok(request), "{name}");
    }
    for (name, response) in responses() {
        let frame = encode_response(&response).unwrap();
        assert_eq!(decode_response(&frame), Ok(response), "{name}");
    }
}

/// The payload of a refusal starts with its variant, a number below 251 in one byte.
#[test]
fn there_is_a_vector_of_every_refusal() {
    let variant_of =
        |refusal: &Refusal| encode_response(&Response::Refused(refusal.clone())).unwrap()[6];
    let mut variants: Vec<u8> = refusals().iter().map(|(_, refusal)| variant_of(refusal)).collect();
    variants.dedup();
    let count = u8::try_from(variants.len()).unwrap();
    assert_eq!(variants, (0..count).collect::<Vec<_>>());
    for payload_len in 1..80 {
        let mut frame = vec![0, 0, 0, 0, 0, payload_len];
        frame.resize(6 + usize::from(payload_len), 0);
        frame[6] = count;
        assert!(decode_response(&Bytes::from(frame)).is_err(), "variant {count} has no vector");
    }
}

#[test]
fn the_corpora_hold_every_vector() {
    let frames = [request_vectors(), response_vectors()].concat();
    let corpora = [
        ("record_parse", record_vectors()),
        ("bootstrap_list", list_vectors()),
        ("request", request_vectors()),
        ("response", response_vectors()),
        ("frame_header", frames.into_iter().filter(|(_, bytes)| bytes.len() < 100).collect()),
    ];
    for (target, vectors) in corpora {
        for (name, bytes) in vectors {
            let path = here("fuzz/corpus").join(target).join(&name);
            if updating() {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, &bytes).unwrap();
            }
            assert_eq!(fs::read(&path).ok(), Some(bytes), "{target}/{name}");
        }
    }
}
