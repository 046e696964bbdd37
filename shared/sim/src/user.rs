//! [`User`]: somebody who uses one node, and tells the checker of it.

use std::sync::Arc;

use dht_context::DhtContext;
use dht_context::clock::Clock;
use dht_context::operations::{
    Delete, GetError, GetOptions, GetReport, Put, PutError, PutReport, Slot,
};
use dht_kad::lookup::Consistency;
use dht_kad::record::Space;
use dht_kad::{UnixMs, domain};
use ed25519_dalek::SigningKey;

use crate::checker::{BrokenRule, Checker, Question};
use crate::clock::WorldClock;

/// Uses one life of one node. Holds on to nothing else of the world.
#[derive(Clone)]
pub struct User {
    context: DhtContext,
    checker: Checker,
    clock: Arc<WorldClock>,
    /// How it reads whatever it is told, where that is a fault that was put back.
    always: Option<Consistency>,
}

impl User {
    pub(crate) fn new(
        context: DhtContext,
        checker: Checker,
        clock: Arc<WorldClock>,
        always: Option<Consistency>,
    ) -> Self {
        User { context, checker, clock, always }
    }

    /// Puts, and tells the checker.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn put(&self, identity: &SigningKey, put: Put) -> Result<PutReport, PutError> {
        let place = self.slot_of(identity, &put);
        let attempt = self.checker.tries(&place, &put.body, put.retention, self.now());
        let report = self.context.put(identity, put).await?;
        attempt.acknowledged(&report.record, self.now());
        Ok(report)
    }

    /// Deletes, and tells the checker.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn delete(
        &self,
        identity: &SigningKey,
        label: [u8; 32],
        slot: u64,
    ) -> Result<PutReport, PutError> {
        let delete = Delete { space: Space::Owned, label, slot, expected_seq: None, quorum: None };
        let publisher = identity.verifying_key().to_bytes();
        let place = Slot::Owned { publisher, label, slot };
        let attempt = self.checker.tries_to_delete(&place, self.now());
        let report = self.context.delete(identity, delete).await?;
        attempt.acknowledged(&report.record, self.now());
        Ok(report)
    }

    /// Gets a slot, and has the answer checked.
    ///
    /// # Errors
    /// The [`BrokenRule`].
    pub async fn check(&self, slot: &Slot, consistency: Consistency) -> Result<(), BrokenRule> {
        let question = self.checker.asks(slot);
        self.get_checked(question, consistency).await
    }

    /// Gets a slot, unchecked.
    ///
    /// # Errors
    /// [`GetError`].
    pub async fn get(&self, slot: &Slot, consistency: Consistency) -> Result<GetReport, GetError> {
        let consistency = self.always.unwrap_or(consistency);
        self.context.get(slot, GetOptions { consistency, verify: true }).await
    }

    /// The slot that a put writes to.
    #[must_use]
    pub fn slot_of(&self, identity: &SigningKey, put: &Put) -> Slot {
        let (publisher, label, slot) = (identity.verifying_key().to_bytes(), put.label, put.slot);
        match put.space {
            Space::Owned => Slot::Owned { publisher, label, slot },
            Space::Topic => Slot::Topic { publisher, label, slot },
            Space::Content => {
                let body_hash = domain::body_hash(&put.body);
                Slot::Content { key: domain::content_key(self.context.network(), &body_hash) }
            }
        }
    }

    /// The true time.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// The node itself.
    #[must_use]
    pub fn context(&self) -> &DhtContext {
        &self.context
    }

    pub(crate) async fn get_checked(
        &self,
        question: Question,
        consistency: Consistency,
    ) -> Result<(), BrokenRule> {
        let answer = self.get(question.place(), consistency).await;
        question.answered(&answer, self.clock.now())
    }
}
