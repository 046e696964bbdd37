//! What no test from outside can bring about: a process that ends at the wrong moment, and a queue
//! that is full.

use dht_context::{GetOptions, Put, Slot};
use dht_kad::{NetworkName, UnixMs};
use tokio::runtime::Builder;

use super::delivery::{Delivery, Outcome};
use super::queue::{Queue, WAITING_BYTES_MAX, WAITING_MAX, take_errand};
use super::row::{End, Progress, Row};
use super::{Change, Errand, Words, Write, WriteError, WriteId, WriteState};
use crate::client::Client;
use crate::entropy::Entropy;
use crate::identity::Identity;
use crate::profile::Profile;
use crate::servers::{NETWORK, servers};

fn network() -> NetworkName {
    NETWORK.parse().unwrap()
}

fn queue() -> Queue {
    let profile = Profile::in_memory(&[1; 32], &network(), &Entropy::system()).unwrap();
    Queue::open(profile).unwrap()
}

fn row(slot: u64, body: Vec<u8>, based_on: Option<u64>) -> (Row, Progress) {
    let put = Put { slot, expected_seq: based_on, ..Put::owned([7; 32], body.into()) };
    Row::new(put.into(), &[1; 32], &network(), UnixMs(1_000))
}

fn enqueue(queue: &Queue, slot: u64) -> u64 {
    let (row, progress) = row(slot, b"x".to_vec(), None);
    queue.enqueue(&row, progress).unwrap().unwrap().0
}

fn due(queue: &Queue) -> Vec<u64> {
    queue.due(UnixMs(1_000_000), &[], 100, 1).unwrap().0
}

fn base_of(queue: &Queue, id: u64) -> Option<u64> {
    queue.waiting(id).unwrap().unwrap().progress.based_on
}

#[test]
fn the_writes_of_a_slot_wait_for_each_other_and_those_of_others_do_not() {
    let queue = queue();
    let ids = [0, 0, 5, 0].map(|slot| enqueue(&queue, slot));
    assert_eq!(ids, [1, 2, 3, 4]);
    assert_eq!(due(&queue), [1, 3]);
    let done = End::Done { seq: 77, stored: 2, targets: 3 };
    queue.finish(1, done.clone(), UnixMs(2_000)).unwrap();
    assert_eq!((due(&queue), base_of(&queue, 2)), (vec![3, 2], Some(77)));
    let (named, progress) = row(0, b"x".to_vec(), Some(70));
    let named = queue.enqueue(&named, progress).unwrap().unwrap().0;
    queue.finish(2, done.clone(), UnixMs(2_000)).unwrap();
    queue.finish(4, done.clone(), UnixMs(2_000)).unwrap();
    assert_eq!(base_of(&queue, named), Some(70), "what its writer named stays");
    queue.finish(named, End::Conflict { stored: 77 }, UnixMs(2_000)).unwrap();
    // Ended once: what comes later says nothing any more.
    queue.finish(1, End::Expired, UnixMs(2_000)).unwrap();
    assert_eq!(queue.state(WriteId(1)).unwrap(), Some(done.into()));
    // One in the middle is dropped; the last still waits for the first.
    let (dropped, last) = (enqueue(&queue, 5), enqueue(&queue, 5));
    queue.finish(dropped, End::Dropped, UnixMs(2_000)).unwrap();
    assert_eq!(due(&queue), [3]);
    queue.finish(3, End::Conflict { stored: 9 }, UnixMs(2_000)).unwrap();
    assert_eq!((due(&queue), base_of(&queue, last)), (vec![last], None));
}

#[test]
fn what_waits_is_bounded_in_bytes_and_what_ended_is_forgotten_in_time() {
    let queue = queue();
    let size = 64 * 1024;
    for slot in 0..WAITING_BYTES_MAX / size {
        let (row, progress) = row(slot, vec![0; 64 * 1024], None);
        queue.enqueue(&row, progress).unwrap().unwrap();
    }
    let waiting = WAITING_BYTES_MAX / size;
    let (one_more, progress) = row(1 << 20, vec![0], None);
    let refused = queue.enqueue(&one_more, progress.clone()).unwrap();
    assert_eq!(refused, Err(WriteError::Full { waiting }));
    for id in 1..=waiting {
        queue.finish(id, End::Expired, UnixMs(2_000)).unwrap();
    }
    assert!(queue.enqueue(&one_more, progress).unwrap().is_ok(), "there is room again");
    assert_eq!(queue.list().unwrap().len(), 1_001, "the last 1,000 that ended, and one that waits");
    assert_eq!(queue.state(WriteId(1)).unwrap(), None);
}

fn take(profile: &Profile, errand: Errand) -> WriteId {
    profile.write(|tables| take_errand(tables, errand, UnixMs(1_000), 0)).unwrap()
}

