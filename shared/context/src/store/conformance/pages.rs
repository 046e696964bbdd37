//! Rules of pages: what a query shows, and how the next page follows.

use bytes::Bytes;
use dht_kad::message::Position;
use dht_kad::record::Space;
use dht_kad::time::DAY_MS;
use dht_kad::{Key, RecordDraft, UnixMs, ValidRecord};

use super::{NO_LIMITS, NOW, Opened, Subject, draft, sign, sign_by};
use crate::store::{Page, PageQuery};

/// Slots of each of three publishers of one topic.
const SLOTS: u64 = 5;

/// One topic with records of three publishers, in a page's order, and a neighbour's record.
async fn topic<S: Subject>(opened: &Opened<S>) -> (Key, Vec<ValidRecord>) {
    let mut records: Vec<_> = (0..SLOTS)
        .flat_map(|slot| [1, 2, 3].map(|publisher| (slot, publisher)))
        .map(|(slot, publisher)| {
            let work_bits = if slot == 0 { 6 } else { 0 };
            let space = Space::Topic;
            let draft = RecordDraft { space, slot, work_bits, ..draft(1, "an entry") };
            sign_by(publisher, &draft)
        })
        .collect();
    let label = [2; 32];
    let neighbour = sign(&RecordDraft { space: Space::Topic, label, ..draft(1, "neighbour") });
    for record in records.iter().chain([&neighbour]) {
        opened.put(record).await.expect("stored");
    }
    records.sort_by_key(|record| (*record.publisher(), record.slot()));
    (records[0].id().key, records)
}

fn bytes_of<'a>(records: impl IntoIterator<Item = &'a ValidRecord>) -> Vec<Bytes> {
    records.into_iter().map(|record| record.bytes().clone()).collect()
}

fn position(record: &ValidRecord) -> Position {
    Position { publisher: record.id().publisher, slot: record.id().slot }
}

/// Pages of any length show everything once, in the order of publisher and slot.
pub async fn pages_go_on_where_the_last_ended<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let (key, records) = topic(&opened).await;
    for limit in 0..=records.len() + 1 {
        let query = PageQuery { limit, ..PageQuery::all(key) };
        let page = opened.page(query.clone()).await;
        let shown = limit.max(1).min(records.len());
        assert_eq!(page.records, bytes_of(&records[..shown]), "limit {limit}");
        let more = shown < records.len();
        assert_eq!(page.next, more.then(|| position(&records[shown - 1])), "limit {limit}");
        assert_eq!(opened.all(query).await, bytes_of(&records));
    }
    let gone_since = Position { slot: SLOTS + 7, ..position(&records[0]) };
    let query = PageQuery { after: Some(gone_since), ..PageQuery::all(key) };
    let slots = usize::try_from(SLOTS).expect("a small number");
    assert_eq!(opened.all(query).await, bytes_of(&records[slots..]));
}

/// A page ends before the record that would make it longer than asked for.
pub async fn a_page_is_bounded_by_bytes<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let (key, records) = topic(&opened).await;
    let one = records[0].bytes().len();
    for (max_bytes, shown) in [(0, 1), (one, 1), (2 * one - 1, 1), (2 * one, 2), (3 * one, 3)] {
        let query = PageQuery { max_bytes, ..PageQuery::all(key) };
        let page = opened.page(query.clone()).await;
        assert_eq!(page.records, bytes_of(&records[..shown]), "{max_bytes} bytes");
        assert_eq!(page.next, Some(position(&records[shown - 1])));
        assert_eq!(opened.all(query).await, bytes_of(&records));
    }
}

/// The largest record there can be is shown, however few bytes were asked for.
pub async fn one_maximal_record_fits_any_page<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let largest = |slot| {
        let ext = Bytes::from(vec![1; 1024]);
        let body = Bytes::from(vec![2; 65_536]);
        sign(&RecordDraft { slot, ext, body, ..draft(1, "") })
    };
    let records = [largest(0), largest(1)];
    for record in &records {
        opened.put(record).await.expect("stored");
    }
    let key = records[0].id().key;
    for max_bytes in [0, 1, records[0].bytes().len()] {
        let page = opened.page(PageQuery { max_bytes, ..PageQuery::all(key) }).await;
        assert_eq!(page.records, bytes_of(&records[..1]));
        assert_eq!(page.next, Some(position(&records[0])));
    }
    assert_eq!(opened.at(key).await, bytes_of(&records));
}

