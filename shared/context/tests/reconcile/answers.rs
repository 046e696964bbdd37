//! What a holder answers on the wire, to whoever asks.

use std::collections::BTreeSet;
use std::sync::Arc;

use dht_context::node_key::NodeKey;
use dht_context::transport::{Connection, Transport};
use dht_kad::admission::{Existing, row_key};
use dht_kad::codec::{decode_response, encode_request};
use dht_kad::message::reconcile::{
    Holding, LEAF_MAX, OFFER_MAX, Offered, PARTS_MAX, PartAnswer, PartAsk, SHORTS_MAX, Salted,
    Wanted,
};
use dht_kad::message::{FRAME_MAX, PAGE_BYTES, Reconcile, Reconciled, Request, Response};
use dht_kad::reconcile::{Fingerprint, Group, Item, Part, Prefix, Print, salted, short};
use dht_kad::record::{RecordDraft, Retention, Space};
use dht_kad::time::DAY_MS;
use dht_kad::{Refusal, ValidRecord};
use futures_util::future::join_all;

use crate::holders::{Holder, draft, sign, values, within};
use crate::tampered::{TamperedStore, Tampering};
use crate::wire::{Wire, WireTransport};

/// Somebody on the wire who only asks.
struct Stranger {
    connection: Arc<dyn Connection>,
    _transport: Arc<WireTransport>,
}

impl Stranger {
    async fn of(wire: &Arc<Wire>, number: u8, holder: &Holder) -> Self {
        let transport = wire.bind(NodeKey::from_seed([number; 32]).id());
        let connection = transport.dial(holder.info.addrs[0], None).await.unwrap();
        Stranger { connection, _transport: transport }
    }

    async fn ask(&self, question: Reconcile) -> Response {
        let frame = encode_request(&Request::Reconcile(question)).unwrap();
        let answer = within(self.connection.request(frame)).await.unwrap();
        assert!(answer.len() <= FRAME_MAX);
        decode_response(&answer).unwrap()
    }

    async fn reconciled(&self, question: Reconcile) -> Reconciled {
        match self.ask(question).await {
            Response::Reconciled(answer) => answer,
            other => panic!("{other:?}"),
        }
    }
}

async fn asked(number: u8) -> (Holder, Stranger) {
    let wire = Arc::new(Wire::default());
    let holder = Holder::start(&wire, 1);
    let stranger = Stranger::of(&wire, number, &holder).await;
    (holder, stranger)
}

fn group_of(record: &ValidRecord) -> Group {
    Group::of(&Existing::of(record))
}

fn item_of(record: &ValidRecord) -> Item {
    Item { row: row_key(record.id()), version: record.precedence() }
}

/// Records of one group, in the order of their places.
fn of_one_group(count: u32) -> Vec<ValidRecord> {
    let mut records: Vec<_> = (0..count).map(|number| sign(&draft(number))).collect();
    records.sort_by_key(|record| row_key(record.id()));
    records
}

#[tokio::test(start_paused = true)]
async fn a_listing_and_a_salted_print_are_those_of_the_part_s_items() {
    let (holder, stranger) = asked(9).await;
    let records = of_one_group(1_000);
    holder.give(&records).await;
    let prefix = Prefix::all().child(4);
    let inside: Vec<Item> =
        records.iter().map(item_of).filter(|item| prefix.covers_row(&item.row)).collect();
    let part = Part { group: group_of(&records[0]), prefix };
    let listed = stranger.reconciled(Reconcile::Listing(part.clone())).await;
    assert_eq!(listed, Reconciled::Items(inside.iter().map(Item::short).collect()));
    let salt = [7; 32];
    let print = stranger.reconciled(Reconcile::Salted(Salted { part, salt })).await;
    assert_eq!(print, Reconciled::Salted(salted(&inside, &salt).print()));
}

