//! What other holders are answered, from local information only.
//!
//! Each question is bounded by what it makes the store do: a look at the fingerprints, so many rows
//! of the index, a page of records. What does not fit is answered [`PartAnswer::Later`] or left out,
//! and asked for again. Few questions are worked on at one time, in the order in which they came,
//! and one of each purpose for each asker, so that puts and gets find the store and the processor
//! free.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dht_kad::message::reconcile::{
    GROUPS_MAX, GroupPrint, Holding, Offered, PartAnswer, PartAsk, SHORTS_MAX, Wanted, Whole,
};
use dht_kad::message::{PAGE_BYTES, PAGE_RECORDS, Reconcile, Reconciled, RecordBytes, Response};
use dht_kad::reconcile::descent::{answer_from_items, list_limit};
use dht_kad::reconcile::{Children, Cut, Fingerprint, Group, Item, Part, Prefix, salted};
use dht_kad::{NodeId, Precedence, RecordId, Refusal, ValidRecord};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Figures;
use crate::server::Server;
use crate::store::PageQuery;

/// Questions that are worked on at one time: enough to keep a disk busy, few beside the hundreds of
/// puts and gets that are.
const AT_ONCE: usize = 4;
/// Questions that are worked on or wait for their turn, more than a node has neighbours. With a few
/// milliseconds each, the last one is answered well within its time limit.
const WAITING_MAX: usize = 64;
/// Of those places, how many may be taken when one comes that is not in the routing table: anybody
/// may ask, and no number of names keeps neighbours from being answered.
const WAITING_STRANGERS: usize = WAITING_MAX / 2;
/// About how many bytes an answer on parts may have: half a frame.
const ANSWER_BYTES: usize = 128 * 1024;
/// About how many rows of the store's index one question may cost: some ten milliseconds.
const ROWS_MAX: usize = 16_384;
/// What it costs to get to the first row of a part, in rows: so 256 parts at most are read.
const SEEK_ROWS: usize = 64;
/// After so many parts, items or records others get their turn, where nothing had to be waited for.
const TURN_PARTS: usize = 16;
/// So many prefixes are looked up at once in each of some 600 groups: a millisecond or two.
const TURN_PREFIXES: usize = 16;

/// Who is being answered.
pub(crate) struct Answers {
    askers: Mutex<BTreeSet<(NodeId, Purpose)>>,
    turns: Semaphore,
}

/// What a question is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Purpose {
    /// To find what differs.
    Compare,
    /// To fetch it.
    Fetch,
    /// To hand on what belongs elsewhere.
    Offer,
}

/// An asker's place among those being answered; dropping it gives it back.
struct Place<'a> {
    answers: &'a Answers,
    of: (NodeId, Purpose),
}

/// What one question may still cost.
struct Room {
    bytes: usize,
    rows: usize,
}

/// What the fingerprints alone say of a part.
enum Sight {
    Same,
    Divided(Children),
    /// The items are to be looked at.
    Close,
}

impl Purpose {
    /// What this question is for.
    pub(crate) fn of(question: &Reconcile) -> Self {
        match question {
            Reconcile::Whole(_)
            | Reconcile::Parts(_)
            | Reconcile::Listing(_)
            | Reconcile::Salted(_) => Purpose::Compare,
            Reconcile::Records(_) => Purpose::Fetch,
            Reconcile::Offer(_) | Reconcile::Leaving => Purpose::Offer,
        }
    }
}

