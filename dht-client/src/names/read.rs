//! Looking a name up, and the names of an identity.

use std::collections::{BTreeMap, BTreeSet};

use dht_context::{GetError, GetOptions, LIST_RECORDS_MAX, Slot};
use dht_kad::domain;
use dht_kad::lookup::Consistency;
use dht_kad::message::NodeInfo;
use dht_kad::routing::K;
use dht_kad::{Key, NodeId, UnixMs};
use futures_util::stream::{self, StreamExt};

use super::claim::{CLAIM_SLOT, Claim, EVIDENCE_SLOT, name_label};
use super::error::NameError;
use super::evidence::Evidence;
use super::form::Name;
use super::rank::{Ranking, Standing, rank};
use super::reverse;
use super::rules::{JUDGES_MAX, Judges};
use super::trust;
use crate::client::Client;
use crate::error::ClientError;

/// The most claims at one skeleton that are told apart: checking the evidence of one takes up to some
/// 15 ms, and each costs its maker work.
const CLAIMS_MAX: usize = 256;
/// How many of them are fetched at once.
const CLAIMS_AT_ONCE: usize = 16;
/// The most records with work at a place that are listed: one fewer than honest servers hold at one, so
/// that only heads are asked for.
const LISTED_MAX: usize = LIST_RECORDS_MAX - 1;

/// The most entries of an identity that are looked up: nobody is known by more names.
const ENTRIES_MAX: usize = 64;
/// How many of them are looked up at once.
const ENTRIES_AT_ONCE: usize = 8;

/// Whose a name is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundName {
    /// The name.
    pub name: Name,
    /// Whose it is.
    pub identity: [u8; 32],
    /// Until when, unless it is renewed.
    pub expires_at: UnixMs,
    /// Since when, by the word of a majority of the judges; absent if they do not vouch for it.
    pub since: Option<UnixMs>,
    /// How many judges vouch for it.
    pub vouched: usize,
    /// How many judges there are.
    pub judges: usize,
    /// How much of its evidence is false, and was ignored: receipts that no judge signed, generations
    /// that are none. Who publishes such a thing wants to deceive.
    pub false_evidence: usize,
    /// Whether this reader's profile trusts that identity with it.
    pub trusted: bool,
}

/// A name that an identity says it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReverseName {
    /// The name.
    pub name: Name,
    /// Whether a look-up of the name leads back to the identity.
    pub verified: bool,
}

/// What is at the place of a name, and of those that read like it.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// Who judges.
    pub(super) judges: BTreeSet<NodeId>,
    /// Those closest to the place, whoever judges.
    pub(super) holders: Vec<NodeInfo>,
    /// All claims.
    pub(super) standings: Vec<Standing>,
    /// Each publisher's evidence.
    pub(super) evidence: BTreeMap<[u8; 32], Evidence>,
}

impl FoundName {
    pub(super) fn of(standing: &Standing, trusted: bool) -> Self {
        FoundName {
            name: standing.claim.name().clone(),
            identity: *standing.claim.identity(),
            expires_at: standing.claim.record().expires_at(),
            since: standing.since,
            vouched: standing.vouched,
            judges: standing.judges,
            false_evidence: standing.false_evidence,
            trusted,
        }
    }
}

impl Client {
    /// Looks up whose a name is. With a profile, the first proven answer is remembered, and another one
    /// later is an error until [`trust_name`](Self::trust_name) says whom to trust.
    ///
    /// # Cancel safety
    /// Reads only; nothing is remembered unless it ends.
    ///
    /// # Errors
    /// [`ClientError`]; [`NameError`] says if nobody has it, if it cannot be told who does, if it reads
    /// like another name, or if it is not whose it was.
    pub async fn lookup_name(&self, name: &str) -> Result<FoundName, ClientError> {
        let name: Name = name.parse().map_err(NameError::from)?;
        let standing = self.holder_of(&name).await?;
        let found = *standing.claim.identity();
        let Ok(profile) = self.profile() else { return Ok(FoundName::of(&standing, false)) };
        // Who cannot be told from others by anything is not remembered.
        let trusted = match standing.since {
            Some(_) => Some(trust::remember(profile, &name, found, self.now())?),
            None => trust::trusted(profile, &name)?,
        };
        match trusted {
            Some(trusted) if trusted != found => {
                Err(NameError::Changed { name, trusted, found }.into())
            }
            trusted => Ok(FoundName::of(&standing, trusted.is_some())),
        }
    }

