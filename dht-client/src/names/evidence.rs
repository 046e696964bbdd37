//! [`Evidence`]: the receipts that servers gave for each generation of a claim.
//!
//! Its owner publishes it beside the claim, so that a reader who asks years later can see when the claim
//! was made, and that it never lapsed. Nothing in it is believed for its owner's signature: each
//! generation is a whole claim that verifies by itself, and each receipt is checked against that.
//!
//! ```text
//! version: u8 = 1 ‖ number of generations: u8 ‖ each, oldest first:
//!   length: u16 ‖ the claim's record ‖ number of receipts: u8 ‖ each:
//!     accepted_at: u64 ‖ node_key: 32 ‖ signature: 64
//! ```
//!
//! A receipt's `expires_at` is the record's own.

use bytes::Bytes;
use dht_kad::message::Receipt;
use dht_kad::{NodeId, ParsedRecord, UnixMs, ValidRecord};

use super::rules::JUDGES_MAX;
use crate::fields::{FieldReader, put_short};

/// The most generations: ten years of renewals after eight months each. Of a claim that is older, the
/// oldest are forgotten.
pub(crate) const GENERATIONS_MAX: usize = 16;
/// The most receipts of one generation: with as many judges, all of theirs.
pub(crate) const RECEIPTS_MAX: usize = JUDGES_MAX;
/// The longest record of a claim: a head without extension, and a body of 37 bytes. With it
/// [`GENERATIONS_MAX`] generations of [`RECEIPTS_MAX`] receipts fit into one record.
const CLAIM_BYTES_MAX: usize = 256;

/// The version of its layout.
const VERSION: u8 = 1;

/// The receipts for each generation of a claim, oldest first. Nothing about them is proven.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) generations: Vec<Kept>,
}

/// One generation as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    /// The claim's canonical bytes.
    pub(crate) record: Bytes,
    /// What servers promised, without `expires_at`.
    pub(crate) receipts: Vec<KeptReceipt>,
}

/// A receipt as it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeptReceipt {
    accepted_at: UnixMs,
    node_key: [u8; 32],
    signature: [u8; 64],
}

impl Evidence {
    /// Reads what was published; nothing if it has another form.
    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let mut fields = FieldReader::new(body);
        let (version, count) = (fields.u8()?, usize::from(fields.u8()?));
        if version != VERSION || count > GENERATIONS_MAX {
            return None;
        }
        let mut generations = Vec::with_capacity(count);
        for _ in 0..count {
            let record = Bytes::copy_from_slice(fields.short(CLAIM_BYTES_MAX)?);
            let receipts = usize::from(fields.u8()?);
            if receipts > RECEIPTS_MAX {
                return None;
            }
            let receipts = (0..receipts).map(|_| KeptReceipt::decode(&mut fields));
            generations.push(Kept { record, receipts: receipts.collect::<Option<_>>()? });
        }
        fields.rest().is_empty().then_some(Evidence { generations })
    }

    /// What to publish.
    pub(crate) fn encode(&self) -> Bytes {
        let latest = self.generations.len().saturating_sub(GENERATIONS_MAX);
        let generations = self.generations.get(latest..).unwrap_or_default();
        let mut body = vec![VERSION, u8::try_from(generations.len()).unwrap_or(0)];
        for Kept { record, receipts } in generations {
            put_short(&mut body, record);
            let receipts = receipts.get(..RECEIPTS_MAX).unwrap_or(receipts);
            body.push(u8::try_from(receipts.len()).unwrap_or(0));
            for receipt in receipts {
                body.extend_from_slice(&receipt.accepted_at.0.to_be_bytes());
                body.extend_from_slice(&receipt.node_key);
                body.extend_from_slice(&receipt.signature);
            }
        }
        Bytes::from(body)
    }

    /// Adds what another installation of the identity has published meanwhile.
    pub(crate) fn merge(&mut self, other: &Evidence, is_judge: impl Fn(&NodeId) -> bool) {
        for theirs in &other.generations {
            match self.generations.iter_mut().find(|own| own.record == theirs.record) {
                Some(own) => own.extend(theirs.receipts.iter().copied(), &is_judge),
                None => self.generations.push(theirs.clone()),
            }
        }
        self.generations.sort_by_key(Kept::seq);
    }

    /// The generation that `record` is, which becomes the newest if it is not here yet.
    pub(crate) fn generation(&mut self, record: &ValidRecord) -> &mut Kept {
        let known = self.generations.iter().position(|kept| kept.record == *record.bytes());
        let place = known.unwrap_or_else(|| {
            let kept = Kept { record: record.bytes().clone(), receipts: Vec::new() };
            self.generations.push(kept);
            self.generations.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "it was found there, or put there")]
        &mut self.generations[place]
    }
}

impl Kept {
    /// Adds receipts that were verified: of one node the earliest stays, and if there are too many,
    /// those of judges stay.
    pub(crate) fn add(
        &mut self,
        receipts: impl IntoIterator<Item = Receipt>,
        is_judge: impl Fn(&NodeId) -> bool,
    ) {
        self.extend(receipts.into_iter().map(KeptReceipt::from), is_judge);
    }

    fn extend(
        &mut self,
        receipts: impl IntoIterator<Item = KeptReceipt>,
        is_judge: impl Fn(&NodeId) -> bool,
    ) {
        self.receipts.extend(receipts);
        self.receipts.sort_by_key(|receipt| (receipt.node_key, receipt.accepted_at));
        self.receipts.dedup_by_key(|receipt| receipt.node_key);
        self.receipts.sort_by_key(|receipt| (!is_judge(&receipt.node()), receipt.accepted_at));
        self.receipts.truncate(RECEIPTS_MAX);
    }

