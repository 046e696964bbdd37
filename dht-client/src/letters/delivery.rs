//! Handing over what is queued.
//!
//! ```text
//! queued ─▶ seal, keep the records ─▶ chunks, then letters, a batch a mailbox ─▶ keep what became of it
//!   ▲                                                                               │
//!   └──────────── again: other work, another tag; or later: not enough nodes ◀──────┘
//! ```
//!
//! While batches are under way the next is sealed, on [workers](crate::workers). A slot that somebody else's record lies in is left
//! alone: what is queued goes on under another tag.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use dht_context::{Put, PutError};
use dht_kad::record::{Retention, Space};
use dht_kad::{ParsedRecord, Refusal, UnixMs, ValidRecord};
use ed25519_dalek::SigningKey;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use zeroize::Zeroizing;

use super::desk::{Correspondent, Desk};
use super::letter::{Kind, Letter, Place};
use super::mailbox::{Direction, Mailbox, Tag, epoch_of};
use super::outbox::{Attempt, Outbox, Queued, Row, Sealed, Writer};
use crate::error::ClientError;
use crate::writes::is_lasting_refusal;

/// The most letters of one batch: some pages' worth, sealed in about a hundredth of a second.
const BATCH_LETTERS: usize = 128;
/// From so many bytes of payloads on a batch is full.
const BATCH_BYTES: u64 = 1024 * 1024;
/// Batches under way at once: one with the servers while the next is sealed, and one more.
const BATCHES: usize = 3;
/// Chunks that are put at once: a megabyte.
const CHUNKS_AT_ONCE: usize = 16;
/// Tags that one delivery tries: each is taken by somebody with a chance of one in millions, unless
/// he knows the direction's secret.
const TAGS_TRIED: usize = 8;

/// What one delivery came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delivery {
    /// Letters that enough nodes have now.
    pub stored: u64,
    /// Letters that will not be taken.
    pub refused: u64,
    /// Letters that are to be tried again.
    pub failed: u64,
    /// Why, of one of these.
    pub last_error: Option<String>,
}

/// Why nothing more is sent out.
#[derive(Default)]
struct Ended {
    stopped: bool,
    taken: bool,
}

/// What came of one batch.
struct Tried {
    attempts: Vec<(u64, Attempt)>,
    /// Somebody else's record lies in a slot of this batch.
    taken: bool,
}

