//! Elsewhere, one slow peer stalled all sends, because the registry's lock was held while writing.
//! Here a peer that asks for much and never reads delays nobody else.

use std::time::{Duration, Instant};

use dht_kad::codec::encode_request;
use dht_kad::message::Request;
use dht_tests::records::{draft, sign, signer};
use dht_tests::wire::find_of;
use dht_tests::{Network, User, WirePeer};
use futures_util::future::poll_immediate;

const UNREAD: usize = 200;
const PUTS: u64 = 50;
/// What a put may take beside the idle peer: much less than any time limit that would free it.
const PUT_WITHIN: Duration = Duration::from_secs(2);

#[test]
fn lock_across_io() {
    let network = Network::start(3);
    let idle = WirePeer::to(&network[0]);
    let large = sign(&draft([4; 32], 0, vec![4; 65_536]), &signer(4));
    idle.store(&large).unwrap();
    let request = encode_request(&Request::Find(find_of(large.id()))).unwrap();
    // Polled once, so that they are sent, and then held: nobody reads their answers.
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        let mut answer = idle.connection().request(request.clone());
        assert!(dht_tests::user::wait_for(poll_immediate(&mut answer)).is_none());
        unread.push(answer);
    }
    let user = User::new(1, &[network[0].peer()]);
    assert_eq!(user.put(user.first("beside", PUTS, "x")).outcome.targets, 3);
    for slot in 0..PUTS {
        let started = Instant::now();
        let mut put = user.first("beside", slot, vec![1; 1_000]);
        put.quorum = Some(3);
        let _ = user.put(put);
        assert!(started.elapsed() < PUT_WITHIN, "put {slot} took {:?}", started.elapsed());
    }
    let other = WirePeer::to(&network[0]);
    assert_eq!(other.find(large.id()).as_ref(), Some(large.bytes()));
    assert!(idle.connection().is_open(), "and the idle one was not cut off for it");
}
