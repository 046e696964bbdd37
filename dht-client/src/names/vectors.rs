//! docs/PROTOCOL.md says what the code does.

use dht_kad::message::Receipt;
use dht_kad::record::RecordSigner;
use dht_kad::{NetworkName, UnixMs};
use ed25519_dalek::{Signer, SigningKey};

use super::claim::{draft, name_label};
use super::evidence::Evidence;
use super::form::{LOOKALIKES, Name, RESERVED};
use super::reverse::{name_slot, names_label};
use super::rules::NameWork;

const DOC: &str = include_str!("../../../docs/PROTOCOL.md");

/// The section on names.
fn section() -> &'static str {
    let start = DOC.find("\n## Client: names\n").unwrap();
    let section = &DOC[start + 1..];
    let end = section[1..].find("\n## ").map_or(section.len(), |end| end + 1);
    &section[..end]
}

#[test]
fn the_vectors_are_what_the_code_makes() {
    let network: NetworkName = "vectors".parse().unwrap();
    let name: Name = "Mil.k2-way".parse().unwrap();
    let identity = SigningKey::from_bytes(&[1; 32]);
    let now = UnixMs(1_800_000_000_000);
    let work = NameWork::uniform(8);
    let claim = draft(&name, None, &network, &work, now).sign(&identity, &network).unwrap();
    let node = SigningKey::from_bytes(&[2; 32]);
    let (expires_at, accepted_at) = (claim.expires_at(), now.after(10));
    let message = Receipt::message(&network, &claim, expires_at, accepted_at);
    let signature = node.sign(&message).to_bytes();
    let receipt = Receipt { expires_at, accepted_at, node_key: node.publisher(), signature };
    let mut evidence = Evidence::default();
    evidence.generation(&claim).add([receipt], |_| true);
    let vectors = [
        ("name", name.to_string()),
        ("skeleton", name.skeleton().as_str().to_owned()),
        ("name_label", hex::encode(name_label(&network, &name.skeleton()))),
        ("names_label", hex::encode(names_label(&network, &identity.publisher()))),
        ("name_slot", name_slot(&network, &name).to_string()),
        ("claim_with_8_bits", hex::encode(claim.bytes())),
        ("evidence_with_a_receipt_of_32_bytes_02", hex::encode(evidence.encode())),
    ];
    let lines: String = vectors.iter().map(|(what, value)| format!("{what} = {value}\n")).collect();
    assert!(section().contains(&format!("```text\n{lines}```")), "the page should say:\n{lines}");
}

#[test]
fn the_tables_are_those_of_the_code() {
    assert!(section().replace('\n', " ").contains(&format!("{}.", RESERVED.join(", "))));
    let row = |word: &str| {
        let line = section().lines().find(|line| line.starts_with(&format!("| {word} |"))).unwrap();
        line.split('|').skip(2).map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
    };
    let alike: Vec<_> = LOOKALIKES.iter().map(|(alike, _)| alike.to_string()).collect();
    let becomes: Vec<_> = LOOKALIKES.iter().map(|(_, becomes)| *becomes).collect();
    assert_eq!(
        (row("character"), row("becomes")),
        (alike.iter().map(|a| &a[..]).collect(), becomes)
    );
    let bits: Vec<_> = (3..=12)
        .map(|letters| NameWork::STANDARD.bits(&"x".repeat(letters).parse().unwrap()).to_string())
        .collect();
    assert_eq!(row("bits"), bits);
}