    /// Trusts an identity with a name from now on, whoever was trusted before. Nobody is asked.
    ///
    /// # Errors
    /// [`ClientError`]: without a profile, or if it is no name.
    pub fn trust_name(&self, name: &str, identity: &[u8; 32]) -> Result<(), ClientError> {
        let name: Name = name.parse().map_err(NameError::from)?;
        Ok(trust::trust(self.profile()?, &name, *identity, self.now())??)
    }

    /// Which names an identity says it has, in alphabetical order, at most 64, each looked up. What this
    /// reader trusted before plays no part.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// [`ClientError`] if its entries, or a name's place, cannot be read.
    pub async fn reverse_names(
        &self,
        identity: &[u8; 32],
    ) -> Result<Vec<ReverseName>, ClientError> {
        let label = reverse::names_label(self.network(), identity);
        let listed = self.list(identity, &label).await?;
        let names: BTreeSet<Name> = listed
            .records
            .iter()
            .filter_map(|record| reverse::decode(self.network(), record.slot(), &record.body()?))
            .take(ENTRIES_MAX)
            .collect();
        let looked_up = names.into_iter().map(|name| async move {
            let verified = match self.holder_of(&name).await {
                Ok(standing) => standing.claim.identity() == identity,
                Err(ClientError::Name(_)) => false,
                Err(error) => return Err(error),
            };
            Ok(ReverseName { name, verified })
        });
        let mut names = Vec::new();
        let mut looked_up = std::pin::pin!(stream::iter(looked_up).buffered(ENTRIES_AT_ONCE));
        while let Some(name) = looked_up.next().await {
            names.push(name?);
        }
        Ok(names)
    }

    /// Who has a name, whatever this reader knew before.
    async fn holder_of(&self, name: &Name) -> Result<Standing, ClientError> {
        let scene = self.scene(name).await?;
        match rank(name, scene.standings, self.name_rules().tie_ms) {
            Ranking::Holder(standing) => Ok(standing),
            Ranking::Unclaimed => Err(NameError::Unclaimed(name.clone()).into()),
            Ranking::Conflict(standings) => Err(conflict(name, &standings).into()),
            Ranking::Confusable(standing) => Err(confusable(name, &standing).into()),
        }
    }

    /// All that lies at the place of a name, checked.
    pub(super) async fn scene(&self, name: &Name) -> Result<Scene, ClientError> {
        let rules = self.name_rules();
        let label = name_label(self.network(), &name.skeleton());
        let place = domain::topic_key(self.network(), &label);
        let holders = self.lookup(&place).await?;
        let judges = judges(&self.name_judges().await?, &place, &holders);
        let claimants = self.claimants(name, &label).await?;
        let read = claimants.into_iter().map(|claimant| self.claim_of(claimant, label));
        let mut scene = Scene { judges, holders, standings: Vec::new(), evidence: BTreeMap::new() };
        let mut read = std::pin::pin!(stream::iter(read).buffered(CLAIMS_AT_ONCE));
        while let Some(claim) = read.next().await {
            let Some((claim, evidence)) = claim? else { continue };
            let (network, judges) = (self.network(), &scene.judges);
            let claimant = *claim.identity();
            let standing =
                Standing::of(claim, evidence.as_ref(), network, &rules.work, judges, self.now());
            scene.standings.push(standing);
            scene.evidence.extend(evidence.map(|evidence| (claimant, evidence)));
            // Others have their turn between the checks of two claims.
            tokio::task::yield_now().await;
        }
        Ok(scene)
    }

