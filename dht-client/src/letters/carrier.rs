//! [`Carrier`]: what letters need of the network, so that their engines run over one that a test makes
//! up, at whatever time it says.

use bytes::Bytes;
use dht_context::{GetOptions, Put, PutError, Slot};
use dht_kad::lookup::Consistency;
use dht_kad::{Key, UnixMs, ValidRecord};
use ed25519_dalek::SigningKey;
use futures_util::future::BoxFuture;

use crate::client::Client;
use crate::error::ClientError;

/// Carries records to where they lie and back.
pub(crate) trait Carrier: Send + Sync {
    /// The present moment.
    fn now(&self) -> UnixMs;

    /// Stores signed records that lie at one key; says of each how many nodes have it.
    fn put_batch(
        &self,
        records: Vec<ValidRecord>,
    ) -> BoxFuture<'_, Result<Vec<Result<usize, PutError>>, ClientError>>;

    /// What lies in these ranges of slots, as a few holders say; or `sure`, as a majority does.
    fn list<'a>(
        &'a self,
        publisher: [u8; 32],
        label: [u8; 32],
        ranges: &'a [(u64, u64)],
        sure: bool,
    ) -> BoxFuture<'a, Result<Listed, ClientError>>;

    /// Signs the next version of a slot and stores it.
    fn put<'a>(
        &'a self,
        signer: &'a SigningKey,
        put: Put,
    ) -> BoxFuture<'a, Result<usize, ClientError>>;

    /// Immutable content.
    fn get_content(&self, key: Key) -> BoxFuture<'_, Result<Bytes, ClientError>>;
}

/// What lies in some slots.
#[derive(Default)]
pub(crate) struct Listed {
    /// The greatest version of each slot that is live.
    pub(crate) records: Vec<ValidRecord>,
    /// Slots whose greatest version is a tombstone.
    pub(crate) deleted: Vec<u64>,
    /// Whether there is more.
    pub(crate) truncated: bool,
}

impl Carrier for Client {
    fn now(&self) -> UnixMs {
        Client::now(self)
    }

    fn put_batch(
        &self,
        records: Vec<ValidRecord>,
    ) -> BoxFuture<'_, Result<Vec<Result<usize, PutError>>, ClientError>> {
        Box::pin(self.limited(async move {
            let outcomes = self.context.put_batch(records).await?.into_iter();
            Ok(outcomes.map(|outcome| outcome.map(|outcome| outcome.stored.len())).collect())
        }))
    }

    fn list<'a>(
        &'a self,
        publisher: [u8; 32],
        label: [u8; 32],
        ranges: &'a [(u64, u64)],
        sure: bool,
    ) -> BoxFuture<'a, Result<Listed, ClientError>> {
        Box::pin(self.limited(async move {
            let consistency = if sure { Consistency::Quorum } else { Consistency::Default };
            let listed = self.context.list_slots(&publisher, &label, ranges, consistency).await?;
            let deleted = listed.deleted.iter().map(|tombstone| tombstone.slot()).collect();
            Ok(Listed { records: listed.records, deleted, truncated: listed.truncated })
        }))
    }

    fn put<'a>(
        &'a self,
        signer: &'a SigningKey,
        put: Put,
    ) -> BoxFuture<'a, Result<usize, ClientError>> {
        Box::pin(
            self.limited(
                async move { Ok(self.context.put(signer, put).await?.outcome.stored.len()) },
            ),
        )
    }

    fn get_content(&self, key: Key) -> BoxFuture<'_, Result<Bytes, ClientError>> {
        Box::pin(self.limited(async move {
            let got = self.context.get(&Slot::Content { key }, GetOptions::default()).await?;
            Ok(got.record.body().unwrap_or_default())
        }))
    }
}
