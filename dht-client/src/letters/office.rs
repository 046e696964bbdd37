//! A network that a test makes up: one store, at whatever time the test says, that can be down, lose
//! answers and hide records.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use dht_context::clock::{Clock, ManualClock};
use dht_context::store::{PageQuery, Rows};
use dht_context::{GetError, Put, PutError};
use dht_kad::admission::{Limits, Path};
use dht_kad::domain;
use dht_kad::record::{Kind, RecordDraft, Space};
use dht_kad::{Key, NetworkName, ParsedRecord, RecordId, UnixMs, ValidRecord};
use ed25519_dalek::SigningKey;
use futures_util::future::{BoxFuture, ready};
use zeroize::Zeroizing;

use super::carrier::{Carrier, Listed};
use super::desk::{Correspondent, Desk, Rejected};
use super::inbox::Inbox;
use super::mailbox::{Direction, split_slot};
use super::outbox::{Outbox, Payload, Writer};
use super::{LetterId, ReceivedLetter};
use crate::entropy::Entropy;
use crate::error::ClientError;
use crate::identity::Identity;
use crate::profile::Profile;
use crate::workers::Workers;

/// Records that one unhurried listing gives at most: several are needed for a full mailbox.
const PAGE: usize = 400;

pub(super) struct Office {
    pub(super) network: NetworkName,
    pub(super) clock: ManualClock,
    rows: Mutex<Rows>,
    /// Nothing gets through.
    pub(super) down: AtomicBool,
    /// What is put arrives, and nobody learns of it.
    pub(super) loses_answers: AtomicBool,
    /// Counters that only a majority knows of.
    pub(super) lagging: Mutex<BTreeSet<u64>>,
}

impl Office {
    pub(super) fn new() -> Self {
        Office::with(Limits::default_for(1 << 32))
    }

    pub(super) fn with(limits: Limits) -> Self {
        let network: NetworkName = "main".parse().unwrap();
        Office {
            rows: Mutex::new(Rows::new(network.clone(), limits)),
            network,
            clock: ManualClock::new(UnixMs(1_800_000_000_000)),
            down: AtomicBool::new(false),
            loses_answers: AtomicBool::new(false),
            lagging: Mutex::default(),
        }
    }

    fn unreachable(&self) -> Option<PutError> {
        let lost = PutError::QuorumNotReached { stored: 0, quorum: 2, targets: 3 };
        self.down.load(Ordering::Relaxed).then_some(lost)
    }

    /// Stores a record, whoever made it.
    pub(super) fn store(&self, record: &ValidRecord) -> Result<usize, PutError> {
        // As a server would check it.
        let checked = ParsedRecord::parse(record.bytes().clone()).unwrap();
        let checked = checked.verify(&self.network).unwrap();
        let mut rows = self.rows.lock().unwrap();
        match rows.put(&checked, Path::Store { expected_seq: None }, self.clock.now(), 1) {
            Ok(_) => Ok(3),
            Err(refusal) => Err(PutError::Refused { refusal, refused: 3, targets: 3 }),
        }
    }

    /// Makes as if a record had never been.
    pub(super) fn lose(&self, id: &RecordId) {
        self.rows.lock().unwrap().remove(id);
    }

    /// All live records, bodies and all.
    pub(super) fn records(&self) -> Vec<ValidRecord> {
        let now = self.clock.now();
        let rows = self.rows.lock().unwrap();
        let live =
            |record: &&ValidRecord| record.kind() == Kind::Value && record.expires_at() > now;
        rows.records().filter(live).cloned().collect()
    }

    fn find(&self, query: &PageQuery) -> Vec<ValidRecord> {
        let page = self.rows.lock().unwrap().find(query, self.clock.now());
        let parsed = page.records.into_iter().map(|bytes| ParsedRecord::parse(bytes).unwrap());
        parsed.map(|record| record.trust_own_store(&self.network)).collect()
    }
}

impl Carrier for Office {
    fn now(&self) -> UnixMs {
        self.clock.now()
    }

