//! Records that must not be taken, by the wire, by a real node. That every single byte of a record
//! counts is shown exhaustively beside the code; here a sample goes the whole way.

use bytes::Bytes;
use dht_kad::admission::FUTURE_TOLERANCE_MS;
use dht_kad::record::RecordDraft;
use dht_kad::{ErrorNumber, NodeId, Refusal};
use dht_tests::records::{draft, ending_in, network, now, sign, signer};
use dht_tests::{CommandLine, Network, NodeOptions, WirePeer};

#[test]
fn a_record_of_another_network_is_refused() {
    let net = Network::start(1);
    let peer = WirePeer::to(&net[0]);
    let foreign = draft([1; 32], 0, "x").sign(&signer(1), &"elsewhere".parse().unwrap()).unwrap();
    assert_eq!(peer.store(&foreign), Err(Refusal::BadSignature));
    assert_eq!(net[0].status()["records"], 0);
    peer.store(&sign(&draft([1; 32], 0, "x"), &signer(1))).expect("the same signed here is taken");
}

#[test]
fn a_node_of_another_network_is_not_connected_to() {
    let net = Network::start(1);
    let dialled = WirePeer::dial(net[0].addr(), None, "elsewhere".parse().unwrap());
    assert_eq!(dialled.err().unwrap().number(), ErrorNumber::Unreachable);
}

#[test]
fn a_record_with_a_future_or_past_time_is_refused() {
    let net = Network::start(1);
    let peer = WirePeer::to(&net[0]);
    let at = |created_at| RecordDraft { created_at, ..draft([1; 32], 0, "x") };
    let future = sign(&at(now().after(FUTURE_TOLERANCE_MS + 30_000)), &signer(1));
    let Err(Refusal::FromTheFuture { clock }) = peer.store(&future) else {
        panic!("it was taken, or refused for another reason");
    };
    assert!(clock.since(now()) < 1_000 && now().since(clock) < 5_000, "the node tells its clock");
    let mut ended = ending_in(1, [1; 32], 0, "x");
    ended.created_at.0 -= 60_000;
    assert!(matches!(peer.store(&sign(&ended, &signer(1))), Err(Refusal::Expired { .. })));
    assert_eq!(net[0].status()["records"], 0);
    let soon = sign(&at(now().after(FUTURE_TOLERANCE_MS - 30_000)), &signer(1));
    peer.store(&soon).expect("clocks may differ by some minutes");
}

#[test]
fn a_record_with_a_changed_byte_anywhere_is_refused_and_one_cut_or_prolonged() {
    let net = Network::start(1);
    let peer = WirePeer::to(&net[0]);
    let record = sign(&draft([1; 32], 0, vec![7; 100]), &signer(1));
    let bytes = record.bytes();
    for at in (0..bytes.len()).step_by(3).chain([bytes.len() - 1]) {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        let refused = peer.store_bytes(Bytes::from(changed), None);
        assert!(refused.is_err(), "byte {at} was changed");
    }
    for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        assert!(peer.store_bytes(bytes.slice(..length), None).is_err(), "cut to {length}");
    }
    let longer = Bytes::from([&bytes[..], b"x"].concat());
    assert!(peer.store_bytes(longer, None).is_err());
    assert_eq!(net[0].status()["records"], 0);
    peer.store(&record).unwrap();
    assert_eq!(peer.find(record.id()).as_ref(), Some(bytes));
}

#[test]
fn a_wrong_node_behind_a_pinned_node_id_is_refused() {
    const WRONG_NODE: u8 = 44;
    let mut net = Network::start(2);
    let pinned = format!("{}@{}", net[1].id(), net[0].addr());
    let client = CommandLine::new(std::slice::from_ref(&pinned));
    client.run(&["ping", &pinned]).expect_failure(WRONG_NODE, &net[0].id().to_string());
    client.run(&["peers"]).expect_failure(WRONG_NODE, "pinned");
    let dialled = WirePeer::dial(net[0].addr(), Some(net[1].id()), network());
    assert_eq!(dialled.err().unwrap().number(), ErrorNumber::WrongNode);

    // A node that was given only such a peer stays alone, and says so.
    let nobody = NodeId::from_bytes([9; 32]);
    let pinned = format!("{nobody}@{}", net[0].addr());
    let joined = net.add();
    joined.kill();
    std::fs::remove_dir_all(joined.data_dir()).unwrap();
    *joined.options() = NodeOptions::joining(vec![pinned]);
    let fresh = joined.folder().join("fresh");
    joined.options().arguments = vec!["--data-dir".into(), fresh.to_string_lossy().into_owned()];
    joined.spawn();
    dht_tests::eventually("it was refused", || {
        let status = joined.try_status()?;
        assert_eq!((&status["ready"], &status["table"]), (&false.into(), &0.into()));
        (status["dials_failed"].as_u64() >= Some(2)).then_some(())
    });
    assert!(joined.log().contains("no bootstrap peer answers"));
}
