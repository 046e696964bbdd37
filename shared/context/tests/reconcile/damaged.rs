//! A row of a holder's database is damaged, and others hold a newer version of what it held: it is the
//! only thing that the holder lacks then.

use std::sync::Arc;

use dht_context::node_key::NodeKey;
use dht_context::replication::RoundError;
use dht_context::transport::Transport;
use dht_kad::admission::{Existing, row_key};
use dht_kad::codec::{decode_response, encode_request};
use dht_kad::message::reconcile::{Holding, Offered};
use dht_kad::message::{Reconcile, Reconciled, Request, Response};
use dht_kad::reconcile::{Group, Item, Prefix};
use dht_kad::record::RecordDraft;
use dht_kad::{Refusal, ValidRecord};

use crate::holders::{HURRIED, Holder, draft, sign, until, values, within};
use crate::tampered::{TamperedStore, Tampering};
use crate::wire::Wire;

fn version(number: u32, seq: u64) -> ValidRecord {
    sign(&RecordDraft { seq, ..draft(number) })
}

/// A holder of first versions whose rows are damaged then, and one that holds the second ones and some
/// more.
async fn damaged_and_sound(
    wire: &Arc<Wire>,
    damaged: u32,
    more: &[ValidRecord],
) -> (Holder, Holder) {
    let tampering = Arc::<Tampering>::default();
    let here = Holder::start_with(wire, 1, |kept| TamperedStore::wrap(kept, &tampering));
    let there = Holder::start(wire, 2);
    damage(&here, &tampering, damaged).await;
    let newer: Vec<ValidRecord> = (0..damaged).map(|number| version(number, 2)).collect();
    there.give(newer.iter().chain(more)).await;
    (here, there)
}

async fn damage(here: &Holder, tampering: &Tampering, rows: u32) {
    let older: Vec<ValidRecord> = (0..rows).map(|number| version(number, 1)).collect();
    here.give(&older).await;
    tampering.damaged.lock().unwrap().extend(older.iter().map(|record| *record.id()));
}

#[tokio::test(start_paused = true)]
async fn one_damaged_row_is_left_out_of_each_round_and_all_else_is_taken() {
    let wire = Arc::new(Wire::default());
    let more = values(1_000..1_600);
    let (here, there) = damaged_and_sound(&wire, 1, &more).await;
    let compare =
        async || within(here.context.compare_with(&there.info, &[Prefix::all()])).await.unwrap();
    let first = compare().await;
    assert_eq!((first.fetched, first.lacked, first.complete), (600, 601, true), "{first:?}");
    for record in &more {
        assert!(here.holds(record).await);
    }
    let again = compare().await;
    assert!(!again.equal, "nobody is told that it is held");
    assert_eq!((again.fetched, again.lacked, again.complete), (0, 1, true), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn where_very_many_rows_are_damaged_it_is_the_store_that_fails() {
    let wire = Arc::new(Wire::default());
    let (here, there) = damaged_and_sound(&wire, 100, &[]).await;
    let result = within(here.context.compare_with(&there.info, &[Prefix::all()])).await;
    assert!(matches!(result, Err(RoundError::Store(Refusal::Internal))), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_with_a_damaged_row_becomes_whole() {
    let wire = Arc::new(Wire::default());
    let first = Holder::start_repairing(&wire, 1, None, HURRIED, |kept| Arc::new(kept));
    let more = values(1_000..1_010);
    first.give(more.iter().chain([&version(0, 2)])).await;
    let tampering = Arc::<Tampering>::default();
    let wrap = |kept| TamperedStore::wrap(kept, &tampering);
    let second = Holder::start_repairing(&wire, 2, Some(&first), HURRIED, wrap);
    damage(&second, &tampering, 1).await;
    until(|| second.context.is_whole()).await;
    for record in &more {
        assert!(second.holds(record).await);
    }
    // It stays so, and goes on to say that something lacks here.
    let rounds = second.context.stats().replication.rounds_ok;
    until(|| second.context.stats().replication.rounds_ok > rounds + 3).await;
    let figures = second.context.stats().replication;
    assert!(second.context.is_whole() && figures.oldest_unrepaired_ms > 0, "{figures:?}");
    assert_eq!(figures.rounds_failed, 0, "{figures:?}");
}

#[tokio::test(start_paused = true)]
async fn of_an_offer_only_what_belongs_into_a_damaged_row_is_declined() {
    let wire = Arc::new(Wire::default());
    let (here, _there) = damaged_and_sound(&wire, 1, &[]).await;
    let transport = wire.bind(NodeKey::from_seed([9; 32]).id());
    let connection = transport.dial(here.info.addrs[0], None).await.unwrap();
    let offer = |record: &ValidRecord| {
        let item = Item { row: row_key(record.id()), version: record.precedence() };
        Offered::new(Group::of(&Existing::of(record)), &item)
    };
    let offers = [version(1_000, 1), version(0, 2), version(0, 1), version(1_001, 1)];
    let question = Reconcile::Offer(offers.iter().map(offer).collect());
    let frame = encode_request(&Request::Reconcile(question)).unwrap();
    let answer = decode_response(&within(connection.request(frame)).await.unwrap()).unwrap();
    let Response::Reconciled(Reconciled::Holdings(holdings)) = answer else { panic!("{answer:?}") };
    let (wanted, declined) = (Holding::Wanted, Holding::Declined);
    assert_eq!(holdings, [wanted, declined, declined, wanted]);
}
