//! Anybody may offer anything, and give it slowly: what neighbours offer, and rounds with them, do not
//! wait for that.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dht_context::clock::{Clock, ManualClock};
use dht_context::node_key::NodeKey;
use dht_context::transport::{Answer, Asker, Connection, Service, Transport};
use dht_kad::admission::{Existing, row_key};
use dht_kad::codec::{decode_request, decode_response, encode_request, encode_response};
use dht_kad::message::reconcile::{Holding, OFFER_MAX, Offered, Wanted};
use dht_kad::message::{Mode, Ping, Pong, Reconcile, Reconciled, RecordBytes, Request, Response};
use dht_kad::reconcile::{Group, Item, short};
use dht_kad::{Refusal, ValidRecord};

use crate::holders::{HURRIED, Holder, START, draft, sign, until, within};
use crate::wire::{Wire, WireTransport};

/// How long a slow one takes to answer: just soon enough.
const SLOW: Duration = Duration::from_millis(2_900);

/// Gives what it is asked for, one record at a time, slowly. It is a server where `mode` says so.
struct Slow {
    mode: Mode,
    records: Vec<ValidRecord>,
}

impl Slow {
    fn one_of(&self, wanted: &[Wanted]) -> Option<RecordBytes> {
        let asked = |record: &&ValidRecord| {
            wanted.iter().any(|wanted| wanted.shorts.contains(&short(record.digest())))
        };
        self.records.iter().find(asked).map(|record| RecordBytes(record.bytes().clone()))
    }
}

impl Service for Slow {
    fn answer(&self, asker: Asker, frame: Bytes) -> Answer {
        let response = match decode_request(&frame).unwrap() {
            Request::Ping(_) => return Answer::Ready(pong(self.mode, asker)),
            Request::Reconcile(Reconcile::Records(wanted)) => {
                let given = self.one_of(&wanted).into_iter().collect();
                Response::Reconciled(Reconciled::Records(given))
            }
            _ => {
                let refused = encode_response(&Response::Refused(Refusal::NotAServer));
                return Answer::Ready(refused.unwrap());
            }
        };
        Answer::Later(Box::pin(async move {
            tokio::time::sleep(SLOW).await;
            encode_response(&response).unwrap()
        }))
    }
}

fn pong(mode: Mode, asker: Asker) -> Bytes {
    let pong = Pong {
        mode,
        version: "slow".into(),
        settled: true,
        whole: true,
        observed: asker.addr,
        clock: ManualClock::new(START).now(),
    };
    encode_response(&Response::Pong(pong)).unwrap()
}

/// Somebody who offers.
struct Offerer {
    connection: Arc<dyn Connection>,
    _transport: Arc<WireTransport>,
}

impl Offerer {
    async fn of(wire: &Arc<Wire>, number: u8, holder: &Holder, slow: Slow) -> Self {
        let transport = wire.bind(NodeKey::from_seed([number; 32]).id());
        let connection = transport.dial(holder.info.addrs[0], None).await.unwrap();
        let service = Arc::new(slow);
        tokio::spawn(connection.serve(service.clone()));
        let accepts = transport.clone();
        tokio::spawn(async move {
            while let Some(connection) = accepts.accept().await {
                tokio::spawn(connection.serve(service.clone()));
            }
        });
        Offerer { connection, _transport: transport }
    }

    async fn ask(&self, request: Request) -> Response {
        let frame = encode_request(&request).unwrap();
        decode_response(&within(self.connection.request(frame)).await.unwrap()).unwrap()
    }

    /// Offers these, and says how many are wanted.
    async fn offer(&self, offers: Vec<Offered>) -> usize {
        match self.ask(Request::Reconcile(Reconcile::Offer(offers))).await {
            Response::Reconciled(Reconciled::Holdings(holdings)) => {
                holdings.iter().filter(|holding| **holding == Holding::Wanted).count()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Offers four times as much as an offer holds, of what nobody ever put.
    async fn offer_made_up(&self) -> usize {
        let record = sign(&draft(0));
        let mut wanted = 0;
        for batch in 0..4 {
            let made_up = |number: usize| {
                let digest = [u8::try_from(number).unwrap(); 32];
                let slot = batch * 1_000 + number as u64;
                Offered { slot, digest, ..offered(&record) }
            };
            wanted += self.offer((0..OFFER_MAX).map(made_up).collect()).await;
        }
        wanted
    }
}

fn offered(record: &ValidRecord) -> Offered {
    let item = Item { row: row_key(record.id()), version: record.precedence() };
    Offered::new(Group::of(&Existing::of(record)), &item)
}

fn nothing(mode: Mode) -> Slow {
    Slow { mode, records: Vec::new() }
}

#[tokio::test(start_paused = true)]
async fn however_many_strangers_offer_there_is_room_for_what_a_neighbour_offers() {
    let wire = Arc::new(Wire::default());
    let here = Holder::start_repairing(&wire, 1, None, HURRIED, |kept| Arc::new(kept));
    within(here.context.ready()).await;
    let neighbour = Offerer::of(&wire, 2, &here, nothing(Mode::Server)).await;
    neighbour.ask(Request::Ping(Ping { mode: Mode::Server })).await;
    until(|| here.context.stats().replication.neighbours == 1).await;
    let mut of_strangers = 0;
    for number in 10..30 {
        let stranger = Offerer::of(&wire, number, &here, nothing(Mode::Client)).await;
        of_strangers += stranger.offer_made_up().await;
    }
    assert!(of_strangers >= 4 * 4 * OFFER_MAX, "{of_strangers}: strangers may offer, too");
    assert_eq!(neighbour.offer_made_up().await, 4 * OFFER_MAX);
}

#[tokio::test(start_paused = true)]
async fn strangers_that_give_slowly_what_they_offered_do_not_hold_up_rounds() {
    let wire = Arc::new(Wire::default());
    let here = Holder::start_repairing(&wire, 1, None, HURRIED, |kept| Arc::new(kept));
    let _there = Holder::start_repairing(&wire, 2, Some(&here), HURRIED, |kept| Arc::new(kept));
    until(|| here.context.stats().replication.neighbours == 1).await;
    let records: Vec<ValidRecord> = (0..250).map(|number| sign(&draft(number))).collect();
    let offers: Vec<Offered> = records.iter().map(offered).collect();
    let slow = Slow { mode: Mode::Client, records };
    let stranger = Offerer::of(&wire, 10, &here, slow).await;
    let figures = || here.context.stats().replication;
    let before = figures();
    let offering = async {
        loop {
            stranger.offer(offers.clone()).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(600), offering).await;
    let (rounds, fetched) =
        (figures().rounds_ok - before.rounds_ok, figures().fetched - before.fetched);
    assert!(fetched > 50, "{fetched} records: what strangers offer is fetched");
    assert!(rounds > 60, "{rounds} rounds in ten minutes");
}
