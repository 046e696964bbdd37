//! Elsewhere, answers were matched to requests last-in-first-out, per peer. Here a thousand requests
//! at once on one connection to a real node each get their own answer.

use dht_kad::codec::{decode_response, encode_request};
use dht_kad::message::{Found, Request, Response};
use dht_tests::records::{draft, sign, signer};
use dht_tests::user::wait_for;
use dht_tests::wire::find_of;
use dht_tests::{Network, WirePeer};
use futures_util::future::join_all;

const RECORDS: u64 = 100;
const REQUESTS: usize = 1_000;

#[test]
fn answers_mixed_up() {
    let network = Network::start(1);
    let peer = WirePeer::to(&network[0]);
    let records: Vec<_> = (0..RECORDS)
        .map(|slot| {
            // Some answers are one packet, some are many, and some are read from another place.
            let body = vec![u8::try_from(slot).unwrap(); usize::try_from(slot * 97).unwrap()];
            let record = sign(&draft([3; 32], slot, body), &signer(1));
            peer.store(&record).unwrap();
            record
        })
        .collect();
    let asked = (0..REQUESTS).map(|number| {
        let record = &records[number * 37 % records.len()];
        let request = encode_request(&Request::Find(find_of(record.id()))).unwrap();
        let answer = peer.connection().request(request);
        async move { (record, answer.await.unwrap()) }
    });
    for (record, answer) in wait_for(join_all(asked)) {
        let Ok(Response::Found(Found { records, .. })) = decode_response(&answer) else {
            panic!("not an answer to a find");
        };
        assert_eq!(records.len(), 1);
        assert_eq!(&records[0].0, record.bytes(), "its own answer");
    }
}