impl Desk<'_> {
    /// Hands over what is queued for a contact, in order, until nothing is or it does not get on.
    pub(crate) async fn deliver(&self, to: &Correspondent) -> Result<Delivery, ClientError> {
        let mut delivery = Delivery::default();
        for _ in 0..TAGS_TRIED {
            if !self.deliver_under_one_tag(to, &mut delivery).await? {
                break;
            }
            let outbox = Outbox(self.profile);
            let (writer, _) = outbox.queued_after(&to.contact, 0, (1, 1), self.now())?;
            let salt = u64::from_be_bytes(*self.entropy.secret()?);
            let (direction, _) = to.outgoing()?;
            let tag = direction.tag(self.network, self.profile.installation(), salt);
            let other = (direction.fingerprint(self.network), tag, salt);
            outbox.retag(&to.contact, writer.tag, other)?;
        }
        Ok(delivery)
    }

    /// As [`deliver`](Self::deliver); whether it ended because a slot is somebody else's.
    async fn deliver_under_one_tag(
        &self,
        to: &Correspondent,
        delivery: &mut Delivery,
    ) -> Result<bool, ClientError> {
        let stopped = AtomicBool::new(false);
        loop {
            let mut sent = self.batches(to, &stopped).try_buffered(BATCHES);
            let (mut nothing, mut ended) = (true, Ended::default());
            while let Some(tried) = sent.try_next().await? {
                nothing = false;
                self.note(to, tried, delivery, &mut ended)?;
                stopped.fetch_or(ended.stopped, Ordering::Relaxed);
            }
            // Whatever had to be signed again is still queued.
            if ended.stopped || nothing {
                return Ok(ended.taken);
            }
        }
    }

    /// Batches of what is queued, each as it is handed over; no more once delivery has stopped.
    fn batches<'a>(
        &'a self,
        to: &'a Correspondent,
        stopped: &'a AtomicBool,
    ) -> BoxStream<'a, Result<BoxFuture<'a, Result<Tried, ClientError>>, ClientError>> {
        let batches = stream::try_unfold(0, move |after| async move {
            if stopped.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let batch = self.prepare(to, after).await?;
            let last = batch.last().map(|(letter, _)| letter.number);
            Ok(last.map(|last| (batch, last)))
        });
        batches.map_ok(move |batch| self.hand_over(to, batch).map(Ok).boxed()).boxed()
    }

    /// Keeps what became of a batch.
    fn note(
        &self,
        to: &Correspondent,
        tried: Tried,
        delivery: &mut Delivery,
        ended: &mut Ended,
    ) -> Result<(), ClientError> {
        Outbox(self.profile).attempted(&to.contact, &tried.attempts)?;
        for (_, attempt) in tried.attempts {
            match attempt {
                Attempt::Stored(_) => delivery.stored += 1,
                Attempt::Refused(reason) => {
                    delivery.refused += 1;
                    delivery.last_error = Some(reason);
                }
                Attempt::Failed(reason) => {
                    delivery.failed += 1;
                    delivery.last_error = Some(reason);
                    ended.stopped = true;
                }
                Attempt::Resigned(_) => {}
            }
        }
        ended.taken |= tried.taken;
        ended.stopped |= tried.taken;
        Ok(())
    }

    /// The next letters with their records, which are kept before anything is sent.
    async fn prepare(
        &self,
        to: &Correspondent,
        after: u64,
    ) -> Result<Vec<(Queued, ValidRecord)>, ClientError> {
        let limit = (BATCH_LETTERS, BATCH_BYTES);
        // Whoever else seals this direction has got on each time that we have to begin anew.
        loop {
            let now = self.now();
            let (writer, queued) =
                Outbox(self.profile).queued_after(&to.contact, after, limit, now)?;
            let (direction, key) = to.outgoing()?;
            let envelopes = self.envelopes(direction, epoch_of(now));
            let mut previous = writer.sealed;
            let (mut letters, mut hows) = (Vec::new(), Vec::new());
            for letter in queued.iter().filter(|letter| letter.record.is_none()) {
                letters.push((letter.row.slot(), content_of(letter, previous)));
                let epoch = envelopes.mailbox().epoch;
                hows.push((letter.number, Sealed { epoch, created_at: now, previous }));
                previous = (letter.row.counter, now);
            }
            let records = envelopes.seal(letters, key, now, self.entropy).await;
            let records: Vec<_> = records.into_iter().collect::<Result<_, _>>()?;
            let bytes = records.iter().map(|record| record.bytes().clone());
            let sealed: Vec<_> = hows
                .into_iter()
                .zip(bytes)
                .map(|((number, how), bytes)| (number, how, bytes))
                .collect();
            if sealed.is_empty() || self.keep(to, &writer, &sealed)? {
                return self.with_records(queued, records);
            }
        }
    }

    /// Letters with their records: those that they had, and else the next of these.
    fn with_records(
        &self,
        letters: Vec<Queued>,
        records: Vec<ValidRecord>,
    ) -> Result<Vec<(Queued, ValidRecord)>, ClientError> {
        let mut made = records.into_iter();
        let mut record_of = |letter: &Queued| match &letter.record {
            Some(bytes) => {
                let parsed = ParsedRecord::parse(bytes.clone()).ok();
                parsed.map(|record| record.trust_own_store(self.network))
            }
            None => made.next(),
        };
        let with_record = |letter| {
            let record = record_of(&letter).ok_or_else(|| self.damaged())?;
            Ok((letter, record))
        };
        letters.into_iter().map(with_record).collect()
    }

    fn keep(
        &self,
        to: &Correspondent,
        writer: &Writer,
        sealed: &[(u64, Sealed, Bytes)],
    ) -> Result<bool, ClientError> {
        Ok(Outbox(self.profile).seal(&to.contact, writer, sealed)?)
    }

    /// Puts a batch: the chunks of its letters first, so that nobody finds a letter without them.
    async fn hand_over(&self, to: &Correspondent, batch: Vec<(Queued, ValidRecord)>) -> Tried {
        let mut tried = Tried { attempts: Vec::with_capacity(batch.len()), taken: false };
        let mut ready: Vec<(Queued, ValidRecord)> = Vec::with_capacity(batch.len());
        let mut failed = None;
        for (letter, record) in batch {
            if failed.is_none() && letter.row.chunks > 0 {
                failed = self.put_chunks(to, &letter).await.err().map(|error| error.to_string());
            }
            match &failed {
                // What comes after it would wait for it in vain, and is as well off here.
                Some(reason) => {
                    tried.attempts.push((letter.number, Attempt::Failed(reason.clone())))
                }
                None => ready.push((letter, record)),
            }
        }
        // Batches are cut where the mailbox changes.
        while let Some(key) = ready.first().map(|(_, record)| record.id().key) {
            let elsewhere = ready.iter().position(|(_, record)| record.id().key != key);
            let later = elsewhere.map_or_else(Vec::new, |place| ready.split_off(place));
            self.put_letters(to, &ready, &mut tried).await;
            ready = later;
        }
        tried
    }

    async fn put_letters(
        &self,
        to: &Correspondent,
        letters: &[(Queued, ValidRecord)],
        tried: &mut Tried,
    ) {
        let records = letters.iter().map(|(_, record)| record.clone()).collect();
        let outcomes = match self.carrier.put_batch(records).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                let failed = || Attempt::Failed(error.to_string());
                tried.attempts.extend(letters.iter().map(|(letter, _)| (letter.number, failed())));
                return;
            }
        };
        let mut marks = None;
        for ((letter, record), outcome) in letters.iter().zip(outcomes) {
            let attempt = match outcome {
                Ok(nodes) => Attempt::Stored(nodes as u64),
                Err(PutError::Refused { refusal, .. }) => match refusal {
                    Refusal::SeqTooLow { .. } | Refusal::SeqConflict => {
                        if marks.is_none() {
                            marks = Some(self.marks_of_any_device(to).await);
                        }
                        match was_read(&letter.row, marks.as_ref()) {
                            Some(true) => Attempt::Stored(0),
                            None => Attempt::Failed(refusal.to_string()),
                            Some(false) => {
                                tried.taken = true;
                                continue;
                            }
                        }
                    }
                    Refusal::WorkTooLow { needed } if needed > record.work_bits() => {
                        self.sign_again(to, letter, record, needed)
                    }
                    // A letter's own seven days say when it has ended.
                    refusal
                        if is_lasting_refusal(&refusal)
                            && !matches!(refusal, Refusal::Expired { .. }) =>
                    {
                        Attempt::Refused(refusal.to_string())
                    }
                    refusal => Attempt::Failed(refusal.to_string()),
                },
                Err(error) => Attempt::Failed(error.to_string()),
            };
            tried.attempts.push((letter.number, attempt));
        }
    }

    /// The same letter under a record that shows the work asked for.
    fn sign_again(
        &self,
        to: &Correspondent,
        letter: &Queued,
        record: &ValidRecord,
        work_bits: u32,
    ) -> Attempt {
        let Ok((direction, _)) = to.outgoing() else {
            return Attempt::Failed("the contact has changed meanwhile".to_owned());
        };
        let epoch = letter.row.sealed.map_or(epoch_of(record.created_at()), |sealed| sealed.epoch);
        let mailbox: Mailbox = direction.mailbox(self.network, epoch);
        match self.place(direction, &mailbox, record.slot()).with_work(record, work_bits) {
            Ok(record) => Attempt::Resigned(record.bytes().clone()),
            Err(error) => Attempt::Failed(error.to_string()),
        }
    }

    /// Puts a letter's chunks, signed by a key that is used for nothing else.
    async fn put_chunks(&self, to: &Correspondent, letter: &Queued) -> Result<(), ClientError> {
        let signer = SigningKey::from_bytes(&*self.entropy.secret()?);
        let signer = &signer;
        let puts = (0..letter.row.chunks).map(|place| async move {
            let body = Outbox(self.profile).chunk(&to.contact, letter.number, place)?;
            let put = Put {
                space: Space::Content,
                retention: Retention::Days7,
                body: body.ok_or_else(|| self.damaged())?,
                ..Put::owned([0; 32], Bytes::new())
            };
            self.carrier.put(signer, put).await
        });
        let puts: Vec<_> = puts.collect();
        let mut puts = stream::iter(puts).buffer_unordered(CHUNKS_AT_ONCE);
        while puts.try_next().await?.is_some() {}
        Ok(())
    }

    pub(crate) fn place<'a>(
        &'a self,
        direction: &'a Direction,
        mailbox: &'a Mailbox,
        slot: u64,
    ) -> Place<'a> {
        Place { network: self.network, direction, mailbox, slot }
    }
}

/// What is sealed of a queued letter that comes after this one.
fn content_of(letter: &Queued, previous: (u64, UnixMs)) -> Letter {
    Letter {
        kind: if letter.row.chunks > 0 { Kind::Manifest } else { Kind::Data },
        sent_at: letter.row.accepted_at,
        previous: previous.0,
        previous_at: previous.1,
        payload: Zeroizing::new(letter.payload.to_vec()),
    }
}

/// Whether a letter had arrived, was read and was taken away; nothing if that cannot be told.
fn was_read(row: &Row, marks: Option<&Result<BTreeMap<Tag, u64>, ClientError>>) -> Option<bool> {
    let marks = marks?.as_ref().ok()?;
    Some(marks.get(&row.tag).is_some_and(|mark| row.counter <= *mark))
}