/// Publisher, slots, work, start and heads are each respected, alone and together.
pub async fn a_page_shows_only_what_was_asked_for<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let (key, records) = topic(&opened).await;
    let publisher = *records[6].publisher();
    let after = position(&records[7]);
    let all = PageQuery::all(key);
    let by_one = PageQuery { publisher: Some(publisher), ..all.clone() };
    let some_slots = PageQuery { slots: Some((1, 3)), ..all.clone() };
    let queries = [
        by_one.clone(),
        some_slots.clone(),
        PageQuery { min_work: 6, ..all.clone() },
        PageQuery { after: Some(after), ..all.clone() },
        PageQuery { slots: Some((2, 2)), ..by_one.clone() },
        PageQuery { slots: Some((2, u64::MAX)), after: Some(after), ..by_one.clone() },
        PageQuery { after: Some(position(&records[0])), ..by_one.clone() },
        PageQuery { slots: Some((3, 4)), after: Some(position(&records[5])), ..by_one.clone() },
        PageQuery { after: Some(after), min_work: 6, ..all.clone() },
        PageQuery { publisher: Some([0xee; 32]), ..all.clone() },
    ];
    for query in queries {
        let asked_for = |record: &&ValidRecord| {
            query.publisher.is_none_or(|publisher| *record.publisher() == publisher)
                && query.slots.is_none_or(|(a, b)| (a..=b).contains(&record.slot()))
                && query.after.is_none_or(|after| position(record) > after)
                && record.work_bits() >= query.min_work
        };
        let expected: Vec<_> = records.iter().filter(asked_for).collect();
        for limit in [1, 2, 256] {
            let query = PageQuery { limit, ..query.clone() };
            let found = opened.all(query.clone()).await;
            assert_eq!(found, bytes_of(expected.iter().copied()), "{query:?}");
        }
        let heads: Vec<_> = expected.iter().map(|record| record.head_bytes()).collect();
        assert_eq!(opened.all(PageQuery { heads_only: true, ..query }).await, heads);
    }
}

/// A hostile range that ends before it starts shows nothing, and harms nothing.
pub async fn a_page_that_cannot_be_is_empty<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let (key, records) = topic(&opened).await;
    let publisher = Some(*records[0].publisher());
    let last = Position { publisher: [0xff; 32], slot: u64::MAX };
    let all = PageQuery::all(key);
    let queries = [
        PageQuery { slots: Some((3, 1)), ..all.clone() },
        PageQuery { slots: Some((3, 1)), publisher, ..all.clone() },
        PageQuery { after: Some(last), ..all.clone() },
        PageQuery { after: Some(last), publisher, ..all.clone() },
        PageQuery { after: Some(last), publisher, slots: Some((1, 2)), ..all.clone() },
        PageQuery { min_work: u32::MAX, ..all.clone() },
        PageQuery::all(Key([0xff; 32])),
        PageQuery::all(Key([0; 32])),
    ];
    for query in queries {
        assert_eq!(opened.page(query.clone()).await, Page::default(), "{query:?}");
    }
}

/// What has ended takes no place on a page and is not what `next` points beyond.
pub async fn what_has_ended_is_on_no_page<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let made = |slot: u64| {
        let created_at = UnixMs(NOW.0 - (slot % 3) * DAY_MS);
        sign(&RecordDraft { slot, created_at, ..draft(1, "value") })
    };
    let records: Vec<_> = (0..9).map(made).collect();
    for record in &records {
        opened.put(record).await.expect("stored");
    }
    opened.clock.set(NOW.after(6 * DAY_MS));
    let live: Vec<_> = records.iter().filter(|record| record.slot() % 3 == 0).collect();
    for limit in [1, 2, 3] {
        let query = PageQuery { limit, ..PageQuery::all(records[0].id().key) };
        assert_eq!(opened.all(query.clone()).await, bytes_of(live.iter().copied()));
        let page = opened.page(query).await;
        assert_eq!(page.next.is_some(), limit < live.len(), "no cursor to an empty page");
    }
}
