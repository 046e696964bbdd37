//! What attackers answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use dht_context::clock::Clock;
use dht_context::node_key::NodeKey;
use dht_context::transport::{Answer, Asker, Service};
use dht_kad::message::audit::Evidence;
use dht_kad::message::{
    AuditResults, Find, FindNode, Found, Mode, Nodes, PAGE_RECORDS, Pong, Receipt, Reconcile,
    Reconciled, RecordBytes, Request, Response, Store, StoreResults,
};
use dht_kad::record::{Kind, RecordDraft};
use dht_kad::routing::K;
use dht_kad::{NetworkName, ParsedRecord, RecordId, Refusal, UnixMs, ValidRecord, codec};
use ed25519_dalek::SigningKey;

use super::{Behaviour, Ring};
use crate::clock::WorldClock;
use crate::world::World;

/// Slots that an attacker remembers: more than any scenario writes near it.
const KEPT_MAX: usize = 65_536;
/// A frame that is no message: it announces a ping's answer, and is cut short.
const CUT_SHORT: &[u8] = &[0, 1, 0, 0, 0, 64, 7];

/// Answers as one attacker does.
pub(super) struct Answers {
    behaviour: Behaviour,
    key: NodeKey,
    network: NetworkName,
    clock: Arc<WorldClock>,
    ring: Arc<Ring>,
    /// The first version that it was given of each slot.
    kept: Mutex<BTreeMap<RecordId, Bytes>>,
}

impl Answers {
    pub(super) fn new(behaviour: Behaviour, key: &NodeKey, world: &World, ring: Arc<Ring>) -> Self {
        Answers {
            behaviour,
            key: key.clone(),
            network: world.network_name().clone(),
            clock: Arc::clone(world.clock()),
            ring,
            kept: Mutex::default(),
        }
    }

    fn respond(&self, asker: Asker, request: Request) -> Response {
        match request {
            Request::Ping(_) => Response::Pong(Pong {
                mode: Mode::Server,
                version: "attacker".to_owned(),
                settled: true,
                whole: true,
                observed: asker.addr,
                clock: self.clock.now(),
            }),
            Request::FindNode(FindNode { target }) => Response::Nodes(Nodes {
                nodes: self.ring.closest(&target, K),
                settled: true,
                whole: true,
            }),
            Request::Find(find) => Response::Found(Found {
                records: self.shown(&find).into_iter().map(RecordBytes).collect(),
                next: None,
                closer: self.ring.closest(&find.key, K),
                settled: true,
                whole: true,
            }),
            Request::Store(store) => self.store(store),
            Request::Reconcile(ask) => self.reconcile(&ask),
            Request::Audit(audit) => Response::AuditResults(AuditResults {
                evidence: audit.challenges.iter().map(|_| Evidence::Nothing).collect(),
            }),
            Request::Watch(_) | Request::Vitals(_) => Response::Refused(Refusal::Busy),
        }
    }

    fn shown(&self, find: &Find) -> Vec<Bytes> {
        let kept = self.kept();
        let first = (find.publisher.map_or([0; 32], |key| key.0), find.slots.map_or(0, |at| at.0));
        let slot = RecordId { key: find.key, publisher: first.0, slot: first.1 };
        match self.behaviour {
            Behaviour::Hides | Behaviour::Drops | Behaviour::FalseReceipts => Vec::new(),
            Behaviour::ShowsOld => kept.get(&slot).cloned().into_iter().collect(),
            Behaviour::Forges => {
                let forged = kept.get(&slot).and_then(|bytes| self.forged(bytes));
                forged.into_iter().chain(kept.get(&slot).map(changed)).collect()
            }
            // Valid records, and none of those that were asked for.
            Behaviour::Nonsense => kept.values().rev().take(2).cloned().collect(),
        }
    }