#[test]
fn of_errands_for_one_thing_one_waits_behind_the_first_and_takes_the_later_ones_in() {
    let profile = Profile::in_memory(&[1; 32], &network(), &Entropy::system()).unwrap();
    let queue = Queue::open(profile.clone()).unwrap();
    let words = |text: &str| Words { text: text.to_owned(), own_name: String::new() };
    let about =
        |identity: u8, tell: Option<Words>| Errand::Contact { identity: [identity; 32], tell };
    let first = take(&profile, about(2, None));
    let behind = take(&profile, about(2, Some(words("hello"))));
    assert_eq!(take(&profile, about(2, None)), behind);
    assert_eq!(take(&profile, about(2, Some(Words::default()))), behind);
    let bundle = take(&profile, Errand::Bundle { asking: None });
    let other = take(&profile, about(3, None));
    assert_eq!(due(&queue), [first.0, bundle.0, other.0], "the first may be under way");
    let told = |id: WriteId| queue.waiting(id.0).unwrap().unwrap().row.about.errand;
    assert_eq!(told(first), Some(about(2, None)));
    assert_eq!(told(behind), Some(about(2, Some(words("hello")))), "nothing that was said is lost");
    take(&profile, about(2, Some(words("rather this"))));
    assert_eq!(told(behind), Some(about(2, Some(words("rather this")))));
    for work in [9, 7] {
        take(&profile, Errand::Bundle { asking: Some(work) });
    }
    let asked = take(&profile, Errand::Bundle { asking: None });
    assert_eq!(told(asked), Some(Errand::Bundle { asking: Some(7) }));
    let done = End::Done { seq: 9, stored: 2, targets: 3 };
    queue.finish(first.0, done, UnixMs(2_000)).unwrap();
    assert!(due(&queue).contains(&behind.0));
}

#[test]
fn errands_take_no_value_its_room() {
    let profile = Profile::in_memory(&[1; 32], &network(), &Entropy::system()).unwrap();
    let queue = Queue::open(profile.clone()).unwrap();
    profile
        .write(|tables| {
            for number in 0..WAITING_MAX {
                let mut identity = [0; 32];
                identity[..8].copy_from_slice(&number.to_be_bytes());
                let errand = Errand::Contact { identity, tell: None };
                take_errand(tables, errand, UnixMs(1_000), 0)?;
            }
            Ok(())
        })
        .unwrap();
    let id = enqueue(&queue, 0);
    queue.finish(1, End::Dropped, UnixMs(2_000)).unwrap();
    assert_eq!(queue.list().unwrap().len() as u64, WAITING_MAX + 1);
    assert!(queue.waiting(id).unwrap().is_some());
}

#[test]
fn what_was_put_off_is_due_at_its_time_or_when_it_is_hurried() {
    let queue = queue();
    let id = enqueue(&queue, 0);
    queue.put_off(id, "nobody", UnixMs(50_000), 1).unwrap();
    assert_eq!(queue.due(UnixMs(49_999), &[], 9, 1).unwrap(), (vec![], Some(UnixMs(50_000))));
    assert_eq!(queue.due(UnixMs(50_000), &[], 9, 1).unwrap().0, [id]);
    assert_eq!(queue.due(UnixMs(50_000), &[id], 9, 1).unwrap().0, [0; 0], "it is under way");
    queue.hurry(UnixMs(3_000)).unwrap();
    assert_eq!(queue.due(UnixMs(3_000), &[], 9, 1).unwrap().0, [id]);
    match queue.state(WriteId(id)).unwrap() {
        Some(WriteState::Waiting { attempts: 1, last_error: Some(error), .. }) => {
            assert_eq!(error, "nobody");
        }
        other => panic!("it waits: {other:?}"),
    }
}

#[test]
fn what_one_process_delivers_is_left_to_it_for_a_while_and_at_once_when_it_stops() {
    let queue = queue();
    let (row, progress) = row(0, b"x".to_vec(), None);
    let progress = Progress { owner: 7, ..progress };
    let id = queue.enqueue(&row, progress).unwrap().unwrap().0;
    let due = |now, me| queue.due(UnixMs(now), &[], 9, me).unwrap();
    assert_eq!(due(1_000, 7).0, [id]);
    assert_eq!(due(1_000, 8), (vec![], Some(UnixMs(21_000))));
    assert_eq!(due(21_000, 8).0, [id], "it may have ended without a word");
    queue.release(8).unwrap();
    assert_eq!(due(1_000, 8).0, [0; 0]);
    queue.release(7).unwrap();
    assert_eq!(due(1_000, 8).0, [id]);
}

