//! The lookups step by step: who is asked, in which order and for what, and what ends them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;

use dht_kad::lookup::{
    ClosestLookup, Condition, Consistency, LookupConfig, Step, ValueLookup, ValueStep, Want,
};
use dht_kad::message::NodeInfo;
use dht_kad::{Key, NodeId};

const SETTLED: Condition = Condition { settled: true, whole: true };
const UNSETTLED: Condition = Condition { settled: false, whole: true };

fn info(id: NodeId, port: u16) -> NodeInfo {
    NodeInfo { id, addrs: vec![SocketAddr::from(([127, 0, 0, 1], port))] }
}

/// The node whose distance from the key, all zeros, is this number.
fn at(distance: u8) -> NodeId {
    let mut bytes = [0; 32];
    bytes[31] = distance;
    NodeId::from_bytes(bytes)
}

fn infos(distances: impl IntoIterator<Item = u8>) -> Vec<NodeInfo> {
    distances.into_iter().map(|distance| info(at(distance), distance.into())).collect()
}

const TARGET: Key = Key([0; 32]);
const CONFIG: LookupConfig =
    LookupConfig { k: 4, alpha: 2, max_requests: 10, new_per_answer: 4, candidates_max: 12 };

fn closest_from(distances: impl IntoIterator<Item = u8>) -> ClosestLookup {
    ClosestLookup::new(TARGET, at(255), infos(distances), CONFIG, false)
}

fn asks(lookup: &mut ClosestLookup) -> NodeId {
    match lookup.next() {
        Step::Ask(node) => node.id,
        other => panic!("{other:?} instead of a question"),
    }
}

#[test]
fn a_slow_node_lends_its_place_and_is_waited_for() {
    let mut lookup = closest_from([1, 2, 3, 4, 5]);
    assert_eq!((asks(&mut lookup), asks(&mut lookup)), (at(1), at(2)));
    assert_eq!(lookup.next(), Step::Wait);
    lookup.on_slow(&at(1));
    lookup.on_slow(&at(1));
    assert_eq!(asks(&mut lookup), at(3));
    assert_eq!(lookup.next(), Step::Wait, "only one more for one slow node");
    for answered in [2, 3] {
        lookup.on_answer(&at(answered), Vec::new(), SETTLED);
    }
    assert_eq!((asks(&mut lookup), asks(&mut lookup)), (at(4), at(5)));
    for answered in [4, 5] {
        lookup.on_answer(&at(answered), Vec::new(), SETTLED);
    }
    assert_eq!(lookup.next(), Step::Wait, "the closest may still answer");
    lookup.on_failure(&at(1));
    assert_eq!(lookup.next(), Step::Done);
    let found: Vec<NodeId> = lookup.result().closest.iter().map(|node| node.info.id).collect();
    assert_eq!(found, [at(2), at(3), at(4), at(5)]);
}

#[test]
fn answers_that_nobody_awaits_change_nothing() {
    let mut lookup = closest_from([5, 6]);
    assert_eq!(asks(&mut lookup), at(5));
    lookup.on_answer(&at(6), infos([1]), SETTLED);
    lookup.on_answer(&at(9), infos([1]), SETTLED);
    lookup.on_failure(&at(6));
    lookup.on_answer(&at(5), Vec::new(), SETTLED);
    lookup.on_answer(&at(5), infos([1]), SETTLED);
    assert_eq!(asks(&mut lookup), at(6));
    lookup.on_failure(&at(6));
    lookup.on_answer(&at(6), infos([1]), SETTLED);
    assert_eq!(lookup.next(), Step::Done);
    assert_eq!((lookup.result().asked, lookup.result().failed), (2, 1));
}

