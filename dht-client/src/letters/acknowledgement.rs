//! Acknowledging: watermarks published and read, and what all devices have read taken away.
//!
//! ```text
//! ack ─▶ marked in the profile ─▶ this device's watermark published ─▶ those of all devices read
//!                                                                          │ the least of each tag
//! the sender reads them: fetched                  tombstones up to there ◀─┘
//! ```
//!
//! A device says that it is there when it first fetches, so that nothing is taken away before it has read
//! it; one that has not been heard of for 30 days is not waited for.

use std::collections::BTreeMap;

use bytes::Bytes;
use dht_context::{Put, PutError};
use dht_kad::Refusal;
use dht_kad::record::{RecordSigner, Retention};
use dht_kad::time::DAY_MS;

use super::desk::{Correspondent, Desk};
use super::inbox::{Inbox, Prunable};
use super::mailbox::{Direction, Tag};
use super::watermark::Watermark;
use crate::contacts::Contacts;
use crate::error::ClientError;

/// After so long a watermark is published again, though nothing has changed: so that others know
/// that the device is still there, with some failures to spare.
const REFRESH_MS: u64 = 7 * DAY_MS;
/// Whoever was not heard of for so long is not waited for. What waits ends after 7 days anyway.
const HEARD_MS: u64 = 30 * DAY_MS;
/// The last slot that a device's watermark may lie in.
const LAST_DEVICE: u64 = 0xff_ffff;
/// Letters that are taken away in one batch.
const PRUNED_AT_ONCE: usize = 256;
/// Batches of one pruning; the rest goes with the next.
const PRUNINGS: usize = 64;