    /// Its place among the generations.
    fn seq(&self) -> u64 {
        ParsedRecord::parse(self.record.clone()).map_or(0, |record| record.seq())
    }
}

impl KeptReceipt {
    /// Whom it is said to come from.
    pub(crate) fn node(&self) -> NodeId {
        NodeId::from_public_key(&self.node_key)
    }

    /// The receipt for a record that ends then.
    pub(crate) fn receipt(&self, expires_at: UnixMs) -> Receipt {
        let KeptReceipt { accepted_at, node_key, signature } = *self;
        Receipt { expires_at, accepted_at, node_key, signature }
    }

    fn decode(fields: &mut FieldReader<'_>) -> Option<Self> {
        let accepted_at = UnixMs(fields.u64()?);
        Some(KeptReceipt { accepted_at, node_key: fields.array()?, signature: fields.array()? })
    }
}

impl From<Receipt> for KeptReceipt {
    fn from(receipt: Receipt) -> Self {
        let Receipt { expires_at: _, accepted_at, node_key, signature } = receipt;
        KeptReceipt { accepted_at, node_key, signature }
    }
}

#[cfg(test)]
mod tests {
    use dht_kad::record::layout::BODY_MAX;

    use super::*;

    fn receipt(node: u8, accepted_at: u64) -> Receipt {
        Receipt {
            expires_at: UnixMs(9),
            accepted_at: UnixMs(accepted_at),
            node_key: [node; 32],
            signature: [3; 64],
        }
    }

    fn evidence(generations: usize, receipts: u8) -> Evidence {
        let kept = |length: usize| {
            let record = Bytes::from(vec![7; CLAIM_BYTES_MAX - length]);
            let mut kept = Kept { record, receipts: Vec::new() };
            kept.add((0..receipts).map(|node| receipt(node, 5)), |_| true);
            kept
        };
        Evidence { generations: (0..generations).map(kept).collect() }
    }

    #[test]
    fn the_largest_evidence_fits_a_record_and_reads_back() {
        for (generations, receipts) in [(0, 0), (1, 0), (2, 3), (GENERATIONS_MAX, 32)] {
            let evidence = evidence(generations, receipts);
            let body = evidence.encode();
            assert!(body.len() <= BODY_MAX, "{}", body.len());
            assert_eq!(Evidence::decode(&body), Some(evidence));
            for cut in [0, 1, body.len() / 2, body.len() - 1] {
                assert_eq!(Evidence::decode(&body[..cut]), None, "{cut}");
            }
            assert_eq!(Evidence::decode(&[&body[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn what_is_announced_beyond_the_bounds_is_refused() {
        let mut body = evidence(1, 1).encode().to_vec();
        body[1] = 17;
        assert_eq!(Evidence::decode(&body), None);
        (body[1], body[0]) = (1, 2);
        assert_eq!(Evidence::decode(&body), None);
        assert_eq!(Evidence::decode(&[1, 1, 0xff, 0xff]), None);
    }

    #[test]
    fn more_generations_than_fit_are_forgotten_from_the_oldest_on() {
        let many = evidence(GENERATIONS_MAX + 3, 1);
        let read = Evidence::decode(&many.encode()).unwrap();
        assert_eq!(read.generations[..], many.generations[3..]);
    }

    #[test]
    fn what_two_installations_know_is_put_together_in_order() {
        let claim = |seq: u64| {
            let network = "test".parse().unwrap();
            let mut draft = super::super::claim::draft(
                &"alice".parse().unwrap(),
                None,
                &network,
                &super::super::rules::NameWork::uniform(0),
                UnixMs(1_000),
            );
            draft.seq = seq;
            draft.sign(&ed25519_dalek::SigningKey::from_bytes(&[1; 32]), &network).unwrap()
        };
        let (mut one, mut other) = (Evidence::default(), Evidence::default());
        one.generation(&claim(1)).add([receipt(1, 5)], |_| true);
        one.generation(&claim(3)).add([receipt(1, 50)], |_| true);
        other.generation(&claim(1)).add([receipt(2, 6)], |_| true);
        other.generation(&claim(2)).add([receipt(2, 20)], |_| true);
        one.merge(&other, |_| true);
        let known: Vec<_> =
            one.generations.iter().map(|kept| (kept.seq(), kept.receipts.len())).collect();
        assert_eq!(known, [(1, 2), (2, 1), (3, 1)]);
    }

    #[test]
    fn of_one_node_the_earliest_receipt_stays_and_of_too_many_those_of_judges() {
        let mut kept = Kept { record: Bytes::new(), receipts: Vec::new() };
        kept.add([receipt(1, 50), receipt(1, 20), receipt(2, 30)], |_| true);
        kept.add([receipt(1, 40), receipt(2, 10)], |_| true);
        let times: Vec<_> = kept.receipts.iter().map(|kept| kept.accepted_at.0).collect();
        assert_eq!(times, [10, 20]);
        let judge = KeptReceipt::from(receipt(200, 90)).node();
        kept.add((3..60).map(|node| receipt(node, 60)), |_| false);
        kept.add([receipt(200, 90)], |node| *node == judge);
        assert_eq!(kept.receipts.len(), RECEIPTS_MAX);
        assert_eq!(kept.receipts[0].node(), judge);
    }
}
