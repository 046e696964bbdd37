//! The vectors of docs/PROTOCOL.md, so that the page and the code say the same.

use dht_kad::{NetworkName, UnixMs};

use super::encoding::encode;
use super::request::{self, Request};
use super::self_record::SelfRecords;
use super::{Contact, DirectionSecret};
use crate::identity::Identity;

const DOC: &str = include_str!("../../../docs/PROTOCOL.md");
const MOMENT: UnixMs = UnixMs(1_800_000_000_000);

#[test]
fn the_vectors_of_the_protocol_page_hold() {
    let network: NetworkName = "vectors".parse().unwrap();
    let (alice, bob) = (Identity::from_root(&[1; 32]), Identity::from_root(&[2; 32]));
    let mut contact = Contact::new(bob.public_key(), "bob".to_owned(), MOMENT);
    contact.add_secret_out(DirectionSecret { secret: [3; 32].into(), made_at: MOMENT });
    contact.add_secret_in(DirectionSecret { secret: [4; 32].into(), made_at: MOMENT });
    contact.accepted_at = MOMENT;
    let asked = Request {
        sender: alice.public_key(),
        secret: [3; 32].into(),
        made_at: MOMENT,
        created_at: MOMENT,
        answers: false,
        name: "alice".to_owned(),
        text: "hello".to_owned(),
    };
    let records = SelfRecords::of(&alice, &network);
    let text = request::plaintext(&asked, &network, &alice, &bob.public_key(), &[5; 32]);
    let used = text.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let lines = [
        ("alice", hex::encode(alice.public_key())),
        ("bob", hex::encode(bob.public_key())),
        ("request label of bob", hex::encode(request::label(&network, &bob.public_key()))),
        ("request plaintext", hex::encode(&text[..used])),
        ("self-record publisher", hex::encode(records.publisher())),
        ("self-record label", hex::encode(records.label())),
        ("self-record slot of bob", format!("{:016x}", records.slot(&bob.public_key()))),
        ("self-record key", hex::encode(*records.key())),
        ("contact bob", hex::encode(&*encode(&contact))),
        ("pair code", contact.pair_code(&alice.public_key(), &network).unwrap()),
    ];
    let missing: Vec<String> = lines
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .filter(|line| !DOC.lines().any(|documented| documented == line))
        .collect();
    assert!(missing.is_empty(), "not in docs/PROTOCOL.md:\n{}", missing.join("\n"));
}
