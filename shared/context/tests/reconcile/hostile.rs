//! A holder that answers nonsense or lies: the asker survives it, stores nothing, and counts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dht_context::clock::{Clock, ManualClock};
use dht_context::node_key::NodeKey;
use dht_context::replication::{RoundError, RoundReport};
use dht_context::transport::{Answer, Asker, Service, Transport};
use dht_kad::admission::{Amount, Existing, FUTURE_TOLERANCE_MS, Limits};
use dht_kad::codec::{decode_request, encode_response};
use dht_kad::message::reconcile::{GroupPrint, PARTS_MAX, PartAnswer, PartAsk, SHORTS_MAX};
use dht_kad::message::{
    Mode, NodeInfo, Pong, Reconcile, Reconciled, RecordBytes, Request, Response,
};
use dht_kad::reconcile::{Cut, Group, Prefix, Print, short};
use dht_kad::record::{RecordDraft, Retention};
use dht_kad::time::{DAY_MS, HOUR_MS};
use dht_kad::{Refusal, UnixMs, ValidRecord};

use crate::holders::{Holder, START, draft, identity, sign, values, within};
use crate::wire::{Wire, WireTransport};

type Script = Box<dyn Fn(&Reconcile) -> Reconciled + Send + Sync>;

/// Answers questions of holders as its script says, and pings like any server.
struct Liar(Script);

impl Service for Liar {
    fn answer(&self, asker: Asker, frame: Bytes) -> Answer {
        let response = match decode_request(&frame).unwrap() {
            Request::Ping(_) => Response::Pong(Pong {
                mode: Mode::Server,
                version: "liar".into(),
                settled: true,
                whole: true,
                observed: asker.addr,
                clock: ManualClock::new(START).now(),
            }),
            Request::Reconcile(question) => Response::Reconciled((self.0)(&question)),
            _ => Response::Refused(Refusal::Busy),
        };
        Answer::Ready(encode_response(&response).unwrap())
    }
}

/// Starts a liar; it lives as long as the wire.
fn liar(wire: &Arc<Wire>, script: Script) -> NodeInfo {
    let transport: Arc<WireTransport> = wire.bind(NodeKey::from_seed([99; 32]).id());
    let info = NodeInfo { id: transport.local_id(), addrs: transport.local_addrs() };
    let service = Arc::new(Liar(script));
    tokio::spawn(async move {
        while let Some(connection) = transport.accept().await {
            tokio::spawn(connection.serve(service.clone()));
        }
    });
    info
}

/// Runs a round of a holder of 100 records against a liar: whatever comes of it, the holder keeps
/// what it held and nothing else, and gets on with an honest one.
async fn against(script: Script) -> (Result<RoundReport, RoundError>, Holder) {
    let wire = Arc::new(Wire::default());
    let (here, honest) = (Holder::start(&wire, 1), Holder::start(&wire, 2));
    let records = values(0..100);
    here.give(&records).await;
    let info = liar(&wire, script);
    let result = within(here.context.compare_with(&info, &[Prefix::all()])).await;
    assert_eq!(here.count(), 100, "{result:?}");
    for record in &records {
        assert!(here.holds(record).await);
    }
    let more = values(1_000..1_010);
    honest.give(&more).await;
    let report = within(here.context.compare_with(&honest.info, &[Prefix::all()])).await.unwrap();
    assert_eq!(report.fetched, 10);
    (result, here)
}

fn wrong(result: &Result<RoundReport, RoundError>) -> bool {
    matches!(result, Err(RoundError::WrongAnswer(_)))
}

fn print(count: u64, number: u8) -> Print {
    Print { count, hash: [number; 16] }
}

/// A group that takes part in comparisons now.
fn group() -> Group {
    let Cut([_, week, _]) = Cut::at(START);
    Group { span: Retention::Days7, period: week + 100 }
}

fn one_group() -> Reconciled {
    Reconciled::Groups(vec![GroupPrint { group: group(), print: print(1_000, 1) }])
}

/// Says that one group differs, and answers the parts asked about then as told.
fn on_parts(answer: impl Fn(&[PartAsk]) -> Reconciled + Send + Sync + 'static) -> Script {
    Box::new(move |question| match question {
        Reconcile::Parts(parts) => answer(parts),
        _ => one_group(),
    })
}