    /// A later version of a record, signed by a key that is not its publisher's.
    fn forged(&self, bytes: &Bytes) -> Option<Bytes> {
        let record = ParsedRecord::parse(bytes.clone()).ok()?;
        let draft = RecordDraft {
            space: record.space(),
            kind: Kind::Value,
            retention: record.retention(),
            label: *record.label(),
            slot: record.slot(),
            seq: record.seq() + (1 << 30),
            created_at: self.clock.now(),
            guard_until: UnixMs(0),
            work_bits: 0,
            ext: Bytes::new(),
            body: Bytes::from_static(b"forged"),
        };
        let signer = SigningKey::from_bytes(&self.key.to_seed_bytes());
        let forged = draft.sign(&signer, &self.network).ok()?;
        // The publisher's name in place of its own, which the signature then does not fit.
        let (own, publisher) = (*forged.publisher(), record.publisher());
        let at = forged.bytes().windows(own.len()).position(|window| *window == own)?;
        let mut bytes = BytesMut::from(&forged.bytes()[..]);
        bytes.get_mut(at..at + own.len())?.copy_from_slice(publisher);
        Some(bytes.freeze())
    }

    fn store(&self, store: Store) -> Response {
        let results = store.items.into_iter().map(|item| self.receipt(item.record.0)).collect();
        Response::StoreResults(StoreResults { results })
    }

    /// Says that a record is stored, whatever became of it.
    fn receipt(&self, bytes: Bytes) -> Result<Receipt, Refusal> {
        let record = ParsedRecord::parse(bytes)?;
        let record = record.trust_own_store(&self.network);
        let mut kept = self.kept();
        if kept.len() < KEPT_MAX {
            kept.entry(*record.id()).or_insert_with(|| record.bytes().clone());
        }
        drop(kept);
        let (now, expires_at) = (self.clock.now(), record.expires_at());
        let node_key = self.key.public_key();
        if self.behaviour == Behaviour::FalseReceipts {
            let never = UnixMs(u64::MAX);
            let signature = [0xff; 64];
            return Ok(Receipt { expires_at: never, accepted_at: never, node_key, signature });
        }
        let signature = self.key.sign(&self.promise(&record, expires_at, now));
        Ok(Receipt { expires_at, accepted_at: now, node_key, signature })
    }

    fn promise(&self, record: &ValidRecord, expires_at: UnixMs, now: UnixMs) -> Vec<u8> {
        Receipt::message(&self.network, record, expires_at, now)
    }

    fn reconcile(&self, ask: &Reconcile) -> Response {
        let some = || {
            let kept = self.kept();
            let some = kept.values().take(PAGE_RECORDS).cloned();
            some.map(|bytes| RecordBytes(changed(&bytes))).collect()
        };
        Response::Reconciled(match (self.behaviour, ask) {
            (Behaviour::Nonsense | Behaviour::Forges, Reconcile::Whole(_)) => {
                Reconciled::Groups(Vec::new())
            }
            (Behaviour::Nonsense, Reconcile::Parts(_)) => Reconciled::Items(vec![1, 2, 3]),
            (Behaviour::Nonsense | Behaviour::Forges, Reconcile::Records(_)) => {
                Reconciled::Records(some())
            }
            (Behaviour::Nonsense, _) => Reconciled::Parts(Vec::new()),
            (_, Reconcile::Leaving) => Reconciled::Noted,
            _ => Reconciled::Equal,
        })
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<RecordId, Bytes>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for Answers {
    fn answer(&self, asker: Asker, frame: Bytes) -> Answer {
        let Ok(request) = codec::decode_request(&frame) else {
            return Answer::Ready(Bytes::from_static(CUT_SHORT));
        };
        if self.behaviour == Behaviour::Drops && !matches!(request, Request::Ping(_)) {
            return Answer::Later(Box::pin(std::future::pending()));
        }
        let response = codec::encode_response(&self.respond(asker, request));
        Answer::Ready(response.unwrap_or_else(|_| Bytes::from_static(CUT_SHORT)))
    }
}

/// The same bytes but for the last one: part of a body, or of a signature.
fn changed(bytes: &Bytes) -> Bytes {
    let mut changed = BytesMut::from(&bytes[..]);
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    changed.freeze()
}