#[test]
fn made_up_nodes_cost_no_more_than_the_requests_allowed() {
    let mut lookup = closest_from([200]);
    let mut asked = 0_u8;
    while let Step::Ask(node) = lookup.next() {
        asked += 1;
        if asked == 1 {
            lookup.on_answer(&node.id, infos(100..140), SETTLED);
        } else {
            lookup.on_failure(&node.id);
        }
    }
    assert_eq!(asked, 5, "one answer introduces four");

    let mut lookup = closest_from(0..12);
    while let Step::Ask(node) = lookup.next() {
        lookup.on_failure(&node.id);
    }
    assert_eq!(lookup.result().asked, 10);
}

#[test]
fn false_addresses_do_not_displace_a_nodes_true_one() {
    let mut lookup = closest_from([8, 9]);
    assert_eq!((asks(&mut lookup), asks(&mut lookup)), (at(8), at(9)));
    let addr = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let named = |addrs: Vec<SocketAddr>| vec![NodeInfo { id: at(1), addrs }];
    lookup.on_answer(&at(8), named((1..=4).map(addr).collect()), SETTLED);
    lookup.on_answer(&at(9), named(vec![addr(1), addr(77)]), SETTLED);
    let Step::Ask(node) = lookup.next() else { panic!("nobody is asked") };
    assert_eq!(node.addrs, [addr(1), addr(2), addr(77), addr(3)]);
}

fn wants(lookup: &mut ValueLookup) -> (NodeId, Want) {
    match lookup.next() {
        ValueStep::Ask { node, want } => (node.id, want),
        other => panic!("{other:?} instead of a question"),
    }
}

fn value_from(consistency: Consistency) -> ValueLookup {
    let config = LookupConfig { k: 9, ..CONFIG };
    ValueLookup::new(TARGET, at(255), infos(1..=9), consistency, config, 1)
}

fn quorum_from(own: NodeId, seeds: Vec<NodeInfo>, config: LookupConfig) -> ValueLookup {
    ValueLookup::new(TARGET, own, seeds, Consistency::Quorum, config, 1)
}

#[test]
fn one_body_is_asked_for_until_one_has_come() {
    let mut lookup = value_from(Consistency::Default);
    let wants_of = |lookup: &mut ValueLookup, expected: Want| {
        let (node, want) = wants(lookup);
        assert_eq!(want, expected);
        node
    };
    let first = wants_of(&mut lookup, Want::Record);
    let second = wants_of(&mut lookup, Want::Head);
    lookup.on_failure(&first);
    let third = wants_of(&mut lookup, Want::Record);
    lookup.on_slow(&third);
    let fourth = wants_of(&mut lookup, Want::Record);
    lookup.on_answer(&second, true, Vec::new(), UNSETTLED);
    let fifth = wants_of(&mut lookup, Want::Head);
    lookup.on_answer(&fourth, false, Vec::new(), UNSETTLED);
    let sixth = wants_of(&mut lookup, Want::Record);
    lookup.on_answer(&sixth, true, Vec::new(), UNSETTLED);
    assert_eq!(wants(&mut lookup).1, Want::Head);
    assert_eq!(lookup.outcome(), None);
    lookup.on_answer(&fifth, true, Vec::new(), UNSETTLED);
    let named = [first, second, third, fourth, fifth, sixth];
    assert_eq!(named.iter().collect::<std::collections::BTreeSet<_>>().len(), named.len());
}

#[test]
fn a_default_get_ends_at_five_holders_that_were_drawn_and_asks_two_more() {
    for chance in 0..200 {
        let (seeds, config) =
            (infos(1..=20), LookupConfig { k: 20, alpha: 3, candidates_max: 20, ..CONFIG });
        let consistency = Consistency::Default;
        let mut lookup = ValueLookup::new(TARGET, at(255), seeds, consistency, config, chance);
        let mut under_way = Vec::new();
        let mut asked = Vec::new();
        loop {
            match lookup.next() {
                ValueStep::Ask { node, .. } => {
                    under_way.push(node.id);
                    asked.push(node.id);
                }
                ValueStep::Wait => {
                    let from = under_way.remove(0);
                    lookup.on_answer(&from, true, Vec::new(), UNSETTLED);
                }
                ValueStep::Done => break,
            }
        }
        assert_eq!(asked[0], at(1), "the closest leads");
        // It counts only where its lot was the lowest, too.
        assert!((6..=7).contains(&asked.len()), "{asked:?}");
        assert_eq!(under_way.len(), 1);
        assert!(lookup.outcome().unwrap().conclusive);
    }
}