impl Desk<'_> {
    /// Publishes this device's watermark of what a contact wrote, if it says something new or was not
    /// said for long.
    pub(crate) async fn publish(&self, from: &Correspondent) -> Result<(), ClientError> {
        let (marks, reader) = Inbox(self.profile).marks(&from.contact)?;
        let now = self.now();
        let recent = now.since(reader.published_at) < REFRESH_MS;
        if from.incoming.is_empty() || (recent && marks == reader.published) {
            return Ok(());
        }
        let watermark = Watermark { updated_at: now, marks };
        for direction in &from.incoming {
            let place = direction.ack_place(self.network);
            let slot = self.device_slot(direction);
            let body = watermark.seal(&place, slot, self.entropy)?;
            let put = Put {
                slot,
                retention: Retention::Days365,
                ..Put::owned(place.label, Bytes::from(body))
            };
            self.carrier.put(&place.signer, put).await?;
        }
        Ok(Inbox(self.profile).published(&from.contact, &watermark.marks, now)?)
    }

    /// Takes away what all devices have acknowledged; returns how many letters.
    pub(crate) async fn prune(&self, from: &Correspondent) -> Result<u64, ClientError> {
        let inbox = Inbox(self.profile);
        let (mut marks, _) = inbox.marks(&from.contact)?;
        let oldest = self.now().0.saturating_sub(HEARD_MS);
        for (_, watermark) in self.watermarks(&from.incoming, true).await? {
            if watermark.updated_at.0 < oldest {
                continue;
            }
            for (tag, mark) in &mut marks {
                *mark = (*mark).min(watermark.marks.get(tag).copied().unwrap_or(0));
            }
        }
        let mut pruned = 0;
        for _ in 0..PRUNINGS {
            let letters = inbox.prunable(&from.contact, &marks, self.now(), PRUNED_AT_ONCE)?;
            if letters.is_empty() {
                break;
            }
            let gone = self.take_away(from, &letters).await?;
            inbox.pruned(&from.contact, &gone)?;
            pruned += gone.len() as u64;
            if gone.len() < letters.len() {
                break;
            }
        }
        Ok(pruned)
    }

    /// Puts tombstones over letters; returns the slots that are empty now.
    async fn take_away(
        &self,
        from: &Correspondent,
        letters: &[Prunable],
    ) -> Result<Vec<u64>, ClientError> {
        let mut mailboxes: BTreeMap<(u32, u64), Vec<Prunable>> = BTreeMap::new();
        for letter in letters {
            mailboxes.entry((letter.via, letter.epoch)).or_default().push(*letter);
        }
        let mut gone = Vec::with_capacity(letters.len());
        for ((via, epoch), letters) in mailboxes {
            let mut directions = from.incoming.iter();
            let by = directions.find(|direction| direction.fingerprint(self.network) == via);
            let Some(direction) = by else {
                // Its secret is not the contact's any more: it ends by itself.
                gone.extend(letters.iter().map(|letter| letter.slot));
                continue;
            };
            let slots = letters.iter().map(|letter| (letter.slot, letter.created_at)).collect();
            let tombstones = self.envelopes(direction, epoch).tombstones(slots, self.now()).await;
            let tombstones: Result<_, _> = tombstones.into_iter().collect();
            let tombstones = tombstones.map_err(PutError::from)?;
            let outcomes = self.carrier.put_batch(tombstones).await?;
            let done = |outcome: &Result<usize, PutError>| match outcome {
                Ok(_) => true,
                // Another device of ours was there first.
                Err(PutError::Refused { refusal, .. }) => {
                    matches!(refusal, Refusal::SeqTooLow { .. } | Refusal::SeqConflict)
                }
                Err(_) => false,
            };
            let of_each = letters.iter().zip(&outcomes);
            gone.extend(
                of_each.filter(|(_, done_so)| done(done_so)).map(|(letter, _)| letter.slot),
            );
        }
        Ok(gone)
    }

    /// Up to where, of each of our tags, some device of a contact has acknowledged all.
    pub(crate) async fn marks_of_any_device(
        &self,
        to: &Correspondent,
    ) -> Result<BTreeMap<Tag, u64>, ClientError> {
        let (direction, _) = to.outgoing()?;
        let watermarks = self.watermarks(std::slice::from_ref(direction), false).await?;
        if !watermarks.is_empty() {
            // Only who was told our secret can sign there.
            Contacts::of(self.profile).heard_from(&to.contact, self.now())?;
        }
        Ok(greatest(watermarks))
    }

    /// Up to where, of each of a contact's tags, another device of ours has acknowledged all.
    pub(crate) async fn marks_of_other_devices(
        &self,
        from: &Correspondent,
    ) -> Result<BTreeMap<Tag, u64>, ClientError> {
        let own: Vec<u64> =
            from.incoming.iter().map(|direction| self.device_slot(direction)).collect();
        let mut all = self.watermarks(&from.incoming, false).await?;
        all.retain(|(slot, _)| !own.contains(slot));
        Ok(greatest(all))
    }

    /// Every device's watermark of these directions, by slot.
    async fn watermarks(
        &self,
        directions: &[Direction],
        sure: bool,
    ) -> Result<Vec<(u64, Watermark)>, ClientError> {
        let mut watermarks = Vec::new();
        for direction in directions {
            let place = direction.ack_place(self.network);
            let publisher = place.signer.publisher();
            let all = [(0, LAST_DEVICE)];
            let listed = self.carrier.list(publisher, place.label, &all, sure).await?;
            for record in listed.records {
                let body = record.body().unwrap_or_default();
                let opened = Watermark::open(&place, record.slot(), &body);
                watermarks.extend(opened.map(|watermark| (record.slot(), watermark)));
            }
        }
        Ok(watermarks)
    }

    /// The slot of this device's watermark.
    fn device_slot(&self, direction: &Direction) -> u64 {
        u64::from(direction.tag(self.network, self.profile.installation(), 0))
    }
}

fn greatest(watermarks: Vec<(u64, Watermark)>) -> BTreeMap<Tag, u64> {
    let mut marks = BTreeMap::new();
    for (tag, mark) in watermarks.into_iter().flat_map(|(_, watermark)| watermark.marks) {
        let known: &mut u64 = marks.entry(tag).or_default();
        *known = mark.max(*known);
    }
    marks
}
