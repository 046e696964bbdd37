//! Claiming, renewing and releasing.
//!
//! ```text
//! scene: is it free? ─▶ newest version of the slot ─▶ work, in steps ─▶ claim: a majority has it
//!                                                                        │
//!        reverse entry ◀─ evidence: the former generations, and these ◀─ receipts of holders and judges
//! ```
//!
//! Whatever is interrupted is mended by doing it again: a claim that is there is not made anew, and gets
//! what it lacks. Doing it again also asks for the receipts of servers that came since.
//!
//! Nothing of this goes through the [write queue](crate::writes). What decides is *when* a majority of the
//! judges had a claim: one that is made offline and goes out days later is worth no more than one that is
//! made then, and whoever asked for it would learn from a queue that it was delivered, and not that
//! somebody else was first, which he has to hear before he tells others the name. Each step also needs
//! the answer of the one before, the receipts above all, and not only that it was stored. A renewal has
//! 120 days to be done in and is tried by each day's [upkeep](crate::upkeep); a release that fails is the
//! user's to repeat, since he must not believe that the name is given up while it is not.

use std::time::Duration;

use dht_context::{Delete, GetOptions, Put, PutError, Slot};
use dht_kad::lookup::Consistency;
use dht_kad::message::{NodeInfo, Receipt};
use dht_kad::record::{DraftError, Kind, Retention, Space};
use dht_kad::{NodeId, ValidRecord};
use futures_util::stream::{self, StreamExt};
use tokio::time::{sleep, timeout};

use super::claim::{CLAIM_SLOT, Claim, EVIDENCE_SLOT, draft, name_label};
use super::error::NameError;
use super::evidence::Evidence;
use super::form::Name;
use super::rank::{Ranking, Standing, rank};
use super::read::{FoundName, Scene, conflict, confusable};
use super::reverse;
use crate::client::Client;
use crate::error::ClientError;
use crate::writes::is_overtaken;

/// Nonces that are tried before others get their turn: about half a millisecond.
const STEP_NONCES: u64 = 1_024;
/// How often a claim is signed again because another installation of the identity came first.
const ATTEMPTS_MAX: u32 = 3;
/// How often evidence is merged again for the same reason: it costs no work.
const MERGES_MAX: u32 = 8;
/// How many judges that are no holders are looked up at once.
const JUDGES_AT_ONCE: usize = 8;
/// How long their look-ups may take together: who cannot be found now is asked at the next renewal.
const JUDGES_LIMIT: Duration = Duration::from_secs(5);

/// How far the work for a claim is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameProgress {
    /// Nonces that were tried.
    pub tried: u64,
    /// How many it takes on average, however many were tried already.
    pub expected: u64,
}

/// Who is told of it. Not generic below the public functions, since each closure would have the whole of
/// claiming compiled once more.
type Progress<'a> = &'a mut (dyn FnMut(NameProgress) + Send);

/// One's own name after it was claimed or renewed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimedName {
    /// How it is read now.
    pub found: FoundName,
    /// Whether a new claim was signed; else the one that was there got what receipts it lacked.
    pub signed: bool,
    /// How many generations the claim goes back without a gap.
    pub generations: usize,
}

impl Client {
    /// Claims a name for this client's identity: does the work, which may take longer than the
    /// client's time limit and tells `progress` after each step, and publishes the claim with its
    /// evidence. A name that is one's own already is as [`renew_name`](Self::renew_name).
    ///
    /// # Cancel safety
    /// It is taken up by the next call. Work that led to no claim yet is lost.
    ///
    /// # Errors
    /// [`ClientError`]; [`NameError`] if somebody has the name, or one that it could be mistaken for, or
    /// came first while the work was done.
    pub async fn claim_name(
        &self,
        name: &str,
        mut progress: impl FnMut(NameProgress) + Send,
    ) -> Result<ClaimedName, ClientError> {
        self.claim(name, &mut progress).await
    }