impl Figures {
    /// Counts the bytes of a question and its answer; those of records are counted one by one.
    pub(crate) fn note_exchange(&self, purpose: Purpose, bytes: usize) {
        let counter = match purpose {
            Purpose::Compare => &self.compare_bytes,
            Purpose::Offer => &self.offer_bytes,
            Purpose::Fetch => return,
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Default for Answers {
    fn default() -> Self {
        Answers { askers: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }
}

impl Answers {
    /// The asker's place, unless it has one for this purpose already, or too many wait.
    fn place(&self, asker: NodeId, purpose: Purpose, known: bool) -> Option<Place<'_>> {
        let of = (asker, purpose);
        let most = if known { WAITING_MAX } else { WAITING_STRANGERS };
        let mut askers = self.askers();
        let taken = askers.len() < most && askers.insert(of);
        // Made only where it is taken: a place that is dropped is given back, which takes the lock.
        taken.then(|| Place { answers: self, of })
    }

    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    fn askers(&self) -> MutexGuard<'_, BTreeSet<(NodeId, Purpose)>> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.answers.askers().remove(&self.of);
    }
}

impl Server {
    /// Answers another holder's question when its turn comes.
    pub(crate) async fn reconciled(
        self: Arc<Self>,
        asker: NodeId,
        question: Reconcile,
    ) -> Response {
        let known = self.registry.in_table(&asker);
        let Some(_place) = self.answers.place(asker, Purpose::of(&question), known) else {
            return Response::Refused(Refusal::Busy);
        };
        let _turn = self.answers.turn().await;
        let answer = match question {
            Reconcile::Whole(whole) => {
                let answer = self.whole(&whole).await;
                if matches!(answer, Reconciled::Equal | Reconciled::Groups(_)) {
                    self.replication.note_look(&asker);
                }
                Ok(answer)
            }
            Reconcile::Parts(parts) => self.parts(parts).await,
            Reconcile::Listing(part) => self.small_part(part).await.map(|items| match items {
                Some(items) => Reconciled::Items(items.iter().map(Item::short).collect()),
                None => Reconciled::TooLarge,
            }),
            Reconcile::Salted(ask) => self.small_part(ask.part).await.map(|items| match items {
                Some(items) => Reconciled::Salted(salted(&items, &ask.salt).print()),
                None => Reconciled::TooLarge,
            }),
            Reconcile::Records(wanted) => {
                self.replication.note_fetch(&asker);
                self.records(wanted).await
            }
            Reconcile::Offer(offered) => self.holdings(asker, offered).await,
            Reconcile::Leaving => {
                self.replication.note_leaving(asker);
                Ok(Reconciled::Noted)
            }
        };
        answer.map_or_else(Response::Refused, Response::Reconciled)
    }

    /// Counts what a question and its answer took of the network.
    pub(crate) fn note_reconciled(&self, purpose: Purpose, bytes: usize) {
        self.replication.figures.note_exchange(purpose, bytes);
    }

    async fn whole(&self, asked: &Whole) -> Reconciled {
        let own = Cut::at(self.clock.now());
        if !own.is_near(&asked.cut) {
            return Reconciled::OtherCut(own);
        }
        let later = own.later(&asked.cut);
        if later != asked.cut {
            return Reconciled::OtherCut(later);
        }
        let seen = self.groups_within(&asked.cut, &asked.range).await;
        let Some(groups) = seen.filter(|groups| groups.len() <= GROUPS_MAX) else {
            return Reconciled::TooLarge;
        };
        let all: Fingerprint = groups.iter().map(|(_, print)| *print).sum();
        if all.print() == asked.print {
            return Reconciled::Equal;
        }
        let sent =
            |(group, all): &(_, Fingerprint)| GroupPrint { group: *group, print: all.print() };
        Reconciled::Groups(groups.iter().map(sent).collect())
    }

    /// The fingerprints of all groups under these prefixes; `None` if they are not told apart yet. A
    /// few prefixes at a time, as each means a look into every group: what changes in between makes
    /// the sum differ, and then it is looked at more closely.
    pub(crate) async fn groups_within(
        &self,
        cut: &Cut,
        range: &[Prefix],
    ) -> Option<Vec<(Group, Fingerprint)>> {
        let mut groups: BTreeMap<Group, Fingerprint> = BTreeMap::new();
        for (place, prefixes) in range.chunks(TURN_PREFIXES).enumerate() {
            if place > 0 {
                tokio::task::yield_now().await;
            }
            let mut seen = None;
            self.store.fingerprints(&mut |all| seen = all.groups(cut, prefixes));
            for (group, print) in seen? {
                let sum = groups.entry(group).or_default();
                *sum = sum.plus(print);
            }
        }
        Some(groups.into_iter().collect())
    }

    async fn parts(&self, asked: Vec<PartAsk>) -> Result<Reconciled, Refusal> {
        let mut room = Room { bytes: ANSWER_BYTES, rows: ROWS_MAX };
        let mut answers = Vec::with_capacity(asked.len());
        for ask in &asked {
            if answers.len() % TURN_PARTS == TURN_PARTS - 1 {
                tokio::task::yield_now().await;
            }
            let answer = self.part(ask, &mut room).await?;
            if answers.is_empty() && answer == PartAnswer::Later {
                return Ok(Reconciled::TooLarge);
            }
            room.bytes = room.bytes.saturating_sub(size_of_answer(&answer));
            answers.push(answer);
        }
        Ok(Reconciled::Parts(answers))
    }

    /// What one part is answered; `Later` where there is no room left, or the store is not ready to
    /// tell it apart.
    async fn part(&self, asked: &PartAsk, room: &mut Room) -> Result<PartAnswer, Refusal> {
        if room.bytes == 0 {
            return Ok(PartAnswer::Later);
        }
        match self.sight(asked) {
            Sight::Same => return Ok(PartAnswer::Same),
            Sight::Divided(children) => return Ok(children.answer()),
            Sight::Close if room.rows == 0 => return Ok(PartAnswer::Later),
            Sight::Close => {}
        }
        let items = self.items_within(asked.part.clone(), SHORTS_MAX).await?;
        let rows = items.as_ref().map_or(SHORTS_MAX, Vec::len);
        room.rows = room.rows.saturating_sub(rows.saturating_add(SEEK_ROWS));
        Ok(items.map_or(PartAnswer::Later, |items| answer_from_items(asked, &items)))
    }

    fn sight(&self, asked: &PartAsk) -> Sight {
        let mut sight = Sight::Close;
        self.store.fingerprints(&mut |all| {
            let Some(ours) = all.part(&asked.part) else { return };
            if ours.print() == asked.print {
                sight = Sight::Same;
            } else if ours.count > list_limit(asked.print.count) as u64
                && let Some(children) = all.children(&asked.part)
            {
                sight = Sight::Divided(children);
            }
        });
        sight
    }

    /// All items of a part, unless there are more than `limit`.
    pub(crate) async fn items_within(
        &self,
        part: Part,
        limit: usize,
    ) -> Result<Option<Vec<Item>>, Refusal> {
        let items = self.store.items(part, None, limit.saturating_add(1)).wait().await?;
        Ok((items.len() <= limit).then_some(items))
    }

    async fn small_part(&self, part: Part) -> Result<Option<Vec<Item>>, Refusal> {
        self.items_within(part, SHORTS_MAX).await
    }

    /// As many of the wanted records as fit a page, whatever room for rows is left. Those that have
    /// ended or were replaced are left out.
    async fn records(&self, wanted: Vec<Wanted>) -> Result<Reconciled, Refusal> {
        let mut records = Vec::new();
        let mut room = Room { bytes: PAGE_BYTES, rows: ROWS_MAX };
        for Wanted { part, shorts } in wanted {
            if room.rows == 0 {
                break;
            }
            let group = part.group;
            let items = self.store.items(part, None, SHORTS_MAX).wait().await?;
            room.rows = room.rows.saturating_sub(items.len().saturating_add(SEEK_ROWS));
            let shorts: BTreeSet<u64> = shorts.into_iter().collect();
            for item in items.iter().filter(|item| shorts.contains(&item.short())) {
                let id = Offered::new(group, item).id();
                let record = match self.shown(&id, false).await {
                    Ok(Some(record)) => record,
                    // One that is damaged here must not keep the others from being served.
                    Ok(None) | Err(Refusal::Internal) => continue,
                    Err(refusal) => return Err(refusal),
                };
                // A later version that came between the two reads was not asked for, and would count
                // as a lie.
                let shown = ValidRecord::from_own_store(record.clone(), &self.network);
                if !shown.is_ok_and(|shown| *shown.digest() == item.version.digest) {
                    continue;
                }
                if records.len() >= PAGE_RECORDS || record.len() > room.bytes {
                    return Ok(self.served(records));
                }
                room.bytes = room.bytes.saturating_sub(record.len());
                records.push(RecordBytes(record));
                if records.len() % TURN_PARTS == 0 {
                    tokio::task::yield_now().await;
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(self.served(records))
    }

    fn served(&self, records: Vec<RecordBytes>) -> Reconciled {
        let bytes: usize = records.iter().map(|record| record.0.len()).sum();
        let figures = &self.replication.figures;
        figures.served.fetch_add(records.len() as u64, Ordering::Relaxed);
        figures.served_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Reconciled::Records(records)
    }

    async fn holdings(&self, asker: NodeId, offered: Vec<Offered>) -> Result<Reconciled, Refusal> {
        let now = self.clock.now();
        let writable = self.store.writable().is_ok();
        let neighbourhood = self.replication.neighbourhood();
        let mut holdings = Vec::with_capacity(offered.len());
        let mut wanted = Vec::new();
        for offer in offered {
            if holdings.len() % TURN_PARTS == TURN_PARTS - 1 {
                tokio::task::yield_now().await;
            }
            let held = match self.held(&offer.id()).await {
                // What is damaged here is not held, and nothing can take its place; all else that was
                // offered is not to suffer for it.
                Err(Refusal::Internal) => {
                    holdings.push(Holding::Declined);
                    continue;
                }
                held => held?,
            };
            holdings.push(if held.is_some_and(|held| held >= offer.version()) {
                Holding::Held
            } else if !writable || offer.keep_until <= now || !neighbourhood.may_take(&offer.key) {
                Holding::Declined
            } else {
                wanted.push(offer.wanted());
                Holding::Wanted
            });
        }
        if !wanted.is_empty() && !self.want(asker, wanted) {
            let wants = holdings.iter_mut().filter(|holding| **holding == Holding::Wanted);
            wants.for_each(|holding| *holding = Holding::Declined);
        }
        Ok(Reconciled::Holdings(holdings))
    }

    /// Takes note of what is to be fetched from an asker; false if there is no room for it.
    fn want(&self, asker: NodeId, wanted: Vec<Wanted>) -> bool {
        let known = self.registry.in_table(&asker);
        let has_room = known || self.replication.state().wants.has_room_for_stranger(&wanted);
        has_room && self.replication.want(asker, wanted)
    }

    /// The version that a slot holds, as a reader would find it.
    ///
    /// # Errors
    /// `Internal` if the slot's row is damaged; what else the store refuses.
    pub(crate) async fn held(&self, id: &RecordId) -> Result<Option<Precedence>, Refusal> {
        let Some(head) = self.shown(id, true).await? else { return Ok(None) };
        let head = ValidRecord::from_own_store(head, &self.network);
        head.map(|head| Some(head.precedence())).map_err(|_| Refusal::Internal)
    }

    async fn shown(&self, id: &RecordId, heads_only: bool) -> Result<Option<Bytes>, Refusal> {
        let query = PageQuery {
            publisher: Some(id.publisher),
            slots: Some((id.slot, id.slot)),
            heads_only,
            limit: 1,
            ..PageQuery::all(id.key)
        };
        Ok(self.store.find(query).wait().await?.records.into_iter().next())
    }
}

/// About how many bytes an answer takes of its reader's limit, which counts numbers at full length.
fn size_of_answer(answer: &PartAnswer) -> usize {
    match answer {
        PartAnswer::Same | PartAnswer::Later => 4,
        PartAnswer::Children { at, children } => 24 + at.len() / 2 + children.len() * 33,
        PartAnswer::Items(shorts) => 12 + shorts.len() * 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_take_all_the_places() {
        let answers = Answers::default();
        let id = |number| NodeId::from_bytes([number; 32]);
        let stranger = |number| answers.place(id(number), Purpose::Compare, false);
        let strangers: Vec<_> = (0..=255).filter_map(stranger).collect();
        assert_eq!(strangers.len(), WAITING_STRANGERS);
        let neighbour = |number| answers.place(id(number), Purpose::Fetch, true);
        let neighbours: Vec<_> = (0..=255).filter_map(neighbour).collect();
        assert_eq!(neighbours.len(), WAITING_MAX - WAITING_STRANGERS);
        drop(strangers);
        let again = neighbour(200);
        assert!(again.is_some() && neighbour(200).is_none(), "one of each purpose");
    }
}
