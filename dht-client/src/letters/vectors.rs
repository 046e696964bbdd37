//! docs/PROTOCOL.md says of letters what the code does.

use dht_kad::record::RecordSigner;
use dht_kad::{NetworkName, UnixMs};
use zeroize::Zeroizing;

use super::letter::{Kind, Letter, Place};
use super::mailbox::{Direction, epoch_of, slot_of};
use crate::identity::Identity;

const DOC: &str = include_str!("../../../docs/PROTOCOL.md");
const MOMENT: UnixMs = UnixMs(1_800_000_000_000);

#[test]
fn the_vectors_of_letters_hold() {
    let network: NetworkName = "vectors".parse().unwrap();
    let direction = Direction {
        secret: Zeroizing::new([3; 32]),
        sender: Identity::from_root(&[1; 32]).public_key(),
        recipient: Identity::from_root(&[2; 32]).public_key(),
    };
    let (epoch, tag) = (epoch_of(MOMENT), direction.tag(&network, &[4; 16], 0));
    let (mailbox, acks) = (direction.mailbox(&network, epoch), direction.ack_place(&network));
    let slot = slot_of(tag, 2);
    let place = Place { network: &network, direction: &direction, mailbox: &mailbox, slot };
    let letter = Letter {
        kind: Kind::Data,
        sent_at: MOMENT,
        previous: 1,
        previous_at: UnixMs(MOMENT.0 - 1),
        payload: Zeroizing::new(b"hello".to_vec()),
    };
    let vectors = [
        ("epoch", epoch.to_string()),
        ("mailbox_label", hex::encode(mailbox.label)),
        ("mailbox_publisher", hex::encode(mailbox.signer.publisher())),
        ("tag", format!("{tag:06x}")),
        ("tag_salted_with_1", format!("{:06x}", direction.tag(&network, &[4; 16], 1))),
        ("slot_of_letter_2", format!("{slot:016x}")),
        ("aad_of_letter_2", hex::encode(*place.binding())),
        ("signed", hex::encode(*letter.message(&place))),
        ("watermarks_label", hex::encode(acks.label)),
        ("watermarks_publisher", hex::encode(acks.signer.publisher())),
        ("watermarks_seal", hex::encode(*acks.seal)),
    ];
    let (_, section) = DOC.split_once("## Client: letters").unwrap();
    for (name, value) in vectors {
        assert!(section.contains(&format!("{name} = {value}\n")), "{name} = {value}");
    }
}
