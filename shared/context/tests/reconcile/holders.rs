//! Holders on one wire, and the records that they are given.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dht_context::clock::ManualClock;
use dht_context::node_key::NodeKey;
use dht_context::resolver::SystemResolver;
use dht_context::store::{MemoryStore, PageQuery, RecordStore, Submission};
use dht_context::transport::Transport;
use dht_context::verify::{InlineSigner, InlineVerifier};
use dht_context::{ContextConfig, DhtContext, Foundations, PeerAddress, Timing};
use dht_kad::admission::{Limits, Path};
use dht_kad::message::{Mode, NodeInfo};
use dht_kad::record::{Kind, RecordDraft, Retention, Space};
use dht_kad::{NetworkName, UnixMs, ValidRecord};
use ed25519_dalek::SigningKey;

use crate::wire::Wire;

/// When the tests' clocks start: the end of no period.
pub(crate) const START: UnixMs = UnixMs(1_800_000_000_000 + 123_456);

pub(crate) fn network() -> NetworkName {
    "test".parse().unwrap()
}

/// Waits for something that has to come.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(600);
    tokio::time::timeout(limit, future).await.expect("it should have come within ten minutes")
}

/// Repair that is in a hurry.
pub(crate) const HURRIED: Timing = Timing {
    repair_wait: Duration::from_millis(50),
    repair_every: Duration::from_secs(1),
    repair_soon: Duration::from_millis(50),
    ..Timing::DEFAULT
};

/// Waits until something holds: there is nobody who could say when.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    within(async {
        while !holds() {
            looks.tick().await;
        }
    })
    .await;
}

/// A server that keeps its records in memory.
pub(crate) struct Holder {
    pub(crate) context: DhtContext,
    pub(crate) store: Arc<dyn RecordStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) info: NodeInfo,
}

impl Holder {
    /// A holder with an empty store.
    pub(crate) fn start(wire: &Arc<Wire>, number: u8) -> Self {
        Self::start_with(wire, number, |store| Arc::new(store))
    }

    /// A holder whose store is wrapped.
    pub(crate) fn start_with(
        wire: &Arc<Wire>,
        number: u8,
        wrap: impl FnOnce(MemoryStore) -> Arc<dyn RecordStore>,
    ) -> Self {
        Self::start_within(wire, number, Limits::default_for(1 << 30), wrap)
    }

    /// A holder whose store is wrapped and has these limits.
    pub(crate) fn start_within(
        wire: &Arc<Wire>,
        number: u8,
        limits: Limits,
        wrap: impl FnOnce(MemoryStore) -> Arc<dyn RecordStore>,
    ) -> Self {
        let config = ContextConfig::new(network(), Mode::Server, Vec::new());
        Self::start_as(wire, number, ContextConfig { solo: true, ..config }, limits, wrap)
    }

    /// A holder that repairs as often as `timing` says, and joins the others of the wire through another
    /// one, if it is given one.
    pub(crate) fn start_repairing(
        wire: &Arc<Wire>,
        number: u8,
        through: Option<&Holder>,
        timing: Timing,
        wrap: impl FnOnce(MemoryStore) -> Arc<dyn RecordStore>,
    ) -> Self {
        let named = |it: &Holder| PeerAddress {
            id: Some(it.info.id),
            ..PeerAddress::from(it.info.addrs[0])
        };
        let config = ContextConfig {
            solo: through.is_none(),
            timing,
            ..ContextConfig::new(network(), Mode::Server, through.map(named).into_iter().collect())
        };
        Self::start_as(wire, number, config, Limits::default_for(1 << 30), wrap)
    }

    /// A holder with an empty store that joins a network.
    pub(crate) fn start_among(
        wire: &Arc<Wire>,
        number: u8,
        bootstrap: Vec<PeerAddress>,
        timing: Timing,
    ) -> Self {
        let config = ContextConfig::new(network(), Mode::Server, bootstrap);
        let limits = Limits::default_for(1 << 30);
        let config = ContextConfig { timing, ..config };
        Self::start_as(wire, number, config, limits, |store| Arc::new(store))
    }

    fn start_as(
        wire: &Arc<Wire>,
        number: u8,
        config: ContextConfig,
        limits: Limits,
        wrap: impl FnOnce(MemoryStore) -> Arc<dyn RecordStore>,
    ) -> Self {
        let key = NodeKey::from_seed([number; 32]);
        let transport = wire.bind(key.id());
        let info = NodeInfo { id: key.id(), addrs: transport.local_addrs() };
        let clock = Arc::new(ManualClock::new(START));
        let kept = MemoryStore::new(network(), clock.clone(), limits);
        let store = wrap(kept);
        let foundations = Foundations {
            transport,
            store: store.clone(),
            verifier: Arc::new(InlineVerifier::new(network())),
            signer: Arc::new(InlineSigner::new(key)),
            clock: clock.clone(),
            resolver: Arc::new(SystemResolver),
            seed: [number; 32],
        };
        let context = DhtContext::start(config, foundations).unwrap();
        Holder { context, store, clock, info }
    }

    /// Gives it records, whatever it held.
    pub(crate) async fn give<'a>(&self, records: impl IntoIterator<Item = &'a ValidRecord>) {
        let submission =
            |record: &ValidRecord| Submission { record: record.clone(), path: Path::Repair };
        let batch: Vec<_> = records.into_iter().map(submission).collect();
        for result in self.store.submit(batch).await {
            result.unwrap();
        }
    }

    /// The bytes that it shows of a record's slot.
    pub(crate) async fn shown(&self, record: &ValidRecord) -> Option<Bytes> {
        let id = record.id();
        let query = PageQuery {
            publisher: Some(id.publisher),
            slots: Some((id.slot, id.slot)),
            ..PageQuery::all(id.key)
        };
        self.store.find(query).wait().await.unwrap().records.into_iter().next()
    }

    /// Whether it shows exactly this record.
    pub(crate) async fn holds(&self, record: &ValidRecord) -> bool {
        self.shown(record).await.is_some_and(|bytes| bytes == record.bytes())
    }

    /// How many records it keeps.
    pub(crate) fn count(&self) -> u64 {
        self.store.usage().total.records
    }

    /// How many questions it has asked other holders.
    pub(crate) fn asked(&self) -> u64 {
        let asked = self.context.stats().asked;
        asked.iter().filter(|(kind, _)| *kind == "reconcile").map(|(_, counts)| counts.ok).sum()
    }
}

pub(crate) fn identity(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// A draft of a seven-day value at a key of its own for each number.
pub(crate) fn draft(number: u32) -> RecordDraft {
    let mut label = [0; 32];
    label[..4].copy_from_slice(&number.to_be_bytes());
    RecordDraft {
        space: Space::Owned,
        kind: Kind::Value,
        retention: Retention::Days7,
        label,
        slot: 0,
        seq: 1,
        created_at: START,
        guard_until: UnixMs(0),
        work_bits: 0,
        ext: Bytes::new(),
        body: Bytes::from(format!("the value of {number}")),
    }
}

pub(crate) fn sign(draft: &RecordDraft) -> ValidRecord {
    draft.sign(&identity(1), &network()).unwrap()
}

/// Values of all classes, made at different times, at keys of their own.
pub(crate) fn values(numbers: std::ops::Range<u32>) -> Vec<ValidRecord> {
    let value = |number: u32| {
        let age_ms = u64::from(number % 97) * 60_000;
        let retention = Retention::ALL[number as usize % 3];
        let created_at = UnixMs(START.0 - age_ms);
        sign(&RecordDraft { retention, created_at, ..draft(number) })
    };
    numbers.map(value).collect()
}
