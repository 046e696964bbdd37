//! Auditing: every node is challenged to prove that it holds what it gave receipts for.
//!
//! ```text
//! receipts ─▶ by node ─▶ challenges, a nonce each ─▶ the node, where it was, or where it is found now
//!                                                      │ evidence
//!                                  Audited ◀─ judge ◀──┘
//! ```
//!
//! Nodes are asked side by side, each for some receipts at a time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use dht_context::clock::{Clock, SystemClock};
use dht_context::requests::AskError;
use dht_kad::NodeId;
use dht_kad::audit::{Verdict, judge};
use dht_kad::message::audit::{AUDIT_BYTES_MAX, CHALLENGES_MAX, Challenge, Evidence};
use dht_kad::message::{ADDRS_MAX, NodeInfo, PAGE_BYTES};
use futures_util::stream::{self, StreamExt};
use tokio::time::timeout;

use crate::client::Client;
use crate::receipts::ProvenReceipt;

/// Nodes that are asked at once: as many as a put goes to.
const NODES_AT_ONCE: usize = 20;
/// How often in a row a node may say «later» to all that it is asked before that is its answer.
const LATER_MAX: u32 = 3;

/// What became of one receipt in an audit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Audited {
    /// The node answered, or the promise has ended and nobody was asked.
    Judged(Verdict),
    /// It gave no usable answer: neither kept nor broken.
    Unanswered(AskError),
    /// It is of another network than the client's, and nobody was asked.
    OtherNetwork,
}

/// An audit under way.
struct Auditing<'a> {
    client: &'a Client,
    receipts: &'a [ProvenReceipt],
    /// One a receipt, in their order.
    results: Mutex<Vec<Audited>>,
}

/// One node, and which of the receipts are its.
struct Promiser {
    node: NodeInfo,
    places: Vec<usize>,
    /// Whether the network was asked where it is now.
    looked_up: bool,
}

/// What is asked for one receipt.
struct Question {
    place: usize,
    challenge: Challenge,
}

impl Client {
    /// Challenges every node to prove that it keeps what it promised: one result a receipt, in their
    /// order. Who has not answered within the client's time limit counts as unanswered. Nobody is
    /// asked for a promise that has ended by this machine's clock.
    ///
    /// # Cancel safety
    /// Reads only; what was answered by then is lost.
    pub async fn audit(&self, receipts: &[ProvenReceipt]) -> Vec<Audited> {
        let (results, promisers) = self.sort(receipts);
        let auditing = Auditing { client: self, receipts, results: Mutex::new(results) };
        let asking = stream::iter(promisers.into_values())
            .map(|promiser| auditing.audit_node(promiser))
            .buffer_unordered(NODES_AT_ONCE)
            .for_each(|()| std::future::ready(()));
        // Whoever has not answered by then stands as timed out already.
        let _ = timeout(self.time_limit(), asking).await;
        auditing.results.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be said without asking, and who is to be asked for the rest, which stands as timed out
    /// until it is answered.
    fn sort(&self, receipts: &[ProvenReceipt]) -> (Vec<Audited>, BTreeMap<NodeId, Promiser>) {
        let now = SystemClock.now();
        let mut promisers: BTreeMap<NodeId, Promiser> = BTreeMap::new();
        let mut results = Vec::with_capacity(receipts.len());
        for (place, receipt) in receipts.iter().enumerate() {
            let kept = receipt.kept();
            results.push(if kept.network != *self.network() {
                Audited::OtherNetwork
            } else if receipt.has_expired(now) {
                Audited::Judged(Verdict::Expired)
            } else {
                let promiser = promisers.entry(kept.node.id).or_insert_with(|| Promiser {
                    node: NodeInfo { id: kept.node.id, addrs: Vec::new() },
                    places: Vec::new(),
                    looked_up: false,
                });
                promiser.places.push(place);
                // A later receipt has a later address: that one is tried first.
                let before = std::mem::replace(&mut promiser.node.addrs, kept.node.addrs.clone());
                promiser
                    .node
                    .addrs
                    .extend(before.into_iter().filter(|a| !kept.node.addrs.contains(a)));
                promiser.node.addrs.truncate(ADDRS_MAX);
                Audited::Unanswered(AskError::TimedOut(kept.node.id))
            });
        }
        (results, promisers)
    }
}

impl Auditing<'_> {
    /// Asks one node for all that it promised, some at a time.
    async fn audit_node(&self, mut promiser: Promiser) {
        let mut patience = LATER_MAX;
        while !promiser.places.is_empty() && patience > 0 {
            // Without entropy nothing can be asked, and nothing is known.
            let Some(questions) = self.questions(&promiser.places) else { break };
            let evidence = match self.ask(&mut promiser, &questions).await {
                Ok(evidence) => evidence,
                Err(error) => {
                    for place in promiser.places {
                        self.set(place, Audited::Unanswered(error.clone()));
                    }
                    return;
                }
            };
            let open = promiser.places.len();
            for (question, shown) in questions.iter().zip(&evidence) {
                if *shown != Evidence::Later {
                    self.judge(question, shown);
                    promiser.places.retain(|place| *place != question.place);
                }
            }
            patience = if promiser.places.len() < open { LATER_MAX } else { patience - 1 };
        }
        for place in promiser.places {
            self.set(place, Audited::Judged(Verdict::Unknown));
        }
    }

