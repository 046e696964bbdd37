//! Fetching what waits.
//!
//! ```text
//! what is here ─▶ ranges of slots that are not ─▶ listed in each live mailbox ─▶ opened, checked ─▶ taken
//!                         ▲                                                                          │
//!                         └── once more, at a majority, if a letter's predecessor is missing ◀───────┘
//! ```
//!
//! Letters are opened on [workers](crate::workers), the next page while one is taken. What does not open, or is not the contact's at this place, is counted and changes nothing. A manifest
//! whose chunks cannot be had yet counts as not here.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dht_kad::ValidRecord;
use futures_util::future::{join, join_all};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use zeroize::Zeroizing;

use super::carrier::Listed;
use super::chunks::Manifest;
use super::desk::{Correspondent, Desk};
use super::envelopes::Envelopes;
use super::inbox::{Arrived, Inbox, Taken};
use super::letter::{Kind, Letter};
use super::mailbox::{Tag, epoch_of, live_epochs, slot_of, split_slot};
use super::tags::{Have, missing_slots};
use crate::error::ClientError;

/// Letters that are opened at a time and taken in one transaction.
const TAKEN_AT_ONCE: usize = 256;
/// Pages that are opened at once: one is taken while the next is opened.
const OPENED_AHEAD: usize = 2;
/// From so many bytes on that they have together, fewer are.
const TAKEN_BYTES: usize = 32 * 1024 * 1024;
/// Chunks that are got at once: a megabyte.
const CHUNKS_AT_ONCE: usize = 16;
/// Listings that one fetch makes of one mailbox: as many as it takes to read what may wait at most.
const ROUNDS_MAX: usize = 32;

/// What one fetch came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FetchReport {
    /// Letters that became ready to be read.
    pub ready: u64,
    /// Letters that will never come: they ended before they were fetched, or were given up.
    pub missed: u64,
    /// Letters whose parts do not make up what was sent.
    pub damaged: u64,
    /// Records that were no letters: forged, changed, or moved from elsewhere. Each is counted once in
    /// a client's life.
    pub rejected: u64,
    /// Predecessors that are waited for: what comes after each is here, and not ready.
    pub awaited: u64,
    /// Whether letters were left in the network, as too many wait here to be acknowledged.
    pub left: bool,
    /// Contacts whose letters could not be fetched.
    pub failed: u64,
    /// Why, of one of these.
    pub last_error: Option<String>,
}

/// One round of listings.
struct Round {
    more: bool,
    error: Option<ClientError>,
}

/// What lies in mailboxes and did not become a letter here.
#[derive(Default)]
struct Others {
    /// Slots that hold nothing that will ever be one.
    gone: BTreeSet<u64>,
    /// Slots of letters whose chunks cannot be had yet.
    later: BTreeSet<u64>,
}

/// What a record in a mailbox is.
enum Opened {
    Letter(Arrived),
    /// A letter whose chunks cannot be had yet.
    Later,
    Rejected,
}

