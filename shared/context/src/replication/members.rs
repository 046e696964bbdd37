//! [`Members`]: which servers count as holders.
//!
//! A server that leaves the routing table may be restarting: for a grace period it still counts, so
//! that nobody takes its place and copies what it holds anyway; but no longer than twice the time that
//! it was there, or somebody with ever new names would soon be all the holders of whatever they lie
//! close to, beyond the limits that the table has for that. One that said that it leaves for good
//! counts no more from that moment on, unless it is back and compares its copies again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dht_kad::NodeId;
use tokio::time::Instant;

/// The most servers that are remembered after they left the table: several tables full.
const GONE_MAX: usize = 1_024;
/// The most servers that are remembered as leaving for good.
const LEAVING_MAX: usize = 256;

/// The servers of the table, those that left it a moment ago, and those that leave for good.
#[derive(Debug)]
pub(crate) struct Members {
    grace: Duration,
    /// Since when each is in the table.
    present: BTreeMap<NodeId, Instant>,
    /// Until when each still counts.
    gone: BTreeMap<NodeId, Instant>,
    leaving: BTreeMap<NodeId, Instant>,
    holders: BTreeSet<NodeId>,
}

/// What a look at the table showed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Change {
    /// Whether other servers are in the table.
    pub(crate) table: bool,
    /// Whether other servers count as holders than at the last look.
    pub(crate) holders: bool,
}

impl Members {
    /// Nobody yet. Who leaves the table counts for `grace` longer.
    pub(crate) fn new(grace: Duration) -> Self {
        Members {
            grace,
            present: BTreeMap::new(),
            gone: BTreeMap::new(),
            leaving: BTreeMap::new(),
            holders: BTreeSet::new(),
        }
    }

    /// Takes note of who is in the table at present.
    pub(crate) fn observe(&mut self, table: &BTreeSet<NodeId>, now: Instant) -> Change {
        let changed = !table.iter().eq(self.present.keys());
        let grace = self.grace;
        for (id, since) in self.present.iter().filter(|(id, _)| !table.contains(id)) {
            let counts_for = now.duration_since(*since).saturating_mul(2).min(grace);
            note(&mut self.gone, *id, now + counts_for, GONE_MAX);
        }
        for id in table.iter().filter(|id| !self.present.contains_key(id)) {
            // Whoever comes back has not left for good.
            self.leaving.remove(id);
        }
        let since = |id: &NodeId| self.present.get(id).copied().unwrap_or(now);
        self.present = table.iter().map(|id| (*id, since(id))).collect();
        let (present, leaving) = (&self.present, &self.leaving);
        self.gone.retain(|id, until| {
            !present.contains_key(id) && !leaving.contains_key(id) && now < *until
        });
        self.leaving
            .retain(|id, since| present.contains_key(id) || now.duration_since(*since) < grace);
        let counts = self.present.keys().chain(self.gone.keys());
        let holders = counts.filter(|id| !self.leaving.contains_key(id)).copied().collect();
        let others = holders != self.holders;
        self.holders = holders;
        Change { table: changed, holders: others }
    }

    /// Whether a look at the same table would show the same at any later time.
    pub(crate) fn is_steady(&self) -> bool {
        self.gone.is_empty() && self.leaving.is_empty()
    }

    /// A server says that it leaves for good. It counts no more from the next look on.
    pub(crate) fn note_leaving(&mut self, server: NodeId, now: Instant) {
        note(&mut self.leaving, server, now, LEAVING_MAX);
    }

    /// A server shows that it stays after all, as one does that compares its copies with this node's. Says
    /// whether that is news, which the next look shows.
    pub(crate) fn note_staying(&mut self, server: &NodeId) -> bool {
        self.leaving.remove(server).is_some()
    }

    /// Who counts as a holder besides this node, as of the last look.
    pub(crate) fn holders(&self) -> Vec<NodeId> {
        self.holders.iter().copied().collect()
    }

    /// Whether a server is in the table and stays.
    pub(crate) fn is_present(&self, id: &NodeId) -> bool {
        self.present.contains_key(id) && !self.leaving.contains_key(id)
    }
}

