//! Listing ranges of one publisher's slots under a label: what a mailbox, a wall or a group reads.
//!
//! ```text
//! holders of the key (remembered, or looked up) ─▶ the ranges to as many of T as the consistency asks:
//!    one for bodies, the others for heads ─▶ the greatest version of each slot ─▶ bodies newer elsewhere
//! ```
//!
//! Deleted slots are told apart from those where nothing is: who prunes needs to know.

use futures_util::future::BoxFuture;
use std::sync::Arc;

use dht_kad::domain;
use dht_kad::lookup::{AnsweredNode, Consistency, DEFAULT_HOLDERS};
use dht_kad::message::{Find, NodeInfo, PAGE_RECORDS, PublisherKey};
use dht_kad::put::quorum_of;
use dht_kad::record::Kind;
use dht_kad::{Key, ValidRecord};
use futures_util::future::join;
use futures_util::stream::{FuturesUnordered, StreamExt, TryStreamExt, iter};

use super::list::{LIST_RECORDS_MAX, ListError, Listed, Room, Versions, merge};
use super::locate::Recognised;
use crate::context::{DhtContext, Inner};
use crate::requests::AskError;

/// The most ranges of one listing: a mailbox that this many devices write in.
pub const RANGES_MAX: usize = 256;

/// Ranges that one server is asked for at once: half of the streams that a connection has at first.
const RANGES_AT_ONCE: usize = 8;

/// What is in ranges of slots.
#[derive(Clone, Debug)]
pub struct SlotsReport {
    /// The newest live version of each slot, with its body, in the order of slots.
    pub records: Vec<ValidRecord>,
    /// The tombstones of the slots whose newest version is one, in the order of slots.
    pub deleted: Vec<ValidRecord>,
    /// How many servers answered.
    pub answered: usize,
    /// Whether something is left out: there is more than a listing takes, or nobody gives a body.
    pub truncated: bool,
}

/// What to list, and how many have to agree.
struct Wanted<'a> {
    key: Key,
    publisher: [u8; 32],
    ranges: &'a [(u64, u64)],
    consistency: Consistency,
}

/// What was heard of the holders.
#[derive(Default)]
struct Heard {
    versions: Versions,
    answered: usize,
    truncated: bool,
    /// Whether each one that was asked is there, and whole.
    all_as_remembered: bool,
}

impl DhtContext {
    /// Lists what `publisher` keeps under its own label in some ranges of slots, each from the first
    /// to the last, both included. A few holders are asked by default, a majority of T for a quorum.
    ///
    /// # Errors
    /// [`ListError`]; an empty list is none.
    pub fn list_slots<'a>(
        &'a self,
        publisher: &'a [u8; 32],
        label: &'a [u8; 32],
        ranges: &'a [(u64, u64)],
        consistency: Consistency,
    ) -> BoxFuture<'a, Result<SlotsReport, ListError>> {
        Box::pin(async move {
            if ranges.len() > RANGES_MAX {
                return Err(ListError::TooManyRanges(ranges.len()));
            }
            let key = domain::owned_key(self.network(), publisher, label);
            self.inner.list_slots(Wanted { key, publisher: *publisher, ranges, consistency }).await
        })
    }
}

impl Inner {
    async fn list_slots(self: &Arc<Self>, wanted: Wanted<'_>) -> Result<SlotsReport, ListError> {
        let key = wanted.key;
        let mut holders = self.holders_of(&key).await;
        let mut result = loop {
            let heard = self.ranges_at_some(&wanted, &holders.found);
            let (result, still) = match wanted.consistency {
                Consistency::Quorum => join(heard, self.still_hold(&key, &holders)).await,
                _ => (heard.await, Ok(())),
            };
            let as_remembered =
                still.is_ok() && result.as_ref().is_ok_and(|heard| heard.all_as_remembered);
            if !as_remembered {
                self.holders.forget(&key);
            }
            // Enough have answered, and they are T: one who failed matters the next time only.
            if !holders.remembered || (still.is_ok() && result.is_ok()) {
                break result?;
            }
            holders = self.look_up_holders(&key, still.err().unwrap_or_default()).await;
        };
        let settled = holders.found.iter().any(|node| node.settled);
        if result.versions.is_empty() && !settled {
            return Err(ListError::NetworkUnsettled);
        }
        let mut deleted = Vec::new();
        result.versions.retain(|_, versions| {
            let tombstone = versions
                .first()
                .filter(|(newest, _)| newest.kind() == Kind::Tombstone)
                .map(|(newest, _)| newest.clone());
            let is_live = tombstone.is_none();
            deleted.extend(tombstone);
            is_live
        });
        let list = self.bodies(result.versions, result.answered).await?;
        let truncated = result.truncated || list.truncated;
        Ok(SlotsReport { records: list.records, deleted, answered: list.answered, truncated })
    }

