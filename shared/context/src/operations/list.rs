//! Listing what is at a key: every slot's newest live version, by the word of a majority of T.

use std::collections::BTreeMap;
use std::sync::Arc;

use dht_kad::domain;
use dht_kad::message::{Find, NodeInfo, PAGE_RECORDS, PublisherKey};
use dht_kad::put::quorum_of;
use dht_kad::record::Kind;
use dht_kad::{ErrorNumber, Key, RecordId, ValidRecord};
use futures_util::future::BoxFuture;
use thiserror::Error;

use super::get::{GetError, GetOptions};
use super::locate::Recognised;
use crate::context::{DhtContext, Inner};
use crate::requests::AskError;
use crate::walk::gather;

/// The most records of one listing: what a key may hold by default.
pub const LIST_RECORDS_MAX: usize = 20_000;

/// What is at a key.
#[derive(Clone, Debug)]
pub struct ListReport {
    /// The newest live version of each slot, in the order of publisher and slot.
    pub records: Vec<ValidRecord>,
    /// How many servers answered.
    pub answered: usize,
    /// Whether there is more than [`LIST_RECORDS_MAX`].
    pub truncated: bool,
}

/// A listing that cannot be made.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListError {
    /// No server was found.
    #[error("no node answers; check the bootstrap peers and this machine's network")]
    NoPeers,
    /// Too few answered to tell.
    #[error("only {answered} of {needed} nodes answered, too few to tell; try again")]
    Inconclusive {
        /// How many answered.
        answered: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Nothing is there, as far as nodes know that are still gathering.
    #[error("the network is still gathering and nothing was found yet; try again in a moment")]
    NetworkUnsettled,
    /// A body could not be fetched.
    #[error(transparent)]
    Body(#[from] GetError),
}

impl ListError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            ListError::NoPeers => ErrorNumber::NoPeers,
            ListError::Inconclusive { .. } => ErrorNumber::QuorumNotReached,
            ListError::NetworkUnsettled => ErrorNumber::NetworkUnsettled,
            ListError::Body(error) => error.number(),
        }
    }
}

/// One version of a slot, and who holds it.
type Versions = BTreeMap<RecordId, (ValidRecord, Vec<NodeInfo>)>;

impl DhtContext {
    /// Lists what `publisher` keeps under its own label.
    ///
    /// # Errors
    /// [`ListError`]; an empty list is none.
    pub async fn list_owned(
        &self,
        publisher: &[u8; 32],
        label: &[u8; 32],
    ) -> Result<ListReport, ListError> {
        let key = domain::owned_key(self.network(), publisher, label);
        self.inner.list(key, Some(*publisher)).await
    }

    /// Lists what everyone keeps under a topic.
    ///
    /// # Errors
    /// [`ListError`]; an empty list is none.
    pub async fn list_topic(&self, label: &[u8; 32]) -> Result<ListReport, ListError> {
        self.inner.list(domain::topic_key(self.network(), label), None).await
    }
}

impl Inner {
    /// Asks a majority of T for all heads, one of them for the bodies too, and fetches what is
    /// newer elsewhere.
    async fn list(
        self: &Arc<Self>,
        key: Key,
        publisher: Option<[u8; 32]>,
    ) -> Result<ListReport, ListError> {
        let found = self.closest_servers(&key).await;
        if found.is_empty() {
            return Err(ListError::NoPeers);
        }
        let needed = quorum_of(found.len());
        let settled = found.iter().any(|node| node.settled);
        let asked = found.iter().enumerate().map(|(place, node)| {
            let listing = Arc::clone(self).list_at(node.info.clone(), key, publisher, place > 0);
            Box::pin(listing) as BoxFuture<'static, _>
        });
        let mut answered = 0;
        let mut versions = Versions::new();
        gather(asked, |answer: Result<(NodeInfo, Vec<ValidRecord>), AskError>| {
            if let Ok((node, records)) = answer {
                answered += 1;
                merge(&mut versions, &node, records);
            }
            answered >= needed
        })
        .await;
        if answered < needed {
            return Err(ListError::Inconclusive { answered, needed });
        }
        if versions.is_empty() && !settled {
            return Err(ListError::NetworkUnsettled);
        }
        self.bodies(versions, answered).await
    }

    /// All that one server holds at a key, page by page.
    async fn list_at(
        self: Arc<Self>,
        node: NodeInfo,
        key: Key,
        publisher: Option<[u8; 32]>,
        heads_only: bool,
    ) -> Result<(NodeInfo, Vec<ValidRecord>), AskError> {
        let mut find = Find {
            key,
            publisher: publisher.map(PublisherKey),
            slots: None,
            after: None,
            heads_only,
            min_work: 0,
            limit: u32::try_from(PAGE_RECORDS).unwrap_or(u32::MAX),
            want_closer: false,
        };
        let mut records = Vec::new();
        loop {
            let recognised = Arc::new(Recognised::default());
            let page =
                Arc::clone(&self).holding(node.clone(), find.clone(), recognised, true).await?;
            records.extend(page.records);
            // A page must move on: a server that repeats itself must not hold us for ever.
            match page.next {
                Some(next) if Some(next) > find.after && records.len() <= LIST_RECORDS_MAX => {
                    find.after = Some(next);
                }
                _ => return Ok((node, records)),
            }
        }
    }

    /// The live values among the newest versions, with their bodies.
    async fn bodies(
        self: &Arc<Self>,
        versions: Versions,
        answered: usize,
    ) -> Result<ListReport, ListError> {
        let now = self.clock.now();
        let truncated = versions.len() > LIST_RECORDS_MAX;
        let mut records = Vec::new();
        for (newest, nodes) in versions.into_values().take(LIST_RECORDS_MAX) {
            if newest.kind() == Kind::Tombstone || newest.expires_at() <= now {
                continue;
            }
            let holders: Vec<_> = nodes.into_iter().map(|node| (node, newest.clone())).collect();
            match self.with_body(newest, &holders, GetOptions::default()).await {
                Ok(record) => records.push(record),
                // It ended or was deleted while we looked.
                Err(GetError::NotFound | GetError::Deleted) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ListReport { records, answered, truncated })
    }
}

/// Keeps the greater version of each slot, with its body if it came with one, and who holds it.
fn merge(versions: &mut Versions, node: &NodeInfo, records: Vec<ValidRecord>) {
    for record in records {
        let id = *record.id();
        match versions.get_mut(&id) {
            None => {
                versions.insert(id, (record, vec![node.clone()]));
            }
            Some((known, nodes)) if known.digest() == record.digest() => {
                nodes.push(node.clone());
                if !known.has_body() {
                    *known = record;
                }
            }
            Some(held) if held.0.precedence() < record.precedence() => {
                *held = (record, vec![node.clone()]);
            }
            Some(_) => {}
        }
    }
}