#[tokio::test(start_paused = true)]
async fn a_part_of_very_many_items_is_too_large_to_list() {
    let (holder, stranger) = asked(9).await;
    let records = of_one_group(SHORTS_MAX as u32 + 1);
    holder.give(&records).await;
    let part = Part { group: group_of(&records[0]), prefix: Prefix::all() };
    let listed = stranger.reconciled(Reconcile::Listing(part.clone())).await;
    assert_eq!(listed, Reconciled::TooLarge);
    let salted = stranger.reconciled(Reconcile::Salted(Salted { part, salt: [1; 32] })).await;
    assert_eq!(salted, Reconciled::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn an_answer_on_many_parts_is_bounded_and_asking_again_gets_all() {
    let (holder, stranger) = asked(9).await;
    let topic = |slot| RecordDraft { space: Space::Topic, slot, ..draft(0) };
    let mut shorts = BTreeSet::new();
    let mut waiting = Vec::new();
    for age in 0..24 {
        let created_at = |draft: RecordDraft| RecordDraft {
            retention: Retention::Days365,
            created_at: dht_kad::UnixMs(draft.created_at.0 - age * DAY_MS),
            ..draft
        };
        let records: Vec<_> =
            (0..900).map(|slot| sign(&created_at(topic(age * 1_000 + slot)))).collect();
        holder.give(&records).await;
        shorts.extend(records.iter().map(|record| short(record.digest())));
        let part = Part { group: group_of(&records[0]), prefix: Prefix::all() };
        waiting.push(PartAsk { part, print: Fingerprint::default().print() });
    }
    let mut questions = 0;
    while !waiting.is_empty() {
        questions += 1;
        let answer = stranger.reconciled(Reconcile::Parts(waiting.clone())).await;
        let Reconciled::Parts(answers) = answer else { panic!("{answer:?}") };
        assert_eq!(answers.len(), waiting.len());
        let mut later = Vec::new();
        for (ask, answer) in waiting.into_iter().zip(answers) {
            match answer {
                PartAnswer::Items(list) => list.iter().for_each(|it| assert!(shorts.remove(it))),
                PartAnswer::Later => later.push(ask),
                other => panic!("{other:?}"),
            }
        }
        waiting = later;
    }
    assert!((2..=4).contains(&questions), "{questions} questions");
    assert!(shorts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_on_the_most_parts_with_the_most_children_can_be_read() {
    let (holder, stranger) = asked(9).await;
    let records = of_one_group(1_000);
    holder.give(&records).await;
    let part = Part { group: group_of(&records[0]), prefix: Prefix::all() };
    let ask = PartAsk { part, print: Print { count: 1_000, hash: [1; 16] } };
    let answer = stranger.reconciled(Reconcile::Parts(vec![ask; PARTS_MAX])).await;
    let Reconciled::Parts(answers) = answer else { panic!("{answer:?}") };
    let full = |answer: &&PartAnswer| matches!(answer, PartAnswer::Children { children, .. } if children.len() == 16);
    let divided = answers.iter().take_while(full).count();
    assert!(divided > 100, "{divided} parts");
    assert!(answers[divided..].iter().all(|answer| *answer == PartAnswer::Later));
}

#[tokio::test(start_paused = true)]
async fn small_parts_are_listed_and_large_ones_divided() {
    let (holder, stranger) = asked(9).await;
    let records = of_one_group(LEAF_MAX as u32 + 1);
    holder.give(&records[1..]).await;
    let part = Part { group: group_of(&records[0]), prefix: Prefix::all() };
    let ask = |count: usize, hash| {
        let print = Print { count: count as u64, hash };
        Reconcile::Parts(vec![PartAsk { part: part.clone(), print }])
    };
    let all: Fingerprint = records[1..].iter().map(|record| Fingerprint::of(record.digest())).sum();
    let same = stranger.reconciled(ask(LEAF_MAX, all.print().hash)).await;
    assert_eq!(same, Reconciled::Parts(vec![PartAnswer::Same]));
    let list = records[1..].iter().map(|record| short(record.digest())).collect();
    let listed = stranger.reconciled(ask(LEAF_MAX, [1; 16])).await;
    assert_eq!(listed, Reconciled::Parts(vec![PartAnswer::Items(list)]));
    let divided = |answer: Reconciled| -> u64 {
        let Reconciled::Parts(answers) = answer else { panic!("{answer:?}") };
        let [PartAnswer::Children { children, .. }] = &answers[..] else { panic!("{answers:?}") };
        children.iter().map(|(_, print)| print.count).sum()
    };
    assert_eq!(divided(stranger.reconciled(ask(LEAF_MAX + 1, [1; 16])).await), 32);
    holder.give(&records[..1]).await;
    assert_eq!(divided(stranger.reconciled(ask(LEAF_MAX, [1; 16])).await), 33);
}

#[tokio::test(start_paused = true)]
async fn records_come_as_far_as_a_page_goes_and_without_those_that_ended() {
    let (holder, stranger) = asked(9).await;
    let body = bytes::Bytes::from(vec![1; 50_000]);
    let large: Vec<_> =
        (0..5).map(|number| sign(&RecordDraft { body: body.clone(), ..draft(number) })).collect();
    let ended = sign(&RecordDraft { retention: Retention::Hours8, ..draft(100) });
    holder.give(&large).await;
    holder.give([&ended]).await;
    let wanted = |record: &ValidRecord| Offered::new(group_of(record), &item_of(record)).wanted();
    let ask = |records: &[ValidRecord]| Reconcile::Records(records.iter().map(wanted).collect());
    let Reconciled::Records(first) = stranger.reconciled(ask(&large)).await else { panic!() };
    assert_eq!(first.len(), PAGE_BYTES / large[0].bytes().len());
    let Reconciled::Records(rest) = stranger.reconciled(ask(&large[first.len()..])).await else {
        panic!()
    };
    for (record, sent) in large.iter().zip(first.iter().chain(&rest)) {
        assert_eq!(*record.bytes(), sent.0);
    }
    let one = std::slice::from_ref(&ended);
    let Reconciled::Records(sent) = stranger.reconciled(ask(one)).await else { panic!() };
    assert_eq!(sent.len(), 1);
    holder.clock.advance(DAY_MS);
    let answer = stranger.reconciled(ask(one)).await;
    assert_eq!(answer, Reconciled::Records(vec![]));
    let unknown = Wanted { shorts: vec![1, 2, 3], ..wanted(&large[0]) };
    let answer = stranger.reconciled(Reconcile::Records(vec![unknown])).await;
    assert_eq!(answer, Reconciled::Records(vec![]));
}

#[tokio::test(start_paused = true)]
async fn an_offer_of_what_is_held_or_superseded_is_held_and_a_newer_one_is_not() {
    let (holder, stranger) = asked(9).await;
    let version = |seq| sign(&RecordDraft { seq, ..draft(1) });
    let offer = |record: &ValidRecord| Offered::new(group_of(record), &item_of(record));
    holder.give([&version(2)]).await;
    let offers = vec![offer(&version(1)), offer(&version(2)), offer(&version(3))];
    let answer = stranger.reconciled(Reconcile::Offer(offers)).await;
    let Reconciled::Holdings(holdings) = answer else { panic!("{answer:?}") };
    assert_eq!(holdings, [Holding::Held, Holding::Held, Holding::Wanted]);
    let many = values(0..OFFER_MAX as u32).iter().map(offer).collect();
    let answer = stranger.reconciled(Reconcile::Offer(many)).await;
    assert!(matches!(&answer, Reconciled::Holdings(all) if all.len() == OFFER_MAX));
    holder.store.close().await;
    let answer = stranger.reconciled(Reconcile::Offer(vec![offer(&version(3))])).await;
    assert_eq!(answer, Reconciled::Holdings(vec![Holding::Declined]));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_told_that_it_is_noted() {
    let (_holder, stranger) = asked(9).await;
    assert_eq!(stranger.reconciled(Reconcile::Leaving).await, Reconciled::Noted);
}

#[tokio::test(start_paused = true)]
async fn each_asker_has_one_question_of_a_purpose_answered_at_a_time_and_the_others_wait() {
    let wire = Arc::new(Wire::default());
    let tampering = Arc::new(Tampering::slow());
    let holder = Holder::start_with(&wire, 1, |kept| TamperedStore::wrap(kept, &tampering));
    let records = of_one_group(10);
    holder.give(&records).await;
    let part = Part { group: group_of(&records[0]), prefix: Prefix::all() };
    let listing = || Reconcile::Listing(part.clone());
    let mut strangers = Vec::new();
    for number in 10..20 {
        strangers.push(Stranger::of(&wire, number, &holder).await);
    }
    let all = join_all(strangers.iter().map(|stranger| stranger.ask(listing())));
    let again = async {
        // Those who hold a place already are refused at once, while nothing is shown yet; then each
        // look is let through, and everybody's first question is answered.
        let busy = strangers[0].ask(listing()).await;
        assert_eq!(busy, Response::Refused(Refusal::Busy));
        let offer = Reconcile::Offer(vec![Offered::new(part.group, &item_of(&records[0]))]);
        let offered = strangers[0].ask(offer);
        tampering.looks.add_permits(strangers.len());
        assert!(matches!(offered.await, Response::Reconciled(_)), "of another purpose");
    };
    let (answers, ()) = futures_util::future::join(all, again).await;
    for answer in answers {
        assert!(matches!(&answer, Response::Reconciled(Reconciled::Items(all)) if all.len() == 10));
    }
    assert_eq!(
        strangers[1].ask(Reconcile::Parts(vec![])).await,
        Response::Reconciled(Reconciled::Parts(vec![]))
    );
}