impl Desk<'_> {
    /// Fetches what a contact wrote.
    pub(crate) async fn fetch(&self, from: &Correspondent) -> Result<FetchReport, ClientError> {
        let mut report = FetchReport::default();
        let rounds = async {
            for _ in 0..ROUNDS_MAX {
                let round = self.round(from, None, &mut report).await?;
                if let Some(error) = round.error {
                    return Err(error);
                }
                if !round.more || report.left {
                    break;
                }
            }
            if report.awaited > 0 && !report.left {
                let others = self.marks_of_other_devices(from).await?;
                let round = self.round(from, Some(&others), &mut report).await?;
                round.error.map_or(Ok(()), Err)?;
            }
            Ok(())
        };
        // Other devices have to know of this one before they prune what it has not read. Where that
        // fails it is tried again with the next fetch.
        let (greeted, fetched) = join(self.publish(from), rounds).await;
        if let Err(error) = greeted {
            tracing::debug!(%error, "a watermark was not published");
        }
        fetched.map(|()| report)
    }

    /// Lists what is not here, and takes it. With the marks of our other devices, it asks majorities,
    /// and gives up what is neither there nor will come. What another device has acknowledged is given up
    /// only if it is not there: as long as it is, this one has to get it, too.
    async fn round(
        &self,
        from: &Correspondent,
        sure: Option<&BTreeMap<Tag, u64>>,
        report: &mut FetchReport,
    ) -> Result<Round, ClientError> {
        let inbox = Inbox(self.profile);
        let have = inbox.have(&from.contact, self.now())?;
        let ranges = missing_slots(&have);
        let mailboxes: Vec<Envelopes> = from
            .incoming
            .iter()
            .flat_map(|direction| {
                live_epochs(self.now()).map(move |epoch| self.envelopes(direction, epoch))
            })
            .collect();
        let listings = join_all(mailboxes.iter().map(|envelopes| {
            let mailbox = envelopes.mailbox();
            let publisher = mailbox.signer.public_key();
            self.carrier.list(publisher, mailbox.label, &ranges, sure.is_some())
        }));
        let (mut round, mut others) = (Round { more: false, error: None }, Others::default());
        let ready_before = report.ready;
        for (envelopes, listed) in mailboxes.iter().zip(listings.await) {
            match listed {
                Err(error) => round.error = Some(error),
                Ok(listed) => {
                    round.more |= listed.truncated;
                    others.gone.extend(&listed.deleted);
                    let new = unseen(listed, &have);
                    self.take_new(from, envelopes, new, (report, &mut others)).await?;
                }
            }
        }
        // A listing that fails or leaves something out is no proof that anything is not there.
        let sure = sure.filter(|_| round.error.is_none() && !round.more);
        let is_gone = |tag, counter| {
            let (Some(marks), slot) = (sure, slot_of(tag, counter)) else { return false };
            let acknowledged = || marks.get(&tag).is_some_and(|mark| counter <= *mark);
            !others.later.contains(&slot) && (others.gone.contains(&slot) || acknowledged())
        };
        let taken = inbox.take(&from.contact, &[], &is_gone, self.now())?;
        add(report, &taken);
        report.awaited = taken.gaps.len() as u64;
        round.more &= report.ready > ready_before;
        Ok(round)
    }

    /// Takes what one mailbox holds, and notes what else lies there.
    async fn take_new(
        &self,
        from: &Correspondent,
        envelopes: &Envelopes,
        records: Vec<ValidRecord>,
        (report, others): (&mut FetchReport, &mut Others),
    ) -> Result<(), ClientError> {
        let pages = records.chunks(TAKEN_AT_ONCE);
        let pages: Vec<_> = pages.map(|page| self.open_page(envelopes, page.to_vec())).collect();
        let mut pages = stream::iter(pages).buffered(OPENED_AHEAD);
        while let Some(page) = pages.next().await {
            let (mut arrived, mut bytes) = (Vec::new(), 0);
            for (record, letter) in page {
                match self.arrived(envelopes, &record, letter).await {
                    Opened::Letter(letter) => {
                        bytes += letter.payload.as_ref().map_or(0, |payload| payload.len());
                        arrived.push(letter);
                    }
                    Opened::Later => {
                        others.later.insert(record.slot());
                    }
                    Opened::Rejected => {
                        if !self.rejected.contains(record.digest()) {
                            self.rejected.note(*record.digest());
                            report.rejected += 1;
                        }
                        others.gone.insert(record.slot());
                    }
                }
                if bytes >= TAKEN_BYTES {
                    self.take(from, &arrived, report)?;
                    (arrived, bytes) = (Vec::new(), 0);
                }
            }
            if !arrived.is_empty() {
                self.take(from, &arrived, report)?;
            }
        }
        Ok(())
    }

    /// Opens and checks records of a mailbox; nothing of one that cannot be a letter of it.
    async fn open_page(
        &self,
        envelopes: &Envelopes,
        records: Vec<ValidRecord>,
    ) -> Vec<(ValidRecord, Option<Letter>)> {
        let epoch = envelopes.mailbox().epoch;
        let may_be = |record: &ValidRecord| {
            !self.rejected.contains(record.digest()) && epoch_of(record.created_at()) == epoch
        };
        let (hopeful, hopeless): (Vec<_>, Vec<_>) = records.into_iter().partition(may_be);
        let letters = envelopes.open(hopeful.clone()).await;
        let opened = hopeful.into_iter().zip(letters).map(|(record, letter)| {
            let letter = letter.inspect_err(|fault| {
                tracing::debug!(%fault, slot = record.slot(), "a record in a mailbox is no letter");
            });
            (record, letter.ok())
        });
        opened.chain(hopeless.into_iter().map(|record| (record, None))).collect()
    }

    fn take(
        &self,
        from: &Correspondent,
        arrived: &[Arrived],
        report: &mut FetchReport,
    ) -> Result<(), ClientError> {
        let nothing_gone = |_, _| false;
        let taken = Inbox(self.profile).take(&from.contact, arrived, &nothing_gone, self.now())?;
        add(report, &taken);
        Ok(())
    }

    /// What an opened record is, with its chunks if it has any.
    async fn arrived(
        &self,
        envelopes: &Envelopes,
        record: &ValidRecord,
        letter: Option<Letter>,
    ) -> Opened {
        let Some(letter) = letter else { return Opened::Rejected };
        let payload = match letter.kind {
            Kind::Data => Some(letter.payload),
            Kind::Manifest => match self.gather(&letter.payload).await {
                Ok(payload) => payload,
                Err(error) => {
                    tracing::debug!(%error, "a letter's chunks are not all here");
                    return Opened::Later;
                }
            },
        };
        Opened::Letter(Arrived {
            slot: record.slot(),
            via: envelopes.fingerprint(),
            epoch: envelopes.mailbox().epoch,
            created_at: record.created_at(),
            sent_at: letter.sent_at,
            previous: letter.previous,
            previous_at: letter.previous_at,
            payload,
        })
    }

    /// Gets the chunks of a manifest; nothing if they do not make up what was sent.
    async fn gather(&self, manifest: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, ClientError> {
        let Ok(manifest) = Manifest::decode(manifest) else { return Ok(None) };
        let places = manifest.places(self.network);
        let gets: Vec<_> = places.iter().map(|key| self.carrier.get_content(*key)).collect();
        let bodies: Vec<Bytes> = stream::iter(gets).buffered(CHUNKS_AT_ONCE).try_collect().await?;
        Ok(manifest.assemble(&bodies).ok())
    }
}

/// The records of letters that are not here.
fn unseen(listed: Listed, have: &BTreeMap<Tag, Have>) -> Vec<ValidRecord> {
    let is_new = |record: &ValidRecord| {
        let (tag, counter) = split_slot(record.slot());
        have.get(&tag).is_none_or(|have| !have.has(counter))
    };
    listed.records.into_iter().filter(is_new).collect()
}

fn add(report: &mut FetchReport, taken: &Taken) {
    report.ready += taken.ready;
    report.missed += taken.missed;
    report.damaged += taken.damaged;
    report.left |= taken.full;
}
