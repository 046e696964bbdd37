//! Listing what is at a key: every slot's newest live version, by the word of a majority of T.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dht_kad::domain;
use dht_kad::message::{Find, NodeInfo, PAGE_RECORDS, PublisherKey};
use dht_kad::put::quorum_of;
use dht_kad::record::Kind;
use dht_kad::{ErrorNumber, Key, RecordId, ValidRecord};
use futures_util::future::{BoxFuture, OptionFuture, join};
use futures_util::stream::{self, StreamExt};
use thiserror::Error;

use super::get::{GetError, GetOptions};
use super::locate::Recognised;
use crate::context::{DhtContext, Inner};
use crate::requests::AskError;
use crate::walk::gather;

/// The most records of one listing: what a key may hold by default.
pub const LIST_RECORDS_MAX: usize = 20_000;

/// The most bytes of one listing: what a small client has to spare.
pub const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Pages without anything of use that one server may send: as many as all records of a key take. A
/// clock that differs by a little makes a page of records that end together look empty.
const EMPTY_PAGES_MAX: usize = LIST_RECORDS_MAX / PAGE_RECORDS;

/// Versions of one slot that a listing remembers: the newest may be one whose body nobody gives.
const VERSIONS_MAX: usize = 3;

/// Bodies that are fetched at once.
const BODIES_AT_ONCE: usize = 16;

/// What is at a key.
#[derive(Clone, Debug)]
pub struct ListReport {
    /// The newest live version of each slot, in the order of publisher and slot.
    pub records: Vec<ValidRecord>,
    /// How many servers answered.
    pub answered: usize,
    /// Whether something is left out: there is more than was to be listed, or nobody gives a body.
    pub truncated: bool,
    /// Whether there is more than was to be listed: what one server alone can bring about at a place
    /// where it may show any number of records, but not by withholding bodies.
    pub cut: bool,
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
    /// Too many ranges of slots at once.
    #[error("{0} ranges of slots are asked for, at most 256 at once; ask for them in parts")]
    TooManyRanges(usize),
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
            ListError::TooManyRanges(_) => ErrorNumber::Usage,
            ListError::Body(error) => error.number(),
        }
    }
}

/// The versions of each slot, greatest first, each with who holds it.
pub(super) type Versions = BTreeMap<RecordId, Vec<(ValidRecord, Vec<NodeInfo>)>>;

/// What one server listed.
pub(super) struct Listed {
    pub(super) node: NodeInfo,
    pub(super) records: Vec<ValidRecord>,
    /// Whether it said with every page that it holds what it should.
    pub(super) whole: bool,
}

/// How much one server has listed so far in one operation: what it may make this process keep.
#[derive(Debug, Default)]
pub(super) struct Room {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

impl Room {
    fn take(&self, records: &[ValidRecord]) {
        let bytes = records.iter().map(|record| record.bytes().len()).sum();
        self.records.fetch_add(records.len(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.records.load(Ordering::Relaxed) > LIST_RECORDS_MAX
            || self.bytes.load(Ordering::Relaxed) > LIST_BYTES_MAX
    }
}

/// What is asked for of a key.
#[derive(Clone, Copy)]
struct Wish {
    /// Only what this publisher signed.
    publisher: Option<[u8; 32]>,
    /// Only what shows so many bits of work.
    min_work: u32,
    /// At most so many records, those that show the most work.
    most: usize,
}

impl Wish {
    /// All that is there.
    fn all_of(publisher: Option<[u8; 32]>) -> Self {
        Wish { publisher, min_work: 0, most: LIST_RECORDS_MAX }
    }
}

impl DhtContext {
    /// Lists what `publisher` keeps under its own label. Nobody else can keep anything at that key, so
    /// the publisher is not named: where nothing lies, a node does not learn who was looked for.
    ///
    /// # Errors
    /// [`ListError`]; an empty list is none.
    pub fn list_owned<'a>(
        &'a self,
        publisher: &'a [u8; 32],
        label: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<ListReport, ListError>> {
        Box::pin(async move {
            let key = domain::owned_key(self.network(), publisher, label);
            self.inner.list(key, Wish::all_of(None)).await
        })
    }

    /// Lists what everyone keeps under a topic.
    ///
    /// # Errors
    /// [`ListError`]; an empty list is none.
    pub fn list_topic<'a>(
        &'a self,
        label: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<ListReport, ListError>> {
        Box::pin(async move {
            self.inner.list(domain::topic_key(self.network(), label), Wish::all_of(None)).await
        })
    }

    /// Lists what shows at least so many bits of work under a topic; if that is more than `most`
    /// records, those that show the most, so that a flood of cheap ones hides none that cost more.
    ///
    /// # Errors
    /// [`ListError`]; an empty list is none.
    pub fn list_topic_by_work<'a>(
        &'a self,
        label: &'a [u8; 32],
        min_work: u32,
        most: usize,
    ) -> BoxFuture<'a, Result<ListReport, ListError>> {
        Box::pin(async move {
            let wish = Wish { publisher: None, min_work, most };
            self.inner.list(domain::topic_key(self.network(), label), wish).await
        })
    }