    fn put_batch(
        &self,
        records: Vec<ValidRecord>,
    ) -> BoxFuture<'_, Result<Vec<Result<usize, PutError>>, ClientError>> {
        let key = records[0].id().key;
        assert!(records.iter().all(|record| record.id().key == key), "one key a batch");
        if let Some(error) = self.unreachable() {
            return Box::pin(ready(Err(error.into())));
        }
        let stored: Vec<_> = records.iter().map(|record| self.store(record)).collect();
        if self.loses_answers.load(Ordering::Relaxed) {
            self.down.store(true, Ordering::Relaxed);
            return Box::pin(ready(Err(self.unreachable().unwrap().into())));
        }
        Box::pin(ready(Ok(stored)))
    }

    fn list<'a>(
        &'a self,
        publisher: [u8; 32],
        label: [u8; 32],
        ranges: &'a [(u64, u64)],
        sure: bool,
    ) -> BoxFuture<'a, Result<Listed, ClientError>> {
        if let Some(error) = self.unreachable() {
            return Box::pin(ready(Err(error.into())));
        }
        let key = domain::owned_key(&self.network, &publisher, &label);
        let lagging = self.lagging.lock().unwrap().clone();
        let mut listed = Listed::default();
        for slots in ranges {
            let query = PageQuery {
                publisher: Some(publisher),
                slots: Some(*slots),
                limit: PAGE,
                max_bytes: usize::MAX,
                ..PageQuery::all(key)
            };
            let found = self.find(&query);
            listed.truncated |= found.len() >= PAGE;
            for record in found {
                match record.kind() {
                    _ if !sure && lagging.contains(&split_slot(record.slot()).1) => {}
                    Kind::Tombstone => listed.deleted.push(record.slot()),
                    Kind::Value if record.has_body() => listed.records.push(record),
                    Kind::Value => {}
                }
            }
        }
        Box::pin(ready(Ok(listed)))
    }

    fn put<'a>(
        &'a self,
        signer: &'a SigningKey,
        put: Put,
    ) -> BoxFuture<'a, Result<usize, ClientError>> {
        if let Some(error) = self.unreachable() {
            return Box::pin(ready(Err(error.into())));
        }
        let mut draft = RecordDraft {
            space: put.space,
            kind: Kind::Value,
            retention: put.retention,
            label: put.label,
            slot: put.slot,
            seq: 1,
            created_at: self.clock.now(),
            guard_until: UnixMs(0),
            work_bits: 0,
            ext: Bytes::new(),
            body: put.body,
        };
        if put.space == Space::Content {
            draft.seq = 0;
        } else {
            let id = draft.sign(signer, &self.network).unwrap();
            let query = PageQuery {
                publisher: Some(id.id().publisher),
                slots: Some((put.slot, put.slot)),
                ..PageQuery::all(id.id().key)
            };
            if let Some(before) = self.find(&query).first() {
                draft.seq = before.seq() + 1;
                draft.guard_until = before.keep_until();
                draft.created_at = draft.created_at.max(before.created_at().after(1));
            }
        }
        let stored = self.store(&draft.sign(signer, &self.network).unwrap());
        Box::pin(ready(stored.map_err(ClientError::from)))
    }

    fn get_content(&self, key: Key) -> BoxFuture<'_, Result<Bytes, ClientError>> {
        if let Some(error) = self.unreachable() {
            return Box::pin(ready(Err(error.into())));
        }
        let found = self.find(&PageQuery::all(key));
        let body = found.first().and_then(|record| record.body());
        Box::pin(ready(body.ok_or(GetError::NotFound.into())))
    }
}

/// One installation of one identity.
pub(super) struct Device {
    pub(super) identity: Identity,
    pub(super) profile: Profile,
    entropy: Entropy,
    rejected: Rejected,
    workers: Workers,
}

/// The root of who writes, and of who reads.
pub(super) const ALICE: u8 = 1;
pub(super) const BOB: u8 = 2;

impl Device {
    /// A new installation of the identity with this root.
    pub(super) fn new(root: u8, office: &Office) -> Self {
        let identity = Identity::from_root(&[root; 32]);
        let entropy = Entropy::system();
        let profile =
            Profile::in_memory(&identity.public_key(), &office.network, &entropy).unwrap();
        let (rejected, workers) = (Rejected::default(), Workers::start());
        Device { identity, profile, entropy, rejected, workers }
    }