/// Notes a moment, in place of the oldest one if there are too many.
fn note(moments: &mut BTreeMap<NodeId, Instant>, id: NodeId, now: Instant, max: usize) {
    if moments.len() >= max && !moments.contains_key(&id) {
        let oldest = moments.iter().min_by_key(|(_, since)| **since).map(|(id, _)| *id);
        oldest.and_then(|oldest| moments.remove(&oldest));
    }
    moments.insert(id, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(600);

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn ids(numbers: &[u8]) -> Vec<NodeId> {
        numbers.iter().copied().map(id).collect()
    }

    fn look(members: &mut Members, table: &[u8]) -> Change {
        members.observe(&ids(table).into_iter().collect(), Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn who_restarts_counts_all_the_while() {
        let mut members = Members::new(GRACE);
        assert_eq!(look(&mut members, &[1, 2]), Change { table: true, holders: true });
        tokio::time::advance(GRACE).await;
        assert_eq!(look(&mut members, &[1]), Change { table: true, holders: false });
        tokio::time::advance(GRACE / 2).await;
        assert_eq!(members.holders(), ids(&[1, 2]));
        assert!(!members.is_present(&id(2)));
        assert_eq!(look(&mut members, &[1, 2]), Change { table: true, holders: false });
        tokio::time::advance(GRACE).await;
        assert_eq!(look(&mut members, &[1, 2]), Change::default());
    }

    #[tokio::test(start_paused = true)]
    async fn who_said_that_it_leaves_and_is_back_before_it_was_missed_counts_again() {
        let mut members = Members::new(GRACE);
        look(&mut members, &[1, 2]);
        members.note_leaving(id(2), Instant::now());
        assert!(look(&mut members, &[1, 2]).holders && members.holders() == ids(&[1]));
        tokio::time::advance(2 * GRACE).await;
        assert!(!look(&mut members, &[1, 2]).holders, "it may be leaving still");
        assert!(members.note_staying(&id(2)) && !members.note_staying(&id(2)));
        assert!(look(&mut members, &[1, 2]).holders && members.holders() == ids(&[1, 2]));
    }

    #[tokio::test(start_paused = true)]
    async fn who_stays_away_counts_no_more_after_the_grace_period() {
        let mut members = Members::new(GRACE);
        look(&mut members, &[1, 2]);
        tokio::time::advance(GRACE).await;
        look(&mut members, &[1]);
        tokio::time::advance(GRACE).await;
        assert!(look(&mut members, &[1]).holders);
        assert_eq!(members.holders(), ids(&[1]));
    }

    #[tokio::test(start_paused = true)]
    async fn ever_new_names_do_not_add_up_to_holders() {
        let mut members = Members::new(GRACE);
        for number in 1..100 {
            look(&mut members, &[0, number]);
            tokio::time::advance(Duration::from_secs(2)).await;
            look(&mut members, &[0]);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(members.holders().len() <= 4, "{:?}", members.holders());
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_for_good_counts_no_more_at_once_and_again_if_it_comes_back() {
        let mut members = Members::new(GRACE);
        look(&mut members, &[1, 2]);
        members.note_leaving(id(2), Instant::now());
        assert!(look(&mut members, &[1, 2]).holders);
        assert_eq!(members.holders(), ids(&[1]));
        assert!(!members.is_present(&id(2)));
        assert!(!look(&mut members, &[1]).holders);
        assert!(look(&mut members, &[1, 2]).holders);
        assert_eq!(members.holders(), ids(&[1, 2]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_of_the_gone_is_bounded() {
        let mut members = Members::new(GRACE);
        for half in 0..3 {
            let name = |number: u16| {
                let mut bytes = [half; 32];
                bytes[..2].copy_from_slice(&number.to_be_bytes());
                NodeId::from_bytes(bytes)
            };
            members.observe(&(0..1_000).map(name).collect(), Instant::now());
            tokio::time::advance(GRACE / 2).await;
        }
        assert_eq!(members.gone.len(), GONE_MAX);
    }
}