#[test]
fn who_is_asked_depends_on_the_lots_and_each_is_drawn_about_as_often() {
    let mut drawn = [0; 21];
    for chance in 0..1_000 {
        let (seeds, config) =
            (infos(1..=20), LookupConfig { k: 20, alpha: 1, candidates_max: 20, ..CONFIG });
        let consistency = Consistency::Default;
        let mut lookup = ValueLookup::new(TARGET, at(255), seeds, consistency, config, chance);
        while let ValueStep::Ask { node, .. } = lookup.next() {
            drawn[usize::from(node.id.as_bytes()[31])] += 1;
            lookup.on_answer(&node.id, true, Vec::new(), UNSETTLED);
        }
    }
    // Five of nineteen, a thousand times: 263 of each, give or take 14.
    assert!(drawn[2..].iter().all(|times| (193..=333).contains(times)), "{drawn:?}");
    assert_eq!(drawn[1], 1_000);
}

#[test]
fn one_holder_is_enough_if_so_asked() {
    let mut lookup = value_from(Consistency::One);
    assert_eq!(wants(&mut lookup), (at(1), Want::Record));
    assert_eq!(wants(&mut lookup), (at(2), Want::Record));
    lookup.on_answer(&at(2), true, Vec::new(), UNSETTLED);
    assert_eq!(lookup.next(), ValueStep::Done);
    lookup.on_answer(&at(1), true, Vec::new(), UNSETTLED);
    assert_eq!(lookup.outcome().unwrap().holders, [at(2)], "what comes later is not counted");
}

#[test]
fn a_miss_is_conclusive_only_if_somebody_knows_the_surroundings() {
    for (settled, asked) in [(true, 5), (false, 9)] {
        let mut lookup = value_from(Consistency::Default);
        while let ValueStep::Ask { node, .. } = lookup.next() {
            lookup.on_answer(&node.id, false, infos([]), Condition { settled, whole: true });
        }
        let outcome = lookup.outcome().unwrap();
        assert_eq!((outcome.conclusive, outcome.asked), (settled, asked));
    }
    let nobody = ValueLookup::new(TARGET, at(255), Vec::new(), Consistency::One, CONFIG, 1);
    assert!(!nobody.outcome().unwrap().conclusive);
}

#[test]
fn an_answer_that_may_be_cut_does_not_end_a_quorum() {
    // Each names four that are closer than itself, as many as an answer may: there may be more.
    let config = LookupConfig { max_requests: 100, ..CONFIG };
    let mut lookup = quorum_from(at(255), infos([101, 102, 103, 104]), config);
    let first = [wants(&mut lookup).0, wants(&mut lookup).0];
    for from in first {
        lookup.on_answer(&from, false, infos([51, 52, 53, 54]), SETTLED);
    }
    for _ in 0..2 {
        let from = wants(&mut lookup).0;
        assert!([51, 52, 53, 54].map(at).contains(&from));
        lookup.on_answer(&from, false, infos([51, 52, 53, 54]), SETTLED);
        assert_eq!(lookup.outcome(), None);
    }
    let third = wants(&mut lookup).0;
    lookup.on_answer(&third, false, infos([51, 52, 53, 54]), SETTLED);
    assert_eq!(lookup.next(), ValueStep::Done, "three of four");
}