    async fn claim(&self, name: &str, progress: Progress<'_>) -> Result<ClaimedName, ClientError> {
        let name: Name = name.parse().map_err(NameError::from)?;
        let own = self.identity()?.public_key();
        let _turn = self.name_turn().lock().await;
        let scene = self.scene(&name).await?;
        let held = scene.of(&own).map(|standing| standing.claim.clone());
        let renews = match held {
            Some(held) if held.name() == &name => true,
            Some(held) => {
                let like = held.name().clone();
                return Err(NameError::Confusable { name, like, identity: own }.into());
            }
            None => {
                self.check_free(&name, &scene)?;
                false
            }
        };
        self.keep_claim(&name, scene, !renews, progress).await
    }

    /// Renews this identity's claim of a name if it has less than 120 days left, and in any case asks all
    /// who hold it now for the receipts that its evidence lacks, and publishes what else it lacks.
    ///
    /// # Cancel safety
    /// It is taken up by the next call.
    ///
    /// # Errors
    /// [`ClientError`]; [`NameError::NotOwn`] if there is no claim to renew.
    pub async fn renew_name(
        &self,
        name: &str,
        mut progress: impl FnMut(NameProgress) + Send,
    ) -> Result<ClaimedName, ClientError> {
        self.renew(name, &mut progress).await
    }

    async fn renew(&self, name: &str, progress: Progress<'_>) -> Result<ClaimedName, ClientError> {
        let name: Name = name.parse().map_err(NameError::from)?;
        let own = self.identity()?.public_key();
        let _turn = self.name_turn().lock().await;
        let scene = self.scene(&name).await?;
        match scene.of(&own) {
            Some(standing) if *standing.claim.name() == name => {
                self.keep_claim(&name, scene, false, progress).await
            }
            _ => Err(NameError::NotOwn(name).into()),
        }
    }

    /// Gives a name up: anybody may claim it, and nobody, this identity included, can go on from
    /// the claim that was.
    ///
    /// # Cancel safety
    /// Some of what was published may be left; call it again.
    ///
    /// # Errors
    /// [`ClientError`]; [`NameError::NotOwn`] if there is nothing to give up.
    pub async fn release_name(&self, name: &str) -> Result<(), ClientError> {
        let name: Name = name.parse().map_err(NameError::from)?;
        let own = self.identity()?.public_key();
        let _turn = self.name_turn().lock().await;
        if let Some(standing) = self.scene(&name).await?.of(&own)
            && *standing.claim.name() != name
        {
            return Err(NameError::NotOwn(name).into());
        }
        match self.withdraw(&name).await? {
            true => Ok(()),
            false => Err(NameError::NotOwn(name).into()),
        }
    }

