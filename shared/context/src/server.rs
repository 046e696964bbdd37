//! Answering requests, from local information only.
//!
//! ```text
//! frame ─▶ decode ─▶ Ping, FindNode:  the registry ─────────────────────────────▶ answer at once
//!                    Find:            the store, at once or after a read ───────▶ answer
//!                    Store:           times, room ─▶ signatures ─▶ the store ───▶ answer once durable,
//!                                                                                 with signed receipts
//!                    Reconcile:       its turn ─▶ fingerprints, items, records ─▶ answer
//!                    Audit:           one read of the store a challenge ────────▶ answer
//!                    Vitals:          what is counted, and the machine's figures ▶ answer at once
//!                    Watch:           the hub ──────────────────────────────────▶ frames, as records come
//! ```
//!
//! Nothing in here asks another node, so an answer never waits for the network. Each answer is
//! polled within its own connection's task.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dht_kad::admission::{self, Path};
use dht_kad::codec;
use dht_kad::message::{
    Audit, AuditResults, Find, FindNode, Found, Mode, Nodes, PAGE_BYTES, PAGE_RECORDS, Ping, Pong,
    Receipt, Reconcile, RecordBytes, Request, Response, Store, StoreResults, Stored, TYPE_FIND,
    TYPE_STORE,
};
use dht_kad::{NetworkName, ParsedRecord, Refusal, ValidRecord};
use futures_util::stream::BoxStream;
use tokio::time::Instant;

use crate::allowance::Allowances;
use crate::clock::Clock;
use crate::evidence;
use crate::membership::{Membership, NotReady, Stage};
use crate::registry::PeerRegistry;
use crate::replication::Replication;
use crate::replication::answers::{Answers, Purpose};
use crate::stats::{Ending, Stats};
use crate::store::{Fetch, Page, PageQuery, RecordStore, Submission};
use crate::transport::{Answer, Asker, Service};
use crate::verify::{Signer, Verifier};
use crate::vitals::Machine;
use crate::watch::Hub;

/// Answers what other nodes ask of this one.
pub struct Server {
    pub(crate) mode: Mode,
    pub(crate) version: String,
    pub(crate) network: NetworkName,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) registry: Arc<PeerRegistry>,
    pub(crate) membership: Arc<Membership>,
    pub(crate) store: Arc<dyn RecordStore>,
    pub(crate) verifier: Arc<dyn Verifier>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) replication: Arc<Replication>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) allowances: Allowances,
    pub(crate) answers: Answers,
    pub(crate) watches: Arc<Hub>,
    /// The machine that it runs on, once somebody has told of it.
    pub(crate) machine: OnceLock<Arc<dyn Machine>>,
    pub(crate) started: Instant,
}