#[tokio::test(start_paused = true)]
async fn answers_of_another_kind_end_the_round() {
    for answer in [Reconciled::Noted, Reconciled::Items(vec![]), Reconciled::Parts(vec![])] {
        let (result, here) = against(Box::new(move |_| answer.clone())).await;
        assert!(wrong(&result), "{result:?}");
        assert_eq!(here.context.stats().lies, 1);
    }
    let (result, _) = against(on_parts(|_| Reconciled::Noted)).await;
    assert!(wrong(&result), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn groups_out_of_order_empty_or_before_the_cut_end_the_round() {
    let sent = |period, count| {
        let group = Group { period, ..group() };
        GroupPrint { group, print: print(count, 1) }
    };
    let period = group().period;
    let lists = [
        vec![sent(period + 1, 1), sent(period, 1)],
        vec![sent(period, 1), sent(period, 1)],
        vec![sent(period, 0)],
        vec![sent(3, 1)],
    ];
    for groups in lists {
        let (result, here) = against(Box::new(move |_| Reconciled::Groups(groups.clone()))).await;
        assert!(wrong(&result), "{result:?}");
        assert_eq!(here.context.stats().lies, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_do_not_fit_their_parts_end_the_round() {
    let divided = |at: Prefix, children: Vec<(u8, Print)>| PartAnswer::Children { at, children };
    let answers = [
        vec![],
        vec![PartAnswer::Same; PARTS_MAX],
        vec![PartAnswer::Later],
        vec![PartAnswer::Items(vec![7; SHORTS_MAX])],
        vec![divided(Prefix::all(), vec![])],
        vec![divided(Prefix::all(), vec![(3, print(1, 1)), (2, print(1, 1))])],
        vec![divided(Prefix::all(), vec![(3, print(0, 1))])],
        vec![divided(Prefix::of(&[7; 72], 144), vec![(3, print(1, 1))])],
    ];
    for answer in answers {
        let (result, here) = against(on_parts(move |_| Reconciled::Parts(answer.clone()))).await;
        assert!(wrong(&result), "{result:?}");
        assert_eq!(here.context.stats().lies, 1);
    }
    // A prefix elsewhere is nonsense only below the top.
    let (result, _) = against(on_parts(move |parts| {
        let answer = |ask: &PartAsk| match ask.part.prefix.len() {
            0 => divided(Prefix::all(), vec![(3, print(500, 1)), (4, print(500, 2))]),
            _ => divided(Prefix::all().child(5), vec![(3, print(1, 1))]),
        };
        Reconciled::Parts(parts.iter().map(answer).collect())
    }))
    .await;
    assert!(wrong(&result), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_descent_that_never_ends_is_given_up() {
    let endless = |parts: &[PartAsk]| {
        let children = || (0..8).map(|half_byte| (half_byte, print(1 << 40, half_byte))).collect();
        let answer = |ask: &PartAsk| match ask.part.prefix.len() {
            0..100 => PartAnswer::Children { at: ask.part.prefix.clone(), children: children() },
            _ => PartAnswer::Items(vec![]),
        };
        Reconciled::Parts(parts.iter().map(answer).collect())
    };
    let (result, _) = against(on_parts(endless)).await;
    assert!(result.as_ref().is_ok_and(|report| report.fetched == 0), "{result:?}");
    let bytes = result.unwrap().compare_bytes;
    assert!(bytes < 17 << 20, "{bytes} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_can_never_tell_parts_apart_is_left() {
    let (result, _) = against(Box::new(|_| Reconciled::TooLarge)).await;
    assert!(matches!(result, Err(RoundError::NotYet(_))), "{result:?}");
    let (result, here) = against(on_parts(|_| Reconciled::TooLarge)).await;
    assert!(result.is_ok_and(|report| report.fetched == 0));
    assert!(here.asked() < 10, "{} questions", here.asked());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_runs_on_with_every_question_ends_the_round() {
    let later = |question: &Reconcile| match question {
        Reconcile::Whole(whole) => Reconciled::OtherCut(Cut(whole.cut.0.map(|first| first + 1))),
        _ => Reconciled::Noted,
    };
    let (result, _) = against(Box::new(later)).await;
    assert!(matches!(result, Err(RoundError::ClocksDiffer(_))), "{result:?}");
}

/// Claims to hold a record that the asker lacks, and sends what the test says instead.
fn claims(record: &ValidRecord, sends: Vec<Bytes>) -> Script {
    let group = Group::of(&Existing::of(record));
    let short = short(record.digest());
    Box::new(move |question| match question {
        Reconcile::Whole(_) => Reconciled::Groups(vec![GroupPrint { group, print: print(1, 1) }]),
        Reconcile::Parts(parts) => {
            let answer = |_: &PartAsk| PartAnswer::Items(vec![short]);
            Reconciled::Parts(parts.iter().map(answer).collect())
        }
        _ => Reconciled::Records(sends.iter().cloned().map(RecordBytes).collect()),
    })
}

#[tokio::test(start_paused = true)]
async fn records_that_were_not_asked_for_and_forged_ones_are_not_stored() {
    // Alone in its group, so that the claim is to be listed.
    let claimed = sign(&RecordDraft { created_at: UnixMs(START.0 - DAY_MS), ..draft(5_000) });
    let other = sign(&draft(6_000));
    let flipped = |at: usize| {
        let mut bytes = claimed.bytes().to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    };
    let (head_len, len) = (claimed.head_bytes().len(), claimed.bytes().len());
    let foreign_network = "another".parse().unwrap();
    let foreign = draft(5_000).sign(&identity(1), &foreign_network).unwrap();
    let sent = [
        ("not asked for", other.bytes().clone()),
        ("a false signature", flipped(head_len - 1)),
        ("a false body", flipped(len - 1)),
        ("another slot", flipped(68)),
        ("cut short", claimed.bytes().slice(..100)),
        ("of another network", foreign.bytes().clone()),
    ];
    for (what, bytes) in sent {
        let (result, here) = against(claims(&claimed, vec![bytes])).await;
        assert_eq!(result.unwrap().fetched, 0, "{what}");
        assert_eq!(here.context.stats().lies, 1, "{what}");
        assert!(here.shown(&claimed).await.is_none(), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_many_false_records_is_left() {
    let claimed = sign(&RecordDraft { created_at: UnixMs(START.0 - DAY_MS), ..draft(5_000) });
    let others: Vec<Bytes> =
        values(6_000..6_020).iter().map(|record| record.bytes().clone()).collect();
    let (result, here) = against(claims(&claimed, others)).await;
    assert!(wrong(&result), "{result:?}");
    assert!(here.context.stats().lies >= 20);
}

#[tokio::test(start_paused = true)]
async fn the_same_record_twice_counts_once() {
    let claimed = sign(&draft(5_000));
    let wire = Arc::new(Wire::default());
    let here = Holder::start(&wire, 1);
    let twice = vec![claimed.bytes().clone(), claimed.bytes().clone()];
    let info = liar(&wire, claims(&claimed, twice));
    let report = within(here.context.compare_with(&info, &[Prefix::all()])).await.unwrap();
    assert_eq!((report.lacked, report.fetched, here.count()), (1, 1, 1));
    assert_eq!(here.context.stats().lies, 1);
}

/// Holds nothing but these records, all of one group and publisher, and counts how often it is asked
/// for records.
fn floods(records: Vec<ValidRecord>, fetches: Arc<AtomicUsize>) -> Script {
    let group = Group::of(&Existing::of(&records[0]));
    let shorts: Vec<u64> = records.iter().map(|record| short(record.digest())).collect();
    let all = print(records.len() as u64, 1);
    Box::new(move |question| match question {
        Reconcile::Whole(_) => Reconciled::Groups(vec![GroupPrint { group, print: all }]),
        Reconcile::Parts(parts) => {
            let answer = |_: &PartAsk| PartAnswer::Items(shorts.clone());
            Reconciled::Parts(parts.iter().map(answer).collect())
        }
        Reconcile::Records(wanted) => {
            fetches.fetch_add(1, Ordering::Relaxed);
            let asked: Vec<u64> =
                wanted.iter().flat_map(|wanted| wanted.shorts.iter().copied()).collect();
            let named = |record: &&ValidRecord| asked.contains(&short(record.digest()));
            let sent = records.iter().filter(named).map(|record| record.bytes().clone());
            Reconciled::Records(sent.map(RecordBytes).collect())
        }
        _ => Reconciled::Noted,
    })
}

/// A neighbour shows as many records of one publisher as it likes to make up.
#[tokio::test(start_paused = true)]
async fn a_neighbour_cannot_fill_a_store_beyond_twice_a_quota() {
    let wire = Arc::new(Wire::default());
    let publisher = Amount { records: 10, bytes: u64::MAX };
    let limits = Limits { publisher, ..Limits::default_for(1 << 30) };
    let here = Holder::start_within(&wire, 1, limits, |store| Arc::new(store));
    let made_up: Vec<ValidRecord> = (0..30).map(|number| sign(&draft(number))).collect();
    let fetches = Arc::new(AtomicUsize::new(0));
    let info = liar(&wire, floods(made_up, fetches.clone()));
    let compare =
        async || within(here.context.compare_with(&info, &[Prefix::all()])).await.unwrap();

    let report = compare().await;
    assert_eq!((report.fetched, report.lacked, report.complete), (20, 20, true));
    assert_eq!(here.count(), 20);
    assert_eq!(here.context.stats().replication.without_room, 10);
    let asked = fetches.load(Ordering::Relaxed);
    let again = compare().await;
    assert_eq!((again.fetched, again.lacked, again.complete), (0, 0, true));
    assert_eq!(fetches.load(Ordering::Relaxed), asked, "what had no room is not fetched again");

    here.clock.set(START.after(HOUR_MS));
    assert_eq!(compare().await.fetched, 0);
    assert_eq!(fetches.load(Ordering::Relaxed), asked + 1, "room may have come back meanwhile");
}

#[tokio::test(start_paused = true)]
async fn what_was_made_in_the_future_is_fetched_again_when_it_may_be_taken_and_not_before() {
    let wire = Arc::new(Wire::default());
    let here = Holder::start(&wire, 1);
    let created_at = START.after(2 * HOUR_MS);
    let early = sign(&RecordDraft { created_at, ..draft(1) });
    let fetches = Arc::new(AtomicUsize::new(0));
    let info = liar(&wire, floods(vec![early.clone()], fetches.clone()));
    let compare =
        async || within(here.context.compare_with(&info, &[Prefix::all()])).await.unwrap();
    for _ in 0..3 {
        let report = compare().await;
        assert_eq!((report.fetched, report.lacked, report.complete), (0, 0, true));
    }
    assert_eq!(fetches.load(Ordering::Relaxed), 1, "once, to see that it is too early");
    here.clock.set(UnixMs(created_at.0 - FUTURE_TOLERANCE_MS));
    assert_eq!(compare().await.fetched, 1);
    assert!(here.holds(&early).await);
}