    /// The newest version of every slot at a key, by the word of a majority of T: live values with
    /// their bodies, and the heads of what was deleted.
    ///
    /// # Errors
    /// [`ListError`]; that nothing is there is none.
    pub fn newest_at<'a>(
        &'a self,
        key: Key,
        publisher: Option<[u8; 32]>,
    ) -> BoxFuture<'a, Result<Vec<ValidRecord>, ListError>> {
        Box::pin(async move {
            let (versions, answered) = self.inner.versions_at(key, Wish::all_of(publisher)).await?;
            let newest = versions.values().filter_map(|versions| versions.first());
            let deleted = newest.map(|(record, _)| record).filter(|r| r.kind() == Kind::Tombstone);
            let mut records: Vec<_> = deleted.cloned().collect();
            records.extend(self.inner.bodies(versions, answered).await?.records);
            Ok(records)
        })
    }
}

impl Inner {
    /// What is there, and alive: what is newer elsewhere than where bodies were shown is fetched.
    async fn list(self: &Arc<Self>, key: Key, wish: Wish) -> Result<ListReport, ListError> {
        let (mut versions, answered) = self.versions_at(key, wish).await?;
        let within = keep_most_work(&mut versions, wish);
        let mut report = self.bodies(versions, answered).await?;
        report.cut |= !within;
        report.truncated |= report.cut;
        Ok(report)
    }

