//! [`Envelopes`]: what is computed of many letters of one mailbox at once, on [workers](crate::workers).
//!
//! ```text
//! letters ─▶ seal ─▶ records        records ─▶ open ─▶ letters        letters that were read ─▶ tombstones
//! ```

use std::sync::Arc;

use dht_context::key_pair::KeyPair;
use dht_kad::record::DraftError;
use dht_kad::{NetworkName, UnixMs, ValidRecord};

use super::desk::Desk;
use super::letter::{Letter, LetterFault, Place, SealOrDraft};
use super::mailbox::{Direction, Mailbox};
use crate::entropy::Entropy;
use crate::identity::Identity;
use crate::sealing::SealingPublic;
use crate::workers::Workers;

/// One mailbox, and all that it takes to write to it or to read it: owned, as threads need it.
pub(super) struct Envelopes {
    workers: Workers,
    inside: Arc<Inside>,
}

struct Inside {
    network: NetworkName,
    identity: Identity,
    direction: Direction,
    mailbox: Mailbox,
    fingerprint: u32,
}

impl Inside {
    fn place(&self, slot: u64) -> Place<'_> {
        let (network, direction, mailbox) = (&self.network, &self.direction, &self.mailbox);
        Place { network, direction, mailbox, slot }
    }
}

impl Desk<'_> {
    /// The letters of a direction in an epoch.
    pub(super) fn envelopes(&self, direction: &Direction, epoch: u64) -> Envelopes {
        let inside = Inside {
            network: self.network.clone(),
            identity: self.identity.clone(),
            // To make key pairs costs as much as signatures.
            mailbox: direction.mailbox(self.network, epoch),
            fingerprint: direction.fingerprint(self.network),
            direction: direction.clone(),
        };
        Envelopes { workers: self.workers.clone(), inside: Arc::new(inside) }
    }
}

impl Envelopes {
    /// Where the letters lie.
    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.inside.mailbox
    }

    /// What tells their direction from the contact's others.
    pub(super) fn fingerprint(&self) -> u32 {
        self.inside.fingerprint
    }

    /// Seals and signs letters for these slots; one result each, in their order.
    pub(super) async fn seal(
        &self,
        letters: Vec<(u64, Letter)>,
        to: &SealingPublic,
        created_at: UnixMs,
        entropy: &Entropy,
    ) -> Vec<Result<ValidRecord, SealOrDraft>> {
        let (inside, to, entropy) = (Arc::clone(&self.inside), to.clone(), entropy.clone());
        let sender = KeyPair::from_seed(inside.identity.signing_key().as_bytes());
        let seal = move |(slot, letter): &(u64, Letter)| {
            letter.seal(&inside.place(*slot), &sender, &to, created_at, &entropy)
        };
        self.workers.map(letters, seal).await
    }

    /// Opens and checks what lies in the mailbox; one result each, in their order.
    pub(super) async fn open(&self, records: Vec<ValidRecord>) -> Vec<Result<Letter, LetterFault>> {
        let inside = Arc::clone(&self.inside);
        let open = move |record: &ValidRecord| {
            let body = record.body().unwrap_or_default();
            Letter::open(&inside.place(record.slot()), inside.identity.sealing_key(), &body)
        };
        self.workers.map(records, open).await
    }

    /// What takes letters away, by the slots that they lie in and when they were created; one result each, in
    /// their order.
    pub(super) async fn tombstones(
        &self,
        letters: Vec<(u64, UnixMs)>,
        now: UnixMs,
    ) -> Vec<Result<ValidRecord, DraftError>> {
        let inside = Arc::clone(&self.inside);
        let bury = move |(slot, created_at): &(u64, UnixMs)| {
            inside.place(*slot).tombstone(*created_at, now)
        };
        self.workers.map(letters, bury).await
    }
}
