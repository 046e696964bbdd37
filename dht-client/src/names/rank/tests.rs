//! Claims that were really signed, judged by receipts that were, and properties of the moments alone.

use dht_kad::ValidRecord;
use dht_kad::message::Receipt;
use dht_kad::record::RecordSigner;
use dht_kad::time::{DAY_MS, SECOND_MS};
use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;

use super::super::claim::draft;
use super::*;

const WORK: NameWork = NameWork::uniform(0);
/// When the stories begin.
const START: UnixMs = UnixMs(1_800_000_000_000);
const YEAR_MS: u64 = 365 * DAY_MS;

fn network() -> NetworkName {
    "test".parse().unwrap()
}

fn day(days: u64) -> UnixMs {
    START.after(days * DAY_MS)
}

/// The node with this number.
fn node(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn node_id(number: u8) -> NodeId {
    NodeId::from_public_key(&node(number).publisher())
}

fn judges(numbers: impl IntoIterator<Item = u8>) -> BTreeSet<NodeId> {
    numbers.into_iter().map(node_id).collect()
}

/// What a node signs for a record, whether it has it or not.
fn receipt(number: u8, record: &ValidRecord, accepted_at: UnixMs) -> Receipt {
    let expires_at = record.expires_at();
    let message = Receipt::message(&network(), record, expires_at, accepted_at);
    let signature = node(number).sign(&message).to_bytes();
    Receipt { expires_at, accepted_at, node_key: node(number).publisher(), signature }
}

/// Somebody with a claim of a name, its former generations and its evidence.
struct Claimant {
    key: SigningKey,
    name: Name,
    record: ValidRecord,
    evidence: Evidence,
}

impl Claimant {
    /// Claims a name on a day, with receipts of that day from these nodes.
    fn new(number: u8, name: &str, on: UnixMs, nodes: impl IntoIterator<Item = u8>) -> Self {
        let (key, name) = (SigningKey::from_bytes(&[number; 32]), name.parse().unwrap());
        let record = draft(&name, None, &network(), &WORK, on).sign(&key, &network()).unwrap();
        let mut claimant = Claimant { key, name, record, evidence: Evidence::default() };
        claimant.attest(on, nodes);
        claimant
    }

    fn renew(&mut self, on: UnixMs, nodes: impl IntoIterator<Item = u8>) {
        let next = draft(&self.name, Some(&self.record), &network(), &WORK, on);
        self.record = next.sign(&self.key, &network()).unwrap();
        self.attest(on, nodes);
    }

    /// Adds receipts for the newest generation.
    fn attest(&mut self, at: UnixMs, nodes: impl IntoIterator<Item = u8>) {
        let receipts: Vec<_> =
            nodes.into_iter().map(|number| receipt(number, &self.record, at)).collect();
        self.evidence.generation(&self.record).add(receipts, |_| true);
    }

    fn standing(&self, judges: &BTreeSet<NodeId>, now: UnixMs) -> Standing {
        let claim = Claim::of(&self.record, &network(), &WORK).unwrap();
        Standing::of(claim, Some(&self.evidence), &network(), &WORK, judges, now)
    }
}

/// Whose «alice» is.
fn ranked(claimants: &[&Claimant], judges: &BTreeSet<NodeId>, now: UnixMs) -> Ranking {
    let standings = claimants.iter().map(|claimant| claimant.standing(judges, now)).collect();
    rank(&"alice".parse().unwrap(), standings, SECOND_MS)
}

fn holder(ranking: &Ranking) -> [u8; 32] {
    match ranking {
        Ranking::Holder(standing) => *standing.claim.identity(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_was_first_has_the_name_in_whatever_order_they_are_looked_at() {
    let judges = judges(101..=105);
    let (first, second) = (
        Claimant::new(1, "alice", day(0), 101..=105),
        Claimant::new(2, "alice", day(1), 101..=105),
    );
    for claimants in [[&first, &second], [&second, &first]] {
        assert_eq!(holder(&ranked(&claimants, &judges, day(2))), first.key.publisher());
    }
    assert_eq!(ranked(&[], &judges, day(2)), Ranking::Unclaimed);
    let standing = first.standing(&judges, day(2));
    assert_eq!((standing.since, standing.vouched, standing.false_evidence), (Some(day(0)), 5, 0));
}

#[test]
fn backdating_by_a_minority_of_judges_changes_nothing() {
    let judges = judges(101..=105);
    let honest = Claimant::new(1, "alice", day(10), 101..=105);
    let mut late = Claimant::new(2, "alice", day(20), 103..=105);
    // Two of five sign whatever he likes; his own time of making it may be as early, too.
    late.attest(day(1), [101, 102]);
    let ranking = ranked(&[&honest, &late], &judges, day(21));
    assert_eq!(holder(&ranking), honest.key.publisher());
    assert_eq!(late.standing(&judges, day(21)).since, Some(day(20)));
    // With a third he has a majority, and this is what no rule can help against.
    let mut bought = Claimant::new(2, "alice", day(1), []);
    bought.attest(day(1), 101..=103);
    assert_eq!(holder(&ranked(&[&honest, &bought], &judges, day(21))), bought.key.publisher());
}

#[test]
fn a_minority_that_withholds_or_postdates_takes_nobody_his_name() {
    let judges = judges(101..=105);
    let mut honest = Claimant::new(1, "alice", day(10), 103..=105);
    honest.attest(day(300), [101, 102]);
    let late = Claimant::new(2, "alice", day(11), 101..=105);
    assert_eq!(honest.standing(&judges, day(12)).since, Some(day(10)));
    assert_eq!(holder(&ranked(&[&honest, &late], &judges, day(12))), honest.key.publisher());
}

#[test]
fn a_renewal_in_time_keeps_the_rank() {
    let judges = judges(101..=103);
    let mut first = Claimant::new(1, "alice", day(0), 101..=103);
    let second = Claimant::new(2, "alice", day(1), 101..=103);
    for renewed in [245, 490, 735] {
        first.renew(day(renewed), 101..=103);
    }
    let standing = first.standing(&judges, day(740));
    assert_eq!((standing.since, standing.generations), (Some(day(0)), 4));
    assert_eq!(holder(&ranked(&[&first, &second], &judges, day(740))), first.key.publisher());
}

#[test]
fn a_lapse_loses_the_rank_even_if_it_is_renewed_later() {
    let judges = judges(101..=103);
    let mut lapsed = Claimant::new(1, "alice", day(0), 101..=103);
    let second = Claimant::new(2, "alice", day(366), 101..=103);
    lapsed.renew(day(370), 101..=103);
    let standing = lapsed.standing(&judges, day(371));
    assert_eq!((standing.since, standing.generations), (Some(day(370)), 1));
    assert_eq!(holder(&ranked(&[&lapsed, &second], &judges, day(371))), second.key.publisher());

    // He dates the renewal back to before the end; the judges say when it came.
    let mut backdated = Claimant::new(1, "alice", day(0), 101..=103);
    backdated.renew(day(364), []);
    backdated.attest(day(370), 101..=103);
    assert_eq!(backdated.standing(&judges, day(371)).since, Some(day(370)));
}

#[test]
fn what_follows_a_release_is_a_claim_of_its_own() {
    let judges = judges(101..=103);
    let mut first = Claimant::new(1, "alice", day(0), 101..=103);
    // The release took the seq that a renewal would have had.
    let seq = first.record.seq() + 2;
    let mut again = draft(&first.name, Some(&first.record), &network(), &WORK, day(20));
    again.seq = seq;
    first.record = again.sign(&first.key, &network()).unwrap();
    first.attest(day(20), 101..=103);
    let second = Claimant::new(2, "alice", day(10), 101..=103);
    assert_eq!(first.standing(&judges, day(21)).since, Some(day(20)));
    assert_eq!(holder(&ranked(&[&first, &second], &judges, day(21))), second.key.publisher());
}

#[test]
fn a_generation_that_nobody_accepted_closes_no_gap() {
    let judges = judges(101..=103);
    let mut first = Claimant::new(1, "alice", day(0), 101..=103);
    // Signed to fill the place of the release, and never taken by a store.
    first.renew(day(15), []);
    first.renew(day(20), 101..=103);
    let standing = first.standing(&judges, day(21));
    assert_eq!((standing.since, standing.generations), (Some(day(20)), 2));
}

#[test]
fn a_renewal_whose_evidence_is_late_is_seen_to_be_there() {
    let judges = judges(101..=103);
    let mut first = Claimant::new(1, "alice", day(0), 101..=103);
    let evidence = first.evidence.clone();
    first.renew(day(245), 101..=103);
    first.evidence = evidence;
    assert_eq!(first.standing(&judges, day(246)).since, Some(day(0)));
    assert_eq!(first.standing(&judges, day(365)).since, None, "only until the former one ends");
}

#[test]
fn a_tie_is_shown_and_not_decided() {
    let judges = judges(101..=103);
    let (one, other) = (
        Claimant::new(1, "alice", day(0), 101..=103),
        Claimant::new(2, "alice", day(0).after(SECOND_MS), 101..=103),
    );
    let Ranking::Conflict(tied) = ranked(&[&one, &other], &judges, day(1)) else { panic!() };
    let who: Vec<_> = tied.iter().map(|standing| *standing.claim.identity()).collect();
    assert_eq!(who, [one.key.publisher(), other.key.publisher()]);
    let later = Claimant::new(2, "alice", day(0).after(SECOND_MS + 1), 101..=103);
    assert_eq!(holder(&ranked(&[&one, &later], &judges, day(1))), one.key.publisher());
}

#[test]
fn an_unproven_claim_ranks_after_all_proven_ones() {
    let judges = judges(101..=105);
    let unproven = Claimant::new(1, "alice", day(0), 101..=102);
    let proven = Claimant::new(2, "alice", day(9), 103..=105);
    assert_eq!(holder(&ranked(&[&unproven, &proven], &judges, day(10))), proven.key.publisher());
    let Ranking::Holder(alone) = ranked(&[&unproven], &judges, day(10)) else { panic!() };
    assert_eq!((alone.since, alone.vouched, alone.judges), (None, 2, 5));
    let another = Claimant::new(3, "alice", day(1), []);
    assert!(matches!(ranked(&[&unproven, &another], &judges, day(10)), Ranking::Conflict(_)));
}

#[test]
fn what_reads_like_a_name_that_is_taken_belongs_to_nobody_else() {
    let judges = judges(101..=103);
    let first = Claimant::new(1, "al-1ce", day(0), 101..=103);
    let second = Claimant::new(2, "alice", day(1), 101..=103);
    let Ranking::Confusable(with) = ranked(&[&second, &first], &judges, day(2)) else { panic!() };
    assert_eq!(with.claim.name().as_str(), "al-1ce");
}

#[test]
fn evidence_of_somebody_elses_claim_is_worthless() {
    let judges = judges(101..=103);
    let honest = Claimant::new(1, "alice", day(0), 101..=103);
    let mut thief = Claimant::new(2, "alice", day(50), []);
    thief.evidence = honest.evidence.clone();
    let standing = thief.standing(&judges, day(51));
    assert_eq!((standing.since, standing.vouched, standing.false_evidence), (None, 0, 1));
    // The receipts alone, under a claim of his own.
    let stolen: Vec<Receipt> =
        (101..=103).map(|number| receipt(number, &honest.record, day(0))).collect();
    thief.evidence = Evidence::default();
    thief.evidence.generation(&thief.record).add(stolen, |_| true);
    let standing = thief.standing(&judges, day(51));
    assert_eq!((standing.since, standing.vouched, standing.false_evidence), (None, 0, 3));
    assert_eq!(holder(&ranked(&[&honest, &thief], &judges, day(51))), honest.key.publisher());
}

#[test]
fn another_name_is_no_generation_of_this_one() {
    let judges = judges(101..=103);
    let mut claimant = Claimant::new(1, "al1ce", day(0), 101..=103);
    claimant.name = "alice".parse().unwrap();
    claimant.renew(day(30), 101..=103);
    let standing = claimant.standing(&judges, day(31));
    assert_eq!((standing.since, standing.false_evidence), (Some(day(30)), 1));
}

#[test]
fn forged_receipts_are_counted_and_ignored_and_strangers_are_not_even_looked_at() {
    let judges = judges(101..=103);
    let mut claimant = Claimant::new(1, "alice", day(10), 101..=102);
    let forged = Receipt { accepted_at: day(9), ..receipt(103, &claimant.record, day(10)) };
    // Before the claim was made, and after it has ended: no honest clock.
    let (early, stranger) =
        (receipt(103, &claimant.record, day(1)), receipt(90, &claimant.record, day(10)));
    claimant.evidence.generation(&claimant.record).add([forged, stranger], |_| true);
    let standing = claimant.standing(&judges, day(11));
    assert_eq!((standing.since, standing.vouched), (Some(day(10)), 2));
    assert_eq!(standing.false_evidence, 1);
    let mut other = Claimant::new(1, "alice", day(10), 101..=102);
    other.evidence.generation(&other.record).add([early], |_| true);
    assert_eq!(other.standing(&judges, day(11)).false_evidence, 1);
}

#[test]
fn later_generations_than_the_stored_one_are_no_past() {
    let judges = judges(101..=103);
    let mut claimant = Claimant::new(1, "alice", day(0), 101..=103);
    let stored = claimant.record.clone();
    claimant.renew(day(5), 101..=103);
    claimant.record = stored;
    let standing = claimant.standing(&judges, day(6));
    assert_eq!((standing.since, standing.false_evidence), (Some(day(0)), 1));
}

#[test]
fn judges_that_came_later_vouch_for_later_generations() {
    let mut first = Claimant::new(1, "alice", day(0), 101..=105);
    let mut second = Claimant::new(2, "alice", day(30), 101..=105);
    // Two of five are others when both renew.
    first.renew(day(245), 103..=107);
    second.renew(day(240), 103..=107);
    let now = judges(103..=107);
    let standing = first.standing(&now, day(250));
    assert_eq!((standing.since, standing.generations), (Some(day(0)), 2));
    assert_eq!(holder(&ranked(&[&first, &second], &now, day(250))), first.key.publisher());
}

/// A chain of generations that end a year after they were made, by their making and what judges say.
fn witnessed(made: &[u64], accepted: &[Vec<Option<u64>>]) -> Vec<Witnessed> {
    made.iter()
        .zip(accepted)
        .zip(1..)
        .map(|((made, accepted), seq)| Witnessed {
            seq,
            expires_at: day(*made).after(YEAR_MS),
            accepted: (0..)
                .zip(accepted)
                .filter_map(|(number, moment)| Some((node_id(number), day((*moment)?))))
                .collect(),
        })
        .collect()
}

proptest! {
    #[test]
    fn less_than_a_majority_moves_no_moment_beyond_what_the_others_saw(
        count in 1_u8..20,
        honest in prop::collection::vec(100_u64..200, 20),
        lies in prop::collection::vec(prop::option::of(0_u64..400), 20),
    ) {
        let liars = (usize::from(count) - 1) / 2;
        let said: Vec<Option<u64>> = (0..usize::from(count))
            .map(|judge| if judge < liars { lies[judge] } else { Some(honest[judge]) })
            .collect();
        let truth = &honest[liars..usize::from(count)];
        let since = chain(&witnessed(&[90], &[said]), &judges(0..count), day(200)).since;
        let bounds = day(*truth.iter().min().unwrap())..=day(*truth.iter().max().unwrap());
        prop_assert!(since.is_some_and(|since| bounds.contains(&since)), "{:?} {:?}", since, bounds);
    }

    #[test]
    fn more_receipts_never_make_a_claim_later(
        first in prop::collection::vec(prop::option::of(0_u64..300), 7),
        more in prop::collection::vec(prop::option::of(0_u64..300), 7),
    ) {
        let all = judges(0..7);
        let before = chain(&witnessed(&[0], std::slice::from_ref(&first)), &all, day(301)).since;
        let both: Vec<_> = first
            .iter()
            .zip(&more)
            .map(|(one, other)| one.iter().chain(other).min().copied())
            .collect();
        let after = chain(&witnessed(&[0], &[both]), &all, day(301)).since;
        prop_assert!(before.is_none_or(|before| after.is_some_and(|after| after <= before)));
    }

    #[test]
    fn a_chain_is_unbroken_exactly_while_each_renewal_comes_in_time(
        gaps in prop::collection::vec(1_u64..700, 1..6),
    ) {
        let mut made = vec![0];
        for gap in &gaps {
            made.push(made.last().unwrap() + gap);
        }
        let accepted: Vec<_> = made.iter().map(|day| vec![Some(*day); 3]).collect();
        let now = day(*made.last().unwrap());
        let found = chain(&witnessed(&made, &accepted), &judges(0..3), now);
        let unbroken = gaps.iter().rev().take_while(|gap| **gap < 365).count();
        prop_assert_eq!(found.generations, unbroken + 1);
        prop_assert_eq!(found.since, Some(day(made[gaps.len() - unbroken])));
    }
}