    /// Asks a majority of T for all heads, one of them for the bodies too; says how many answered.
    async fn versions_at(
        self: &Arc<Self>,
        key: Key,
        wish: Wish,
    ) -> Result<(Versions, usize), ListError> {
        let found = self.responsible_servers(&key).await;
        if found.is_empty() {
            return Err(ListError::NoPeers);
        }
        let needed = quorum_of(found.iter().filter(|node| node.whole).count());
        let settled = found.iter().any(|node| node.settled);
        let recognised = Arc::new(Recognised::up_to(LIST_RECORDS_MAX));
        let first_whole = found.iter().position(|node| node.whole);
        let asked = found.iter().enumerate().map(|(place, node)| {
            // Bodies come with the heads only where all of them are wanted.
            let heads_only = Some(place) != first_whole || wish.most < LIST_RECORDS_MAX;
            let find = find_all(key, wish, heads_only);
            let (room, recognised) = (Arc::<Room>::default(), recognised.clone());
            let listing = Arc::clone(self).list_at(node.info.clone(), find, room, recognised);
            let whole = node.whole;
            let listing = async move { listing.await.map(|listed| (whole, listed)) };
            Box::pin(listing) as BoxFuture<'static, _>
        });
        let mut answered = 0;
        let mut versions = Versions::new();
        gather(asked, |answer: Result<(bool, Listed), AskError>| {
            if let Ok((whole, listed)) = answer {
                // What one that is not whole lists is no proof that there is no more.
                answered += usize::from(whole);
                merge(&mut versions, &listed.node, listed.records);
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
        Ok((versions, answered))
    }

    /// All that one server holds of what is asked for, page by page, as far as there is room.
    pub(super) async fn list_at(
        self: Arc<Self>,
        node: NodeInfo,
        mut find: Find,
        room: Arc<Room>,
        recognised: Arc<Recognised>,
    ) -> Result<Listed, AskError> {
        let mut records = Vec::new();
        let (mut whole, mut empty_pages) = (true, 0);
        let mut found = self.found_at(&node, &find).await?;
        loop {
            // A page must move on: a server that repeats itself must not hold us for ever.
            let next = found.next.filter(|next| Some(*next) > find.after);
            let of_page = find.clone();
            let checked = self.held(node.clone(), found, &of_page, &recognised, true);
            // It travels while this one is checked.
            find.after = next;
            let following = OptionFuture::from(next.map(|_| self.found_at(&node, &find)));
            let (page, following) = join(checked, following).await;
            empty_pages += usize::from(page.records.is_empty());
            whole &= page.whole;
            room.take(&page.records);
            records.extend(page.records);
            // Nor must one that has nothing to say and never ends.
            if empty_pages > EMPTY_PAGES_MAX {
                return Err(AskError::WrongAnswer(node.id));
            }
            match following {
                Some(following) if !room.is_used_up() => found = following?,
                _ => return Ok(Listed { node, records, whole }),
            }
        }
    }

    /// The live values among the newest versions, with their bodies.
    pub(super) async fn bodies(
        self: &Arc<Self>,
        versions: Versions,
        answered: usize,
    ) -> Result<ListReport, ListError> {
        let mut cut = versions.len() > LIST_RECORDS_MAX;
        let mut withheld = false;
        let slots = versions.into_values().take(LIST_RECORDS_MAX);
        let wholes = slots.map(|versions| Arc::clone(self).whole(versions));
        let mut wholes = std::pin::pin!(stream::iter(wholes).buffered(BODIES_AT_ONCE));
        let mut records = Vec::new();
        let mut bytes = 0;
        while let Some(whole) = wholes.next().await {
            match whole {
                Ok(record) => {
                    bytes += record.bytes().len();
                    records.push(record);
                }
                // It ended or was deleted, perhaps while we looked.
                Err(GetError::NotFound | GetError::Deleted) => {}
                // One whose holders hide it must not hide the others.
                Err(error) => {
                    tracing::debug!(%error, "a listing leaves out a record");
                    withheld = true;
                }
            }
            if bytes > LIST_BYTES_MAX {
                cut = true;
                break;
            }
        }
        Ok(ListReport { records, answered, truncated: cut || withheld, cut })
    }

    /// The greatest version of one slot whose body can be had.
    async fn whole(
        self: Arc<Self>,
        versions: Vec<(ValidRecord, Vec<NodeInfo>)>,
    ) -> Result<ValidRecord, GetError> {
        let mut result = Err(GetError::NotFound);
        for (version, nodes) in versions {
            let holders: Vec<_> = nodes.into_iter().map(|node| (node, version.clone())).collect();
            let got = self.with_body(version, &holders, GetOptions::default()).await;
            match got {
                Err(withheld @ GetError::BodyUnavailable(_)) => result = Err(withheld),
                other => return other,
            }
        }
        result
    }
}

/// A request for the first page of what is at a key.
fn find_all(key: Key, wish: Wish, heads_only: bool) -> Find {
    Find {
        key,
        publisher: wish.publisher.map(PublisherKey),
        slots: None,
        after: None,
        heads_only,
        min_work: wish.min_work,
        limit: u32::try_from(PAGE_RECORDS).unwrap_or(u32::MAX),
        want_closer: false,
    }
}

/// Leaves out the slots that show too little work, whatever servers say, and the cheapest of too
/// many; whether there were few enough.
fn keep_most_work(versions: &mut Versions, wish: Wish) -> bool {
    let bits = |versions: &[(ValidRecord, Vec<NodeInfo>)]| {
        versions.first().map_or(0, |(newest, _)| newest.work_bits())
    };
    versions.retain(|_, versions| bits(versions) >= wish.min_work);
    if versions.len() <= wish.most {
        return true;
    }
    let mut shown: Vec<_> = versions.iter().map(|(id, versions)| (bits(versions), *id)).collect();
    shown.sort_unstable_by_key(|(bits, _)| Reverse(*bits));
    for (_, id) in shown.into_iter().skip(wish.most) {
        versions.remove(&id);
    }
    false
}

/// Adds what one server showed to the versions of each slot, greatest first, with its body if one
/// came with it, and who holds it.
pub(super) fn merge(versions: &mut Versions, node: &NodeInfo, records: Vec<ValidRecord>) {
    for record in records {
        let of_slot = versions.entry(*record.id()).or_default();
        match of_slot.iter_mut().find(|(known, _)| known.digest() == record.digest()) {
            Some((known, nodes)) => {
                nodes.push(node.clone());
                if !known.has_body() {
                    *known = record;
                }
            }
            None => {
                let greater =
                    |(known, _): &(ValidRecord, _)| known.precedence() > record.precedence();
                let place = of_slot.partition_point(greater);
                of_slot.insert(place, (record, vec![node.clone()]));
                of_slot.truncate(VERSIONS_MAX);
            }
        }
    }
}