/// What an answer leads to: itself, or something to wait for first.
enum Outcome {
    Now(Response),
    Page(Find, futures_util::future::BoxFuture<'static, Result<Page, Refusal>>),
    Stored(futures_util::future::BoxFuture<'static, Vec<Result<Receipt, Refusal>>>),
    Reconcile(Reconcile),
    Shown(futures_util::future::BoxFuture<'static, AuditResults>),
    Frames(BoxStream<'static, Bytes>),
}

impl Service for Arc<Server> {
    fn answer(&self, asker: Asker, frame: Bytes) -> Answer {
        let started = Instant::now();
        let request = match codec::decode_request(&frame) {
            Ok(request) => request,
            Err(error) => {
                let refusal = Refusal::from(error);
                self.stats.note_refusal(&refusal);
                return Answer::Ready(encode(&Response::Refused(refusal)));
            }
        };
        let (frame_type, asked_bytes) = (request.frame_type(), frame.len());
        if !self.allowances.take(&asker.addr, &request) {
            let response = Response::Refused(Refusal::Busy);
            self.note(frame_type, &response, started);
            return Answer::Ready(encode(&response));
        }
        match self.begin(asker, request) {
            Outcome::Now(response) => {
                self.note(frame_type, &response, started);
                Answer::Ready(encode(&response))
            }
            Outcome::Frames(frames) => {
                self.stats.note_answered(frame_type, Ending::Ok, started.elapsed());
                Answer::Stream(frames)
            }
            Outcome::Page(find, page) => {
                let server = Arc::clone(self);
                Answer::Later(Box::pin(async move {
                    let response = server.found(asker, &find, page.await);
                    server.note(frame_type, &response, started);
                    encode(&response)
                }))
            }
            Outcome::Stored(results) => {
                let server = Arc::clone(self);
                Answer::Later(Box::pin(async move {
                    let response = Response::StoreResults(StoreResults { results: results.await });
                    server.note(frame_type, &response, started);
                    encode(&response)
                }))
            }
            Outcome::Reconcile(question) => {
                let server = Arc::clone(self);
                let purpose = Purpose::of(&question);
                Answer::Later(Box::pin(async move {
                    let response = Arc::clone(&server).reconciled(asker.id, question).await;
                    server.note(frame_type, &response, started);
                    let answer = encode(&response);
                    server.note_reconciled(purpose, asked_bytes.saturating_add(answer.len()));
                    answer
                }))
            }
            Outcome::Shown(evidence) => {
                let server = Arc::clone(self);
                Answer::Later(Box::pin(async move {
                    let response = Response::AuditResults(evidence.await);
                    server.note(frame_type, &response, started);
                    encode(&response)
                }))
            }
        }
    }
}

impl Server {
    /// Decides how a request is answered.
    fn begin(self: &Arc<Self>, asker: Asker, request: Request) -> Outcome {
        match request {
            Request::Ping(ping) => Outcome::Now(self.pong(asker, &ping)),
            _ if self.mode == Mode::Client => Outcome::Now(Response::Refused(Refusal::NotAServer)),
            Request::FindNode(find) => Outcome::Now(self.nodes(asker, &find)),
            Request::Vitals(_) => Outcome::Now(Response::VitalSigns(self.signs())),
            Request::Find(find) => match self.store.find(page_query(&find)) {
                Fetch::Ready(page) => Outcome::Now(self.found(asker, &find, page)),
                Fetch::Pending(page) => Outcome::Page(find, page),
            },
            Request::Reconcile(question) => Outcome::Reconcile(question),
            Request::Audit(audit) => {
                let server = Arc::clone(self);
                Outcome::Shown(Box::pin(async move { server.show(audit).await }))
            }
            Request::Watch(watch) => {
                match self.watches.watch(asker.id, watch, Arc::clone(&self.store)) {
                    Ok(frames) => Outcome::Frames(frames),
                    Err(refusal) => Outcome::Now(Response::Refused(refusal)),
                }
            }
            Request::Store(store) => {
                let server = Arc::clone(self);
                Outcome::Stored(Box::pin(async move { server.store_remote(store).await }))
            }
        }
    }

    fn pong(&self, asker: Asker, ping: &Ping) -> Response {
        if ping.mode == Mode::Server {
            self.registry.introduced(&asker.id);
        }
        Response::Pong(Pong {
            mode: self.mode,
            version: self.version.clone(),
            settled: self.membership.is_settled(),
            whole: self.replication.is_whole(),
            observed: asker.addr,
            clock: self.clock.now(),
        })
    }

    fn nodes(&self, asker: Asker, find: &FindNode) -> Response {
        Response::Nodes(Nodes {
            nodes: self.registry.to_name(&find.target, Some(&asker.id)),
            settled: self.membership.is_settled(),
            whole: self.replication.is_whole(),
        })
    }

    fn found(&self, asker: Asker, find: &Find, page: Result<Page, Refusal>) -> Response {
        let page = match page {
            Ok(page) => page,
            Err(refusal) => return Response::Refused(refusal),
        };
        let closer = if find.want_closer {
            self.registry.to_name(&find.key, Some(&asker.id))
        } else {
            Vec::new()
        };
        Response::Found(Found {
            records: page.records.into_iter().map(RecordBytes).collect(),
            next: page.next,
            closer,
            settled: self.membership.is_settled(),
            whole: self.replication.is_whole(),
        })
    }

    /// Takes records from a peer: checks what is cheap, then signatures, then hands what is left to
    /// the store, which answers when it is durable.
    async fn store_remote(&self, store: Store) -> Vec<Result<Receipt, Refusal>> {
        let mut results: Vec<Option<Result<Receipt, Refusal>>> = Vec::new();
        let mut checked: Vec<(usize, Path, ParsedRecord)> = Vec::new();
        for (place, item) in store.items.into_iter().enumerate() {
            let path = Path::Store { expected_seq: item.expected_seq };
            match self.precheck(item.record, path) {
                Ok(record) => {
                    results.push(None);
                    checked.push((place, path, record));
                }
                Err(refusal) => results.push(Some(Err(refusal))),
            }
        }
        let records = checked.iter().map(|(_, _, record)| record.clone()).collect();
        let verdicts = self.verifier.verify(records).await;
        let mut places = Vec::new();
        let mut batch = Vec::new();
        for ((place, path, _), verdict) in checked.into_iter().zip(verdicts) {
            match verdict {
                Ok(record) => {
                    places.push(place);
                    batch.push(Submission { record, path });
                }
                Err(fault) => set(&mut results, place, Err(fault.into())),
            }
        }
        if !batch.is_empty() {
            let records: Vec<ValidRecord> =
                batch.iter().map(|submission| submission.record.clone()).collect();
            let stored = self.store.submit(batch).await;
            for (record, stored) in records.iter().zip(&stored) {
                if stored.is_ok() {
                    self.replication.note_accepted(record);
                }
            }
            for (place, result) in places.into_iter().zip(self.receipts(records, stored).await) {
                set(&mut results, place, result);
            }
        }
        results.into_iter().map(|result| result.unwrap_or(Err(Refusal::Internal))).collect()
    }

    /// Signs a receipt for each record that is stored.
    async fn receipts(
        &self,
        records: Vec<ValidRecord>,
        stored: Vec<Result<Stored, Refusal>>,
    ) -> Vec<Result<Receipt, Refusal>> {
        let accepted_at = self.clock.now();
        let message = |(record, result): (&ValidRecord, &Result<Stored, Refusal>)| {
            let stored = result.as_ref().ok()?;
            Some(Receipt::message(&self.network, record, stored.expires_at, accepted_at))
        };
        let messages = records.iter().zip(&stored).filter_map(message).collect();
        let mut signatures = self.signer.sign(messages).await.into_iter();
        let node_key = self.signer.public_key();
        let mut receipt = |Stored { expires_at }: Stored| {
            let signature = signatures.next().ok_or(Refusal::Internal)?;
            Ok(Receipt { expires_at, accepted_at, node_key, signature })
        };
        stored.into_iter().map(|result| result.and_then(&mut receipt)).collect()
    }

    /// Takes one record that this very process signed. It gives itself a receipt as it gives others.
    pub(crate) async fn store_own(
        &self,
        record: ValidRecord,
        path: Path,
    ) -> Result<Receipt, Refusal> {
        self.takes_puts()?;
        let stored = self.store.submit(vec![Submission { record: record.clone(), path }]).await;
        if stored.iter().all(Result::is_ok) {
            self.replication.note_accepted(&record);
        }
        let receipts = self.receipts(vec![record], stored).await;
        receipts.into_iter().next().unwrap_or(Err(Refusal::Internal))
    }

    /// Shows what is held of what is challenged.
    pub(crate) async fn show(&self, audit: Audit) -> AuditResults {
        evidence::gather(|query| self.store.find(query), audit).await
    }

    /// What is checked before the signature, because it is cheaper.
    fn precheck(&self, record: RecordBytes, path: Path) -> Result<ParsedRecord, Refusal> {
        self.takes_puts()?;
        let record = ParsedRecord::parse(record.0)?;
        admission::check_times(&record, path, self.clock.now())?;
        Ok(record)
    }

    /// Whether a put would be refused whatever it is.
    pub(crate) fn takes_puts(&self) -> Result<(), Refusal> {
        if self.replication.is_ending() {
            return Err(Refusal::Restarting);
        }
        self.store.writable()
    }

    /// What a put that comes now would fail for, of what is known without the socket.
    pub(crate) fn not_ready_because(&self) -> Option<NotReady> {
        let counts = || self.replication.is_whole() || self.registry.knows_whole();
        match self.membership.stage() {
            Stage::Joining => Some(NotReady::Alone),
            Stage::CutOff => Some(NotReady::CutOff),
            Stage::Joined => Some(NotReady::Gathering),
            Stage::Settled if self.mode == Mode::Client || counts() => None,
            Stage::Settled => Some(NotReady::NobodyWhole),
        }
    }

    fn note(&self, frame_type: u16, response: &Response, started: Instant) {
        let refusals = match response {
            Response::Refused(refusal) => vec![refusal],
            Response::StoreResults(results) => {
                results.results.iter().filter_map(|result| result.as_ref().err()).collect()
            }
            _ => Vec::new(),
        };
        refusals.iter().for_each(|refusal| self.stats.note_refusal(refusal));
        let ending = if refusals.is_empty() { Ending::Ok } else { Ending::Refused };
        if matches!(frame_type, TYPE_FIND | TYPE_STORE) {
            self.replication.pace.note_foreground();
        }
        self.stats.note_answered(frame_type, ending, started.elapsed());
    }
}

/// The page that a request asks for, within what one frame carries.
pub(crate) fn page_query(find: &Find) -> PageQuery {
    PageQuery {
        key: find.key,
        publisher: find.publisher.map(|key| key.0),
        slots: find.slots,
        after: find.after,
        heads_only: find.heads_only,
        min_work: find.min_work,
        written: None,
        limit: usize::try_from(find.limit).unwrap_or(PAGE_RECORDS).min(PAGE_RECORDS),
        max_bytes: PAGE_BYTES,
    }
}

fn set(
    results: &mut [Option<Result<Receipt, Refusal>>],
    place: usize,
    result: Result<Receipt, Refusal>,
) {
    if let Some(slot) = results.get_mut(place) {
        *slot = Some(result);
    }
}

/// Encodes an answer. One that does not fit a frame is a fault here, and is answered as such.
pub(crate) fn encode(response: &Response) -> Bytes {
    codec::encode_response(response).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer does not fit a frame");
        codec::encode_response(&Response::Refused(Refusal::Internal)).unwrap_or_default()
    })
}