    /// Who might have claimed the name, or one that reads like it.
    async fn claimants(
        &self,
        name: &Name,
        label: &[u8; 32],
    ) -> Result<BTreeSet<[u8; 32]>, ClientError> {
        let work = &self.name_rules().work;
        let listed = self
            .limited(async {
                Ok(self.context.list_topic_by_work(label, work.least(), LISTED_MAX).await?)
            })
            .await?;
        let claimants: BTreeSet<[u8; 32]> = listed
            .records
            .iter()
            .filter_map(|record| Claim::of(record, self.network(), work))
            .map(|claim| *claim.identity())
            .collect();
        // What a holder only pretends to have is no reason to doubt the rest: a claim that a majority
        // accepted is shown by somebody honest.
        if listed.cut || claimants.len() > CLAIMS_MAX {
            return Err(NameError::Crowded(name.clone()).into());
        }
        Ok(claimants)
    }

    /// What a claimant's slots hold by the word of a majority: a list by work shows no tombstones, which
    /// show none, and so might bring back what was released.
    async fn claim_of(
        &self,
        publisher: [u8; 32],
        label: [u8; 32],
    ) -> Result<Option<(Claim, Option<Evidence>)>, ClientError> {
        let get = async |slot| {
            let slot = Slot::Topic { publisher, label, slot };
            let quorum = GetOptions { consistency: Consistency::Quorum, ..GetOptions::default() };
            match self.get(&slot, quorum).await {
                Ok(found) => Ok(Some(found.record)),
                Err(ClientError::Get(GetError::NotFound | GetError::Deleted)) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let (claim, evidence) = futures_util::join!(get(CLAIM_SLOT), get(EVIDENCE_SLOT));
        let work = &self.name_rules().work;
        let claim = claim?.and_then(|record| Claim::of(&record, self.network(), work));
        let evidence = evidence?.and_then(|record| Evidence::decode(&record.body()?));
        Ok(claim.map(|claim| (claim, evidence)))
    }
}

impl Client {
    /// Whose receipts count: those that the rules name. By the standard rules it is the nodes of the
    /// network's registry where it has one, which all of the network know alike.
    async fn name_judges(&self) -> Result<Judges, ClientError> {
        let rules = &self.name_rules().judges;
        if *rules != Judges::Holders || !self.context.has_registry() {
            return Ok(rules.clone());
        }
        let list = match self.context.registry_list() {
            Some(list) if !self.context.registry_list_is_stale() => Some(list),
            _ => {
                let refreshed = async { Ok(self.context.refreshed_registry_list().await?) };
                self.limited(refreshed).await?
            }
        };
        let list = list.ok_or(NameError::NoRegistryList)?;
        Ok(Judges::Registry(list.nodes().iter().map(|node| node.id).collect()))
    }
}

/// Who judges the claims at a place.
fn judges(judges: &Judges, place: &Key, holders: &[NodeInfo]) -> BTreeSet<NodeId> {
    match judges {
        Judges::Holders => holders.iter().take(K).map(|node| node.id).collect(),
        Judges::Registry(nodes) => {
            let mut nodes: Vec<NodeId> = nodes.iter().copied().collect();
            nodes.sort_by_key(|node| node.key().distance(place));
            nodes.into_iter().take(JUDGES_MAX).collect()
        }
    }
}

pub(super) fn conflict(name: &Name, standings: &[Standing]) -> NameError {
    let claims = standings
        .iter()
        .map(|standing| (standing.claim.name().clone(), *standing.claim.identity()))
        .collect();
    NameError::Conflict { name: name.clone(), claims }
}

pub(super) fn confusable(name: &Name, standing: &Standing) -> NameError {
    NameError::Confusable {
        name: name.clone(),
        like: standing.claim.name().clone(),
        identity: *standing.claim.identity(),
    }
}
