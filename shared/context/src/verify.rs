//! Who checks signatures and makes them: the caller's own thread, or threads kept for it.

use dht_kad::record::SignatureFault;
use dht_kad::signature::SignatureCheck;
use dht_kad::{NetworkName, ParsedRecord, ValidRecord};
use futures_util::future::BoxFuture;

use crate::node_key::NodeKey;

/// Checks bodies and signatures of records.
pub trait Verifier: Send + Sync + 'static {
    /// Checks a batch; one result a record, in their order.
    fn verify(
        &self,
        batch: Vec<ParsedRecord>,
    ) -> BoxFuture<'static, Vec<Result<ValidRecord, SignatureFault>>>;
}

/// Checks on the thread that asks: for clients, tests and the simulator.
#[derive(Clone, Debug)]
pub struct InlineVerifier {
    network: NetworkName,
}

impl InlineVerifier {
    /// A verifier for this network's records.
    #[must_use]
    pub fn new(network: NetworkName) -> Self {
        InlineVerifier { network }
    }
}

impl Verifier for InlineVerifier {
    fn verify(
        &self,
        batch: Vec<ParsedRecord>,
    ) -> BoxFuture<'static, Vec<Result<ValidRecord, SignatureFault>>> {
        let mut check = SignatureCheck::default();
        let verify = |record: ParsedRecord| record.verify_next(&self.network, &mut check);
        let results = batch.into_iter().map(verify).collect();
        Box::pin(std::future::ready(results))
    }
}

/// Signs receipts with the node's key.
pub trait Signer: Send + Sync + 'static {
    /// Signs messages; one signature each, in their order.
    fn sign(&self, messages: Vec<Vec<u8>>) -> BoxFuture<'static, Vec<[u8; 64]>>;

    /// The public half of the key.
    fn public_key(&self) -> [u8; 32];
}

/// Signs on the thread that asks: for clients, tests and the simulator.
#[derive(Clone, Debug)]
pub struct InlineSigner(NodeKey);

impl InlineSigner {
    /// A signer with this key.
    #[must_use]
    pub fn new(key: NodeKey) -> Self {
        InlineSigner(key)
    }
}

impl Signer for InlineSigner {
    fn sign(&self, messages: Vec<Vec<u8>>) -> BoxFuture<'static, Vec<[u8; 64]>> {
        let signatures = messages.iter().map(|message| self.0.sign(message)).collect();
        Box::pin(std::future::ready(signatures))
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key()
    }
}
