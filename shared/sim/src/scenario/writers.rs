//! [`Writers`]: people who put, overwrite and delete, drawn from a seed.

use bytes::Bytes;
use dht_context::operations::{GetError, Put, PutError, PutReport, Slot};
use dht_kad::lookup::Consistency;
use dht_kad::record::{Retention, Space};
use ed25519_dalek::SigningKey;

use crate::checker::BrokenRule;
use crate::dice::{Dice, Seed};
use crate::user::User;

/// How many identities share the writing.
const IDENTITIES: u64 = 20;
/// Of a thousand writes so many are a second version of something.
const OVERWRITES_PERMILLE: u32 = 150;
/// Of a thousand writes so many are deletes.
const DELETES_PERMILLE: u32 = 50;
/// Of a thousand values so many are as large as a record may be.
const LARGE_PERMILLE: u32 = 20;
/// The length of the others is below this.
const SMALL_BYTES: u64 = 2_048;
/// The largest body.
const LARGE_BYTES: usize = 64 * 1024;

/// Draws what is written.
pub struct Writers {
    dice: Dice,
    seed: Seed,
    group: u64,
    drawn: u64,
    /// Owned slots that were written before, and may be overwritten or deleted.
    slots: Vec<Written>,
}

#[derive(Clone)]
struct Written {
    identity: SigningKey,
    label: [u8; 32],
}

/// One thing to write.
pub enum Errand {
    /// A value.
    Put(Box<SigningKey>, Put),
    /// A delete of an owned slot 0.
    Delete(Box<SigningKey>, [u8; 32]),
}

impl Writers {
    /// Writers of this seed.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self::group(seed, 0)
    }

    /// One of several groups of writers of this seed, who write to different slots.
    #[must_use]
    pub fn group(seed: Seed, group: u64) -> Self {
        Writers { dice: seed.dice("writers", group), seed, group, drawn: 0, slots: Vec::new() }
    }

    /// The next thing to write: mostly new values of every space, class and size, with some second
    /// versions and deletes among them.
    pub fn draw(&mut self) -> Errand {
        let deletes = self.dice.permille(DELETES_PERMILLE);
        if deletes || self.dice.permille(OVERWRITES_PERMILLE) {
            let place = self.dice.place(self.slots.len());
            // Each slot is taken up again once: which of two writes that are under way together
            // comes first is another scenario's question.
            if place < self.slots.len() {
                let Written { identity, label } = self.slots.swap_remove(place);
                let identity = Box::new(identity);
                return match deletes {
                    true => Errand::Delete(identity, label),
                    false => Errand::Put(identity, self.value(Space::Owned, label)),
                };
            }
        }
        self.draw_put()
    }

    /// Notes what succeeded, so that it may be taken up again.
    pub fn note(&mut self, identity: &SigningKey, report: &PutReport) {
        if report.record.space() == Space::Owned && report.record.has_body() {
            let (identity, label) = (identity.clone(), *report.record.label());
            self.slots.push(Written { identity, label });
        }
    }

    /// The next new value, of any space, class and size.
    pub fn draw_put(&mut self) -> Errand {
        self.drawn += 1;
        let secret = self.seed.derive("identity", self.dice.below(IDENTITIES));
        let space = match self.dice.below(4) {
            0 => Space::Topic,
            1 => Space::Content,
            _ => Space::Owned,
        };
        let label = self.seed.derive("label", self.group << 32 | self.drawn);
        let put = Put { first_version: true, ..self.value(space, label) };
        Errand::Put(Box::new(SigningKey::from_bytes(&secret)), put)
    }

    fn value(&mut self, space: Space, label: [u8; 32]) -> Put {
        let classes = Retention::ALL;
        let class = classes.get(self.dice.place(classes.len())).copied();
        let retention = class.unwrap_or(Retention::Days7);
        let len = match self.dice.permille(LARGE_PERMILLE) {
            true => LARGE_BYTES,
            false => usize::try_from(1 + self.dice.below(SMALL_BYTES)).unwrap_or(LARGE_BYTES),
        };
        let body = Bytes::from(self.dice.bytes(len));
        Put { space, retention, ..Put::owned(label, body) }
    }
}

impl Errand {
    /// Does it through this node.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn run(&self, user: &User) -> Result<PutReport, PutError> {
        match self {
            Errand::Put(identity, put) => user.put(identity, put.clone()).await,
            Errand::Delete(identity, label) => user.delete(identity, *label, 0).await,
        }
    }

    /// Who writes.
    #[must_use]
    pub fn identity(&self) -> &SigningKey {
        match self {
            Errand::Put(identity, _) | Errand::Delete(identity, _) => identity,
        }
    }

    /// Reads back through this node what was written, and has it checked.
    ///
    /// # Errors
    /// The [`BrokenRule`].
    pub async fn check(&self, user: &User) -> Result<(), BrokenRule> {
        user.check(&self.place(user), Consistency::Quorum).await
    }

    /// Reads it through this node, unchecked.
    ///
    /// # Errors
    /// [`GetError`].
    pub async fn get(&self, user: &User) -> Result<(), GetError> {
        user.get(&self.place(user), Consistency::Quorum).await.map(drop)
    }

    /// Where it is written.
    #[must_use]
    pub fn place(&self, user: &User) -> Slot {
        match self {
            Errand::Put(identity, put) => user.slot_of(identity, put),
            Errand::Delete(identity, label) => {
                user.slot_of(identity, &Put::owned(*label, Bytes::new()))
            }
        }
    }
}