    pub(super) fn desk<'a>(&'a self, office: &'a Office) -> Desk<'a> {
        Desk {
            carrier: office,
            network: &office.network,
            identity: &self.identity,
            profile: &self.profile,
            entropy: &self.entropy,
            rejected: &self.rejected,
            workers: &self.workers,
        }
    }

    /// Accepts letters from Alice to Bob.
    pub(super) fn accept(&self, office: &Office, letters: &[Vec<u8>], limit: u64) -> bool {
        let direction = alice_to_bob();
        let tag = direction.tag(&office.network, self.profile.installation(), 0);
        let payloads: Vec<Payload> = letters
            .iter()
            .map(|letter| Payload {
                bytes: letter.len() as u64,
                letter: Zeroizing::new(letter.clone()),
                chunks: Vec::new(),
            })
            .collect();
        let tag = (direction.fingerprint(&office.network), tag);
        let accepted =
            Outbox(&self.profile).accept(&bob(), tag, &payloads, limit, office.clock.now());
        accepted.unwrap().is_some()
    }

    /// Accepts letters that say `from`, `from + 1`, … and delivers them.
    pub(super) fn write(&self, office: &Office, numbers: std::ops::Range<u64>) {
        assert!(self.accept(office, &texts(numbers.clone()), u64::MAX));
        let delivery = self.deliver(office);
        assert_eq!(delivery.stored, numbers.end - numbers.start, "{delivery:?}");
    }

    pub(super) fn deliver(&self, office: &Office) -> super::Delivery {
        run(self.desk(office).deliver(&to_bob())).unwrap()
    }

    pub(super) fn settle(&self, office: &Office) -> Writer {
        let marks = run(self.desk(office).marks_of_any_device(&to_bob())).unwrap();
        Outbox(&self.profile).settle(&bob(), &marks, office.clock.now()).unwrap()
    }

    pub(super) fn states(&self) -> Vec<&'static str> {
        let letters = Outbox(&self.profile).list().unwrap();
        letters.iter().map(|letter| letter.state.name()).collect()
    }

    pub(super) fn fetch(&self, office: &Office) -> super::FetchReport {
        run(self.desk(office).fetch(&from_alice())).unwrap()
    }

    pub(super) fn letters(&self) -> Vec<ReceivedLetter> {
        Inbox(&self.profile).ready(0, usize::MAX).unwrap()
    }

    /// What is ready, as numbers.
    pub(super) fn read(&self) -> Vec<u64> {
        self.letters().iter().map(|letter| number_in(&letter.payload)).collect()
    }

    /// Acknowledges letters; says how many were taken away from the network.
    pub(super) fn ack(&self, office: &Office, ids: &[LetterId]) -> u64 {
        assert_eq!(Inbox(&self.profile).acknowledge(ids).unwrap(), []);
        let desk = self.desk(office);
        run(desk.publish(&from_alice())).unwrap();
        run(desk.prune(&from_alice())).unwrap()
    }

    pub(super) fn ack_all(&self, office: &Office) -> u64 {
        let ids: Vec<LetterId> = self.letters().iter().map(|letter| letter.id).collect();
        self.ack(office, &ids)
    }
}

pub(super) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

pub(super) fn texts(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(|number| number.to_string().into_bytes()).collect()
}

fn number_in(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

pub(super) fn bob() -> [u8; 32] {
    Identity::from_root(&[BOB; 32]).public_key()
}

pub(super) fn alice_to_bob() -> Direction {
    let sender = Identity::from_root(&[ALICE; 32]).public_key();
    Direction { secret: Zeroizing::new([7; 32]), sender, recipient: bob() }
}

pub(super) fn to_bob() -> Correspondent {
    let sealing = Identity::from_root(&[BOB; 32]).sealing_key().public().clone();
    let outgoing = Some((alice_to_bob(), sealing));
    Correspondent { contact: bob(), outgoing, incoming: Vec::new() }
}

pub(super) fn from_alice() -> Correspondent {
    let direction = alice_to_bob();
    Correspondent { contact: direction.sender, outgoing: None, incoming: vec![direction] }
}
