//! Receipts that are kept: what nodes promised, so that they can be held to it later.
//!
//! Every node that acknowledges a put signs a [`Receipt`]. With the record and the node's address it is
//! a [`KeptReceipt`], which a [`ReceiptBook`] keeps in a file. Read back and [proven](KeptReceipt::prove),
//! it is what [`Client::audit`](crate::Client::audit) challenges the node with.
//!
//! ```text
//! PutReport ─▶ KeptReceipt::of ─▶ ReceiptBook::add ─▶ a file
//!                                                       │ later
//! Audited, one a receipt ◀─ Client::audit ◀─ prove ◀─ ReceiptBook::read
//! ```
//!
//! ```no_run
#![doc = include_str!("example.rs")]
//! ```
//!
//! A receipt holds the record whole, since only its bytes tell a true proof from a false one: whoever
//! reads the file reads the values.

mod book;
mod line;

use bytes::Bytes;
use dht_kad::audit::ReceiptFault;
use dht_kad::message::{NodeInfo, Receipt};
use dht_kad::put::PutOutcome;
use dht_kad::record::{MalformedRecord, SignatureFault};
use dht_kad::{NetworkName, ParsedRecord, UnixMs, ValidRecord};
use thiserror::Error;

pub use book::{Entry, ReceiptBook, ReceiptBookError};
pub use line::LineFault;

/// One node's promise to keep one record, with everything that a later audit needs. Nothing about it
/// is proven: see [`prove`](Self::prove).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptReceipt {
    /// The network that all of it belongs to.
    pub network: NetworkName,
    /// The record's canonical bytes.
    pub record: Bytes,
    /// Who promised, and where it was reached then.
    pub node: NodeInfo,
    /// The promise.
    pub receipt: Receipt,
}

/// A receipt whose record and promise were verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvenReceipt {
    kept: KeptReceipt,
    record: ValidRecord,
}

/// What is kept is no promise.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiptError {
    /// It is not for a record.
    #[error(transparent)]
    Malformed(#[from] MalformedRecord),
    /// The record is not valid in its network.
    #[error(transparent)]
    Record(#[from] SignatureFault),
    /// Without the body no proof can be judged.
    #[error("only the record's head was kept; keep the receipt with the whole record")]
    BodyMissing,
    /// The node did not promise this.
    #[error(transparent)]
    Receipt(#[from] ReceiptFault),
}

impl KeptReceipt {
    /// The receipts of those who had acknowledged when a put returned: a majority, or as many as
    /// were asked for.
    #[must_use]
    pub fn of(network: &NetworkName, record: &ValidRecord, outcome: &PutOutcome) -> Vec<Self> {
        let keep = |(node, receipt): &(NodeInfo, Receipt)| KeptReceipt {
            network: network.clone(),
            record: record.bytes().clone(),
            node: node.clone(),
            receipt: *receipt,
        };
        outcome.stored.iter().map(keep).collect()
    }

    /// Verifies record and promise.
    ///
    /// # Errors
    /// [`ReceiptError`] says which of them is none.
    pub fn prove(self) -> Result<ProvenReceipt, ReceiptError> {
        let record = ParsedRecord::parse(self.record.clone())?.verify(&self.network)?;
        if !record.has_body() {
            return Err(ReceiptError::BodyMissing);
        }
        self.receipt.verify(&self.network, &record, &self.node.id)?;
        Ok(ProvenReceipt { kept: self, record })
    }
}

impl ProvenReceipt {
    /// What was kept.
    #[must_use]
    pub fn kept(&self) -> &KeptReceipt {
        &self.kept
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &ValidRecord {
        &self.record
    }

    /// Whether the promise has ended.
    #[must_use]
    pub fn has_expired(&self, now: UnixMs) -> bool {
        self.kept.receipt.expires_at <= now
    }
}

#[cfg(test)]
pub(crate) mod samples {
    use dht_kad::NodeId;
    use dht_kad::record::{Kind, RecordDraft, Retention, Space};
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    pub(crate) const MADE: UnixMs = UnixMs(1_800_000_000_000);

    /// The promise of the node with this number to keep a record with this body.
    pub(crate) fn kept(node: u8, body: &[u8]) -> KeptReceipt {
        let network: NetworkName = "here".parse().unwrap();
        let draft = RecordDraft {
            space: Space::Owned,
            kind: Kind::Value,
            retention: Retention::Days7,
            label: [1; 32],
            slot: 2,
            seq: 3,
            created_at: MADE,
            guard_until: UnixMs(0),
            work_bits: 0,
            ext: Bytes::new(),
            body: Bytes::copy_from_slice(body),
        };
        let record = draft.sign(&SigningKey::from_bytes(&[4; 32]), &network).unwrap();
        let key = SigningKey::from_bytes(&[node; 32]);
        let (expires_at, accepted_at) = (record.expires_at(), MADE.after(5));
        let message = Receipt::message(&network, &record, expires_at, accepted_at);
        let node_key = key.verifying_key().to_bytes();
        let signature = key.sign(&message).to_bytes();
        let addrs = vec!["192.0.2.1:4400".parse().unwrap(), "[2001:db8::1]:4400".parse().unwrap()];
        KeptReceipt {
            network,
            record: record.bytes().clone(),
            node: NodeInfo { id: NodeId::from_public_key(&node_key), addrs },
            receipt: Receipt { expires_at, accepted_at, node_key, signature },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::kept;
    use super::*;

    #[test]
    fn what_is_proven_is_the_whole_record_and_its_nodes_promise() {
        let good = kept(1, b"value");
        let proven = good.clone().prove().unwrap();
        assert_eq!(proven.record().bytes(), &good.record);
        assert!(!proven.has_expired(UnixMs(good.receipt.expires_at.0 - 1)));
        assert!(proven.has_expired(good.receipt.expires_at));

        let head = proven.record().head_bytes();
        let no_body = KeptReceipt { record: head, ..good.clone() };
        assert_eq!(no_body.prove(), Err(ReceiptError::BodyMissing));
        let other = KeptReceipt { record: kept(1, b"other").record, ..good.clone() };
        assert_eq!(other.prove(), Err(ReceiptFault::WrongSignature.into()));
        let elsewhere = KeptReceipt { network: "there".parse().unwrap(), ..good.clone() };
        assert_eq!(elsewhere.prove(), Err(SignatureFault::WrongSignature.into()));
        let another_node = KeptReceipt { node: kept(2, b"value").node, ..good };
        assert_eq!(another_node.prove(), Err(ReceiptFault::OtherNode.into()));
    }
}