    /// Asks a node where it was, and if it is not there, where the network says that it is now.
    async fn ask(
        &self,
        promiser: &mut Promiser,
        questions: &[Question],
    ) -> Result<Vec<Evidence>, AskError> {
        let challenges: Vec<_> = questions.iter().map(|asked| asked.challenge.clone()).collect();
        let context = &self.client.context;
        let error = match context.audit(&promiser.node, challenges.clone()).await {
            Err(error) if is_about_the_way(&error) && !promiser.looked_up => error,
            answered => return answered,
        };
        promiser.looked_up = true;
        context.ready().await;
        let found = context.lookup(promiser.node.id.key()).await;
        match found.into_iter().find(|found| found.id == promiser.node.id) {
            Some(found) if found.addrs != promiser.node.addrs => {
                promiser.node = found;
                context.audit(&promiser.node, challenges).await
            }
            _ => Err(error),
        }
    }

    /// For as many receipts as one request and its answer carry, at least one. Each nonce is a number
    /// that nobody had before.
    fn questions(&self, places: &[usize]) -> Option<Vec<Question>> {
        let (mut bytes, mut head_bytes) = (0, 0);
        let mut questions: Vec<Question> = Vec::new();
        for place in places.iter().take(CHALLENGES_MAX) {
            let record = self.receipts.get(*place)?.record();
            bytes += record.bytes().len();
            head_bytes += record.head_bytes().len();
            let fits = bytes <= AUDIT_BYTES_MAX && head_bytes <= PAGE_BYTES;
            if !fits && !questions.is_empty() {
                break;
            }
            let mut nonce = [0; 32];
            getrandom::fill(&mut nonce).ok()?;
            let challenge = Challenge::new(record.id(), nonce);
            questions.push(Question { place: *place, challenge });
        }
        Some(questions)
    }

    fn judge(&self, question: &Question, shown: &Evidence) {
        let Some(receipt) = self.receipts.get(question.place) else { return };
        let (kept, record) = (receipt.kept(), receipt.record());
        let nonce = &question.challenge.nonce;
        let now = SystemClock.now();
        let verdict = judge(&kept.receipt, record, &kept.network, nonce, shown, now);
        self.set(question.place, Audited::Judged(verdict));
    }

    fn set(&self, place: usize, audited: Audited) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = results.get_mut(place) {
            *result = audited;
        }
    }
}

/// Whether somebody else, or nobody, is where the node was.
fn is_about_the_way(error: &AskError) -> bool {
    matches!(error, AskError::Dial(_) | AskError::Request(_) | AskError::TimedOut(_))
}
