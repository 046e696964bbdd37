//! [`WorldVerifier`]: checks each record's bytes once for a whole world.
//!
//! A record that twenty holders take, and a hundred readers are shown, has one signature; checking
//! it for each of them is most of what a simulated network would cost. What is remembered is the
//! verdict on these very bytes, so a forged record is found out as surely as by checking again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dht_context::verify::Verifier;
use dht_kad::record::SignatureFault;
use dht_kad::{NetworkName, ParsedRecord, ValidRecord};
use futures_util::future::BoxFuture;

/// Bytes of records whose verdicts are remembered: more than a scenario puts as a rule, and little
/// beside what its nodes store.
const REMEMBERED_BYTES: usize = 256 << 20;
/// What a verdict costs beside the record's bytes: the hash twice, and the two maps.
const OVERHEAD_BYTES: usize = 256;

type Verdict = Result<ValidRecord, SignatureFault>;

/// One verifier for all nodes of a world. Clones are the same one.
#[derive(Clone)]
pub struct WorldVerifier {
    network: NetworkName,
    memo: Arc<Mutex<Memo>>,
}

#[derive(Default)]
struct Memo {
    verdicts: BTreeMap<[u8; 32], Verdict>,
    /// The same, oldest first, with what each counts.
    order: VecDeque<([u8; 32], usize)>,
    bytes: usize,
    checked: u64,
}

impl WorldVerifier {
    /// One for this network's records.
    #[must_use]
    pub fn new(network: NetworkName) -> Self {
        WorldVerifier { network, memo: Arc::default() }
    }

    /// How many records were really checked.
    #[must_use]
    pub fn checked(&self) -> u64 {
        self.memo().checked
    }

    fn verdict(&self, record: ParsedRecord) -> Verdict {
        let hash = *blake3::hash(record.bytes()).as_bytes();
        if let Some(verdict) = self.memo().verdicts.get(&hash) {
            return verdict.clone();
        }
        let bytes = record.bytes().len() + OVERHEAD_BYTES;
        let verdict = record.verify(&self.network);
        self.memo().remember(hash, bytes, verdict.clone());
        verdict
    }

    fn memo(&self) -> MutexGuard<'_, Memo> {
        self.memo.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memo {
    fn remember(&mut self, hash: [u8; 32], bytes: usize, verdict: Verdict) {
        self.checked += 1;
        if self.verdicts.insert(hash, verdict).is_none() {
            self.order.push_back((hash, bytes));
            self.bytes += bytes;
        }
        while self.bytes > REMEMBERED_BYTES {
            let Some((oldest, bytes)) = self.order.pop_front() else { return };
            self.verdicts.remove(&oldest);
            self.bytes -= bytes;
        }
    }
}

impl Verifier for WorldVerifier {
    fn verify(
        &self,
        batch: Vec<ParsedRecord>,
    ) -> BoxFuture<'static, Vec<Result<ValidRecord, SignatureFault>>> {
        let results = batch.into_iter().map(|record| self.verdict(record)).collect();
        Box::pin(std::future::ready(results))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dht_kad::UnixMs;
    use dht_kad::record::{Kind, RecordDraft, Retention, Space};
    use ed25519_dalek::SigningKey;

    use super::*;

    #[test]
    fn the_same_bytes_are_checked_once_and_changed_ones_are_refused() {
        let network: NetworkName = "checked".parse().unwrap();
        let draft = RecordDraft {
            space: Space::Owned,
            kind: Kind::Value,
            retention: Retention::Days7,
            label: [1; 32],
            slot: 0,
            seq: 1,
            created_at: UnixMs(1),
            guard_until: UnixMs(0),
            work_bits: 0,
            ext: Bytes::new(),
            body: Bytes::from_static(b"body"),
        };
        let record = draft.sign(&SigningKey::from_bytes(&[7; 32]), &network).unwrap();
        let verifier = WorldVerifier::new(network);
        let parse = |bytes: &[u8]| ParsedRecord::parse(Bytes::copy_from_slice(bytes)).unwrap();
        for _ in 0..3 {
            assert_eq!(verifier.verdict(parse(record.bytes())).as_ref(), Ok(&record));
        }
        assert_eq!(verifier.checked(), 1);
        let mut forged = record.bytes().to_vec();
        *forged.last_mut().unwrap() ^= 1;
        assert!(verifier.verdict(parse(&forged)).is_err());
    }
}