/// A client without an engine of its own, and what delivers by hand.
struct Device {
    client: Client,
    profile: Profile,
    delivery: Delivery,
    label: [u8; 32],
}

impl Device {
    fn of(identity: &Identity, label: &str) -> Self {
        let builder = Client::builder(network()).identity(identity.clone());
        let builder =
            servers().iter().fold(builder, |builder, server| builder.bootstrap(server.addr.into()));
        let client = builder.start().unwrap();
        let (owner, entropy) = (identity.public_key(), Entropy::system());
        let profile = Profile::in_memory(&owner, &network(), &entropy).unwrap();
        let queue = Queue::open(profile.clone()).unwrap();
        let context = client.context.clone();
        let delivery =
            Delivery { context, identity: identity.clone(), queue, client: client.clone() };
        let label = client.label(label);
        Device { client, profile, delivery, label }
    }

    fn enqueue(&self, text: &'static str, now: UnixMs) -> u64 {
        let write: Write = Put::owned(self.label, text.into()).into();
        let publisher = self.delivery.identity.public_key();
        let (row, progress) = Row::new(write, &publisher, &network(), now);
        self.delivery.queue.enqueue(&row, progress).unwrap().unwrap().0
    }

    /// Another process with the same profile delivers what waits.
    async fn restarted(&self, id: u64) -> WriteState {
        let builder = Client::builder(network()).identity(self.delivery.identity.clone());
        let client = builder.profile(self.profile.clone()).over(self.client.context.clone());
        client.settled(WriteId(id)).await.unwrap()
    }

    async fn stored(&self) -> (u64, Vec<u8>) {
        let publisher = self.delivery.identity.public_key();
        let slot = Slot::Owned { publisher, label: self.label, slot: 0 };
        let record = self.client.get(&slot, GetOptions::default()).await.unwrap().record;
        (record.seq(), record.body().unwrap().to_vec())
    }
}

#[test]
fn a_write_that_was_sent_and_not_marked_is_recognised_and_not_written_twice() {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let device = Device::of(&Identity::generate().unwrap(), "sent and not marked");
        let id = device.enqueue("once", device.client.now());
        match device.delivery.deliver(id).await.unwrap() {
            Outcome::Ended(End::Done { .. }, Some(_)) => {}
            _ => panic!("the servers take it"),
        }
        // Here the process ends: nobody marks it.
        let sent = device.stored().await;
        assert!(device.delivery.queue.state(WriteId(id)).unwrap().unwrap().is_waiting());
        match device.restarted(id).await {
            WriteState::Done { seq, .. } => assert_eq!(seq, sent.0),
            other => panic!("it is the same version: {other:?}"),
        }
        assert_eq!(device.stored().await, sent);
    });
}

#[test]
fn a_write_that_was_signed_and_not_sent_goes_out_as_it_was_signed() {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let device = Device::of(&Identity::generate().unwrap(), "signed and not sent");
        let id = device.enqueue("once", device.client.now());
        device.client.ready().await.unwrap();
        let waiting = device.delivery.queue.waiting(id).unwrap().unwrap();
        let Change::Put(put) = waiting.change else { panic!("it is a put") };
        let (identity, earlier) = (&device.delivery.identity, waiting.progress.earlier());
        let context = &device.client.context;
        let prepared = context.prepare_put(identity.signing_key(), put, &earlier).await.unwrap();
        let (seq, bytes) = (prepared.record.seq(), prepared.record.bytes().clone());
        device.delivery.queue.note_signed(id, seq, &bytes).unwrap();
        // Here the process ends: nothing was sent.
        match device.restarted(id).await {
            WriteState::Done { seq: done, .. } => assert_eq!(done, seq),
            other => panic!("it goes out: {other:?}"),
        }
        assert_eq!(device.stored().await, (seq, b"once".to_vec()));
    });
}

#[test]
fn what_another_device_wrote_after_a_delivery_that_was_not_marked_stays() {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let identity = Identity::generate().unwrap();
        let (laptop, phone) = (Device::of(&identity, "later"), Device::of(&identity, "later"));
        let id = laptop.enqueue("laptop", laptop.client.now());
        laptop.delivery.deliver(id).await.unwrap();
        let put = Put::owned(phone.label, "phone".into());
        let newer = phone.client.put(put).await.unwrap().record.seq();
        assert_eq!(laptop.restarted(id).await, WriteState::Conflict { stored: newer });
        assert_eq!(laptop.stored().await, (newer, b"phone".to_vec()));
    });
}

#[test]
fn a_write_whose_time_has_passed_expires_whether_or_not_anybody_answers() {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let device = Device::of(&Identity::generate().unwrap(), "too late");
        let id = device.enqueue("old", UnixMs(1));
        assert_eq!(device.restarted(id).await, WriteState::Expired);
    });
}