#[test]
fn whoever_named_as_many_dead_nodes_as_an_answer_holds_does_not_end_a_quorum() {
    let mut lookup = quorum_from(at(255), infos([101, 102, 103, 104]), CONFIG);
    let first = [wants(&mut lookup).0, wants(&mut lookup).0];
    for from in first {
        lookup.on_answer(&from, false, infos([51, 52, 53, 54]), SETTLED);
    }
    for _ in 0..4 {
        let dead = wants(&mut lookup).0;
        assert!([51, 52, 53, 54].map(at).contains(&dead));
        lookup.on_failure(&dead);
    }
    let third = wants(&mut lookup).0;
    lookup.on_answer(&third, false, infos([51, 52, 53, 54]), SETTLED);
    // Three of the four closest that are known have answered, but 55 might be alive: the last of the
    // four knows it.
    let fourth = wants(&mut lookup).0;
    assert!([101, 102, 103, 104].map(at).contains(&fourth));
    lookup.on_answer(&fourth, false, infos([54, 55]), SETTLED);
    assert_eq!(wants(&mut lookup).0, at(55));
}

#[test]
fn an_asker_counts_itself_as_named_where_it_could_have_been() {
    let quorum = |own| {
        let config = LookupConfig { alpha: 4, ..CONFIG };
        let mut lookup = quorum_from(own, infos([51, 52, 53, 100]), config);
        for _ in 0..4 {
            wants(&mut lookup);
        }
        for from in [51, 52] {
            lookup.on_answer(&at(from), false, Vec::new(), SETTLED);
        }
        lookup.on_answer(&at(100), false, infos([51, 52, 53]), SETTLED);
        lookup.outcome().is_some()
    };
    assert!(quorum(at(255)), "an asker that is farther would not have been named before others");
    assert!(!quorum(at(60)), "one that is closer may have cost somebody a place in the bucket");
}

#[test]
fn consistencies_read_back_as_they_print() {
    for consistency in [Consistency::One, Consistency::Default, Consistency::Quorum] {
        assert_eq!(consistency.to_string().parse(), Ok(consistency));
    }
    assert!("all".parse::<Consistency>().is_err());
}

/// Settled, and not whole yet.
const NEW: Condition = Condition { settled: true, whole: false };

#[test]
fn those_who_are_not_whole_are_passed_over_and_still_named() {
    let mut lookup = closest_from([1, 2, 3, 4, 5, 6, 7]);
    let mut asked = Vec::new();
    while let Step::Ask(node) = lookup.next() {
        let says = if [at(1), at(3)].contains(&node.id) { NEW } else { SETTLED };
        lookup.on_answer(&node.id, Vec::new(), says);
        asked.push(node.id);
    }
    assert_eq!(asked, (1..=6).map(at).collect::<Vec<_>>(), "until four whole ones have answered");
    let found: Vec<_> = lookup.result().closest.into_iter().map(|n| (n.info.id, n.whole)).collect();
    let expected = [(1, false), (2, true), (3, false), (4, true), (5, true), (6, true)];
    assert_eq!(found, expected.map(|(distance, whole)| (at(distance), whole)));
}

#[test]
fn empty_hands_of_those_who_are_not_whole_prove_nothing() {
    let seeds = infos([1, 2, 3, 4, 5, 6, 7]);
    let mut lookup = quorum_from(at(255), seeds.clone(), CONFIG);
    let mut asked = 0;
    while let ValueStep::Ask { node, .. } = lookup.next() {
        asked += 1;
        let new = [at(1), at(2), at(3)].contains(&node.id);
        let holds = [at(3), at(6)].contains(&node.id);
        lookup.on_answer(&node.id, holds, seeds.clone(), if new { NEW } else { SETTLED });
    }
    // Those who count are 4, 5, 6 and 7, and not 3, whatever it holds.
    let mut outcome = lookup.outcome().unwrap();
    assert_eq!((outcome.conclusive, asked), (true, 7));
    outcome.holders.sort_unstable();
    assert_eq!(outcome.holders, [at(3), at(6)]);
}
