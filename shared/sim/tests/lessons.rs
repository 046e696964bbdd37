//! The lessons of systems that failed, one scenario each: it is kept with several seeds, and it is
//! broken when what went wrong elsewhere is put back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of tests panics as they do")]

use std::time::Duration;

use dht_sim::checker::BrokenRule;
use dht_sim::disk::DiskModel;
use dht_sim::{Failure, Fault, Run, Settings, scenario, simulate};

const SEEDS: std::ops::RangeInclusive<u64> = 1..=2;

fn settings(story: &str, seed: u64) -> Settings {
    Settings::new(seed, scenario::find(story).unwrap().nodes())
}

fn play(story: &str, settings: Settings) -> Run {
    simulate(scenario::find(story).unwrap(), settings).unwrap()
}

fn assert_kept(story: &str) {
    for seed in SEEDS {
        let run = play(story, settings(story, seed));
        assert_eq!(run.verdict, Ok(()), "{run:?}");
        assert!(run.acknowledged > 0 && run.checked >= run.acknowledged, "{run:?}");
    }
}

/// The first rule that is broken when a fault is put back.
fn broken_by(fault: Fault, story: &str) -> BrokenRule {
    let run = play(story, settings(story, 1).with(fault));
    match run.verdict {
        Err(Failure::Broken(rule)) => rule,
        other => panic!("nothing noticed the fault «{fault}»: {other:?}"),
    }
}

/// Every node restarted together and republished into an empty routing table; profiles were lost.
#[test]
fn all_nodes_restart_at_once() {
    assert_kept("all-nodes-restart-at-once");
}

/// The disks' part of it: what is acknowledged before it is synced is lost when all die at once.
#[test]
fn all_nodes_restart_at_once_with_disks_that_lie() {
    let story = "all-nodes-restart-at-once";
    let slow = DiskModel {
        sync_shortest: Duration::from_millis(100),
        sync_longest: Duration::from_millis(2_000),
    };
    let run = |settings| play(story, Settings { disks: slow, ..settings });
    let lying = run(settings(story, 1).with(Fault::AcknowledgeBeforeSync));
    // With a second version or a delete that is lost, the one before it is back.
    let lost = matches!(
        lying.verdict,
        Err(Failure::Broken(
            BrokenRule::Lost { .. } | BrokenRule::Stale { .. } | BrokenRule::CameBack { .. }
        ))
    );
    assert!(lost, "{lying:?}");
    assert_eq!(run(settings(story, 1)).verdict, Ok(()));
}

/// 21 instances restarted and each announced 1,000 values at once.
#[test]
fn republish_storm() {
    assert_kept("republish-storm");
    let few = Settings::new(1, 5).with(Fault::StormAtStart);
    let run = play("republish-storm", few);
    let stormed = matches!(&run.verdict, Err(Failure::Expected(what)) if what.contains("stormed"));
    assert!(stormed, "{run:?}");
}

/// Holders refreshed each other's records with their own clock, so dead entries lived for ever.
#[test]
fn republish_extends_life() {
    assert_kept("republish-extends-life");
    let rule = broken_by(Fault::KeepsExpired, "republish-extends-life");
    assert!(matches!(rule, BrokenRule::ServedExpired { .. }), "{rule:?}");
}

/// A holder that had missed a delete brought the value back.
#[test]
fn deleted_comes_back() {
    assert_kept("deleted-comes-back");
    let rule = broken_by(Fault::ForgetsTombstones, "deleted-comes-back");
    assert!(matches!(rule, BrokenRule::CameBack { .. }), "{rule:?}");
}

/// First answer, longest value or latest timestamp won; old signed records replaced new ones.
#[test]
fn stale_version_wins() {
    assert_kept("stale-version-wins");
    let rule = broken_by(Fault::StaleWins, "stale-version-wins");
    assert!(matches!(rule, BrokenRule::Stale { .. }), "{rule:?}");
}

/// Reconciled items failed the freshness check while sync said success.
#[test]
fn repair_refused_as_too_old() {
    assert_kept("repair-refused-as-too-old");
    let rule = broken_by(Fault::RepairRefusesOld, "repair-refused-as-too-old");
    let missing = matches!(rule, BrokenRule::Lost { .. } | BrokenRule::TooFewCopies { .. });
    assert!(missing, "{rule:?}");
}

/// Plausible false answers by nodes near a key hid it from four of five lookups.
#[test]
fn sybil_eclipse() {
    assert_kept("sybil-eclipse");
    let rule = broken_by(Fault::FirstAnswerWins, "sybil-eclipse");
    assert!(matches!(rule, BrokenRule::Stale { .. }), "{rule:?}");
}

/// Old signed records that somebody had kept replaced new ones when they were sent again.
#[test]
fn stale_version_wins_when_it_is_sent_again() {
    let run = play("replay", settings("replay", 1).with(Fault::StaleWins));
    let older =
        matches!(&run.verdict, Err(Failure::Expected(what)) if what.contains("older version"));
    assert!(older, "nothing noticed that old versions win: {run:?}");
}

/// Holders that repair nothing: what one side of a cut wrote stays there.
#[test]
fn copies_that_nobody_repairs_are_missed() {
    let rule = broken_by(Fault::NoReplication, "deletes-in-partition");
    assert!(matches!(rule, BrokenRule::TooFewCopies { .. }), "{rule:?}");
}
