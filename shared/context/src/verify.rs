//! Who checks signatures: the caller's own thread, or threads kept for it.

use dht_kad::record::SignatureFault;
use dht_kad::{NetworkName, ParsedRecord, ValidRecord};
use futures_util::future::BoxFuture;

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
        let results = batch.into_iter().map(|record| record.verify(&self.network)).collect();
        Box::pin(std::future::ready(results))
    }
}