    /// Deletes all that this identity has published of a name; whether there was anything.
    async fn withdraw(&self, name: &Name) -> Result<bool, ClientError> {
        let own = self.identity()?.public_key();
        let label = name_label(self.network(), &name.skeleton());
        let names = reverse::names_label(self.network(), &own);
        let places = [
            (Space::Topic, label, CLAIM_SLOT),
            (Space::Topic, label, EVIDENCE_SLOT),
            (Space::Owned, names, reverse::name_slot(self.network(), name)),
        ];
        let mut deleted = false;
        for (space, label, slot) in places {
            let delete = Delete { space, label, slot, expected_seq: None, quorum: None };
            match self.delete(delete).await {
                Ok(_) => deleted = true,
                // An earlier attempt came so far.
                Err(ClientError::Put(PutError::NothingToDelete)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(deleted)
    }

    /// Whether nobody who is proven has the name or one that reads like it.
    fn check_free(&self, name: &Name, scene: &Scene) -> Result<(), NameError> {
        let proven: Vec<Standing> =
            scene.standings.iter().filter(|other| other.since.is_some()).cloned().collect();
        match rank(name, proven, self.name_rules().tie_ms) {
            Ranking::Unclaimed => Ok(()),
            ranking => Err(refusal(name, &ranking)),
        }
    }

    /// Makes sure that the claim is there, is not about to end, has all its evidence and can be found
    /// from the identity.
    async fn keep_claim(
        &self,
        name: &Name,
        scene: Scene,
        new: bool,
        progress: Progress<'_>,
    ) -> Result<ClaimedName, ClientError> {
        let own = self.identity()?.public_key();
        let label = name_label(self.network(), &name.skeleton());
        let slot = Slot::Topic { publisher: own, label, slot: CLAIM_SLOT };
        let newest = self.limited(async { Ok(self.context.newest(&slot).await?) }).await?;
        let mut evidence = scene.evidence.get(&own).cloned().unwrap_or_default();
        let held = scene.of(&own).map(|standing| standing.claim.record().clone());
        let (record, receipts) = match held {
            Some(record) if !self.is_due(&record) => (record, Vec::new()),
            held => {
                // What came before a release, or under another form of the name, is nobody's past.
                match &held {
                    Some(record) => drop(evidence.generation(record)),
                    None => evidence = Evidence::default(),
                }
                self.sign_claim(name, newest, &slot, progress).await?
            }
        };
        let signed = !receipts.is_empty();
        self.attest(&record, receipts, &scene, &mut evidence).await?;
        self.publish_evidence(label, evidence, &scene).await?;
        self.put(Put {
            slot: reverse::name_slot(self.network(), name),
            retention: Retention::Days365,
            ..Put::owned(reverse::names_label(self.network(), &own), reverse::encode(name))
        })
        .await?;
        let scene = self.scene(name).await?;
        let generations = scene.of(&own).map_or(0, |standing| standing.generations);
        match rank(name, scene.standings, self.name_rules().tie_ms) {
            Ranking::Holder(standing) if *standing.claim.identity() == own => {
                let found = FoundName::of(&standing, false);
                Ok(ClaimedName { found, signed, generations })
            }
            ranking => {
                // Who came second while the work was done leaves nothing behind that misleads others.
                if new && !matches!(ranking, Ranking::Conflict(_)) {
                    self.withdraw(name).await?;
                }
                Err(refusal(name, &ranking).into())
            }
        }
    }

    /// Whether a claim is to be renewed.
    fn is_due(&self, record: &ValidRecord) -> bool {
        record.expires_at().since(self.now()) < self.name_rules().renew_before_ms
    }

    /// Signs the next version of the claim, and stores it on a majority; with their receipts.
    async fn sign_claim(
        &self,
        name: &Name,
        mut newest: Option<ValidRecord>,
        slot: &Slot,
        progress: Progress<'_>,
    ) -> Result<(ValidRecord, Vec<Receipt>), ClientError> {
        let mut attempt = 1;
        loop {
            let record = self.work_for_claim(name, newest.as_ref(), progress).await?;
            let put = async { Ok(self.context.put_record(&record, None, None).await?) };
            match self.limited(put).await {
                Ok(outcome) => {
                    let receipts = outcome.stored.into_iter().map(|(_, receipt)| receipt);
                    return Ok((record, receipts.collect()));
                }
                Err(ClientError::Put(error)) if attempt < ATTEMPTS_MAX && is_overtaken(&error) => {}
                Err(error) => return Err(error),
            }
            attempt += 1;
            newest = self.limited(async { Ok(self.context.newest(slot).await?) }).await?;
            // Another installation of this identity has just done the same.
            if newest.as_ref().is_some_and(|newest| newest.kind() == Kind::Value) {
                let theirs = self.get(slot, quorum()).await?.record;
                let claim = Claim::of(&theirs, self.network(), &self.name_rules().work);
                if claim.is_some_and(|claim| claim.name() == name) {
                    return Ok((theirs, Vec::new()));
                }
            }
        }
    }

    /// The work, in steps between which others are served.
    async fn work_for_claim(
        &self,
        name: &Name,
        newest: Option<&ValidRecord>,
        progress: Progress<'_>,
    ) -> Result<ValidRecord, ClientError> {
        let identity = self.identity()?;
        let draft = draft(name, newest, self.network(), &self.name_rules().work, self.now());
        let refused = |error: DraftError| ClientError::Put(PutError::Draft(error));
        let mut work = draft.begin(&identity.public_key(), self.network()).map_err(refused)?;
        let expected = 1_u64.checked_shl(work.needed()).unwrap_or(u64::MAX);
        while !work.step(STEP_NONCES) {
            progress(NameProgress { tried: work.tried(), expected });
            tokio::task::yield_now().await;
        }
        work.sign(identity.signing_key()).map_err(refused)
    }

    /// Adds the receipts of all who hold the claim, and of judges who do not, to its evidence.
    async fn attest(
        &self,
        record: &ValidRecord,
        mut receipts: Vec<Receipt>,
        scene: &Scene,
        evidence: &mut Evidence,
    ) -> Result<(), ClientError> {
        let besides = self.judges_besides(scene).await;
        let witness = async { Ok(self.context.witness(record, &besides).await) };
        receipts.extend(self.limited(witness).await?.into_iter().map(|(_, receipt)| receipt));
        evidence.generation(record).add(receipts, |node| scene.judges.contains(node));
        Ok(())
    }

    /// Publishes the evidence, together with what another installation published meanwhile.
    async fn publish_evidence(
        &self,
        label: [u8; 32],
        mut evidence: Evidence,
        scene: &Scene,
    ) -> Result<(), ClientError> {
        let publisher = self.identity()?.public_key();
        let slot = Slot::Topic { publisher, label, slot: EVIDENCE_SLOT };
        let mut attempt = 1;
        loop {
            let newest = self.limited(async { Ok(self.context.newest(&slot).await?) }).await?;
            if newest.as_ref().is_some_and(|newest| newest.kind() == Kind::Value) {
                let stored = self.get(&slot, quorum()).await?.record;
                let stored = stored.body().and_then(|body| Evidence::decode(&body));
                evidence.merge(&stored.unwrap_or_default(), |node| scene.judges.contains(node));
            }
            let put = Put {
                space: Space::Topic,
                slot: EVIDENCE_SLOT,
                retention: Retention::Days365,
                expected_seq: Some(newest.map_or(0, |newest| newest.seq())),
                ..Put::owned(label, evidence.encode())
            };
            match self.put(put).await {
                Ok(_) => return Ok(()),
                Err(ClientError::Put(error)) if attempt < MERGES_MAX && is_overtaken(&error) => {}
                Err(error) => return Err(error),
            }
            attempt += 1;
            self.part_ways().await;
        }
    }

    /// Waits for a quarter of a second at most, by lot: two installations that write at the same moment, each in
    /// the other's way, would do so again.
    async fn part_ways(&self) {
        let lot = self.entropy().secret::<1>().map_or(0, |byte| u8::from_be_bytes(*byte));
        sleep(Duration::from_millis(lot.into())).await;
    }

    /// Where judges are reached that are not among the holders.
    async fn judges_besides(&self, scene: &Scene) -> Vec<NodeInfo> {
        let is_holder = |judge: &NodeId| scene.holders.iter().any(|holder| holder.id == *judge);
        let missing: Vec<NodeId> =
            scene.judges.iter().filter(|judge| !is_holder(judge)).copied().collect();
        let looked_up = missing.into_iter().map(|judge| async move {
            let closest = self.context.lookup(judge.key()).await;
            closest.into_iter().find(|node| node.id == judge)
        });
        let mut found = Vec::new();
        let mut looked_up = std::pin::pin!(stream::iter(looked_up).buffered(JUDGES_AT_ONCE));
        let all = async {
            while let Some(node) = looked_up.next().await {
                found.extend(node);
            }
        };
        let _ = timeout(JUDGES_LIMIT, all).await;
        found
    }
}

impl Scene {
    /// An identity's claim.
    fn of(&self, identity: &[u8; 32]) -> Option<&Standing> {
        self.standings.iter().find(|standing| standing.claim.identity() == identity)
    }
}

/// What a claimant is told who does not have the name.
fn refusal(name: &Name, ranking: &Ranking) -> NameError {
    match ranking {
        Ranking::Unclaimed => NameError::NotOwn(name.clone()),
        Ranking::Holder(standing) => {
            NameError::Taken { name: name.clone(), identity: *standing.claim.identity() }
        }
        Ranking::Confusable(standing) => confusable(name, standing),
        Ranking::Conflict(standings) => conflict(name, standings),
    }
}

fn quorum() -> GetOptions {
    GetOptions { consistency: Consistency::Quorum, ..GetOptions::default() }
}