    /// Asks as many of T as are needed, closest first, and another for each that fails or is slow.
    async fn ranges_at_some(
        self: &Arc<Self>,
        wanted: &Wanted<'_>,
        found: &[AnsweredNode],
    ) -> Result<Heard, ListError> {
        if found.is_empty() {
            return Err(ListError::NoPeers);
        }
        let whole = found.iter().filter(|node| node.whole).count();
        let needed = match wanted.consistency {
            Consistency::One => 1,
            Consistency::Default => DEFAULT_HOLDERS.min(whole.max(1)),
            Consistency::Quorum => quorum_of(whole),
        };
        let recognised = Arc::new(Recognised::up_to(LIST_RECORDS_MAX));
        let mut to_ask = found.iter().filter(|node| node.whole).enumerate();
        let mut under_way = FuturesUnordered::new();
        let mut heard = Heard { all_as_remembered: true, ..Heard::default() };
        let mut missing = needed;
        while heard.answered < needed {
            for (place, node) in to_ask.by_ref().take(missing) {
                let room = Arc::new(Room::default());
                let listing = self.ranges_at(&node.info, wanted, place > 0, &room, &recognised);
                under_way.push(async move { (listing.await, room) });
            }
            tokio::select! {
                biased;
                answer = under_way.next() => {
                    let Some((answer, room)) = answer else { break };
                    heard.truncated |= room.is_used_up();
                    missing = usize::from(!heard.take(answer));
                }
                () = tokio::time::sleep(self.config.timing.slow) => {
                    missing = needed - heard.answered;
                }
            }
        }
        match heard.answered < needed {
            true => Err(ListError::Inconclusive { answered: heard.answered, needed }),
            false => Ok(heard),
        }
    }

    /// All that one server holds in the ranges.
    fn ranges_at(
        self: &Arc<Self>,
        node: &NodeInfo,
        wanted: &Wanted<'_>,
        heads_only: bool,
        room: &Arc<Room>,
        recognised: &Arc<Recognised>,
    ) -> impl Future<Output = Result<Vec<Listed>, AskError>> + use<> {
        let finds: Vec<Find> = wanted
            .ranges
            .iter()
            .map(|range| Find {
                key: wanted.key,
                publisher: Some(PublisherKey(wanted.publisher)),
                slots: Some(*range),
                after: None,
                heads_only,
                min_work: 0,
                limit: u32::try_from(PAGE_RECORDS).unwrap_or(u32::MAX),
                want_closer: false,
            })
            .collect();
        let (inner, node) = (Arc::clone(self), node.clone());
        let (room, recognised) = (Arc::clone(room), Arc::clone(recognised));
        async move {
            let listings = finds.into_iter().map(|find| {
                let (room, recognised) = (Arc::clone(&room), Arc::clone(&recognised));
                Arc::clone(&inner).list_at(node.clone(), find, room, recognised)
            });
            iter(listings).buffer_unordered(RANGES_AT_ONCE).try_collect().await
        }
    }
}

impl Heard {
    /// Takes what one server listed; says whether it counts.
    fn take(&mut self, answer: Result<Vec<Listed>, AskError>) -> bool {
        let Ok(listings) = answer else {
            self.all_as_remembered = false;
            return false;
        };
        // What one that is not whole lists is no proof that there is no more.
        let whole = listings.iter().all(|listed| listed.whole);
        for Listed { node, records, .. } in listings {
            merge(&mut self.versions, &node, records);
        }
        self.answered += usize::from(whole);
        self.all_as_remembered &= whole;
        whole
    }
}
